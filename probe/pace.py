"""How far apart ticks of telemetry are, so that they stay within their budget. Pure: costs and times come in.

A tick may cost as much as the budget allows for the longest pause; what is not told by then waits for the next one. What
must be told (facts: births, ends, crashes) can cost more than that: it is a debt, which later pauses pay off.
"""

from __future__ import annotations

from typing import Final

LONGEST_PAUSE_S: Final = 10.0
"""Between two ticks, however expensive they are."""

EARLY: Final = 0.9
"""A tick may come by so much of a beat early: it goes with the beat that is nearest."""


class Pace:
    """The pace of one emitter."""

    def __init__(self, tick_s: float, budget: float) -> None:
        """
        Args:
            tick_s: seconds between two ticks, when their cost allows it.
            budget: share of one core that ticks may take.
        """
        self.tick_s = tick_s
        self.budget = budget
        self.debt_s = 0.0
        """Seconds of work that the pauses so far have not paid for."""
        self.pause_s = tick_s
        """From the newest tick to the next."""

    def is_enough(self, spent_s: float) -> bool:
        """Whether a tick that has taken so much should leave the rest to the next."""
        most_s = self.budget * LONGEST_PAUSE_S
        return spent_s + self.debt_s >= most_s and spent_s >= most_s / 2

    def after_tick(self, cost_s: float) -> float:
        """The pause behind a tick that has cost so much."""
        owed_s = cost_s + self.debt_s
        self.pause_s = min(max(EARLY * self.tick_s, owed_s / self.budget), LONGEST_PAUSE_S)
        self.debt_s = max(0.0, owed_s - self.pause_s * self.budget)
        return self.pause_s

    def aside(self, cost_s: float) -> None:
        """Facts were told out of turn: later pauses pay for it."""
        self.debt_s += cost_s

    def after_sweep(self, cost_s: float) -> float:
        """The pause behind a sweep: everything was told anew, which is done once and is nobody's debt."""
        self.pause_s = min(max(EARLY * self.tick_s, cost_s / self.budget), LONGEST_PAUSE_S)
        return self.pause_s
