"""What takes back what was done: the same or another deed, with what was there before."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from observe.console.deeds import BY_ID, Deed
from observe.probe.wire_actions import Acted

if TYPE_CHECKING:
    from observe.console.deeds import Outcome

Arguments = dict[str, Any]


def undoing(deed: Deed, arguments: Mapping[str, Any], outcome: Outcome) -> tuple[Deed, Arguments] | None:
    """What undoes it, with its arguments; None where nothing does, or not exactly."""
    if not outcome.done or not deed.undo:
        return None
    before = BEFORE.get(deed.id)
    if before is None:
        return BY_ID[deed.undo], {}
    told = before(arguments, outcome) if isinstance(outcome, Acted) else None
    return None if told is None else (BY_ID[deed.undo], told)


def _field(arguments: Mapping[str, Any], outcome: Acted) -> Arguments | None:
    """Where the value from before is a plain one, as it is told as text."""
    if len(outcome.diff) != 1:
        return None
    try:
        before = ast.literal_eval(outcome.diff[0].old)
        json.dumps(before)
    except (ValueError, SyntaxError, TypeError):
        return None
    return {"field": arguments["field"], "value": before}


def _fence(_arguments: Mapping[str, Any], outcome: Acted) -> Arguments | None:
    """Of one agent. What `restricted` allowed is not told, and several may have had different levels."""
    before = outcome.facts.get("before")
    if before in (None, "restricted", outcome.facts.get("level")) or outcome.facts.get("agents") != 1:
        return None
    return {"level": before}


def _level(arguments: Mapping[str, Any], outcome: Acted) -> Arguments | None:
    """Unless it was one that a program has made up."""
    before = outcome.facts.get("before")
    if before not in BY_ID["log-level"].wants[0].choices:
        return None
    return {"level": before, "logger": arguments.get("logger", "")}


BEFORE: Final[Mapping[str, Callable[[Mapping[str, Any], Acted], Arguments | None]]] = {
    "edit": _field,
    "contain": _fence,
    "log-level": _level,
}
"""By deed: what it takes to put back what was there before."""
