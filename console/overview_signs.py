"""Signs on the overview that somebody has to decide something: agents that wait for a person, agents that are fenced in. Pure.

Both are told by the table that the probe keeps; nobody has to ask the service each second. A sign of nothing is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from observe.console.columns import (
    ACTIVITY,
    ACTIVITY_S,
    CHILD,
    CLASS,
    CONTAINMENT,
    LEVEL_TONES,
    NAME,
    PID,
    STATUS_S,
    Piece,
    Row,
)
from observe.console.format import duration, one_line, pad, plural
from observe.console.lines import Folds, Line, heading

MOST: Final = 3
"""Lines of each; the page, or the table with the filter, has them all."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One kind of thing to be decided."""

    key: str
    title: str
    note: str
    """After the number of agents; `{}` is the verb's ending."""
    filter: str
    """Of the agents table."""
    sort: str
    pieces: Callable[[Row], list[Piece]]
    """What stands in a line."""


def _who(row: Row) -> Piece:
    return (f"{one_line(row[NAME] or row[CHILD] or row[CLASS])} #{row[PID]}", "text")


def _asks(row: Row) -> list[Piece]:
    asked = one_line(str(row[ACTIVITY])).removeprefix("approval:")
    return [
        ("? ", "warn"),
        (pad(duration(row[ACTIVITY_S]), 6, right=True) + "  ", "text"),
        _who(row),
        (f"  asks for {asked}", "info"),
    ]


def _contained(row: Row) -> list[Piece]:
    level = one_line(str(row[CONTAINMENT]))
    return [
        ("■ ", "warn"),
        (pad(duration(row[STATUS_S]), 6, right=True) + "  ", "text"),
        _who(row),
        (f"  {level}", LEVEL_TONES.get(level, "hot")),
        (f"  {one_line(str(row[CLASS]))}", "dim"),
    ]


SIGNS: Final = (
    Sign("approvals", "Approvals", "wait{} for a person: J shows what they ask", "activity~approval:", "activity_s", _asks),
    Sign("contained", "Contained", "{is} fenced in: Enter shows why, I lets it out", "containment!=none", "status_s", _contained),
)  # fmt: skip


def sign_lines(sign: Sign, rows: Sequence[Row], total: int, folds: Folds) -> list[Line]:
    """A title with how many there are, and the first few; nothing of none."""
    if not total:
        return []
    verb = sign.note.replace("{is}", "is" if total == 1 else "are").replace("{}", "s" if total == 1 else "")
    title = heading(sign.key, sign.title, folds, f"{plural(total, 'agent')} {verb}", "warn")
    if not title.open:
        return [title]
    return [
        title,
        *(Line(f"{sign.key}/{row[PID]}", tuple(sign.pieces(row)), 1, pid=row[PID]) for row in rows[:MOST]),
    ]
