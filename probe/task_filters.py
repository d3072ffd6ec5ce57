"""Filters and orders of tasks: read by the probe, applied in the service, which has the tasks.

What passes between them is a list of terms in plain values, so that the service needs nothing of the filter language:

    ["text", negated, text]        ["is", negated, column, operator, [values]]
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

from observe.runtime.task_facts import TaskFacts

SEARCHED: Final = ("name", "coroutine", "state", "waiting_on", "place", "creator_name")
"""Where a term without a column looks."""

ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}

Term = Sequence[Any]


def holds(facts: TaskFacts, terms: Sequence[Term]) -> bool:
    """Whether all terms hold for a task. What is not known compares with nothing."""
    return all(_one_holds(facts, term) is not term[1] for term in terms)


def _one_holds(facts: TaskFacts, term: Term) -> bool:
    if term[0] == "text":
        wanted = str(term[2]).casefold()
        if any(wanted in (getattr(facts, column) or "").casefold() for column in SEARCHED):
            return True
        return str(facts.id) == str(term[2])
    column, sign, values = str(term[2]), str(term[3]), list(term[4])
    value: Any = getattr(facts, column)
    if sign in ORDER:
        return value is not None and bool(ORDER[sign](value, values[0]))
    is_text = any(isinstance(one, str) for one in values)
    shown = (value or "").casefold() if is_text else value
    if sign in ("~", "!~"):
        found = str(values[0]).casefold() in shown
    else:
        found = shown in [one.casefold() if isinstance(one, str) else one for one in values]
    return bool(found) is (sign in ("=", "~"))


def ordered(found: list[TaskFacts], column: str, *, descending: bool) -> list[TaskFacts]:
    """In the order of a column; what is not known comes last either way, and equals by number."""
    known = [facts for facts in found if getattr(facts, column) not in (None, "")]
    unknown = [facts for facts in found if getattr(facts, column) in (None, "")]

    def key(facts: TaskFacts) -> Any:
        value = getattr(facts, column)
        return value.casefold() if isinstance(value, str) else value

    known.sort(key=key, reverse=descending)
    return known + unknown
