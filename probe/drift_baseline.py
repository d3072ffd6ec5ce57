"""The baseline of drift: what the agents of one class do at one goal, in shares, means and transitions."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import Final

WINDOW: Final = 100
"""Activities. Fewer have no shape, more take longer to show that it has changed."""

BASELINE: Final = 500
MOST_COUNTED: Final = 20_000
"""Beyond it the baseline is halved: it follows what the class does over days, and not over minutes."""

NAMES: Final = 63
"""Activities that are told apart for one class and goal; the others count as one."""

MEAN_ERRORS: Final = 6.0

FAILED: Final = 128
"""Bit of an event's byte; the others are its name."""


@dataclass(slots=True)
class Mean:
    """Of some logarithms."""

    count: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.squares += value * value

    def differs(self, values: list[float], limit: float) -> tuple[float, float]:
        """By how much the mean of these is above (or below) this one, and that as a share of what is too much."""
        if self.count < BASELINE / 5 or len(values) < WINDOW / 4:
            return 0.0, 0.0
        mean = self.total / self.count
        variance = max(self.squares / self.count - mean * mean, 0.01)
        by = sum(values) / len(values) - mean
        errors = abs(by) / math.sqrt(variance / len(values))
        return by, min(abs(by) / limit, errors / MEAN_ERRORS)


@dataclass(slots=True)
class Baseline:
    """What was done so far."""

    goal: str = ""
    names: dict[str, int] = field(default_factory=dict)
    """Number of each name; `NAMES` stands for all others."""
    counts: array[float] = field(default_factory=lambda: array("d", bytes(8 * (NAMES + 1))))
    pairs: dict[int, dict[int, float]] = field(default_factory=dict)
    """By the name of an activity: how often which one came next. At most 64 by 64."""
    total: float = 0.0
    failed: float = 0.0
    durations: Mean = field(default_factory=Mean)
    tokens: Mean = field(default_factory=Mean)

    def number(self, name: str) -> int:
        found = self.names.get(name)
        if found is None:
            if len(self.names) >= NAMES:
                return NAMES
            found = self.names[name] = len(self.names)
        return found

    def name(self, number: int) -> str:
        """Whose number it is, for people."""
        return next((one for one, known in self.names.items() if known == number), "others")

    def take(self, event: int, duration: float, tokens: float, following: int | None) -> None:
        """One activity more, and which one came next."""
        name = event & ~FAILED
        self.counts[name] += 1
        self.total += 1
        self.failed += event >= FAILED
        self.durations.add(duration)
        if tokens:
            self.tokens.add(tokens)
        if following is not None:
            row = self.pairs.get(name)
            if row is None:
                row = self.pairs[name] = {}
            following &= ~FAILED
            row[following] = row.get(following, 0.0) + 1
        if self.total >= MOST_COUNTED:
            self._halve()

    def _halve(self) -> None:
        self.counts = array("d", (one / 2 for one in self.counts))
        self.pairs = {
            name: {following: count / 2 for following, count in row.items()}
            for name, row in self.pairs.items()
        }
        self.total /= 2
        self.failed /= 2
        for mean in (self.durations, self.tokens):
            mean.count, mean.total, mean.squares = mean.count / 2, mean.total / 2, mean.squares / 2


@dataclass(slots=True)
class Window:
    """The newest activities of one agent at one goal, in a ring."""

    baseline: Baseline
    events: bytearray = field(default_factory=lambda: bytearray(WINDOW))
    durations: array[float] = field(default_factory=lambda: array("f", bytes(4 * WINDOW)))
    tokens: array[float] = field(default_factory=lambda: array("f", bytes(4 * WINDOW)))
    seen: int = 0
    drifts: bool = False

    def in_order(self) -> bytes:
        """The events, the oldest first."""
        if self.seen < WINDOW:
            return bytes(self.events[: self.seen])
        place = self.seen % WINDOW
        return bytes(self.events[place:] + self.events[:place])

    def give(self) -> None:
        """All of it becomes a part of the baseline."""
        first = self.seen % WINDOW if self.seen >= WINDOW else 0
        count = min(self.seen, WINDOW)
        for step in range(count):
            place = (first + step) % WINDOW
            following = self.events[(place + 1) % WINDOW] if step + 1 < count else None
            self.baseline.take(self.events[place], self.durations[place], self.tokens[place], following)
