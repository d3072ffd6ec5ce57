"""How a session's events reach its sink: some at a time, what is not taken is counted, and the end is told until it is.

On the scheduler's thread.
"""

from __future__ import annotations

import time
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from typing import Any, Final

from observe.tracing.sessions import BATCH, END_RETRY_S, END_TRIES, FLUSH_S

MOST_WAITING: Final = 5000
"""Events that wait for the scheduler while it is held: some 2 MB. More are counted and left out."""


class Outflow:
    """Gathers events and hands them on."""

    def __init__(self, loop: AbstractEventLoop, sink: Callable[[list[dict[str, Any]], int], bool]) -> None:
        self._loop = loop
        self._sink = sink
        self._pending: list[dict[str, Any]] = []
        self._timer: TimerHandle | None = None
        self._tries = 0
        self.left_out = 0
        """Events that were not made, or not taken, since the last that were."""
        self.is_ended = False

    def put(self, event: dict[str, Any]) -> None:
        """Hand it on soon."""
        if len(self._pending) >= MOST_WAITING:
            self.left_out += 1
            return
        self._pending.append(event)
        if len(self._pending) >= BATCH:
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self._flush)

    def end(self, number: int, why: str) -> None:
        """Nothing comes any more. `number` events have been made."""
        self.is_ended = True
        self._pending.append(
            {"n": number, "at": time.time(), "kind": "end", "pid": 0, "class": "", "text": why}
        )
        self._flush()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        events, self._pending = self._pending, []
        left_out, self.left_out = self.left_out, 0
        if not events or self._sink(events, left_out):
            return
        self.left_out = left_out + len(events)
        if self.is_ended and self._tries < END_TRIES:
            # Whoever watches waits for the end, so it is the one event that is told again.
            self._tries += 1
            self.left_out -= 1
            self._pending = events[-1:]
            self._timer = self._loop.call_later(END_RETRY_S, self._flush)
