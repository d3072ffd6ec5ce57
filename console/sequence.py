"""Trace events as a sequence chart: who said what to whom, lanes side by side, time going down.

As text for a terminal, as Mermaid for a document, as SVG for a report. A message of which both ends were traced is drawn
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from rich.cells import cell_len, set_cell_size

from observe.console.format import clip, clip_middle, clock_ms, duration

if TYPE_CHECKING:
    from observe.probe.wire_traces import TraceEvent

MAX_LANES: Final = 8
"""Agents with a lane of their own; all others share one."""

OUTSIDE: Final = "outside"
OTHERS: Final = "others"


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a chart."""

    at: float
    source: str
    target: str
    """The same as the source, of something that happens to an agent alone."""
    label: str
    kind: str

    @property
    def is_bad(self) -> bool:
        """Whether somebody should look at it first."""
        return self.kind in ("crash", "error")


@dataclass(frozen=True, slots=True)
class Chart:
    """Lanes, from left to right, and steps in their order."""

    lanes: tuple[str, ...]
    steps: tuple[Step, ...]


def chart(events: Sequence[TraceEvent], max_lanes: int = MAX_LANES) -> Chart:
    """What to draw of these events."""
    traced = {event.pid for event in events}
    steps = [step for event in events if (step := _step(event, traced)) is not None]
    counts: dict[str, int] = {}
    for step in steps:
        for lane in dict.fromkeys((step.source, step.target)):  # a set would order lanes anew in each process
            counts[lane] = counts.get(lane, 0) + 1
    kept = list(counts)
    if len(kept) > max_lanes:
        busiest = sorted(kept, key=lambda lane: -counts[lane])[: max_lanes - 1]
        kept = [lane for lane in kept if lane in busiest] + [OTHERS]

    def lane_of(name: str) -> str:
        return name if name in kept else OTHERS

    merged = (Step(s.at, lane_of(s.source), lane_of(s.target), s.label, s.kind) for s in steps)
    return Chart(tuple(kept), tuple(merged))


def _step(event: TraceEvent, traced: set[int]) -> Step | None:
    me = event.name or f"{event.class_name} {event.pid}"
    peer = event.peer_name or OUTSIDE
    message = str(event.message["text"]) if event.message else ""
    match event.kind:
        case "send" | "call":
            return Step(event.at, me, peer, message, event.kind)
        case "receive" if event.peer not in traced:
            sender = me if event.how in ("timer", "signal") and not event.peer else peer
            return Step(event.at, sender, me, message, "call" if event.how == "call" else "send")
        case "reply" if event.way == "out" and event.peer not in traced:
            return Step(event.at, me, peer, _outcome(event), "error" if event.error else "reply")
        case "reply" if event.way == "in":
            return Step(event.at, peer, me, _outcome(event), "error" if event.error else "reply")
        case "activity":
            took = f" {duration(event.took_s)}" if event.took_s is not None else ""
            text = f"{event.way} {event.activity}{took}{': ' + event.error if event.error else ''}"
            return Step(event.at, me, me, text, "error" if event.error else event.kind)
        case "state":
            text = ", ".join(f"{name}: {old} → {new}" for name, old, new in event.changes)
            return Step(event.at, me, me, text, event.kind)
        case "spawn" | "exit" | "crash" | "restart":
            return Step(event.at, me, me, f"{event.kind}: {event.text}", event.kind)
        case _:
            return None


def _outcome(event: TraceEvent) -> str:
    if event.error:
        return event.error
    value = str(event.value["text"]) if event.value else ""
    return f"{value} ({duration(event.took_s)})" if event.took_s is not None else value


# -- text ----------------------------------------------------------------------------------------------------------------


def as_text(drawn: Chart, width: int = 100) -> list[str]:
    """A line for the lanes, and one for each step, none wider than `width` cells."""
    if not drawn.lanes:
        return ["(nothing was sent)"]
    left = 14
    gap = max(12, min(30, (width - left) // len(drawn.lanes)))
    places = [left + gap // 2 + gap * number for number in range(len(drawn.lanes))]
    at = dict(zip(drawn.lanes, places, strict=True))
    head = " " * left + "".join(clip_middle(lane, gap - 2).center(gap) for lane in drawn.lanes)
    lines = [head.rstrip()]
    for step in drawn.steps:
        cells = [" "] * max(width, places[-1] + 1)
        for place in places:
            cells[place] = "│"
        start, end = at[step.source], at[step.target]
        if start == end:
            cells[start] = "✕" if step.is_bad else "●"
            text = clip(step.label, width - start - 3)
            line = "".join(cells[: start + 1]) + f" {text}"
        else:
            low, high = sorted((start, end))
            body = "╌" if step.kind in ("reply", "error") else "─"
            room = high - low - 4
            label = clip(step.label, room) if room > 2 else ""
            filled = f" {label} " if label else ""
            bar = filled + body * (high - low - 2 - cell_len(filled))
            arrow = f"◀{bar}" if end < start else f"{bar}▶"
            line = "".join(cells[: low + 1]) + arrow + "".join(cells[high:])
        lines.append(f"{clock_ms(step.at)}  {line[left:]}".rstrip())
    return [set_cell_size(line, width).rstrip() if cell_len(line) > width else line for line in lines]


# -- documents -------------------------------------------------------------------------------------------------------------


def as_mermaid(drawn: Chart) -> str:
    """The source of a Mermaid sequence diagram."""
    names = {lane: f"p{number}" for number, lane in enumerate(drawn.lanes)}
    lines = ["sequenceDiagram"]
    lines += [f"    participant {names[lane]} as {_mermaid(lane)}" for lane in drawn.lanes]
    for step in drawn.steps:
        source, target, label = names[step.source], names[step.target], _mermaid(step.label) or " "
        if source == target and step.kind not in ("send", "call"):
            lines.append(f"    Note over {source}: {label}")
        else:
            arrow = {"reply": "-->>", "error": "--x", "call": "->>"}.get(step.kind, "-)")
            lines.append(f"    {source}{arrow}{target}: {label}")
    return "\n".join(lines) + "\n"


def _mermaid(text: str) -> str:
    """Without what ends a statement, or begins an entity, in Mermaid's language."""
    return "".join({"#": "#35;", ";": "#59;"}.get(letter, letter) for letter in clip(text, 120))


ROW: Final = 26
LANE: Final = 190


_SVG_FONT: Final = 'font-family="ui-monospace, monospace" font-size="11"'
_ARROW_HEAD: Final = (
    '<defs><marker id="a" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
    '<path d="M0,0 L8,4 L0,8 z" fill="#3b4d65"/></marker></defs>'
)


def as_svg(drawn: Chart) -> str:
    """A drawing that stands by itself."""
    width = LANE * max(1, len(drawn.lanes)) + 110
    height = ROW * (len(drawn.steps) + 3)
    at = {lane: 110 + LANE // 2 + LANE * number for number, lane in enumerate(drawn.lanes)}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" {_SVG_FONT}>',
        _ARROW_HEAD,
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for lane, x in at.items():
        parts.append(f'<line x1="{x}" y1="{ROW}" x2="{x}" y2="{height - ROW // 2}" stroke="#c6ccd4"/>')
        parts.append(_svg_text(x, ROW - 8, clip_middle(lane, 26), "middle", "#11151b"))
    for number, step in enumerate(drawn.steps):
        y = ROW * (number + 2)
        start, end = at[step.source], at[step.target]
        colour = "#b3261e" if step.is_bad else "#3b4d65"
        parts.append(_svg_text(6, y + 4, clock_ms(step.at), "start", "#74777c"))
        if start == end:
            parts.append(f'<circle cx="{start}" cy="{y}" r="4" fill="{colour}"/>')
            parts.append(_svg_text(start + 10, y + 4, clip(step.label, 60), "start", colour))
        else:
            dash = ' stroke-dasharray="4 3"' if step.kind in ("reply", "error") else ""
            parts.append(
                f'<line x1="{start}" y1="{y}" x2="{end}" y2="{y}" stroke="{colour}"{dash} marker-end="url(#a)"/>'
            )
            room = abs(end - start) // 7
            parts.append(_svg_text((start + end) // 2, y - 4, clip(step.label, room), "middle", colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _svg_text(x: int, y: int, text: str, anchor: str, colour: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
