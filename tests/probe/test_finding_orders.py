"""Findings that have agents contained: who is told of to the service, how often, and what becomes of a service that does not answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from observe.probe.asks import Answer
from observe.probe.condition import Condition
from observe.probe.errors import Refusal
from observe.probe.finding_orders import FindingOrders
from observe.probe.frames import GovernedFrame


class Service:
    """Notes what it is asked, and answers when it is told to."""

    def __init__(self) -> None:
        self.found: dict[str, Condition] = {}
        self.asked: list[tuple[str, list[int]]] = []
        self._done: list[Callable[[Answer], None]] = []
        self.orders = FindingOrders(self.found.get, self._ask)

    def _ask(self, op: str, fields: dict[str, Any], done: Callable[[Answer], None]) -> None:
        assert op == "found"
        self.asked.append((fields["check"], fields["pids"]))
        self._done.append(done)

    def holds(self, findings: str, verdict: str = "") -> None:
        frame = {
            "seq": 1,
            "at": 0.0,
            "pid": 0,
            "class": "",
            "what": "policies",
            "on": "f",
            "verdict": verdict,
        }
        self.orders.take(GovernedFrame.model_validate(frame | {"facts": {"findings": findings}}))

    def look(self, check: str = "", pids: set[int] | None = None) -> list[tuple[str, list[int]]]:
        """What is asked at a look at which a check has found these agents."""
        self.asked.clear()
        self.found.clear()
        if pids is not None:
            self.found[check] = Condition("text", pids=frozenset(pids))
        self.orders.look()
        return list(self.asked)

    def answers(self, answer: Answer) -> None:
        for done in self._done:
            done(answer)
        self._done.clear()


def test_each_agent_is_told_of_once_while_the_finding_stands() -> None:
    """Whoever lets one out by hand meanwhile is not overruled."""
    service = Service()
    assert service.look("stuck", {7}) == [], "no policy speaks of it"
    service.holds("stuck same_call")
    assert service.look("stuck", {7, 8}) == [("stuck", [7, 8])]
    assert service.look("stuck", {7, 8, 9}) == [], "one question at a time"
    service.answers({"contained": 2})
    assert service.look("stuck", {7, 8, 9}) == [("stuck", [9])]
    service.answers({})
    assert service.look("stuck", {7, 8, 9}) == []
    assert service.look() == []
    assert service.look("stuck", {7}) == [("stuck", [7])], "it was over, and has begun again"


def test_what_the_service_did_not_take_is_told_again() -> None:
    service = Service()
    service.holds("stuck")
    assert service.look("stuck", {7}) == [("stuck", [7])]
    service.answers(Refusal("node_timeout", "busy"))
    assert service.look("stuck", {7}) == [("stuck", [7])]


def test_a_file_that_was_refused_changes_nothing() -> None:
    service = Service()
    service.holds("stuck")
    service.holds("", verdict="failed")
    assert service.look("stuck", {7}) == [("stuck", [7])]
    service.answers({})
    service.holds("")
    assert service.look("stuck", {8}) == []


def test_a_crowd_is_told_of_in_parts() -> None:
    service = Service()
    service.holds("stuck")
    assert [len(pids) for _, pids in service.look("stuck", set(range(1, 701)))] == [500]
    service.answers({})
    assert [len(pids) for _, pids in service.look("stuck", set(range(1, 701)))] == [200]
