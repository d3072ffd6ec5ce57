"""How fast something is spent: the difference to what was read before, as long as somebody looks."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from typing import Final

PAST_S: Final = 60.0
"""The longest time over which a rate is measured: a person wants to know how fast it is now."""

PAST_EVERY_S: Final = 10.0

LEAST_S: Final = 0.5
"""The shortest: less, and one call of a model looks like a flood."""

FORGOTTEN_S: Final = 120.0

Used = tuple[float, float, float]
"""Tool calls, tokens, cost."""


class SpendingRates:
    """Of everything that spends. Not for several threads at once."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, dict[Hashable, Used]]] = deque()

    def measure(self, used: Mapping[Hashable, Used], now_s: float) -> tuple[float, dict[Hashable, Used]]:
        """What each uses a second, and over how many seconds that was measured; 0 and nothing when nobody has looked lately."""
        past = self._past
        if past and now_s - past[-1][0] > FORGOTTEN_S:
            past.clear()
        while len(past) > 1 and now_s - past[1][0] >= PAST_S:
            past.popleft()
        over_s, rates = 0.0, {}
        if past and now_s - past[0][0] >= LEAST_S:
            over_s, before = now_s - past[0][0], past[0][1]
            rates = {who: _rates(now, before.get(who), over_s) for who, now in used.items()}
        if not past or now_s - past[-1][0] >= PAST_EVERY_S:
            past.append((now_s, dict(used)))
        return over_s, rates


def _rates(now: Used, before: Used | None, over_s: float) -> Used:
    then = before or (0.0, 0.0, 0.0)  # who is new has spent all of it since
    calls, tokens, cost = (max(0.0, used - was) / over_s for used, was in zip(now, then, strict=True))
    return calls, tokens, cost
