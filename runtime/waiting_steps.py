"""Steps that wait: how the scheduler parks them, goes on with them, and ends them.

The drain (`Scheduler._run`) handles messages that need no wait by itself. A step that has yielded comes here: parked
on the `Call` whose reply it awaits, or adopted by a host, a task of the event loop, that steps it from then on.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.agent import IDLE, RUNNING, SUSPENDED, WAITING
from observe.runtime.calls import Call
from observe.runtime.clock import now_ns
from observe.runtime.errors import Interrupted
from observe.runtime.exits import crash_reason
from observe.runtime.scheduler_view import WORD_BUSY, WORD_PID, WORD_SINCE
from observe.runtime.step import Host, Step, swap_current_task

if TYPE_CHECKING:
    from contextvars import Context

    from observe.runtime.agent import Agent
    from observe.runtime.lifecycle import Lifecycle


class WaitingSteps:
    """The part of the scheduler that deals with steps which have waited."""

    ENDED: Final = object()
    """What stepping gives back when the step has ended."""

    if TYPE_CHECKING:  # the rest of the scheduler
        loop: AbstractEventLoop
        lifecycle: Lifecycle
        current: Agent | None
        context: Context
        now_ns: int
        busy_ns: int
        slices: int
        _draining: bool
        _words: memoryview | None

        def schedule(self, agent: Agent) -> None: ...
        def resume(self, agent: Agent) -> None: ...
        def mark_dirty(self, agent: Agent) -> None: ...
        def _make_room(self, agent: Agent) -> None: ...

    def __init__(self) -> None:
        self._host: Host | None = None

    def _make_host(self) -> Host:
        self._host = host = Host(self, self.loop, self.context.copy())
        return host

    def _next_host(self) -> Host:
        """Another spare, as the current task, in place of one that a step has taken or that somebody keeps."""
        if self._host is not None:
            self._host.dismiss()
        host = self._make_host()
        swap_current_task(self.loop, host)
        return host

    def _park(self, step: Step, waits_for: Any, host: Host, kept: bool) -> bool:
        """A step has yielded: keep it until what it waits for is there. Tells whether the host is used up."""
        agent = step.agent
        agent._o_step = step
        agent._o_status = WAITING
        agent._o_since_ns = self.now_ns
        if type(waits_for) is Call and not kept:
            step.waits_for = waits_for
            if waits_for.done:
                # It was answered while the step was frozen on its way here (preempt.py), when nobody waited yet.
                self.resume(agent)
            else:
                waits_for.caller = agent
        else:
            # It waits for the event loop, or holds on to the current task (as `asyncio.timeout` does).
            self._host = None
            host.adopt(step, waits_for)
            kept = True
        if agent._o_exit is not None and agent._o_exit.kind == "killed" and step.kind != "terminate":
            step.cancel(self)
        return kept

    def _resume_step(self, step: Step) -> Any:
        """Go on with a step that was parked on a call, or begin one. Returns what it waits for, or `ENDED`."""
        coroutine = step.coroutine
        error, step.error = step.error, None
        try:
            if error is not None:
                return step.context.run(coroutine.throw, error)
            return step.context.run(coroutine.send, None)
        except StopIteration as stop:
            self._finish(step, stop.value, None)
        except (KeyboardInterrupt, SystemExit) as fault:
            self._finish(step, None, fault)
            raise
        except BaseException as fault:
            self._finish(step, None, fault)
        return self.ENDED

    def step_hosted(self, step: Step, resume: Callable[[Any], Any], value: Any) -> Any:
        """Step a coroutine inside its host. Returns what it waits for, or `ENDED`."""
        agent = step.agent
        outer = self.current
        self.current = agent
        if agent._o_step is step:
            agent._o_status = RUNNING
        words = self._words
        began = now_ns()
        busy_before = self.busy_ns
        if words is not None:
            words[WORD_PID] = agent._o_pid
            words[WORD_SINCE] = began
            words[WORD_BUSY] = 1
        waited: Any = self.ENDED
        try:
            waited = step.context.run(resume, value)
        except StopIteration as stop:
            self._finish(step, stop.value, None)
        except (KeyboardInterrupt, SystemExit) as error:
            self._finish(step, None, error)
            raise
        except BaseException as error:
            self._finish(step, None, error)
        finally:
            self.current = outer
            now = now_ns()
            self.slices += 1
            # Without what others did in calls answered on the spot: that is theirs.
            used = now - began - (self.busy_ns - busy_before)
            self.busy_ns += used
            if words is not None:
                words[WORD_PID] = 0
                words[WORD_BUSY] = 0
            agent._o_busy_ns += max(1000, used)
            agent._o_since_ns = now
            if waited is not self.ENDED and agent._o_step is step:
                agent._o_status = WAITING
            self.mark_dirty(agent)
        return waited

    def _finish(self, step: Step, value: Any, error: BaseException | None) -> None:
        """A step that had waited has ended."""
        agent = step.agent
        if isinstance(error, Interrupted):
            error.restore_trace()
        if agent._o_step is not step:
            return  # given up: the agent was buried while its step went on
        agent._o_step = None
        if step.on_end is not None:
            step.on_end(error)
        if step.then is not None:
            step.then(value, error)
            return
        if error is not None:
            reason = agent._o_exit or crash_reason(error)
            self.lifecycle.ended(agent, reason, step.message, step.call)
            return
        if step.call is not None:
            step.call.reply(value)
        if agent._o_exit is not None:
            self.lifecycle.ended(agent, agent._o_exit, step.message, None)
        else:
            self.settle(agent)

    def settle(self, agent: Agent) -> None:
        """Between two messages: go on with the mailbox, or wait for one."""
        if agent is self.current and self._draining:
            agent._o_status = RUNNING  # the drain looks at its mailbox when this slice ends
            return
        agent._o_since_ns = now_ns()
        self._make_room(agent)
        bonds = agent._o_bonds
        if bonds is not None and (bonds.is_held or bonds.is_paused):
            agent._o_status = SUSPENDED
        elif agent._o_backlog or agent._o_mailbox:
            self.schedule(agent)
        else:
            agent._o_backlog = None
            agent._o_status = IDLE
