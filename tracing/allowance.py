"""Time that a stranger's code, or looking at a stranger's objects, may take."""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

WAITING_FACTOR: Final = 10
"""Times are meant as processor time, lest a busy machine cuts every value; waiting may take so much longer."""


class Allowance:
    """So many seconds of processor time, from when it is made.

    The thread's own clock takes a call of the kernel, and most values are done before it matters: no thread has had more of the
    processor than has passed on the wall. So the first half is measured there, and the second from where that has passed.
    """

    __slots__ = ("_first", "_half", "_processor", "_wall")

    def __init__(self, seconds: float) -> None:
        now = time.perf_counter()
        self._half = seconds / 2
        self._first = now + self._half
        self._wall = now + WAITING_FACTOR * seconds
        self._processor: float | None = None

    def is_spent(self) -> bool:
        """Whether there is none left."""
        now = time.perf_counter()
        if now < self._first:
            return False
        used = time.thread_time()
        if self._processor is None:
            self._processor = used + self._half
        return used > self._processor or now > self._wall


class ReprTooSlow(BaseException):
    """Raised into a ``__repr__`` that took too long. Not an `Exception`, lest its own ``except`` catches it."""


def within(seconds: float, function: Callable[[], T]) -> T:
    """Call `function`, ending its Python code after so many seconds, and at the latest after twice as many.

    While it runs, the interpreter may call code that is none of its: a `__del__`, a weak reference's callback, what the garbage
    collector calls. That must come to its end, so only what has run for half of the time is ended when it is up; what has
    begun later, when twice the time is.

    Under a debugger or a coverage tool, which need the trace function for themselves, nothing ends it.

    Raises:
        ReprTooSlow: it took longer.
    """
    if sys.gettrace() is not None:
        return function()
    first_half, allowance, at_the_latest = (Allowance(share * seconds) for share in (0.5, 1, 2))

    def begun_early(frame: types.FrameType, event: str, arg: object) -> Any:
        if event != "return" and allowance.is_spent():  # what has returned took its time already
            raise ReprTooSlow
        return begun_early

    def begun_late(frame: types.FrameType, event: str, arg: object) -> Any:
        if event != "return" and at_the_latest.is_spent():
            raise ReprTooSlow
        return begun_late

    def tracer(frame: types.FrameType, event: str, arg: object) -> Any:
        return begun_late(frame, event, arg) if first_half.is_spent() else begun_early

    sys.settrace(tracer)
    try:
        return function()
    finally:
        sys.settrace(None)
