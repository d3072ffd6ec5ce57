"""The table of agents for the command line."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from rich.console import RenderableType
from rich.text import Text

from observe.console.columns import BY_NAME
from observe.console.format import NOTHING, count, duration, money, percent, rate
from observe.console.render_parts import plain, plain_table, status_text

DURATIONS: Final = frozenset({"status_s", "activity_s", "age_s"})
WARNING: Final = frozenset({"restarts", "crashes", "restarts_min", "crashes_min"})
LEFT: Final = frozenset({"node", "name", "class", "status", "activity", "child"})
HEADINGS: Final = {"containment": "CONTAINED", "status_s": "FOR", "activity_s": "FOR", "age_s": "AGE"}
ELASTIC: Final = frozenset({"name", "class", "activity", "child"})
"""Columns that give way first on a narrow terminal."""
ELASTIC_CELLS: Final = 16
"""So many cells such a column keeps; where there are fewer, other columns are left out instead."""
COLUMN_GAP: Final = 2


def agents(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    width: int | None = None,
    keep: Collection[str] = (),
) -> RenderableType:
    """The agents table, a line for each.

    Where `width` cells are not enough, the least important columns are left out, but none of `keep`.
    """
    columns, rows, keep = _contained(columns, rows, keep)
    cells = [[_cell(column, value) for column, value in zip(columns, row, strict=True)] for row in rows]
    chosen = _that_fit(columns, cells, width, keep)
    table = plain_table()
    for column in (columns[index] for index in chosen):
        left = column in LEFT
        table.add_column(
            HEADINGS.get(column, column.upper()),
            justify="left" if left else "right",
            no_wrap=True,
            overflow="ellipsis",
            min_width=6 if column in ELASTIC else None,
            ratio=None,
        )
    for line in cells:
        table.add_row(*(line[index] for index in chosen))
    return table


def _contained(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], keep: Collection[str]
) -> tuple[Sequence[str], Sequence[Sequence[Any]], Collection[str]]:
    """How far agents are fenced in is told of tables in which somebody is, and then on every terminal."""
    if "containment" not in columns or "containment" in keep:
        return columns, rows, keep
    at = columns.index("containment")
    if any(row[at] not in (None, "none") for row in rows):
        return columns, rows, (*keep, "containment")
    return (*columns[:at], *columns[at + 1 :]), [(*row[:at], *row[at + 1 :]) for row in rows], keep


def _that_fit(
    columns: Sequence[str], cells: Sequence[Sequence[Text]], width: int | None, keep: Collection[str]
) -> list[int]:
    """The indexes of the columns for which there is room, in their order."""
    chosen = list(range(len(columns)))
    if width is None:
        return chosen

    def needs(index: int) -> int:
        widest = max((line[index].cell_len for line in cells), default=0)
        if columns[index] in ELASTIC:
            widest = min(widest, ELASTIC_CELLS)
        return max(widest, len(HEADINGS.get(columns[index], columns[index]))) + COLUMN_GAP

    needed = {index: needs(index) for index in chosen}
    for index in sorted(chosen, key=lambda index: -BY_NAME[columns[index]].rank):
        if sum(needed[kept] for kept in chosen) - COLUMN_GAP <= width:
            break
        if columns[index] not in keep:
            chosen.remove(index)
    return chosen


def _cell(column: str, value: Any) -> Text:
    if value is None:
        return Text(NOTHING if column == "name" else "", "dim")
    if column == "status":
        return status_text(str(value))
    if column in DURATIONS:
        return Text(duration(value) if value else "")
    if column == "load":
        return Text(percent(value), "dim" if not value else "")
    if column == "cost":
        return Text(money(value), "dim" if not value else "")
    if column == "rate":
        return Text(rate(value), "dim" if not value else "")
    if isinstance(value, int):
        text = str(value) if column in ("pid", "supervisor") else count(value)
        return Text(text, "yellow" if column in WARNING and value else "")
    return plain(value)
