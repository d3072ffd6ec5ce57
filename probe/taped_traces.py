"""What a recording knows of traces: the spans that were open for long enough to be told, and the events of trace sessions that ran
meanwhile. Files, no sockets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from observe.probe.codec import decode
from observe.probe.errors import BadFrame
from observe.probe.feed import read_frame
from observe.probe.frames import OpenSpan, SpansFrame, TraceFrame
from observe.probe.open_book import OpenBook
from observe.probe.recording import FRAME, KEY, META, NotARecording, segments_at
from observe.probe.wire_traces import TraceEvent

SIGNS: Final = (b"\xa5spans", b"\xa5trace")
"""In the first bytes of a frame that matters here: the words as msgpack has them."""

MOST: Final = 20_000
"""Spans, and events, that are kept: the newest."""

ERROR: Final = 2


@dataclass(slots=True)
class TapedSpan:
    """One span."""

    trace_id: str
    span_id: int
    parent: int
    """0: it is a root."""
    name: str
    agent: str
    pid: int
    start: float
    """Unix time."""
    end: float | None = None
    """None: it was open when the recording ended."""
    is_error: bool = False


@dataclass(slots=True)
class TapedTraces:
    """All that was found."""

    node: str = ""
    ended_at: float = 0.0
    spans: list[TapedSpan] = field(default_factory=list)
    """In the order in which they began."""
    events: list[TraceEvent] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)


def read_traces(path: Path) -> TapedTraces:
    """Read all of a recording.

    Raises:
        NotARecording: there is none there.
    """
    found = TapedTraces()
    spans: dict[int, TapedSpan] = {}

    def begun(told: OpenSpan) -> None:
        if told.span not in spans:
            spans[told.span] = _span(told)
            if len(spans) > MOST:
                del spans[next(iter(spans))]

    for segment in segments_at(path):
        for record in segment:
            found.ended_at = record.wall_us / 1e6
            if record.kind == META:
                meta = decode(record.payload)
                found.node = f"{meta.get('node')}@{meta.get('host')}"
            elif record.kind == KEY:
                book = OpenBook()
                book.restore(decode(record.payload).get("spans") or {})
                for told in book.open():
                    begun(told)
            elif record.kind == FRAME and any(sign in record.payload[:64] for sign in SIGNS):
                try:
                    frame = read_frame(record.payload)
                    if isinstance(frame, SpansFrame):
                        for told in frame.opened:
                            begun(told)
                        _end(spans, frame)
                    elif isinstance(frame, TraceFrame):
                        found.events += [
                            TraceEvent.from_wire(one) for one in frame.events if one.get("kind") != "end"
                        ]
                        del found.events[:-MOST]
                except (BadFrame, ValidationError):
                    continue
        if segment.damage is not None:
            found.damage.append(str(segment.damage))
    if not found.node:
        raise NotARecording(f"nothing of {path} can be read")
    found.spans = sorted(spans.values(), key=lambda one: one.start)
    return found


def _end(spans: dict[int, TapedSpan], frame: SpansFrame) -> None:
    for number, end_ns, status in frame.ended:
        span = spans.get(number)
        if span is not None and end_ns:
            span.end = end_ns / 1e9
            span.is_error = status == ERROR


def _span(told: OpenSpan) -> TapedSpan:
    pid: Any = told.attributes.get("observe.pid", 0)
    return TapedSpan(
        told.trace, told.span, told.parent, told.name, str(told.attributes.get("gen_ai.agent.id", "")),
        pid if isinstance(pid, int) else 0, told.start_ns / 1e9,
    )  # fmt: skip
