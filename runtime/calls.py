"""Requests that want a reply, and their deadlines."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future, TimerHandle
from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from observe.runtime.clock import now_ns
from observe.runtime.errors import CallTimeout

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.scheduler import Scheduler


Carried = Callable[[], object]


class Call:
    """One request in a mailbox, with the place where its reply goes; also a cast that carries a trace context.

    Exactly one of `reply` and `fail` takes effect, the first; later ones are dropped. Whoever waits is either an agent
    whose step is parked on this object (no future, no task), or an asyncio future.
    """

    __slots__ = ("caller", "carried", "done", "error", "future", "is_cast", "message", "target", "value")

    def __init__(self, message: Any, target: Agent) -> None:
        self.message = message
        self.target = target
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.caller: Agent | None = None
        """The agent that is parked here; the scheduler sets it."""
        self.future: Future[None] | None = None
        self.carried: Carried | None = None
        """Makes the sender's trace context that of the message, when run in the message's own context."""
        self.is_cast = False
        """Nobody wants a reply: an envelope around a cast."""

    def reply(self, value: Any) -> None:
        """Answer the request. Does nothing when it has been answered, failed or given up."""
        if not self.done:
            self.done = True
            self.value = value
            caller = self.caller
            if caller is not None:
                self.caller = None
                caller._o_scheduler.resume(caller)
            elif self.future is not None:
                self._wake()

    def fail(self, error: BaseException) -> None:
        """Let the caller's `await` raise `error`."""
        if not self.done:
            self.done = True
            self.error = error
            if self.caller is not None or self.future is not None:
                self._wake()

    def _wake(self) -> None:
        caller, self.caller = self.caller, None
        if caller is not None:
            caller._o_scheduler.resume(caller)
        elif self.future is not None and not self.future.done():
            self.future.set_result(None)

    def __await__(self) -> Generator[Any, None, Any]:
        if not self.done:
            try:
                yield self  # to the scheduler, which parks the agent here
            except BaseException:
                self.done = True  # given up: a late reply is dropped
                self.caller = None
                raise
        if self.error is not None:
            raise self.error
        return self.value


def envelope(message: Any, agent: Agent, carried: Carried) -> Call:
    """A cast of `message` that takes `carried` along."""
    cast = Call(message, agent)
    cast.carried = carried
    cast.is_cast = True
    return cast


class Deadlines:
    """Time-outs of calls: a queue for each length, so that arming one is an append and most are never looked at.

    Calls with one time-out expire in the order in which they were made. A single timer of the event loop stands at
    the earliest deadline.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._queues: dict[float, deque[tuple[int, Call]]] = {}
        self._timer: TimerHandle | None = None
        self._timer_ns = 0
        self._compact_at: dict[float, int] = {}

    def add(self, call: Call, timeout_s: float) -> None:
        """Fail `call` with CallTimeout unless it is done in `timeout_s` seconds."""
        queue = self._queues.get(timeout_s)
        if queue is None:
            queue = self._queues[timeout_s] = deque()
            self._compact_at[timeout_s] = 1024
        while queue and queue[0][1].done:
            queue.popleft()
        deadline_ns = now_ns() + int(timeout_s * 1e9)
        queue.append((deadline_ns, call))
        if len(queue) > self._compact_at[timeout_s]:
            # One slow call at the head keeps the done ones behind it alive: sweep when the queue has doubled.
            live = deque(item for item in queue if not item[1].done)
            self._queues[timeout_s] = live
            self._compact_at[timeout_s] = max(1024, 2 * len(live))
        if self._timer is None or deadline_ns < self._timer_ns:
            self._arm(deadline_ns)

    def _arm(self, deadline_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ns = deadline_ns
        delay_s = max(0, deadline_ns - now_ns()) / 1e9
        self._timer = self._scheduler.loop.call_later(delay_s, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = now_ns()
        earliest: int | None = None
        for timeout_s, queue in list(self._queues.items()):
            while queue and (queue[0][1].done or queue[0][0] <= now):
                _, call = queue.popleft()
                if not call.done:
                    call.fail(CallTimeout(call.target._o_text(), timeout_s))
            if not queue:
                del self._queues[timeout_s], self._compact_at[timeout_s]
            elif earliest is None or queue[0][0] < earliest:
                earliest = queue[0][0]
        if earliest is not None:
            self._arm(earliest)

    def close(self) -> None:
        """Stop the timer. Calls that still wait are failed by the end of their targets."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._queues.clear()


async def wait_future(call: Call, loop: AbstractEventLoop) -> Any:
    """Await `call` from a plain asyncio task."""
    if not call.done:
        call.future = loop.create_future()
        try:
            await call.future
        except BaseException:
            call.done = True  # given up: a late reply is dropped
            raise
    if call.error is not None:
        raise call.error
    return call.value
