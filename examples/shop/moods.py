"""How the model server feels: which spell of its schedule it is in, and which fault a request meets."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

HEALTHY: Final = "healthy"
BAD: Final = "bad"
"""A mixture of all faults, with good answers between them, as real outages have."""

MALFORMED: Final = "malformed"
"""A stream with a line that is no JSON."""
LIMITED: Final = "limited"
"""429 with Retry-After."""
HANG: Final = "hang"
"""The request is read and never answered."""
CUT: Final = "cut"
"""The connection ends in the middle of the answer."""
ERROR: Final = "error"
"""500 with a JSON body."""

FAULTS: Final = (MALFORMED, LIMITED, HANG, CUT, ERROR)
MOODS: Final = (HEALTHY, BAD, *FAULTS)

BAD_SHARE: Final = 0.6
"""How many of the requests of a bad spell fail. Enough for everybody to notice, and some get through."""


@dataclass(frozen=True, slots=True)
class Spell:
    """A mood and for how long."""

    mood: str
    seconds: float


class Schedule:
    """Spells one after the other, and then from the beginning again."""

    def __init__(self, spells: Sequence[Spell]) -> None:
        if not spells:
            raise ValueError("a schedule needs a spell, such as healthy:40")
        self.spells = tuple(spells)
        self.length_s = sum(spell.seconds for spell in spells)

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read `healthy:40,bad:25`.

        Raises:
            ValueError: an unknown mood or no positive number of seconds.
        """
        spells = []
        for part in text.split(","):
            mood, _, seconds = part.strip().partition(":")
            if mood not in MOODS:
                raise ValueError(f"{mood!r} is no mood; there are {', '.join(MOODS)}")
            try:
                length_s = float(seconds)
            except ValueError:
                length_s = 0.0
            if not 0.0 < length_s < float("inf"):
                raise ValueError(f"{part!r} needs a number of seconds, such as {mood}:40")
            spells.append(Spell(mood, length_s))
        return cls(spells)

    def mood_at(self, elapsed_s: float) -> str:
        """The mood so long after the start."""
        left = elapsed_s % self.length_s
        for spell in self.spells:
            if left < spell.seconds:
                return spell.mood
            left -= spell.seconds
        return self.spells[-1].mood


def fault_of(mood: str, chance: random.Random) -> str | None:
    """What goes wrong with one request in this mood; None when nothing does."""
    if mood == HEALTHY:
        return None
    if mood == BAD:
        return chance.choice(FAULTS) if chance.random() < BAD_SHARE else None
    return mood
