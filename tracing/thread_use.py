"""Which threads are at work, by the processor time that the kernel has counted for them.

A stack alone does not tell: a thread that reads from a pipe stands in the same call as one that computes in C. Linux tells of
each thread; elsewhere, and where `/proc` cannot be read, every thread counts as at work.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

AT_WORK: Final = 0.01
"""From this share of the time since the last look on. A thread that wakes up only to wait again takes less."""

RECENT: Final = 3
"""Looks. Whoever was not asked about for longer has no last look that says something."""

_TASKS: Final = Path("/proc/self/task")


class ThreadUse:
    """Asked in each look about the threads that do not obviously wait. Belongs to one thread."""

    def __init__(self) -> None:
        self._look = 0
        self._last: dict[int, tuple[int, float, int]] = {}
        """By the kernel's number of a thread: the look, when it was (seconds), and its processor time (nanoseconds)."""

    def begin_look(self) -> None:
        """The next look begins."""
        self._look += 1
        if self._look % 100 == 0:
            self._last = {
                number: last for number, last in self._last.items() if last[0] > self._look - RECENT
            }

    def is_at_work(self, number: int | None) -> bool:
        """Whether the thread with this number (`Thread.native_id`) has used the processor since the last look.

        In the very first look nobody has. Who is asked about for the first time later is taken to be at work.
        """
        if number is None:
            return True
        try:
            # "Statistics of the scheduler", Documentation/scheduler/sched-stats.rst: the first figure is the time on the processor.
            used_ns = int((_TASKS / str(number) / "schedstat").read_bytes().split()[0])
        except (OSError, ValueError, IndexError):
            return True
        now = time.monotonic()
        last = self._last.get(number)
        self._last[number] = self._look, now, used_ns
        if last is None or last[0] < self._look - RECENT:
            return self._look > 1
        return used_ns - last[2] >= AT_WORK * (now - last[1]) * 1e9
