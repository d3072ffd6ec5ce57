"""What takes back what was done: with what was there before, exactly, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from observe.console.deeds import BY_ID
from observe.console.undoing import undoing
from observe.probe.wire_actions import Acted, Change


def acted(**facts: Any) -> Acted:
    return Acted(done=True, what="done", facts=facts)


def edited(*before: str) -> Acted:
    diff = [Change(path=f"/{number}", old=old, new="1") for number, old in enumerate(before)]
    return Acted(done=True, what="edited", diff=diff)


@pytest.mark.parametrize(
    ("deed", "arguments", "outcome", "undo"),
    [
        ("suspend", {}, acted(), ("resume", {})),
        ("edit", {"field": "limits.day", "value": 20}, edited("[1, None]"), ("edit", {"field": "limits.day", "value": [1, None]})),
        ("contain", {"level": "isolated"}, acted(before="none", level="isolated", agents=1), ("contain", {"level": "none"})),
        ("contain", {"level": "none"}, acted(before="monitored", level="none", agents=1), ("contain", {"level": "monitored"})),
        ("log-level", {"level": "DEBUG"}, acted(before="NOTSET"), ("log-level", {"level": "NOTSET", "logger": ""})),
        ("log-level", {"level": "DEBUG", "logger": "shop"}, acted(before="INFO"), ("log-level", {"level": "INFO", "logger": "shop"})),
    ],
)  # fmt: skip
def test_it_is_as_before(deed: str, arguments: dict[str, Any], outcome: Acted, undo: tuple[str, Any]) -> None:
    found = undoing(BY_ID[deed], arguments, outcome)
    assert found is not None
    assert (found[0].id, found[1]) == undo


@pytest.mark.parametrize(
    ("deed", "outcome"),
    [
        ("kill", acted()),
        ("suspend", Acted(done=False, what="under way")),
        ("edit", edited("<Connection>")),
        ("edit", edited("1", "2")),
        ("contain", acted(before="restricted", level="none", agents=1)),  # what it had allowed is not told
        (
            "contain",
            acted(before="none", level="monitored", agents=12),
        ),  # a subtree, whose levels may have differed
        ("contain", acted(before="isolated", level="isolated", agents=1)),
        ("log-level", acted(before="Level 15")),
    ],
)
def test_what_cannot_be_as_before_is_not_offered(deed: str, outcome: Acted) -> None:
    assert undoing(BY_ID[deed], {"field": "limit"}, outcome) is None
