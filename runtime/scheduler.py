"""The scheduler: the run queue, and the loop that gives each agent its slice.

    cast --> mailbox empty? --> run queue --> slice: up to SLICE_MESSAGES messages --> idle, or the queue's end
                                                |
                                                +--> awaits something that is not there: the step gets a task

One scheduler serves one event loop, in its thread. A *drain* runs slices until the queue is empty or QUANTUM_NS is
over, then lets the event loop serve its sockets and timers. The runtime's own work (supervisors, posted functions)
goes first.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from sys import getrefcount
from threading import get_ident
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.agent import IDLE, RUNNABLE, RUNNING, STARTING, SUSPENDED, WAITING
from observe.runtime.calls import Call, Deadlines
from observe.runtime.clock import now_ns
from observe.runtime.errors import Interrupted, NodeDown, WrongThread
from observe.runtime.exits import ExitReason, crash_reason
from observe.runtime.interrupt import Interrupter
from observe.runtime.scheduler_view import WORD_BUSY, WORD_PID, WORD_SINCE, WORD_SLICES, SchedulerView
from observe.runtime.step import Host, Step, swap_current_task
from observe.runtime.waiting_steps import WaitingSteps

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.lifecycle import Lifecycle
    from observe.runtime.node import Node
    from observe.runtime.preempt import Preempter

QUANTUM_NS: Final = 2_000_000
"""How long a drain may run before the event loop has its turn. Longer delays sockets and timers, shorter pays the
event loop's 10 to 20 microseconds more often."""

SLICE_NS: Final = 1_000_000
"""How long one agent may go on with its mailbox while others are runnable."""

SLICE_MESSAGES: Final = 64
"""And how many messages it may handle in that time."""

_SLICE: Final = range(1, SLICE_MESSAGES + 1)

INLINE_CALLS: Final = 200
"""Calls from plain asyncio code that are answered on the spot before the event loop has its turn."""


class Scheduler(WaitingSteps, SchedulerView):
    """Runs the agents of one event loop. Everything but the methods that say so belongs to the loop's thread."""

    def __init__(self, node: Node, loop: AbstractEventLoop) -> None:
        self.node = node
        self.loop = loop
        self.thread_id = get_ident()
        """The identity of the thread in which agents run."""
        self.current: Agent | None = None
        """The agent whose slice runs now; may be read from any thread."""
        self.context: Context = copy_context()
        """The node's context variables. Each message is handled in a copy."""
        self.deadlines = Deadlines(self)
        self.lifecycle: Lifecycle
        self.interrupter = Interrupter(self)
        """Ends steps that do not end, from other threads."""
        self.preempter: Preempter | None = None
        """Freezes steps that overrun; None when the node does not preempt."""
        self.handled = 0
        """Messages handled since the start."""
        self.busy_ns = 0
        """Time spent in slices since the start."""
        self.slices = 0
        self.armed = False
        """A drain is asked for or under way, so that whatever is put on the run queue will be seen."""
        self.closed = False
        self.now_ns = now_ns()
        """Monotonic time of the newest slice's end: cheap, and a little old between drains."""
        self.ready: deque[Agent] = deque()
        """The run queue."""
        self.system: deque[Agent] = deque()
        """The run queue of supervisors, which go first."""
        self._posts: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._draining = False
        self._wake_pending = False
        self._inline_left = INLINE_CALLS
        SchedulerView.__init__(self)
        WaitingSteps.__init__(self)

    # -- What is there to run

    @property
    def run_queue(self) -> int:
        """Agents that wait for a slice."""
        return len(self.ready) + len(self.system)

    def schedule(self, agent: Agent) -> None:
        """Put an idle agent that has messages on the run queue."""
        if not self.armed:
            self.arm()
        agent._o_status = RUNNABLE
        agent._o_since_ns = self.now_ns
        (self.system if agent._o_system else self.ready).append(agent)

    def start_step(self, step: Step) -> None:
        """Let a step that has not begun (an async `init` or `terminate`) run as its agent's next slice."""
        agent = step.agent
        agent._o_step = step
        if not self.armed:
            self.arm()
        if agent._o_status != STARTING:
            agent._o_status = RUNNABLE
        agent._o_since_ns = self.now_ns
        (self.system if agent._o_system else self.ready).append(agent)

    def resume(self, agent: Agent) -> None:
        """Go on with a step that was parked on a call."""
        step = agent._o_step
        if step is not None and step.host is None and agent._o_status == WAITING:
            # schedule(), without the call
            if not self.armed:
                self.arm()
            agent._o_status = RUNNABLE
            agent._o_since_ns = self.now_ns
            (self.system if agent._o_system else self.ready).append(agent)

    def post(self, function: Callable[..., Any], *args: Any) -> None:
        """Run `function` before the next slice."""
        self._posts.append((function, args))
        if not self.armed:
            self.arm()

    def call_soon_threadsafe(self, function: Callable[..., Any], *args: Any) -> None:
        """`post` from any thread.

        Raises:
            NodeDown: the event loop is closed.
        """
        self._posts.append((function, args))
        if not self._wake_pending:
            self._wake_pending = True
            try:
                self.loop.call_soon_threadsafe(self._on_wake)
            except RuntimeError:
                raise NodeDown("the node's event loop is closed") from None

    def close(self) -> None:
        """Run nothing any more."""
        self.closed = True
        self.deadlines.close()
        self.interrupter.close()
        if self.preempter is not None:
            self.preempter.close()
        self.ready.clear()
        self.system.clear()
        self._posts.clear()
        if self._host is not None:
            self._host.dismiss()
            self._host = None

    def arm(self) -> None:
        """Ask the event loop for a drain.

        Raises:
            WrongThread: called from another thread.
            NodeDown: the node has stopped.
        """
        if get_ident() != self.thread_id:
            raise WrongThread
        if self.closed:
            raise NodeDown("the node has stopped")
        self.armed = True
        self.now_ns = now_ns()
        self.loop.call_soon(self._drain)

    def _on_wake(self) -> None:
        self._wake_pending = False
        if self._posts and not self.armed and not self.closed:
            self._run(None)

    def _drain(self) -> None:
        if not self.closed:
            self._run(None)

    # -- Calls answered on the spot

    def try_inline(self, agent: Agent, call: Call) -> bool:
        """Serve `call` now instead of waiting for the event loop to come round, so that its reply is there before
        the caller would have parked. Only while nothing else waits to run, and not for ever.

        The caller has seen that `armed` is false: no drain is under way, and so no step either.
        """
        left = self._inline_left
        if left <= 0 or get_ident() != self.thread_id or self.closed:
            return False
        if left == INLINE_CALLS:
            self.loop.call_soon(self._refill)
        self._inline_left = left - 1
        self.armed = True  # so that putting the agent on the run queue asks for no drain of its own
        agent._o_first(call)
        self._run(call)
        return True

    def _refill(self) -> None:
        self._inline_left = INLINE_CALLS

    # -- Slices

    def _run(self, until: Call | None) -> None:
        """Drain the run queue. The hot path: all of a message's cost is in here and in `Ref.cast`."""
        system, ready, posts = self.system, self.ready, self._posts
        words = self._words
        clock, ended = now_ns, self.ENDED
        copy_context = self.context.copy
        mark_dirty = self._dirty.append
        host = self._host or self._make_host()
        previous_task = swap_current_task(self.loop, host)
        host_refs = getrefcount(host)
        outer = self.current  # a step that makes a call which is answered on the spot
        self._draining = True
        began = t = clock()
        end = t + QUANTUM_NS
        slices = handled = 0
        if words is not None:
            words[WORD_SINCE] = t
            words[WORD_BUSY] = 1
        try:
            while True:
                if posts:
                    self.now_ns = t
                    self._run_posts()
                if system:
                    agent = system.popleft()
                elif ready:
                    agent = ready.popleft()
                else:
                    break
                status = agent._o_status
                if status != RUNNABLE and status != STARTING:
                    continue  # it was killed or suspended while it waited in the queue
                self.current = agent
                agent._o_status = RUNNING
                slices += 1
                if words is not None:
                    words[WORD_PID] = agent._o_pid  # since when: since the drain began, or QUANTUM_NS later
                n = 1
                if agent._o_step is not None:
                    step = agent._o_step
                    waits_for = self._resume_step(step)
                    kept = getrefcount(host) != host_refs
                    if waits_for is not ended:
                        kept = self._park(step, waits_for, host, kept)
                    if kept:
                        host = self._next_host()
                        host_refs = getrefcount(host)
                else:
                    backlog = agent._o_backlog
                    if backlog:
                        queued = agent._o_queued()
                    else:
                        agent._o_backlog = backlog = agent._o_mailbox
                        agent._o_mailbox = None
                        queued = len(backlog)
                        if queued > 1:
                            backlog.reverse()
                    if queued > agent._o_mailbox_max:  # noqa: PLR1730  # max() costs a call per slice
                        agent._o_mailbox_max = queued
                    handle: Callable[[Any], Any] = agent.handle
                    is_async = agent._o_async
                    if agent._o_bonds is not None and agent._o_bonds.handle is not None:
                        handle, is_async = agent._o_bonds.handle, True
                    reason: ExitReason | None = None
                    call: Call | None = None
                    message: Any = None
                    try:
                        for n in _SLICE:
                            message = backlog.pop()
                            context = copy_context()
                            if type(message) is Call:
                                call = message
                                message = call.message
                                if call.carried is not None:
                                    context.run(call.carried)
                                    if call.is_cast:
                                        call = None
                            # `context.run` in full at each place: as a method that is called at once, it is never made
                            # into an object.
                            value = handle(message) if is_async else context.run(handle, message)
                            if is_async or type(value) is CoroutineType:
                                coroutine = value
                                if call is None:
                                    # Nobody wants the value, and `next` with a default spares the StopIteration.
                                    waits_for = context.run(next, coroutine.__await__(), ended)
                                else:
                                    try:
                                        waits_for = context.run(coroutine.send, None)
                                    except StopIteration as stop:
                                        waits_for = ended
                                        value = stop.value
                                if waits_for is not ended:
                                    kept = getrefcount(host) != host_refs
                                    step = Step(agent, coroutine, context, message, call)
                                    if self._park(step, waits_for, host, kept):
                                        host = self._next_host()
                                        host_refs = getrefcount(host)
                                    break
                                if getrefcount(host) != host_refs:
                                    # Somebody keeps the task that stood for this message: it must not stand for
                                    # another one.
                                    host = self._next_host()
                                    host_refs = getrefcount(host)
                            if call is not None:
                                call.reply(value)
                                call = None
                            if agent._o_exit is not None:
                                reason = agent._o_exit
                                break
                            if not backlog or (not n & 3 and clock() - t > SLICE_NS):
                                break
                    except (KeyboardInterrupt, SystemExit) as error:
                        self.lifecycle.ended(agent, crash_reason(error), message, call)
                        raise
                    except BaseException as error:
                        killed = _killed_by(error, agent)
                        reason = killed or crash_reason(error)
                        if getrefcount(host) != host_refs:
                            host = self._next_host()
                            host_refs = getrefcount(host)
                    agent._o_handled += n
                    handled += n
                    if reason is not None:
                        self.lifecycle.ended(agent, reason, message, call)
                self.current = None
                now = clock()
                used = now - t
                least = n * 1000
                agent._o_busy_ns += used if used > least else least  # noqa: FURB136  # max() costs a call per slice
                if not agent._o_dirty:
                    agent._o_dirty = True
                    mark_dirty(agent)
                t = now
                if agent._o_status == RUNNING:
                    agent._o_since_ns = now
                    if agent._o_backlog or agent._o_mailbox:
                        agent._o_status = RUNNABLE
                        (system if agent._o_system else ready).append(agent)
                    else:
                        agent._o_backlog = None
                        agent._o_status = IDLE
                    if agent._o_bonds is not None:
                        if agent._o_bonds.is_held or agent._o_bonds.is_paused:
                            agent._o_status = SUSPENDED  # what stands of it in the queue is passed over
                        if agent._o_bonds.overfull is not None:
                            self._make_room(agent)
                if now > end or (until is not None and until.done):
                    break
        finally:
            swap_current_task(self.loop, previous_task)
            self.current = outer
            self._draining = False
            self.now_ns = t
            self.handled += handled
            self.slices += slices
            self.busy_ns += t - began
            if words is not None:
                words[WORD_PID] = outer._o_pid if outer is not None else 0
                words[WORD_SLICES] = self.slices
                words[WORD_BUSY] = outer is not None
            self.armed = False
            if (ready or system or posts) and not self.closed:
                self._rearm()

    def _rearm(self) -> None:
        """There is more to run, once the event loop has had its turn."""
        self.armed = True
        self.loop.call_soon(self._drain)

    def _make_room(self, agent: Agent) -> None:
        """Let as many senders go on as there is room for now."""
        bonds, limit = agent._o_bonds, agent.mailbox_limit
        if bonds is not None and bonds.overfull is not None and limit is not None:
            bonds.overfull.wake(limit - agent._o_queued())

    def _run_posts(self) -> None:
        posts = self._posts
        while posts:
            function, args = posts.popleft()
            try:
                function(*args)
            except Exception as error:  # what is posted is ours; a fault in it must not stop the agents
                self.loop.call_exception_handler(
                    {"message": "a posted function of the scheduler failed", "exception": error}
                )


def _killed_by(error: BaseException, agent: Agent) -> ExitReason | None:
    """The exit reason of an agent that was killed in the middle of a step, if `error` is how."""
    if not isinstance(error, Interrupted):
        return None
    error.restore_trace()
    return agent._o_exit


def current_agent() -> Agent | None:
    """The agent whose step this code runs in, or None.

    Code in a task that the step started itself (a `TaskGroup`'s child, say) is not in the step.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return None
    if isinstance(task, Host):
        if task.seat.step is not None:
            return task.seat.step.agent
        return task.scheduler.current
    return None
