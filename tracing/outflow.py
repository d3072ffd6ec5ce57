"""How a session's events reach its sink: some at a time, what is not taken is counted, and the end is told until it is.

On the scheduler's thread.
"""

from __future__ import annotations

import time
from asyncio import AbstractEventLoop, Handle
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from observe.tracing.sessions import END_RETRY_S, END_TRIES, FLUSH_S

T = TypeVar("T")

MOST_WAITING: Final = 5000
"""Events that wait for the scheduler while it is held: some 2 MB. More are counted and left out."""

AT_ONCE: Final = 100
"""Events that are put into words in one go, which takes up to 50 us each: others run in between."""


class Outflow(Generic[T]):
    """Gathers events and hands them on.

    Args:
        sink: takes events, and how many are missing before them; says whether it has taken them.
        make: puts an event into words. Not before it is handed on, lest whoever causes it waits for that.
        missed: how many more were left out since it was asked last.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        sink: Callable[[list[dict[str, Any]], int], bool],
        make: Callable[[T], dict[str, Any]],
        missed: Callable[[], int] = int,
    ) -> None:
        self._loop = loop
        self._sink = sink
        self._make = make
        self._missed = missed
        self._pending: list[T] = []
        self._timer: Handle | None = None
        self._tries = 0
        self.left_out = 0
        """Events that were not made, or not taken, since the last that were."""
        self.is_ended = False

    def put(self, event: T) -> None:
        """Hand it on soon."""
        if len(self._pending) >= MOST_WAITING:
            self.left_out += 1
            return
        self._pending.append(event)
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self._flush)

    def end(self, number: int, why: str) -> None:
        """Nothing comes any more. `number` events have been made."""
        self.is_ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        last = {"n": number, "at": time.time(), "kind": "end", "pid": 0, "class": "", "text": why}
        pending, self._pending = self._pending, []
        self._hand_on([self._make(one) for one in pending], last)

    def _flush(self) -> None:
        self._timer = None
        events, self._pending = self._pending[:AT_ONCE], self._pending[AT_ONCE:]
        if self._pending:
            self._timer = self._loop.call_soon(self._flush)
        self._hand_on([self._make(one) for one in events])

    def _hand_on(self, events: list[dict[str, Any]], last: dict[str, Any] | None = None) -> None:
        left_out, self.left_out = self.left_out + self._missed(), 0
        if self._sink(events if last is None else [*events, last], left_out):
            return
        self.left_out = left_out + len(events)
        if last is not None and self._tries < END_TRIES:
            # Whoever watches waits for the end, so it is the one event that is told again.
            self._tries += 1
            self._timer = self._loop.call_later(END_RETRY_S, self._hand_on, [], last)
