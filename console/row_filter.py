"""Whether a row of the agents table passes a filter: for the few rows on the screen, without asking the node. Pure."""

import operator
from collections.abc import Callable
from typing import Any, Final

from observe.console.columns import ACTIVITY, CLASS, NAME, NAMES, PID, STATUS, Row
from observe.probe.errors import Refusal
from observe.probe.filters import Comparison, Term, parse

ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def passes(row: Row, text: str) -> bool:
    """Whether every term holds; a filter that cannot be read holds for nobody.

    A supervisor that is meant by its name cannot be told from the row, and is nobody's.
    """
    try:
        terms = parse(text)
    except Refusal:
        return False
    return all(_holds(row, term) is not term.negated for term in terms)


def _holds(row: Row, term: Term) -> bool:
    if not isinstance(term, Comparison):
        text = term.text.casefold()
        places = (row[NAME], row[CLASS], row[STATUS], row[ACTIVITY])
        return any(text in str(place or "").casefold() for place in places) or term.text == str(row[PID])
    value = row[NAMES.index(term.column)] if term.column in NAMES else None
    if term.operator in ORDER:
        return value is not None and ORDER[term.operator](value, term.values[0])
    if term.operator in ("~", "!~"):
        held = str(term.values[0]).casefold() in str(value or "").casefold()
    else:
        held = any(_is(value, wanted) for wanted in term.values)
    return held is not term.operator.startswith("!")


def _is(value: object, wanted: float | str) -> bool:
    if isinstance(wanted, str):
        return not isinstance(value, (int, float)) and str(value or "").casefold() == wanted.casefold()
    return value == wanted
