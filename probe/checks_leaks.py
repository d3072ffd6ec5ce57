"""Checks of what grows and never shrinks: memory and tasks. Pure, as `observe.probe.diagnosis` says."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass
from typing import Final

from observe.probe.condition import Check, Condition
from observe.probe.picture import Picture

SPAN_S: Final = 60.0
"""The least value of each such span is compared with that of the one before: what comes and goes does not matter."""

SPANS: Final = 6
"""So many spans, each above the one before, are a leak."""

MEMORY_BYTES: Final = 64 << 20
MEMORY_SHARE: Final = 0.2
TASKS: Final = 500
TASKS_SHARE: Final = 0.5
"""By so much at least it must have grown."""

AGENTS_SHARE: Final = 0.1
"""A node with so many more agents than before may take more of everything."""


@dataclass(frozen=True, slots=True)
class Low:
    """The least that was seen in one span."""

    began: float
    value: int
    agents: int
    """The most, in that span."""


class Growth:
    """Follows one number."""

    def __init__(self, least: int, share: float) -> None:
        self._least = least
        self._share = share
        self._lows: deque[Low] = deque(maxlen=SPANS)
        self._low: Low | None = None

    def take(self, value: int, agents: int, now: float) -> tuple[Low, Low] | None:
        """Take the number as it is now; the first and the last span of a leak, when it is one."""
        low = self._low
        if value <= 0:
            return None
        if low is None or now - low.began >= SPAN_S:
            if low is not None:
                self._lows.append(low)
            self._low = Low(now, value, agents)
        else:
            self._low = Low(low.began, min(low.value, value), max(low.agents, agents))
        lows = list(self._lows)
        if len(lows) < SPANS or any(
            after.value <= before.value for before, after in itertools.pairwise(lows)
        ):
            return None
        first, last = lows[0], lows[-1]
        grown = last.value - first.value
        if grown < max(self._least, self._share * first.value) or value < last.value:
            return None
        if last.agents > first.agents * (1 + AGENTS_SHARE):
            return None
        return first, last


class Memory:
    """The service's resident memory."""

    def __init__(self) -> None:
        self._growth = Growth(MEMORY_BYTES, MEMORY_SHARE)

    def look(self, picture: Picture, now: float) -> Condition | None:
        agents = len(picture.table)
        leak = self._growth.take(picture.vitals.memory, agents, now)
        if leak is None:
            return None
        first, last = leak
        minutes = (last.began - first.began) / 60
        rate = (last.value - first.value) / minutes
        return Condition(
            f"memory grew from {first.value / 1e6:,.0f} to {last.value / 1e6:,.0f} MB in {minutes:.0f} minutes "
            f"({rate / 1e6:,.1f} MB a minute), with {agents:,} agents as before",
            evidence={"before": first.value, "after": last.value, "bytes_a_minute": round(rate)},
        )


class Tasks:
    """Tasks of asyncio in the service's process."""

    def __init__(self) -> None:
        self._growth = Growth(TASKS, TASKS_SHARE)

    def look(self, picture: Picture, now: float) -> Condition | None:
        newest = picture.vitals.newest
        agents = len(picture.table)
        leak = self._growth.take(newest.tasks if newest is not None else 0, agents, now)
        if leak is None:
            return None
        first, last = leak
        minutes = (last.began - first.began) / 60
        return Condition(
            f"asyncio tasks grew from {first.value:,} to {last.value:,} in {minutes:.0f} minutes, "
            f"with {agents:,} agents as before",
            count=last.value, evidence={"before": first.value, "after": last.value},
        )  # fmt: skip


def leak_checks() -> list[Check]:
    """The checks of this module, each with a memory of its own."""
    return [
        Check("leaks_memory", Memory().look, 0.0, "look for what is kept and never let go: caches, lists, closures"),
        Check(
            "leaks_tasks", Tasks().look, 0.0,
            "tasks are made and never end, or are kept when they have: bound what they wait for, and await them",
        ),
    ]  # fmt: skip
