"""Structured fan-out: one function over many items, some at a time, and nothing left behind.

    async for outcome in supervised_map(fetch, urls, max_concurrency=8, timeout=30):
        print(outcome.item, outcome.value if outcome.is_ok else outcome.error)

In an agent's step each item is an agent of its own below a `FanOut` supervisor, so that it is seen, killed and charged like any
other:  root -> FanOut (linked in one direction to the caller) -> one FanOutItem per item under way.  In plain asyncio code
each item is a task, or with `node` an agent. In any case no item outlives the caller.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import CancelledError, Future, TimerHandle
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from types import CoroutineType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from observe.runtime.lifecycle import KILL_GRACE_S
from observe.runtime.scheduler import current_agent

if TYPE_CHECKING:
    from observe.runtime.children import Isolation
    from observe.runtime.fanout_agents import AgentRun
    from observe.runtime.node import Node
    from observe.runtime.workers.limits import Limits

logger = logging.getLogger("observe.runtime")

MAX_CONCURRENCY: Final = 8
TIMEOUT_S: Final = 30.0

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T, R]):
    """What became of one item."""

    index: int
    """Its place among the items, from 0."""
    item: T
    value: R | None = None
    """What the function returned."""
    error: BaseException | None = None
    """What it raised; AgentExited when its agent was ended from outside; TimeoutError when `timed_out`."""
    timed_out: bool = False

    @property
    def is_ok(self) -> bool:
        """Whether there is a value."""
        return self.error is None

    def unwrap(self) -> R:
        """The value; raises the error if there is one."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # without an error it is what the function returned


def supervised_map(
    fn: Callable[[T], Any],
    items: Iterable[T] | AsyncIterable[T],
    *,
    max_concurrency: int = MAX_CONCURRENCY,
    timeout: float | None = TIMEOUT_S,
    ordered: bool = False,
    isolation: Isolation | None = None,
    limits: Limits | None = None,
    node: Node | None = None,
) -> SupervisedMap[T, Any]:
    """Call `fn` with each item, and iterate over the outcomes as they come, or in the order of the items.

    A crash or time-out is the outcome of its item and of no other. Items are taken from `items` as they are needed: at
    most `max_concurrency` are under way, and as many more may have ended whose outcomes nobody has taken.

    When the caller is cancelled, ends or leaves the loop, all items under way are cancelled and the rest never begin. To wait for
    their clean-up on leaving the loop early, use it as a context manager:

        async with supervised_map(fetch, urls) as outcomes:
            async for outcome in outcomes: ...

    Args:
        fn: an `async` or a plain function of one argument.
        items: any iterable, also an asynchronous one.
        max_concurrency: how many at a time.
        timeout: seconds for each item, from its own beginning; None for no limit.
        ordered: give the outcomes in the order of the items.
        isolation: `"worker"` runs each item in one of the node's worker processes, `"process"` in a process of its own. Function,
            items and results are pickled then. Left out, or `"none"`: where the caller runs.
        limits: of each item's own process.
        node: in plain asyncio code, the node whose agents the items are to be; `isolation` needs one. In an agent's step it is
            the agent's.

    Raises:
        ValueError: `max_concurrency` is less than 1, `timeout` not above 0, or there is no node for `isolation`.
    """
    if max_concurrency < 1 or (timeout is not None and not timeout > 0):
        raise ValueError(
            f"max_concurrency must be 1 or more and timeout above 0 s, not {max_concurrency!r} and {timeout!r}"
        )
    if isolation not in (None, "none", "worker", "process"):
        raise ValueError(f"isolation must be 'none', 'worker' or 'process', not {isolation!r}")
    if limits is not None and isolation != "process":
        raise ValueError("limits are those of a process of an item's own: isolation='process'")
    found: SupervisedMap[T, Any] = SupervisedMap(fn, items, max_concurrency, timeout, ordered)
    if isolation is not None and isolation != "none":
        found.place = isolation, limits
        if node is None and current_agent() is None:
            raise ValueError(
                f"isolation={isolation!r} needs a node, whose processes they are. Outside of an agent's step, say which:\n"
                "  supervised_map(..., node=node)"
            )
    found.node = node
    return found


class SupervisedMap(Generic[T, R]):
    """The outcomes of `supervised_map`. One caller iterates over them, once."""

    def __init__(
        self,
        fn: Callable[[T], Any],
        items: Iterable[T] | AsyncIterable[T],
        max_concurrency: int,
        timeout: float | None,
        ordered: bool,
    ) -> None:
        self._fn = fn
        self._items = _as_async(items)
        self._max = max_concurrency
        self._timeout = timeout
        self._ordered = ordered
        self.place: tuple[Isolation, Limits | None] | None = None
        """Where the items run, when that is another process."""
        self.node: Node | None = None
        self._run: Run | None = None
        self._next_index = 0
        self._taken = 0
        self._is_exhausted = False
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def __anext__(self) -> Outcome[T, R]:
        if self._closed:
            raise StopAsyncIteration
        try:
            return await self._take()
        except BaseException:
            await self.aclose()
            raise

    async def _take(self) -> Outcome[T, R]:
        if self._run is None:
            self._run = await self._begin()
        run = self._run
        while True:
            await self._fill(run)
            outcome = self._ready(run)
            if outcome is not None:
                self._taken += 1
                return outcome
            if not run.under_way and self._is_exhausted:
                if run.is_stopped and self._taken < self._next_index:
                    raise CancelledError  # somebody ended the supervisor of the items
                raise StopAsyncIteration
            await run.wait()

    async def _begin(self) -> Run:
        caller = current_agent()
        if caller is not None and not caller._o_is_alive():
            caller = None
        node = caller._o_node if caller is not None else self.node
        if node is None:
            return _TaskRun(self._fn, self._timeout)
        run: AgentRun
        if self.place is None:
            from observe.runtime.fanout_agents import AgentRun  # not where nobody fans out

            run = AgentRun(self._fn, self._timeout, caller, node)
        else:
            from observe.runtime.workers.far_fanout import FarRun  # nor where nobody has workers

            run = FarRun(self._fn, self._timeout, caller, node, *self.place)
        try:
            await run.begin()
        except BaseException:
            run.abandon()
            raise
        return run

    async def _fill(self, run: Run) -> None:
        while (
            not self._is_exhausted
            and len(run.under_way) < self._max
            and self._next_index - self._taken < 2 * self._max
        ):
            if run.is_stopped:
                self._is_exhausted = True
                return
            try:
                item = await anext(self._items)
            except StopAsyncIteration:
                self._is_exhausted = True
                return
            index = self._next_index
            self._next_index += 1
            await run.start(index, item)

    def _ready(self, run: Run) -> Outcome[T, R] | None:
        if not self._ordered:
            return run.outcomes.popleft() if run.outcomes else None
        for place, outcome in enumerate(run.outcomes):
            if outcome.index == self._taken:
                del run.outcomes[place]
                return outcome
        return None

    async def aclose(self) -> None:
        """Cancel what is under way and wait until it has ended. What does not end within a second is given up."""
        self._closed = True
        run, self._run = self._run, None
        if run is not None:
            await run.stop()
        closing = getattr(self._items, "aclose", None)
        if closing is not None:
            await closing()

    def __del__(self) -> None:
        # The loop was left by `break` or an exception: nobody waits, but nothing may go on.
        if self._run is not None:
            self._run.abandon()


async def _as_async(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


class Run:
    """The items under way, and the outcomes that nobody has taken."""

    def __init__(self, fn: Callable[[Any], Any], timeout: float | None) -> None:
        self.fn = fn
        self.timeout = timeout
        self.loop = asyncio.get_running_loop()
        self.outcomes: deque[Outcome[Any, Any]] = deque()
        self.under_way: dict[int, Any] = {}
        """By index: the agent or task of each item."""
        self.is_stopped = False
        self._waiter: Future[None] | None = None

    async def start(self, index: int, item: Any) -> None:
        raise NotImplementedError

    async def stop(self) -> None:
        raise NotImplementedError

    def abandon(self) -> None:
        raise NotImplementedError

    async def wait(self) -> None:
        """Until there is another outcome, or an end."""
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def ended(self, index: int, outcome: Outcome[Any, Any]) -> None:
        """An item is over."""
        if self.under_way.pop(index, None) is not None and not self.is_stopped:
            self.outcomes.append(outcome)
        self.wake()


def timed_out(index: int, item: Any, timeout: float | None) -> Outcome[Any, Any]:
    error = TimeoutError(f"item {index} did not end within {timeout:g} s")
    return Outcome(index, item, error=error, timed_out=True)


# -- In plain asyncio code: tasks


class _TaskRun(Run):
    def __init__(self, fn: Callable[[Any], Any], timeout: float | None) -> None:
        super().__init__(fn, timeout)
        self._late: set[int] = set()
        caller = asyncio.current_task()
        if caller is not None:
            caller.add_done_callback(self._caller_ended)
        self._caller = caller

    async def start(self, index: int, item: Any) -> None:
        task = self.loop.create_task(self._call(item), name=f"{name_of(self.fn)}[{index}]")
        timer: TimerHandle | None = None
        if self.timeout is not None:
            timer = self.loop.call_later(self.timeout, self._too_late, index, task)
        self.under_way[index] = task

        def over(task: asyncio.Task[Any]) -> None:
            if timer is not None:
                timer.cancel()
            if index in self._late:
                outcome = timed_out(index, item, self.timeout)
            elif task.cancelled():
                outcome = Outcome(index, item, error=CancelledError())
            else:
                error = task.exception()
                outcome = Outcome(index, item, None if error else task.result(), error)
            self._late.discard(index)
            self.ended(index, outcome)

        task.add_done_callback(over)

    async def _call(self, item: Any) -> Any:
        value = self.fn(item)
        return await value if type(value) is CoroutineType else value

    def _too_late(self, index: int, task: asyncio.Task[Any]) -> None:
        self._late.add(index)
        task.cancel()

    def _caller_ended(self, _: Any) -> None:
        self.abandon()

    async def stop(self) -> None:
        tasks = list(self.under_way.values())
        self.abandon()
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=KILL_GRACE_S)
            for task in left:
                logger.warning("%s does not end when it is cancelled, and goes on unseen", task.get_name())

    def abandon(self) -> None:
        self.is_stopped = True
        if self._caller is not None:
            self._caller.remove_done_callback(self._caller_ended)
        if not self.loop.is_closed():
            for task in self.under_way.values():
                task.cancel()


def name_of(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__name__", type(fn).__name__)
