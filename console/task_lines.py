"""The tasks page as lines: the table of asyncio tasks, and one of them with its stack. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from observe.console.columns import Piece
from observe.console.format import clip, duration, one_line, pad
from observe.console.lines import Line, frame_lines
from observe.probe.wire_tasks import TaskDetail, TaskLine

STATE_TONES: Final = {"running": "good", "ready": "info", "frozen": "warn", "waiting": "text"}

WIDE: Final = 120
"""Cells from which a line also says where a task stands and who created it."""


def task_lines(tasks: Sequence[TaskLine], width: int) -> list[Line]:
    """A heading, and one line a task."""
    cells = _cells(width)
    heading: list[Piece] = [(_cell(title, *shape), "heading") for title, shape in cells.items()]
    return [
        Line("heading", tuple(heading), heading=True),
        *(Line(f"task/{one.id}", _pieces(one, cells), full=_label(one)) for one in tasks),
    ]


def task_of(key: str) -> int | None:
    """The task that a line is about."""
    kind, _, number = key.partition("/")
    return int(number) if kind == "task" else None


def _cells(width: int) -> dict[str, tuple[int, bool]]:
    """Titles of the columns, with their width and whether they stand to the right."""
    cells = {"id": (6, True), "name": (14, False), "state": (10, False), "age": (6, True)}
    more = 2 if width < WIDE else 4
    left = max(24, width - sum(cell for cell, _ in cells.values()) - 2 * (len(cells) + more))
    if width < WIDE:
        return cells | {"coroutine": (left * 2 // 5, False), "waits for": (left - left * 2 // 5, False)}
    part = left // 4
    return cells | {
        "coroutine": (part, False), "waits for": (part, False), "at": (part, False), "created by": (left - 3 * part, False),
    }  # fmt: skip


def _cell(text: str, width: int, right: bool) -> str:
    return pad(clip(one_line(text), width), width, right=right) + "  "


def _pieces(one: TaskLine, cells: dict[str, tuple[int, bool]]) -> tuple[Piece, ...]:
    state, tone = state_of(one)
    shown: dict[str, Piece] = {
        "id": (str(one.id), "dim"),
        "name": (one.name, "strong"),
        "state": (state, tone),
        "age": ("" if one.age_s is None else duration(one.age_s), "text"),
        "coroutine": (one.coroutine, "text"),
        "waits for": (one.waiting_on or "", "info"),
        "at": (one.place, "dim"),
        "created by": (one.creator_name, "dim"),
    }
    return tuple((_cell(shown[title][0], *shape), shown[title][1]) for title, shape in cells.items())


def state_of(one: TaskLine) -> tuple[str, str]:
    """What a task is doing, and in which tone to say it."""
    if one.ring:
        return "in a ring", "bad"
    if one.cancelling:
        return "cancelling", "warn"
    return one.state, STATE_TONES.get(one.state, "text")


def _label(one: TaskLine) -> str:
    return f"{one.name} ({one.coroutine}, task {one.id})"


def detail_lines(detail: TaskDetail) -> list[Line]:
    """One task: what it runs, who created it, where it stands."""
    one = detail.task
    state, tone = state_of(one)
    lines = [
        Line(
            "title",
            ((one_line(one.name), "title"), (f"  task {one.id}  ", "dim"), (state, tone)),
            heading=True,
        ),
        _fact("runs", f"{one.module}.{one.coroutine}".strip(".")),
    ]
    if one.age_s is not None:
        by = f" by {one.creator_name}" if one.creator_name else ""
        at = f", {one.created_at}" if one.created_at else ""
        lines.append(_fact("created", f"{duration(one.age_s)} ago{by}{at}"))
    if one.agent:
        lines.append(
            Line("agent", (("step of       ", "key"), (f"agent #{one.agent}", "info")), pid=one.agent)
        )
    if one.ring:
        ring = " → ".join(str(number) for number in (*one.ring, one.ring[0]))
        lines.append(_fact("ring", f"{ring}: they wait for each other, for ever", "bad"))
    if one.waiting_on:
        awaited = f" (task {', '.join(map(str, one.waits_for))})" if one.waits_for else ""
        lines.append(_fact("waits for", one.waiting_on + awaited, "info"))
    if one.protected:
        lines.append(_fact("protected", one.protected, "dim"))
    lines += frame_lines("frame", detail.frames, 0)
    if detail.note:
        lines.append(Line("note", ((one_line(detail.note), "dim"),)))
    return lines


def _fact(name: str, value: str, tone: str = "text") -> Line:
    return Line(name, ((f"{name:<14}", "key"), (one_line(value), tone)))
