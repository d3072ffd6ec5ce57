"""Trace events as a waterfall: one bar a piece of work, below whoever asked for it, on one scale of time.

    desk  {'question': 1}          ├──────────────────┤             12.0ms
      model:chat                   ├────────┤                        6.0ms
      call → shelf                           ├───────┤               5.0ms
        shelf  'lamps'                        ├─────┤                4.0ms

`bars` is plain data and knows no terminal; `as_lines` draws it for a width, for commands and for pages of the console.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich.text import Text

from observe.console.format import duration

if TYPE_CHECKING:
    from observe.probe.wire_traces import TraceEvent

MOST: Final = 500
"""Bars of one picture; more are not read by anybody. How many were left out is said below."""

NAME_SHARE: Final = 0.4
"""Of the width."""

DURATION_CELLS: Final = 10
NEARLY_S: Final = 0.0005
"""Clocks of the two ends of a bar are read at different moments."""


@dataclass(slots=True)
class Bar:
    """One piece of work."""

    name: str
    start: float
    """Unix time."""
    end: float
    pid: int
    kind: str
    """`message` (an agent handles one), `call` (it waits for an answer) or `activity`."""
    peer: int = 0
    error: str = ""
    is_open: bool = False
    """It had not ended when the events did."""
    depth: int = 0
    inner: list[Bar] = field(default_factory=list)

    @property
    def took_s(self) -> float:
        return self.end - self.start


def of_trace(events: Iterable[TraceEvent], trace_id: str) -> list[TraceEvent]:
    """Those that belong to one trace; its id may be given by its first digits."""
    return [event for event in events if event.trace_id.startswith(trace_id.lower())]


def bars(events: Sequence[TraceEvent]) -> list[Bar]:
    """Pieces of work in the order in which they are drawn, each below what it is part of."""
    found = _found(sorted(events, key=lambda event: event.at))
    found.sort(key=lambda bar: (bar.start, -bar.end))
    roots: list[Bar] = []
    for number, bar in enumerate(found):
        parent = _parent(bar, found, number)
        (parent.inner if parent is not None else roots).append(bar)
    return in_order(roots)


def in_order(roots: Sequence[Bar]) -> list[Bar]:
    """Each followed by what is below it, with its depth."""
    ordered: list[Bar] = []
    waiting = [(bar, 0) for bar in reversed(roots)]
    while waiting:
        bar, depth = waiting.pop()
        bar.depth = depth
        ordered.append(bar)
        waiting += [(inner, bar.depth + 1) for inner in reversed(bar.inner)]
    return ordered


def as_lines(drawn: Sequence[Bar], width: int = 100) -> list[Text]:
    """One line a bar."""
    if not drawn:
        return [Text("nothing here took any time: no message was handled, and no activity ended", "dim")]
    start = min(bar.start for bar in drawn)
    span_s = max(max(bar.end for bar in drawn) - start, 1e-6)
    names = max(16, int(width * NAME_SHARE))
    cells = max(10, width - names - DURATION_CELLS - 2)
    lines = [_ruler(names, cells, span_s)]
    for bar in drawn[:MOST]:
        line = Text(no_wrap=True)
        name = f"{'  ' * min(bar.depth, 12)}{bar.name}".replace("\n", " ")
        line.append(name if len(name) <= names else f"{name[: names - 1]}…", "red" if bar.error else "")
        line.pad_right(max(0, names - line.cell_len))
        line.truncate(names)
        first = min(int((bar.start - start) / span_s * cells), cells - 1)
        count = max(1, min(round(bar.took_s / span_s * cells), cells - first))
        line.append(f" {' ' * first}")
        line.append(_drawn(count, bar), "bold red" if bar.error else _STYLES[bar.kind])
        line.append(" " * (cells - first - count))
        line.append(f"{duration(bar.took_s):>{DURATION_CELLS}}", "dim")
        if bar.error:
            line.append(f"  {bar.error}", "red")
        lines.append(line)
    if len(drawn) > MOST:
        lines.append(Text(f"and {len(drawn) - MOST:,} more", "dim"))
    return lines


_STYLES: Final = {"message": "blue", "call": "dim", "activity": "green"}


def _ruler(names: int, cells: int, span_s: float) -> Text:
    end = duration(span_s)
    return Text(f"{'':{names}} 0{end:>{cells - 1}}", "dim")


def _drawn(count: int, bar: Bar) -> str:
    last = "▶" if bar.is_open else "┤"
    if count == 1:
        return "▶" if bar.is_open else "│"
    return f"├{'─' * (count - 2)}{last}"


def _found(events: Sequence[TraceEvent]) -> list[Bar]:
    found: list[Bar] = []
    begun: dict[tuple[int, str], list[Bar]] = {}
    for event in events:
        took_s = event.took_s or 0.0
        label = event.name or event.class_name
        if event.kind == "activity" and event.way == "begin":
            bar = Bar(event.activity, event.at, events[-1].at, event.pid, "activity", is_open=True)
            begun.setdefault((event.pid, event.activity), []).append(bar)
            found.append(bar)
        elif event.kind == "activity":
            stack = begun.get((event.pid, event.activity))
            if stack:
                bar = stack.pop()
                bar.end, bar.is_open, bar.error = event.at, False, event.error
            else:  # begun before the session
                start = event.at - took_s
                found.append(Bar(event.activity, start, event.at, event.pid, "activity", error=event.error))
        elif event.kind == "reply" and event.way == "in":
            name = f"call → {event.peer_name or event.peer}"
            found.append(
                Bar(name, event.at - took_s, event.at, event.pid, "call", peer=event.peer, error=event.error)
            )
        elif event.kind in ("handled", "reply"):
            message = str(event.message["text"]) if event.message else ""
            found.append(
                Bar(
                    f"{label}  {message}", event.at - took_s, event.at, event.pid, "message", peer=event.peer,
                    error=event.error,
                )
            )  # fmt: skip
    return found


def _parent(bar: Bar, found: Sequence[Bar], number: int) -> Bar | None:
    """The shortest that holds it and is the agent's own, or the call that it answers."""
    best: Bar | None = None
    for other in found[:number]:
        if other.end < bar.end - NEARLY_S or other.start > bar.start + NEARLY_S:
            continue
        if bar.kind == "message":
            holds = other.kind == "call" and (other.pid, other.peer) == (bar.peer, bar.pid)
        else:
            holds = other.kind != "call" and other.pid == bar.pid
        if holds and (best is None or other.took_s <= best.took_s):
            best = other
    return best
