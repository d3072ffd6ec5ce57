"""A query of the agents table: filter, order, window. Pure: the table and the time come in, a page goes out.

A million rows are answered in some tens of milliseconds because nothing is done for a row that is not shown but
vectorised comparisons: the window is found by selection (numpy's `partition`), never by sorting the table.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from observe.probe.errors import Refusal
from observe.probe.figures import STRING_COLUMNS, Rows, numbers
from observe.probe.matching import matching
from observe.probe.strings import LAST
from observe.probe.table import Table
from observe.probe.wire_table import COLUMNS, LEVELS, STATUS_NAMES, Page, Query

STATUS_RANK: Final = np.array([sorted(STATUS_NAMES).index(name) for name in STATUS_NAMES])


def answer(table: Table, query: Query, now_us: int, at: float) -> Page:
    """The page that `query` asks for, as of monotonic `now_us`; `at` is when the telemetry was gathered.

    Raises:
        Refusal: `no_such_column`, or `bad_request` for a filter that cannot be read.
    """
    columns = list(COLUMNS) if query.columns is None else query.columns
    for column in (query.sort, *columns):
        check_column(column)
    rows = matching(table, query.filter, now_us)
    key = _key(table, query.sort, rows, now_us)
    if query.descending:  # nameless agents come last either way
        key = np.where(key == LAST, LAST, -key) if query.sort in STRING_COLUMNS else -key
    shown = rows[window(key, query.offset, query.limit)]
    return Page(
        columns=columns,
        rows=render(table, shown, columns, now_us),
        matched=len(rows),
        total=len(table),
        at=at,
        offset=query.offset,
    )


def check_column(column: str) -> None:
    """Raises a `no_such_column` Refusal unless the agents table has it."""
    if column not in COLUMNS:
        raise Refusal(
            "no_such_column",
            f"the agents table has no column {column[:64]!r}",
            f"it has {', '.join(COLUMNS)}",
        )


def render(table: Table, rows: Rows, columns: list[str], now_us: int) -> list[list[Any]]:
    """The values of these rows, as a page holds them."""
    if not columns:
        return [[] for _ in range(len(rows))]
    return [
        list(row) for row in zip(*(_values(table, column, rows, now_us) for column in columns), strict=True)
    ]


def line(table: Table, row: int, now_us: int) -> dict[str, Any]:
    """All columns of one agent."""
    (values,) = render(table, np.array([row]), list(COLUMNS), now_us)
    return dict(zip(COLUMNS, values, strict=True))


def _values(table: Table, column: str, rows: Rows, now_us: int) -> list[Any]:
    if column in STRING_COLUMNS:
        texts = table.strings.texts(table.ints(column)[rows])
        return texts if column in ("name", "activity") else [text or "" for text in texts]
    if column == "status":
        return [STATUS_NAMES[number] for number in table.ints(column)[rows].tolist()]
    if column == "containment":
        return [LEVELS[number] for number in table.containment(rows).tolist()]
    values: list[Any] = numbers(table, column, rows, now_us).tolist()
    return values


# -- order -------------------------------------------------------------------------------------------------------------


def _key(table: Table, column: str, rows: Rows, now_us: int) -> NDArray[Any]:
    """Numbers that sort as the column does."""
    if column in STRING_COLUMNS:
        names = table.ints(column)[rows]
        if len(names) and int(names.min()) < 0:  # numbers that stand for themselves come after all texts
            return np.where(
                names < 0, len(table.strings) + ~names, table.strings.ranks()[np.maximum(names, 0)]
            )
        return table.strings.ranks()[names]
    if column == "status":
        return STATUS_RANK[table.ints(column)[rows]]
    return numbers(table, column, rows, now_us)


def window(key: NDArray[Any], offset: int, limit: int) -> Rows:
    """Positions of the smallest keys, from rank `offset` on, at most `limit`; equal keys in the order they have.

    That order is by pid, so rows that tie keep their places from one page to the next.
    """
    stop = min(len(key), offset + limit)
    if offset >= stop:
        return np.empty(0, dtype=np.intp)
    if len(key) <= 4096:
        return np.argsort(key, kind="stable")[offset:stop]
    if len(lowest := np.flatnonzero(key == key.min())) >= stop:
        return lowest[offset:stop]  # few different values: selection is slow among equal ones
    parted = np.partition(key, offset)
    low, high = parted[offset], np.partition(parted[offset:], stop - 1 - offset)[stop - 1 - offset]
    below = int(np.count_nonzero(key < low))
    first = np.flatnonzero(key == low)[offset - below :]
    if low == high:
        return first[: stop - offset]
    between = np.flatnonzero((key > low) & (key < high))
    between = between[np.argsort(key[between], kind="stable")]
    last = np.flatnonzero(key == high)[: stop - offset - len(first) - len(between)]
    return np.concatenate([first, between, last])
