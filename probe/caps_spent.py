"""The service's side of caps: who has spent how much of what the node's policies allow. May be asked by any thread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from observe.probe.spending_rates import Used
from observe.runtime.capping import Capping
from observe.runtime.caps import Cap
from observe.runtime.node import Node

MOST_OF_CAP: Final = 500
"""Tenants, agents or the like of one cap, the worst first."""


@dataclass(frozen=True, slots=True)
class CapSpent:
    """What one tenant, run, agent or the node has spent of a cap."""

    cap: Cap
    who: str
    """The tenant or run, the agent's name; `the node` for all together."""
    pid: int
    """Of a cap per agent or step; else 0."""
    used: Used
    share: float
    """Of the limit that is used up furthest."""

    @property
    def key(self) -> tuple[str, str, int]:
        """Tells it apart from all others."""
        return self.cap.policy, self.who, self.pid

    @property
    def spent(self) -> dict[str, float]:
        """By the names of a cap's limits."""
        return dict(zip(("tool_calls", "tokens", "cost"), self.used, strict=True))


def caps_of(node: Node) -> Iterator[CapSpent]:
    """All that somebody has spent of, cap by cap."""
    capping = node.governing.capping if node.governing is not None else None
    for cap in capping.caps if capping is not None else ():
        assert capping is not None
        yield from _of_cap(capping, cap)


def _of_cap(capping: Capping, cap: Cap) -> Iterator[CapSpent]:
    while True:
        try:
            worst = capping.worst(cap, MOST_OF_CAP)
            break
        except RuntimeError:  # somebody has begun to spend meanwhile
            continue
    for key, pid, spent, share in worst:
        who = key or ("the node" if cap.per == "node" else "unknown")
        yield CapSpent(cap, who, pid, (float(spent.tool_calls), float(spent.tokens), spent.cost), share)
