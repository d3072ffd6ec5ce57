"""How the node died, as lines: what ended it, who was running, its last stacks, what was open, what happened last. Pure."""

from __future__ import annotations

from typing import Final

from observe.console.columns import Piece
from observe.console.format import clock, duration, one_line, size
from observe.console.lines import Folds, Line, frame_lines, heading
from observe.probe.deaths import BusyAgent, Death

MOST_OPEN: Final = 20
MOST_EVENTS: Final = 20


def _who(agent: BusyAgent) -> str:
    return f"{one_line(agent.name or agent.class_name or 'agent')} #{agent.pid}"


def death_lines(death: Death | None, folds: Folds) -> list[Line]:
    """A section for the overview; nothing when no death is known."""
    if death is None:
        return []
    title = heading("death", "Death", folds, f"at {clock(death.at)}: {one_line(death.cause)}", "bad")
    if not title.open:
        return [title]
    lines = [title]

    def fact(key: str, label: str, *pieces: Piece, pid: int | None = None) -> None:
        lines.append(Line(f"death/{key}", ((f"{label:<12}", "dim"), *pieces), 1, pid=pid))

    lived = duration(max(0.0, death.at - death.started_at))
    fact(
        "process", "process", (f"{death.pid}, lived {lived}, memory at most {size(death.memory_max)}", "text")
    )
    if death.running is not None:
        busy = death.running
        fact("running", "was running", (f"{_who(busy)} for {duration(busy.for_s)}", "warn"), pid=busy.pid)
    if death.held is not None:
        by = one_line(death.held.name or death.held.class_name)
        fact(
            "held",
            "held by",
            (f"{by} for {duration(death.held.since_s)}", "warn"),
            pid=death.held.pid or None,
        )
    lines += _section(folds, "open", "Open activities", death.open_activities_total, [
        Line(
            f"death/open/{one.pid}",
            ((f"{one_line(one.activity or '')} for {duration(one.for_s)}  ", "info"), (_who(one), "text")), 2, pid=one.pid,
        )
        for one in death.open_activities[:MOST_OPEN]
    ])  # fmt: skip
    lines += _section(folds, "spans", "Open spans", death.open_spans_total, [
        Line(
            f"death/spans/{one.span_id}",
            ((f"{one_line(one.name)} for {duration(one.for_s)}  ", "info"), (f"{one_line(one.agent)}  ", "text"), (f"trace {one.trace_id}", "dim")),
            2, pid=one.pid or None,
        )
        for one in death.open_spans[:MOST_OPEN]
    ])  # fmt: skip
    stacks: list[Line] = []
    for number, stack in enumerate(death.stacks):
        stacks.append(Line(f"death/stacks/{number}", ((one_line(stack.thread), "text"),), 2))
        stacks += frame_lines(f"death/stacks/{number}", stack.frames, 3)
    lines += _section(folds, "stacks", "Last stacks", len(death.stacks), stacks)
    lines += _section(folds, "events", "Last events", len(death.events), [
        Line(f"death/events/{event.seq}", ((f"{clock(event.at)}  ", "dim"), (one_line(event.text), "text")), 2)
        for event in death.events[-MOST_EVENTS:]
    ])  # fmt: skip
    return lines


def _section(folds: Folds, key: str, title: str, number: int, below: list[Line]) -> list[Line]:
    """A heading that unfolds; nothing when there is nothing below it."""
    if not number:
        return []
    is_open = folds.is_open(f"death/{key}")
    first = Line(f"death/{key}", ((title, "key"), (f"  {number:,}", "dim")), 1, is_open)
    return [first, *(below if is_open else [])]
