"""How long activities take, and what they use, by class and name: kept by the probe. No clock, no I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from observe.probe.buckets import bucket_end_us
from observe.probe.frames import Done, DurationsFrame

MOST: Final = 1200
"""Pairs of class and activity; more than a service tells apart."""

ENOUGH: Final = 100
"""Activities that must have ended before their durations say what is usual."""

FADE_AT: Final = 20_000
"""Beyond so many, all counts are halved: what is usual now counts more than what was usual last week."""


@dataclass(slots=True)
class Doing:
    """Activities of one name, of agents of one class."""

    recent: Counter[int] = field(default_factory=Counter)
    """By bucket; fades."""
    counts: Counter[int] = field(default_factory=Counter)
    """By bucket, since the probe began."""
    total_us: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0

    def p99_s(self) -> float | None:
        """The time within which 99 of 100 end; None until enough have."""
        total = sum(self.recent.values())
        if total < ENOUGH:
            return None
        left = total // 100
        for number in sorted(self.recent, reverse=True):
            left -= self.recent[number]
            if left < 0:
                return bucket_end_us(number) / 1e6
        return None


class Doings:
    """All of them."""

    def __init__(self) -> None:
        self.by_key: dict[tuple[str, str], Doing] = {}
        self.tokens = 0
        """Used by all activities that have ended since the probe began; as is `cost`."""
        self.cost = 0.0

    def take(self, frame: DurationsFrame) -> None:
        """What has ended since the last time."""
        for entry in frame.entries:
            self._take(entry)

    def _take(self, entry: Done) -> None:
        self.tokens += entry.input_tokens + entry.output_tokens
        self.cost += entry.cost
        key = entry.class_name, entry.activity
        doing = self.by_key.get(key)
        if doing is None:
            if len(self.by_key) >= MOST:
                return
            doing = self.by_key[key] = Doing()
        for number, count in zip(entry.counts[::2], entry.counts[1::2], strict=False):
            doing.counts[number] += count
            doing.recent[number] += count
        if sum(doing.recent.values()) > FADE_AT:
            doing.recent = Counter(
                {number: count // 2 for number, count in doing.recent.items() if count > 1}
            )
        doing.total_us += entry.total_us
        doing.errors += entry.errors
        doing.input_tokens += entry.input_tokens
        doing.output_tokens += entry.output_tokens
        doing.cost += entry.cost

    def p99_s(self, class_name: str, activity: str) -> float | None:
        """The time within which 99 of 100 of these end; None while that is not known."""
        doing = self.by_key.get((class_name, activity))
        return doing.p99_s() if doing is not None else None
