"""Applies a filter to the agents table: one vectorised pass a term, over the columns as they stand.

Texts are looked for once in each string and not once in each row; see `observe.probe.strings`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial, reduce
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from observe.probe.figures import STRING_COLUMNS, numbers
from observe.probe.filters import Comparison, Term, Text, parse
from observe.probe.table import Table
from observe.probe.wire_table import LEVELS, STATUS_NAMES

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]

ORDER: Final[dict[str, Callable[[Any, Any], Any]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def matching(table: Table, text: str, now_us: int) -> NDArray[np.intp]:
    """The rows of live agents for which every term of the filter holds, in the order of their pids.

    Raises:
        FilterError: the filter cannot be read.
    """
    terms = parse(text)
    if not terms:
        return table.alive()
    mask = table.alive_mask().copy()
    for term in terms:
        held = _holds(table, term, now_us)
        mask &= ~held if term.negated else held
    return np.flatnonzero(mask)


def _holds(table: Table, term: Term, now_us: int) -> Mask:
    if isinstance(term, Text):
        return _mentions(table, term.text)
    held: Mask
    match term.operator:
        case "=" | "!=":
            held = reduce(operator.or_, (_is(table, term, value, now_us) for value in term.values))
        case "~" | "!~":
            held = _contains(table, term.column, str(term.values[0]))
        case _:
            held = ORDER[term.operator](numbers(table, term.column, None, now_us), term.values[0])
    return ~held if term.operator in ("!=", "!~") else held


def _mentions(table: Table, text: str) -> Mask:
    found = table.strings.matching(text)
    mask: Mask = found[table.ints("name")] | found[table.ints("class")]
    mask |= found[table.ints("activity")]
    statuses = np.array([text.casefold() in name for name in STATUS_NAMES])
    if statuses.any():
        mask |= statuses[table.ints("status")]
    if text.isascii() and text.isdigit() and len(text) < 19:
        mask |= table.ints("pid") == int(text)
    return mask


def _contains(table: Table, column: str, text: str) -> Mask:
    if column == "containment":
        return np.array([text.casefold() in name for name in LEVELS])[table.containment()]
    if column == "status":
        return np.array([text.casefold() in name for name in STATUS_NAMES])[table.ints(column)]
    return _of_texts(table.strings.matching(text), table.ints(column), partial(digits_within, text))


def _of_texts(found: Mask, column: Ints, of_numbers: Callable[[Ints], Mask]) -> Mask:
    """For each row what was found of its text, or of the number that stands there for itself."""
    if not len(column) or int(column.min()) >= 0:
        return found[column]
    mask: Mask = found[np.maximum(column, 0)]
    own = column < 0
    mask[own] = of_numbers(~column[own])
    return mask


def digits_within(text: str, values: Ints) -> Mask:
    """Which of these numbers, none below 0, contain the text when they are written down."""
    found = np.zeros(len(values), dtype=np.bool_)
    if not (text.isascii() and text.isdigit() and len(text) < 19) or not len(values):
        return found | (not text)
    wanted, span = int(text), 10 ** len(text)
    least = span if text[0] == "0" else span // 10  # a zero at its beginning needs a digit before it
    rest = values
    while True:
        found |= (rest % span == wanted) & (rest >= least)
        if int(rest.max()) < span:
            break
        rest = rest // 10
    return found | (values == 0) if text == "0" else found


def _equal_number(text: str, values: Ints) -> Mask:
    is_number = text.isascii() and text.isdigit() and len(text) < 19 and str(int(text)) == text
    mask: Mask = values == (int(text) if is_number else -1)
    return mask


def _is(table: Table, term: Comparison, value: float | str, now_us: int) -> Mask:
    column = term.column
    if column == "containment":
        return np.array([name == str(value).casefold() for name in LEVELS])[table.containment()]
    if column == "status":
        return np.array([name == str(value).casefold() for name in STATUS_NAMES])[table.ints(column)]
    if column in STRING_COLUMNS:
        return _equals(table, column, str(value))
    if isinstance(value, str):  # a supervisor by its name
        named = table.ints("pid")[table.alive_mask() & _equals(table, "name", value)]
        return np.isin(table.ints(column), named)
    mask: Mask = numbers(table, column, None, now_us) == value
    return mask


def _equals(table: Table, column: str, text: str) -> Mask:
    return _of_texts(table.strings.equal_to(text), table.ints(column), partial(_equal_number, text))
