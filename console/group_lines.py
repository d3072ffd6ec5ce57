"""Agents in groups with their sums, as lines: of `observe groups`, and of the console's page. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from observe.console.columns import STATUS_TONES, Piece, load_tone, mailbox_tone
from observe.console.format import (
    STATUS_GLYPHS,
    bar,
    clip_middle,
    money,
    one_line,
    pad,
    percent,
    rate,
    short_count,
)
from observe.console.lines import Line
from observe.probe.wire_console import GroupBy, GroupLine, GroupSort

BY: Final[tuple[GroupBy, ...]] = ("class", "supervisor", "status", "activity", "process")
"""By what agents are grouped, in the order of the key."""

SORTS: Final[tuple[GroupSort, ...]] = (
    "agents", "mailbox", "rate", "load", "tokens", "cost", "restarts", "crashes", "handled", "reductions"
)  # fmt: skip
"""By what groups are sorted, in the order of the columns."""

TITLES: Final = {
    "agents": 7, "mailbox": 8, "rate": 7, "load": 13, "tokens": 7, "cost": 8, "restarts": 9, "crashes": 8, "handled": 9, "reductions": 11,
}  # fmt: skip
"""The columns of numbers and their cells."""

NOBODY: Final = {"activity": "in no activity", "supervisor": "without a supervisor"}
"""What those are called that have nothing in common."""

STATUSES: Final = 20
"""Cells that are worth showing statuses in."""


def heading_pieces(by: GroupBy, sort: GroupSort, width: int) -> list[Piece]:
    """The heading above the lines."""
    pieces: list[Piece] = [(" " * 2 + pad(by, _name_cells(width)), "dim")]
    for title in _fitting(width, sort):
        text = "msg/s" if title == "rate" else title
        shown = pad(f"▼{text}" if title == sort else text, TITLES[title], right=title != "load")
        pieces.append((f"{shown} ", "hotkey" if title == sort else "dim"))
    return [*pieces, (" status", "dim")]


def group_lines(groups: Sequence[GroupLine], by: GroupBy, sort: GroupSort, width: int) -> list[Line]:
    """A line for each group."""
    return [_line(group, by, sort, width) for group in groups]


def _line(group: GroupLine, by: GroupBy, sort: GroupSort, width: int) -> Line:
    name = one_line(group.key) or NOBODY.get(by, "none")
    pieces: list[Piece] = [(pad(clip_middle(name, _name_cells(width)), _name_cells(width)), "strong")]
    for title in _fitting(width, sort):
        pieces += [*_cell(group, title), (" ", "text")]
    pieces.append((" ", "text"))
    for status, number in sorted(group.by_status.items(), key=lambda item: (-item[1], item[0])):
        glyph = STATUS_GLYPHS.get(status, "?")
        pieces.append((f"{glyph} {short_count(number)} {status}  ", STATUS_TONES.get(status, "text")))
    return Line(f"group/{group.key}", tuple(pieces), full=group.filter)


def _cell(group: GroupLine, title: GroupSort) -> list[Piece]:
    cells = TITLES[title]
    match title:
        case "load":
            # A bar for one core; more cores are in the number.
            tone = load_tone(group.load)
            return [
                (pad(percent(group.load), 6, right=True) + " ", tone),
                (pad(bar(min(1.0, group.load), 6), 6), tone),
            ]
        case "rate":
            return [(pad(rate(group.rate), cells, right=True), "text" if group.rate else "faint")]
        case "cost":
            return [(pad(money(group.cost), cells, right=True), "text" if group.cost else "faint")]
        case "tokens" if group.tokens is None:
            return [(pad("-", cells, right=True), "faint")]
        case "mailbox":
            tone = mailbox_tone(group.mailbox // max(1, group.agents))
        case "crashes":
            tone = "bad" if group.crashes else "faint"
        case "restarts":
            tone = "warn" if group.restarts else "faint"
        case _:
            tone = "text"
    return [(pad(short_count(getattr(group, title)), cells, right=True), tone)]


def _name_cells(width: int) -> int:
    return max(14, min(40, width // 5))


def _fitting(width: int, sort: GroupSort) -> list[GroupSort]:
    """The columns for which there is room beside the name; the one that is sorted by always."""
    left = width - _name_cells(width) - STATUSES - TITLES[sort]
    shown = []
    for title in SORTS:
        if title == sort:
            shown.append(title)
        elif TITLES[title] + 1 <= left:
            shown.append(title)
            left -= TITLES[title] + 1
    return shown
