"""Chains of restarts: which agent came in the place of which, and when. Faster than any look at the table."""

from __future__ import annotations

from collections import deque
from typing import Final

MOST_CHAINS: Final = 10_000
"""Places remembered. The one that has been quiet for longest is forgotten first."""

MOST_RESTARTS: Final = 100
"""Restarts remembered of one place."""


class RestartChains:
    """For the newest agent of each place the times at which it was restarted."""

    def __init__(self) -> None:
        self._chains: dict[int, deque[float]] = {}

    def restarted(self, old: int, new: int, at: float) -> None:
        """`new` came in the place of `old`."""
        chain = self._chains.pop(old, None) or deque(maxlen=MOST_RESTARTS)
        chain.append(at)
        self._chains[new] = chain
        if len(self._chains) > MOST_CHAINS:
            del self._chains[next(iter(self._chains))]

    def since(self, at: float) -> dict[int, int]:
        """By pid how often its place was restarted since then; places that were not are forgotten."""
        for pid in [pid for pid, chain in self._chains.items() if chain[-1] < at]:
            del self._chains[pid]
        return {pid: sum(1 for one in chain if one >= at) for pid, chain in self._chains.items()}
