"""Spans of a recording as waterfalls: one for each trace, on a scale of its own. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from observe.console.format import clock, one_line, plural
from observe.console.waterfall import Bar, as_lines, in_order
from observe.probe.taped_traces import TapedSpan

TRACES: Final = 20
"""Traces of one picture, the newest."""


def bars_of(spans: Sequence[TapedSpan], ended_at: float) -> list[Bar]:
    """Each below its parent; one whose parent was never told is drawn as a root."""
    made: dict[int, Bar] = {}
    for one in spans:
        end = one.end if one.end is not None else max(ended_at, one.start)
        kind = "message" if one.name.startswith(("invoke_agent ", "process ")) else "activity"
        name = f"{one.name}  {one.agent}" if one.agent and kind == "message" else one.name
        made[one.span_id] = Bar(
            one_line(name), one.start, end, one.pid, kind, error="error" if one.is_error else "",
            is_open=one.end is None,
        )  # fmt: skip
    roots: list[Bar] = []
    for one in spans:
        parent = made.get(one.parent)
        (parent.inner if parent is not None else roots).append(made[one.span_id])
    return in_order(roots)


def waterfalls(spans: Sequence[TapedSpan], ended_at: float, width: int) -> list[Text]:
    """A heading and a waterfall for each trace, the newest last."""
    traces: dict[str, list[TapedSpan]] = {}
    for one in spans:
        traces.setdefault(one.trace_id, []).append(one)
    lines: list[Text] = []
    if len(traces) > TRACES:
        lines.append(Text(f"{len(traces) - TRACES:,} older traces are left out: --trace ID shows one", "dim"))
    for trace_id, own in list(traces.items())[-TRACES:]:
        count = plural(len(own), "span")
        is_open = sum(1 for one in own if one.end is None)
        state = f", {is_open} open at the end" if is_open else ""
        lines.append(Text(f"trace {trace_id}  {clock(own[0].start)}  {count}{state}", "bold"))
        lines += as_lines(bars_of(own, ended_at), width)
    return lines
