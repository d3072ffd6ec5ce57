"""Steps that wait: what is kept of a handler that has awaited something which was not there.

A handler that finishes without waiting costs no task. But code in it may ask for the current asyncio task at any
moment (`asyncio.timeout` and `TaskGroup` do), and that task must stay the same one after the first wait. So the
scheduler holds a spare task, the *host*, and calls it the current one while it steps handlers. A handler that waits
takes the spare with it, and the scheduler makes another; one that does not wait leaves it for the next.
"""

from __future__ import annotations

import asyncio
import sys
import types
from asyncio import AbstractEventLoop, CancelledError, Future
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.calls import Call
    from observe.runtime.waiting_steps import WaitingSteps

StepKind = Literal["message", "init", "terminate"]


class Step:
    """A handler in the middle: its coroutine, and what to do with its outcome."""

    __slots__ = (
        "agent",
        "call",
        "context",
        "coroutine",
        "error",
        "host",
        "kind",
        "message",
        "on_end",
        "then",
        "waits_for",
    )

    def __init__(
        self,
        agent: Agent,
        coroutine: Coroutine[Any, Any, Any],
        context: Context,
        message: Any = None,
        call: Call | None = None,
        kind: StepKind = "message",
        then: Callable[[Any, BaseException | None], None] | None = None,
    ) -> None:
        self.agent = agent
        self.coroutine = coroutine
        self.context = context
        """The step's own copy of the node's context; each part of the step runs in it."""
        self.message = message
        self.call = call
        self.kind: StepKind = kind
        self.then = then
        """For `init` and `terminate`: what the lifecycle does when the step has ended."""
        self.on_end: Callable[[BaseException | None], None] | None = None
        """For an instrument: called once when the step has ended, with what it raised, before anything is done about it.
        Must not raise."""
        self.host: Host | None = None
        """The task that drives this step; None while it is parked on a `Call` or not begun."""
        self.waits_for: Any = None
        self.error: BaseException | None = None
        """To be raised in the coroutine when it goes on."""

    def cancel(self, scheduler: WaitingSteps) -> None:
        """Raise CancelledError where the coroutine waits."""
        if self.host is not None:
            self.host.cancel()
        else:
            self.error = CancelledError()
            scheduler.resume(self.agent)


class Host(asyncio.Task[None]):
    """The asyncio task of a step that waits; a spare one until then."""

    def __init__(self, scheduler: WaitingSteps, loop: AbstractEventLoop, context: Context) -> None:
        self.scheduler = scheduler
        self.seat = Seat()
        super().__init__(_serve(scheduler, self.seat), loop=loop, name="observe:step", context=context)

    def cancel(self, msg: Any | None = None) -> bool:
        # The scheduler sees by the reference count that a spare has been noticed. One that was asked to cancel
        # must not stand for another message, even if nobody keeps it.
        self.seat.keep = self
        return super().cancel(msg)

    def adopt(self, step: Step, waits_for: Any) -> None:
        """Drive `step`, which has yielded `waits_for`, to its end."""
        if self.done():
            # It was asked to cancel while the step was frozen on its way here (preempt.py), and has ended as spares do. Another
            # one drives the step, and tells it.
            step.error = CancelledError()
            Host(self.scheduler, self.scheduler.loop, self.scheduler.context.copy()).adopt(step, waits_for)
            return
        step.host = self
        step.waits_for = waits_for
        if getattr(waits_for, "_asyncio_future_blocking", None):
            # The mark on a future that has been yielded is for asyncio's Task, which clears it at once. Left
            # standing until this host has its turn, it would fail whoever else awaits the same future.
            waits_for._asyncio_future_blocking = False
        self.seat.step = step
        parked = self.seat.parked
        if parked is not None and not parked.done():
            parked.set_result(None)

    def dismiss(self) -> None:
        """Let a spare that is no longer needed end."""
        if self.seat.step is None:
            parked = self.seat.parked
            if parked is not None and not parked.done():
                parked.set_result(None)
            elif parked is None:
                super().cancel()


class Seat:
    """What a host and its coroutine share; apart from the host so that they do not hold each other."""

    __slots__ = ("keep", "parked", "step")

    def __init__(self) -> None:
        self.keep: Host | None = None
        self.step: Step | None = None
        self.parked: Future[None] | None = None


async def _serve(scheduler: WaitingSteps, seat: Seat) -> None:
    if seat.step is None:
        seat.parked = scheduler.loop.create_future()
        try:
            await seat.parked
        except CancelledError:
            if seat.step is None:
                seat.keep = None
                return
            seat.step.error = CancelledError()
    seat.keep = None
    step = seat.step
    if step is not None:
        await _drive(scheduler, step)


@types.coroutine
def _drive(scheduler: WaitingSteps, step: Step) -> Generator[Any, Any, None]:
    """Hand the event loop what the step waits for, and step it when that is there, until the step ends."""
    coroutine = step.coroutine
    waited = step.waits_for
    while True:
        try:
            if step.error is not None:
                error, step.error = step.error, None
                raise error
            yield _as_future(waited, scheduler.loop)
        except GeneratorExit:
            # The event loop was closed under us: nothing may be awaited any more.
            coroutine.close()
            raise
        except BaseException as fault:
            waited = scheduler.step_hosted(step, coroutine.throw, fault)
        else:
            waited = scheduler.step_hosted(step, coroutine.send, None)
        if waited is scheduler.ENDED:
            return
        step.waits_for = waited


def _as_future(waited: Any, loop: AbstractEventLoop) -> Any:
    from observe.runtime.calls import Call

    if type(waited) is Call:
        if waited.done:
            return None  # as asyncio.sleep(0): go on at the loop's next turn
        waited.future = waited_future = loop.create_future()
        waited_future._asyncio_future_blocking = True
        return waited_future
    if waited is not None and getattr(waited, "_asyncio_future_blocking", None) is not None:
        waited._asyncio_future_blocking = True  # asyncio's Task wants to see it on what is yielded to it
    return waited


if sys.version_info >= (3, 12):
    swap_current_task = asyncio.tasks._swap_current_task  # type: ignore[attr-defined]  # not in typeshed
    """Make a task (or None) the loop's current one and return the one before."""
else:
    _current_tasks = asyncio.tasks._current_tasks  # type: ignore[attr-defined]  # the C module's own dict

    def swap_current_task(loop: AbstractEventLoop, task: Any) -> Any:
        """Make a task (or None) the loop's current one and return the one before."""
        if task is None:
            return _current_tasks.pop(loop, None)
        previous = _current_tasks.get(loop)
        _current_tasks[loop] = task
        return previous
