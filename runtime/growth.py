"""While very many agents are being started, full garbage collections wait.

Python collects its oldest generation anew whenever it has grown by a quarter. While a million agents are started that is
a dozen times over all that were started before: twice the work of starting them, and all of it in vain, since new agents are
no garbage. So while they are started by the thousand this is put off, and Python's own settings are back a second after.
The younger generations, where garbage is found, are collected as ever.
"""

from __future__ import annotations

import gc
from asyncio import TimerHandle
from collections.abc import Sized
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.clock import now_ns

if TYPE_CHECKING:
    from observe.runtime.scheduler import Scheduler

RARE_FULL_GC: Final = 1000
"""Collections of the middle generation between two full ones, where Python's default is 10."""

LOOK_EVERY: Final = 4096
"""Starts between two looks. Fewer agents than that are collected in milliseconds."""

QUIET_S: Final = 1.0
"""How long after the last look that saw the node grow Python's settings come back."""

LONGEST_S: Final = 30.0
"""How long full collections wait at most, and how long they do not wait afterwards: a node that never ceases to grow must
have them too."""


class _Settings:
    """Those of the whole process: the nodes in it put full collections off together."""

    growing: set[Any] = set()
    before: tuple[int, int, int] | None = None
    """What the application had; None while nothing is put off."""


class Growth:
    """Of one node. Belongs to its scheduler's thread."""

    def __init__(self, scheduler: Scheduler, agents: Sized) -> None:
        self._scheduler = scheduler
        self._agents = agents
        self._alive = 0
        """Agents at the last look."""
        self._seen_ns = 0
        self._began_ns = 0
        self._timer: TimerHandle | None = None

    def look(self) -> None:
        """`LOOK_EVERY` agents have been started since the last look. Are there more, or only others?"""
        now, alive = now_ns(), len(self._agents)
        # Half of them must have stayed, and it must have been quick: a service that grows by and by needs nothing of this.
        grows = alive - self._alive >= LOOK_EVERY // 2 and now - self._seen_ns < QUIET_S * 1e9
        self._alive, self._seen_ns = alive, now
        if self._timer is not None:
            if now - self._began_ns > LONGEST_S * 1e9:
                self._restore()
        elif grows and now - self._began_ns > 2 * LONGEST_S * 1e9:
            self._began_ns = now
            self._timer = self._scheduler.loop.call_later(QUIET_S, self._look_again)
            _put_off(self)

    def close(self) -> None:
        """The node stops: whatever was put off is put off no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._restore()

    def _look_again(self) -> None:
        left_s = QUIET_S - (now_ns() - self._seen_ns) / 1e9
        if left_s > 0:
            self._timer = self._scheduler.loop.call_later(left_s, self._look_again)
        else:
            self._began_ns = 0  # it has come to its end by itself: the next one need not wait
            self._restore()

    def _restore(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        _put_back(self)


def _put_off(growth: Growth) -> None:
    if not _Settings.growing:
        before = gc.get_threshold()
        if before[2] >= RARE_FULL_GC:
            return  # they are rare already
        _Settings.before = before
        gc.set_threshold(*before[:2], RARE_FULL_GC)
    _Settings.growing.add(growth)


def _put_back(growth: Growth) -> None:
    _Settings.growing.discard(growth)
    before = _Settings.before
    if before is not None and not _Settings.growing:
        _Settings.before = None
        if gc.get_threshold() == (
            *before[:2],
            RARE_FULL_GC,
        ):  # else the application has set its own meanwhile
            gc.set_threshold(*before)
