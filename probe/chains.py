"""Chains of restarts: which agent came in the place of which, when, and whether after a crash. Faster than any look at the table."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

MOST_CHAINS: Final = 10_000
"""Places remembered. The one that has been quiet for longest is forgotten first."""

MOST_RESTARTS: Final = 100
"""Restarts remembered of one place."""


RATE_S: Final = 60.0
"""What `restarts_min` and `crashes_min` of an agent look back on."""


class RestartChains:
    """For the newest agent of each place the times at which it was restarted, and which of those were crashes."""

    def __init__(self) -> None:
        self._chains: dict[int, deque[tuple[float, bool]]] = {}

    def restarted(self, old: int, new: int, at: float, *, crashed: bool = False) -> None:
        """`new` came in the place of `old`, which may have crashed."""
        chain = self._chains.pop(old, None) or deque(maxlen=MOST_RESTARTS)
        chain.append((at, crashed))
        self._chains[new] = chain
        if len(self._chains) > MOST_CHAINS:
            del self._chains[next(iter(self._chains))]

    def since(self, at: float) -> dict[int, int]:
        """By pid how often its place was restarted since then; places that were not are forgotten."""
        for pid in [pid for pid, chain in self._chains.items() if chain[-1][0] < at]:
            del self._chains[pid]
        return {pid: sum(1 for when, _ in chain if when >= at) for pid, chain in self._chains.items()}

    def lately(self, pids: Iterable[int], now: float, *, crashes: bool) -> list[int]:
        """Of each of these agents how often its place was restarted in the last minute; or how often after a crash."""
        since, chains = now - RATE_S, self._chains
        return [
            sum(1 for when, crashed in chains[pid] if when >= since and (crashed or not crashes))
            if pid in chains
            else 0
            for pid in pids
        ]

    def pids(self) -> list[int]:
        """Whose place was restarted, as far as it is remembered."""
        return list(self._chains)
