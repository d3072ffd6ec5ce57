"""The columns of the agents table as people see them: ages from moments, and which columns hold texts."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from observe.probe.table import Table

RECENT: Final = ("restarts_min", "crashes_min")
"""Columns of what happened within the last minute."""

Rows = NDArray[np.intp]

STRING_COLUMNS: Final = ("name", "class", "activity", "child")
"""Columns of texts that the table holds as numbers of strings."""

AGES: Final = {"status_s": "since_us", "activity_s": "activity_since_us", "age_s": "started_us"}
"""Columns that say for how long, and the moment in the table from which they count."""


def numbers(table: Table, column: str, rows: Rows | None, now_us: int) -> NDArray[Any]:
    """A column of numbers, of these rows or of all, dead ones too."""
    if column in AGES:
        since = _of(table.ints(AGES[column]), rows)
        seconds: NDArray[np.float64] = np.maximum(now_us - since, 0) / 1e6
        if column == "activity_s":
            seconds[_of(table.ints("activity"), rows) == 0] = 0.0
        return seconds
    if column == "containment":
        return table.containment(rows)
    if column == "risk":
        return table.risks.column(table, rows, now_us)
    if column in RECENT:
        return table.lately(rows, now_us, crashes=column == "crashes_min")
    if column in ("rate", "load", "cost"):
        return _of(table.floats(column), rows)
    return _of(table.ints(column), rows)


def _of(column: NDArray[Any], rows: Rows | None) -> NDArray[Any]:
    if rows is None:
        return column
    chosen: NDArray[Any] = column[rows]
    return chosen
