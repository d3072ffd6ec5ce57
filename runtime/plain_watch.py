"""The watchdog's eye on plain asyncio tasks: which one holds the event loop, and which computes on while it is preempted.

A task that is the loop's current one at two looks in a row may have been so all the time, or have had a thousand short steps. Then
the loop is asked to run a function; until it has come to it, the task is in one step. So a loop that is not suspicious
is never asked anything.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any

from observe.runtime.clock import now_ns
from observe.runtime.findings import Findings, PlainTask, ago
from observe.runtime.frozen import Frozen
from observe.runtime.step import Host
from observe.runtime.task_facts import name_of_task
from observe.runtime.task_view import coroutine_of, name_of

if TYPE_CHECKING:
    from observe.runtime.scheduler import Scheduler


class PlainWatch:
    """Looks at the plain tasks of one scheduler's loop. In the watchdog's thread, but for `_turn`."""

    def __init__(self, scheduler: Scheduler, findings: Findings, limit_s: float) -> None:
        self._scheduler = scheduler
        self._findings = findings
        self._limit_ns = int(limit_s * 1e9)
        self._seen: weakref.ref[asyncio.Task[Any]] | None = None
        self._asked = 0
        self._turned = 0
        """The newest question to which the loop has come."""
        self._since_ns = 0
        self._holder: PlainTask | None = None
        self._computing: PlainTask | None = None
        self._told: Frozen | None = None
        """Its step; another is told when this one has come to its end."""

    def look(self) -> None:
        """Take one look, about every half of the limit."""
        self._look_at_the_loop()
        if self._scheduler.preempter is not None or self._computing is not None:
            self._look_at_frozen()

    def _look_at_the_loop(self) -> None:
        loop = self._scheduler.loop
        task = asyncio.current_task(loop) if self._scheduler.current is None else None
        if task is None or isinstance(task, Host):
            self._seen = None
        elif self._seen is None or self._seen() is not task:
            self._seen = weakref.ref(task)
        elif self._turned == self._asked:
            self._over()  # the loop has turned since it was last asked, so that the task may be in another step
            self._asked += 1
            self._since_ns = now_ns()
            loop.call_soon_threadsafe(self._turn, self._asked)
            return
        elif now_ns() - self._since_ns >= self._limit_ns:
            self._holds(task)
            return
        else:
            return
        self._over()

    def _turn(self, number: int) -> None:
        """On the loop."""
        self._turned = number

    def _holds(self, task: asyncio.Task[Any]) -> None:
        self._holder = whom = _named(task)
        stack = self._scheduler.node.tasks.live_stack(task)
        self._findings.observe(
            "holds_scheduler",
            whom,
            f"{whom} has held the event loop for {(now_ns() - self._since_ns) / 1e9:.1f} s in one step; nobody else can run",
            ago(self._since_ns),
            tuple(stack),
        )

    def _over(self) -> None:
        whom, self._holder = self._holder, None
        if whom is not None:
            took_s = (now_ns() - self._since_ns) / 1e9
            self._findings.clear(
                "holds_scheduler",
                whom,
                f"{whom} is done with it, after about {took_s:.1f} s: the event loop is free again",
            )

    def _look_at_frozen(self) -> None:
        """Of plain tasks that compute on and on one finding is made, about the one that has for longest."""
        preempter = self._scheduler.preempter
        frozen = preempter.frozen if preempter is not None else []
        found = [one for one in frozen if one.is_task and one.ran_ns >= self._limit_ns]
        told = self._told
        if told is not None and self._computing is not None and told not in found:
            whom, self._computing, self._told = self._computing, None, None
            took_s = (now_ns() - told.since_ns) / 1e9
            self._findings.clear("long_step", whom, f"{whom} is done with it, after about {took_s:.1f} s")
        if found:
            self._computes(self._told or max(found, key=lambda one: one.ran_ns), len(found))

    def _computes(self, frozen: Frozen, count: int) -> None:
        assert frozen.step is not None
        assert frozen.step.host is not None
        self._told = frozen
        self._computing = whom = _named(frozen.step.host)
        more = f"; {count - 1} other tasks do as well" if count > 1 else ""
        preempter = self._scheduler.preempter
        self._findings.observe(
            "long_step",
            whom,
            f"{whom} has computed for {frozen.ran_ns / 1e9:.1f} s without a pause{more}; it is preempted, and others run in between",
            ago(frozen.since_ns),
            tuple(self._scheduler.node.tasks.frozen_stack(frozen)) if preempter is not None else (),
        )


def _named(task: asyncio.Task[Any]) -> PlainTask:
    return PlainTask(name_of_task(task), name_of(coroutine_of(task)))
