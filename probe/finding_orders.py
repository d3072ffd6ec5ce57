"""Findings that have their agents contained: the probe makes them, the service's policies say of which it wants to hear.

    service --(what policies hold: `findings`)--> FindingOrders --(`found`: check, pids)--> service, which contains

An agent is told of once for as long as the finding stands: whoever lets it out by hand meanwhile is not overruled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from observe.probe.asks import Answer
from observe.probe.condition import Condition
from observe.probe.errors import Refusal
from observe.probe.frames import GovernedFrame

MOST_PIDS: Final = 500
"""In one question; further ones follow with the next look."""

Ask = Callable[[str, dict[str, Any], Callable[[Answer], None]], None]


class FindingOrders:
    """Tells the service who its findings are about. Belongs to the probe's loop."""

    def __init__(self, standing: Callable[[str], Condition | None], ask: Ask) -> None:
        """
        Args:
            standing: what a check has found, if that stands.
            ask: puts a question to the service.
        """
        self._standing = standing
        self._ask = ask
        self._checks: tuple[str, ...] = ()
        self._told: dict[str, set[int]] = {}
        self._asking: set[str] = set()

    def take(self, frame: GovernedFrame) -> None:
        """The service tells which findings its policies speak of."""
        if frame.what == "policies" and frame.verdict != "failed":
            self._checks = tuple(frame.facts.get("findings", "").split())

    def look(self) -> None:
        """Tell of those that are new."""
        for check in self._checks:
            condition = self._standing(check)
            if condition is None:
                self._told.pop(check, None)
                continue
            pids = condition.pids or frozenset([condition.pid] if condition.pid else ())
            told = self._told.setdefault(check, set())
            told &= pids
            new = sorted(pids - told)[:MOST_PIDS]
            if new and check not in self._asking:
                self._tell(check, new, condition.text)

    def _tell(self, check: str, pids: list[int], text: str) -> None:
        def answered(result: Answer) -> None:
            self._asking.discard(check)
            if not isinstance(result, Refusal):  # else the next look tries again
                self._told.setdefault(check, set()).update(pids)

        self._asking.add(check)
        self._ask("found", {"check": check, "pids": pids, "text": text}, answered)
