"""Plain asyncio tasks that can be preempted: a coroutine around theirs, which runs each of its steps in a worker.

    Task --send--> Preemptible --> worker greenlet: the coroutine's own send --> done: what it yields goes to the Task
                                          +--> frozen: the Task waits for a future, until the step has come to its end

A node with `preempt=True` does this for tasks that ask for it, with `preempt_tasks=True` for all that are created on its
loop. On a loop without such a node the coroutine is stepped as it is.
"""

from __future__ import annotations

import asyncio
import itertools
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

from observe.runtime.agent import RUNNING, Agent
from observe.runtime.errors import Interrupted
from observe.runtime.frozen import RAISED, Frozen
from observe.runtime.preempt import PREEMPTERS, Preempter
from observe.runtime.step import Host

T = TypeVar("T")

_NUMBERS: Final = itertools.count(1)


class TaskBody(Agent):
    """What the preempter takes for the agent whose step runs, when it is a plain task's. No other part of the node knows it."""

    __slots__ = ("_o_home", "_o_label", "host")

    host: asyncio.Task[Any]
    """The task, as a step of an agent has one."""

    def __init__(self, coroutine: Any, task: asyncio.Task[Any], preempter: Preempter) -> None:
        self._o_pid = -next(_NUMBERS)  # below 0: not an agent's
        self._o_status = RUNNING
        self._o_since_ns = self._o_busy_ns = 0
        self._o_exit = None
        self._o_dirty = True  # so that telemetry, which lists agents that are not dirty yet, never lists it
        self._o_step = None
        self._o_scheduler = preempter.scheduler
        self._o_label = f"the task {task.get_name()} ({getattr(coroutine, '__qualname__', '?')})"
        frame = getattr(coroutine, "cr_frame", None)
        module = str(frame.f_globals.get("__name__", "")) if frame is not None else ""
        self._o_home = frozenset({module.partition(".")[0]}) - {"observe", ""}
        self.host = task

    def _o_text(self) -> str:
        return self._o_label


class _Returned:
    """The end of a coroutine, without an exception through a greenlet."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def step_task(resume: Callable[[Any], Any], value: Any) -> Any:
    """One step of a task, in a worker. moments.py knows this function by its name: the frames inside are the step's."""
    try:
        return resume(value)
    except StopIteration as stop:
        return _Returned(stop.value)
    except Interrupted as error:
        error.restore_trace()
        raise


class Preemptible(Coroutine[Any, Any, T]):
    """A coroutine whose steps may be frozen. It shows what inspection looks for as the coroutine inside does."""

    __slots__ = (
        "__name__",
        "__qualname__",
        "__weakref__",
        "_body",
        "_frozen",
        "_loop",
        "_o_wrapped",
        "_pending",
    )

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._o_wrapped: Any = coroutine
        self._loop: AbstractEventLoop | None = None
        self._body: TaskBody | None = None
        self._frozen: Frozen | None = None
        self._pending: BaseException | None = None
        """A cancellation that came while a step was frozen, for the coroutine's next wait."""
        self.__name__ = getattr(coroutine, "__name__", type(coroutine).__name__)
        self.__qualname__ = getattr(coroutine, "__qualname__", type(coroutine).__qualname__)

    # -- What a task or an `await` calls

    def send(self, value: Any) -> Any:
        """Go on, or find out what has become of a step that was frozen."""
        if self._frozen is not None:
            return self._after_freeze(None)
        pending, self._pending = self._pending, None
        if pending is not None and self._is_still_asked():
            return self._step(self._o_wrapped.throw, pending)
        return self._step(self._o_wrapped.send, value)

    def throw(self, kind: Any, value: Any = None, trace: Any = None) -> Any:
        """Raise where the coroutine waits. A frozen step is not interrupted: its next wait raises."""
        error = value if isinstance(value, BaseException) else kind() if isinstance(kind, type) else kind
        if self._frozen is not None:
            return self._after_freeze(error)
        self._pending = None
        return self._step(self._o_wrapped.throw, error)

    def close(self) -> None:
        """End the coroutine. A step that is frozen is given up: it never runs again."""
        frozen = self._frozen
        if frozen is not None and frozen.outcome is None:
            preempter = PREEMPTERS.get(self._loop) if self._loop is not None else None
            if preempter is not None:
                preempter.abandon(frozen)
            return
        self._o_wrapped.close()

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    # -- Stepping

    def _step(self, resume: Callable[[Any], Any], value: Any) -> Any:
        loop = self._loop
        if loop is None:
            self._loop = loop = asyncio.get_running_loop()
        preempter = PREEMPTERS.get(loop)
        if preempter is None:
            return resume(value)
        body = self._body
        if body is None:
            task = asyncio.current_task(loop)
            if task is None or isinstance(task, Host):
                return resume(value)  # nobody who could wait, or an agent, whose own step may be frozen
            self._body = body = TaskBody(self._o_wrapped, task, preempter)
        got = preempter.run_task_step(step_task, (resume, value), body)
        if type(got) is Frozen:
            self._frozen = got
            return self._wait(got)
        if type(got) is _Returned:
            raise StopIteration(got.value)
        return got

    def _wait(self, frozen: Frozen) -> Future[None]:
        assert self._loop is not None
        frozen.future = future = self._loop.create_future()
        future._asyncio_future_blocking = True
        return future

    def _after_freeze(self, error: BaseException | None) -> Any:
        frozen = self._frozen
        assert frozen is not None
        assert self._loop is not None
        frozen.thrown = error or frozen.thrown
        if frozen.outcome is None:
            return self._wait(frozen)
        self._frozen = None
        kind, got = frozen.outcome
        pending = frozen.thrown if self._is_still_asked() else None
        if kind is RAISED:
            raise got
        if type(got) is _Returned:
            if pending is not None:
                raise pending  # as a task ends that was asked to cancel in its last step
            raise StopIteration(got.value)
        if getattr(got, "_asyncio_future_blocking", None) is not None:
            got._asyncio_future_blocking = True  # asyncio's Task wants to see it on what is yielded to it
            if pending is not None:
                self._loop.call_soon(self._pass_on, got)
        self._pending = pending
        return got

    def _pass_on(self, waits_for: Future[Any]) -> None:
        """Cancel what the task has begun to wait for, as its own `cancel` would have. What is done already cannot be:
        then the coroutine gets the cancellation itself when it goes on."""
        pending = self._pending
        if pending is not None and waits_for.cancel(*pending.args[:1]):
            self._pending = None

    def _is_still_asked(self) -> bool:
        """Nobody has taken the cancellation back, as `asyncio.timeout` does when its block is left in time."""
        return self._body is not None and self._body.host.cancelling() > 0

    # -- What inspection looks for

    @property
    def cr_frame(self) -> Any:
        return self._o_wrapped.cr_frame

    @property
    def cr_code(self) -> Any:
        return self._o_wrapped.cr_code

    @property
    def cr_await(self) -> Any:
        return self._o_wrapped.cr_await

    @property
    def cr_running(self) -> bool:
        return bool(self._o_wrapped.cr_running)

    @property
    def cr_suspended(self) -> bool:
        return bool(self._o_wrapped.cr_suspended)

    @property
    def cr_origin(self) -> Any:
        return self._o_wrapped.cr_origin

    def __repr__(self) -> str:
        return f"<preemptible {self._o_wrapped!r}>"


def preemptible(coroutine: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
    """Let steps of this coroutine be frozen when they overrun, on a node with `preempt=True`: await the result, or make
    a task of it. On a loop without such a node nothing changes but half a microsecond a step.

        task = asyncio.create_task(preemptible(report(year)))

    Raises:
        TypeError: it is not a coroutine.
    """
    if isinstance(coroutine, Preemptible):
        return coroutine
    if not asyncio.iscoroutine(coroutine):
        raise TypeError(
            f"preemptible takes a coroutine, not {type(coroutine).__name__}\n"
            "  wrong: preemptible(report)\n"
            "  right: preemptible(report(year))"
        )
    return Preemptible(coroutine)
