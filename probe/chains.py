"""Chains of restarts: which agent came in the place of which, when, and whether after a crash. Faster than any look at the table."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final

MOST_CHAINS: Final = 10_000
"""Places remembered. The one that has been quiet for longest is forgotten first."""

MOST_RESTARTS: Final = 100
"""Restarts remembered of one place."""

LOOK_BACK_S: Final = 60.0
"""How far back anybody looks: `restarts_min` and `crashes_min` of an agent, and the finding `restart_loop`. What is older is forgotten."""


class RestartChains:
    """For the newest agent of each place the times at which it was restarted, and which of those were crashes.

    Eight bytes a restart: a node whose agents crash by the hundred a second has them in the tens of thousands here.
    """

    def __init__(self) -> None:
        self._chains: dict[int, array[float]] = {}
        """By pid the times in their order, in seconds; below zero those of restarts after a crash."""

    def restarted(self, old: int, new: int, at: float, *, crashed: bool = False) -> None:
        """`new` came in the place of `old`, which may have crashed."""
        chain = self._chains.pop(old, None) or array("d")
        gone = max(0, len(chain) + 1 - MOST_RESTARTS)
        while gone < len(chain) and abs(chain[gone]) < at - LOOK_BACK_S:
            gone += 1
        del chain[:gone]
        chain.append(-at if crashed else at)
        self._chains[new] = chain
        if len(self._chains) > MOST_CHAINS:
            del self._chains[next(iter(self._chains))]

    def lately(self, now: float) -> dict[int, int]:
        """By pid how often its place was restarted in the last minute; places that were not are forgotten."""
        since = now - LOOK_BACK_S
        for pid in [pid for pid, chain in self._chains.items() if abs(chain[-1]) < since]:
            del self._chains[pid]
        return {pid: sum(1 for when in chain if abs(when) >= since) for pid, chain in self._chains.items()}

    def rates(self, pids: Iterable[int], now: float, *, crashes: bool) -> list[int]:
        """Of each of these agents how often its place was restarted in the last minute; or how often after a crash."""
        since, chains = now - LOOK_BACK_S, self._chains
        return [
            sum(1 for when in chains[pid] if abs(when) >= since and (when < 0 or not crashes))
            if pid in chains
            else 0
            for pid in pids
        ]

    def pids(self) -> list[int]:
        """Whose place was restarted, as far as it is remembered."""
        return list(self._chains)
