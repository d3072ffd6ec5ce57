"""Birth and death of agents: the one place where they enter and leave the node's tables.

start --> init --> (idle | runnable | running | waiting)* --> ending --> terminate --> exited
            |                                                   ^
            +-- raises: InitFailed                              +-- crash, stop, exit from outside
"""

from __future__ import annotations

import logging
from asyncio import CancelledError, Future, TimerHandle
from collections import deque
from math import inf
from threading import get_ident
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.agent import EXITED, IDLE, RUNNABLE, RUNNING, STARTING, Agent
from observe.runtime.bonds import sever
from observe.runtime.calls import Call
from observe.runtime.care import begin
from observe.runtime.errors import (
    AgentExited,
    Contained,
    InitFailed,
    Interrupted,
    NameTaken,
    NodeDown,
    WrongThread,
)
from observe.runtime.exits import KILLED, Crash, ExitReason, crash_reason
from observe.runtime.groups import Groups
from observe.runtime.growth import LOOK_EVERY, Growth
from observe.runtime.instrument import Instruments
from observe.runtime.mailbox import DeadMailbox
from observe.runtime.step import Step

if TYPE_CHECKING:
    from observe.runtime.children import Child
    from observe.runtime.node import Node
    from observe.runtime.scheduler import Scheduler
    from observe.runtime.workers.pool import Workers

logger = logging.getLogger("observe.runtime")

KILL_GRACE_S: Final = 1.0
"""How long the step of a killed agent may take to unwind before the agent is buried without it."""

CRASHES_KEPT: Final = 200
"""Crashes that the node remembers; the oldest goes when another comes."""


class Lifecycle:
    """Starts and ends agents, and keeps the tables of those alive."""

    def __init__(self, node: Node, scheduler: Scheduler, instruments: Instruments) -> None:
        self.node = node
        self.scheduler = scheduler
        self.instruments = instruments
        self.agents: dict[int, Agent] = {}
        """Live agents by pid, in the order in which they were started."""
        self.registry: dict[str, Agent] = {}
        """Live agents by name."""
        self.crashes: deque[Crash] = deque(maxlen=CRASHES_KEPT)
        self.spawned = 0
        self.exited = 0
        self.crashed = 0
        self.restarted = 0
        self.groups = Groups()
        self.workers: Workers | None = None
        """The node's worker processes; None while it has none."""
        self.growth: Growth | None = None
        """Lets full garbage collections wait while very many agents are started; None when it shall not."""
        self._next_pid = 1
        self._timers: dict[int, TimerHandle] = {}
        self._waiting: dict[int, list[Future[ExitReason]]] = {}

    # -- Birth

    def start(self, child: Child) -> Agent | Future[Agent]:
        """Make the agent that `child` describes and run its `init`.

        Returns the agent, or when its `init` has to wait a future of it.

        Raises:
            NameTaken: another live agent has the name.
            InitFailed: `init` raised; the agent is gone again.
        """
        scheduler = self.scheduler
        if scheduler.thread_id != get_ident():
            raise WrongThread
        if scheduler.closed:
            raise NodeDown("the node has stopped")
        cls = child.spec.agent
        if self.workers is not None or child.spec.isolation is not None:
            cls = self.node._class_for(child)
        agent = cls.__new__(cls)
        pid = self._next_pid
        self._next_pid = pid + 1
        if not pid % LOOK_EVERY and self.growth is not None:
            self.growth.look()
        agent._o_pid = pid
        agent._o_scheduler = scheduler
        agent._o_child = child
        agent._o_mailbox = None
        agent._o_backlog = None
        agent._o_activities = None
        agent._o_bonds = None
        agent._o_exit = None
        agent._o_step = None
        agent._o_handled = 0
        agent._o_busy_ns = 1000
        agent._o_mailbox_max = 0
        agent._o_dirty = not scheduler.collecting
        agent._o_status = STARTING
        agent._o_since_ns = scheduler.now_ns
        name = child.name
        if name is not None:
            holder = self.registry.setdefault(name, agent)
            if holder is not agent:
                raise NameTaken(name, holder._o_pid)
        self.agents[pid] = agent
        child.agent = agent
        self.spawned += 1
        for hook in self.instruments.on_spawn:
            hook(agent)
        outer, scheduler.current = scheduler.current, agent
        try:
            if child.spec.plan is None:
                result = scheduler.context.copy().run(agent._o_init, child.args, child.kwargs)
            else:
                result = scheduler.context.copy().run(begin, agent, child.args, child.kwargs)
        except (KeyboardInterrupt, SystemExit) as error:
            self._not_started(agent, error)
            raise
        except BaseException as error:
            raise self._not_started(agent, error) from error
        finally:
            scheduler.current = outer
        if type(result) is CoroutineType:
            return self._await_init(agent, result)
        agent._o_status = IDLE
        if agent._o_mailbox or agent._o_exit is not None:
            self._started(agent)
        return agent

    def _await_init(self, agent: Agent, coroutine: CoroutineType[Any, Any, Any]) -> Future[Agent]:
        started: Future[Agent] = self.scheduler.loop.create_future()

        def initialised(value: Any, error: BaseException | None) -> None:
            if error is None:
                self._started(agent)
                if not started.done():
                    started.set_result(agent)
                return
            fault = self._not_started(agent, error)
            fault.__cause__ = error
            if not started.done():
                started.set_exception(fault)

        def given_up(started: Future[Agent]) -> None:
            if started.cancelled():  # whoever started it waits no more, and nobody else knows of it
                self.exit(agent, KILLED)

        started.add_done_callback(given_up)
        step = Step(agent, coroutine, self.scheduler.context.copy(), kind="init", then=initialised)
        self.scheduler.start_step(step)
        return started

    def _started(self, agent: Agent) -> None:
        if agent._o_exit is not None:
            self.ended(agent, agent._o_exit, None, None)
        else:
            self.scheduler.settle(agent)

    def _not_started(self, agent: Agent, error: BaseException) -> InitFailed:
        # An agent that was told to exit while it started did not crash: it obeyed.
        if isinstance(error, Interrupted):
            error.restore_trace()
        asked = agent._o_exit if isinstance(error, CancelledError) else None
        reason = asked or crash_reason(error)
        fault = InitFailed(agent._o_text(), reason)
        fault.was_stopped = agent._o_child.agent is not agent
        if reason.kind == "crash":
            self._record_crash(agent, reason, None, False)
        self._bury(agent, reason, tell_supervisor=False)
        return fault

    def restart_done(self, old: Agent, new: Agent) -> None:
        """A supervisor has put `new` in the place of `old`."""
        for hook in self.instruments.on_restart:
            hook(old, new)

    # -- Death

    def exit(self, agent: Agent, reason: ExitReason) -> None:
        """Make `agent` end with `reason`: at once when it is between messages, else where its step waits.

        `killed` skips `terminate` and cuts short an end that is already under way; any other reason is ignored once
        the agent is ending. As in OTP, where an exit signal ends a process in the middle of its callback, a step that
        waits is cancelled; its clean-up code runs.
        """
        if agent._o_status == EXITED:
            return
        if agent._o_exit is not None and reason.kind != "killed":
            return
        agent._o_exit = reason
        status = agent._o_status
        step = agent._o_step
        grace_s = KILL_GRACE_S if reason.kind == "killed" else agent._o_child.spec.shutdown_s
        preempter = self.scheduler.preempter
        frozen = preempter.holds(agent) if preempter is not None else None
        if preempter is not None and frozen is not None and frozen.is_parked:
            self._bury_after(agent, grace_s)
            preempter.end(frozen, reason)
        elif status == RUNNING and agent is self.scheduler.current:
            self._bury_after(agent, grace_s)  # unless it ends with the message in hand, as it should
        elif step is not None:
            self._bury_after(agent, grace_s)
            step.cancel(self.scheduler)
        elif status != RUNNING:
            self.ended(agent, reason, None, None)

    async def wait_exit(self, agent: Agent) -> ExitReason:
        """Wait until `agent` has ended."""
        if agent._o_status == EXITED:
            assert agent._o_exit is not None
            return agent._o_exit
        waiting: Future[ExitReason] = self.scheduler.loop.create_future()
        self._waiting.setdefault(agent._o_pid, []).append(waiting)
        return await waiting

    def ended(self, agent: Agent, reason: ExitReason, message: Any, call: Call | None) -> None:
        """The agent's last step is over: record a crash, run `terminate`, and bury it.

        `message` and `call` are those that were in hand.
        """
        if agent._o_status == EXITED:
            return
        error = reason.error
        if isinstance(error, Contained) and error.pid == agent._o_pid and agent._o_exit is None:
            self._spared(agent, error, message, call)
            return
        if call is not None:
            call.fail(AgentExited(agent._o_text(), reason))
        if reason.kind == "crash" and not reason.root_pid:
            self._record_crash(agent, reason, message, True)
        agent._o_exit = reason
        if agent._o_bonds is not None and agent._o_bonds.care is not None:
            agent._o_bonds.care.ending(reason)
        if reason.kind == "killed" or not agent._o_has_terminate:
            self._bury(agent, reason)
            return
        scheduler = self.scheduler
        agent._o_status = RUNNING
        context = scheduler.context.copy()
        outer, scheduler.current = scheduler.current, agent
        try:
            result = context.run(agent.terminate, reason)
        except (KeyboardInterrupt, SystemExit):
            self._bury(agent, reason)
            raise
        except BaseException as error:
            self._terminate_failed(agent, error)
            result = None
        finally:
            scheduler.current = outer
        if type(result) is not CoroutineType:
            self._bury(agent, reason)
            return

        def terminated(value: Any, error: BaseException | None) -> None:
            if error is not None and not isinstance(error, CancelledError):
                self._terminate_failed(agent, error)
            self._bury(agent, agent._o_exit or reason)

        self._bury_after(agent, agent._o_child.spec.shutdown_s)
        agent._o_status = RUNNABLE
        scheduler.start_step(Step(agent, result, context, kind="terminate", then=terminated))

    def _spared(self, agent: Agent, error: Contained, message: Any, call: Call | None) -> None:
        """The step of an agent that is fenced in has ended by that: the agent has not."""
        from observe.runtime.containment import spare

        error.__traceback__ = None
        if call is not None:
            call.fail(error)
        elif message is not None:
            self.node.dead_letter(agent, message, why="refused", waited=True)
        spare(agent, error)
        self.scheduler.settle(agent)

    def taken_out(self, agent: Agent, places: list[int], taken: list[Any], to: Agent | None) -> list[Any]:
        """Somebody has taken the messages at these places out of the agent's mailbox, for `to` or for nobody. Returns those
        that are to be dealt with here: all of them, unless their originals are in another process."""
        return taken

    def _terminate_failed(self, agent: Agent, error: BaseException) -> None:
        # The reason stays what it was: OTP, too, reports a failing terminate and goes on.
        logger.error("terminate() of %s failed", agent._o_text(), exc_info=error)

    def _bury_after(self, agent: Agent, grace_s: float) -> None:
        timer = self._timers.pop(agent._o_pid, None)
        if timer is not None:
            timer.cancel()
        if grace_s != inf:
            self._timers[agent._o_pid] = self.scheduler.loop.call_later(grace_s, self._give_up, agent)

    def _give_up(self, agent: Agent) -> None:
        self._timers.pop(agent._o_pid, None)
        if agent._o_status == EXITED:
            return
        logger.warning("%s did not end in time; it is given up and its step goes on unseen", agent._o_text())
        step, agent._o_step = agent._o_step, None
        preempter = self.scheduler.preempter
        frozen = preempter.holds(agent) if preempter is not None else None
        if preempter is not None and frozen is not None:
            preempter.abandon(frozen)
        elif step is not None:
            step.cancel(self.scheduler)
        if step is not None and step.call is not None:
            step.call.fail(AgentExited(agent._o_text(), agent._o_exit or KILLED))
        if step is not None and step.kind == "init" and step.then is not None:
            step.then(None, CancelledError())  # buries it, and tells whoever waits for it to start
        else:
            self._bury(agent, KILLED)

    def _record_crash(self, agent: Agent, reason: ExitReason, message: Any, has_message: bool) -> None:
        child = agent._o_child
        crash = Crash(
            pid=agent._o_pid,
            name=child.name,
            class_name=type(agent).__name__,
            child_id=str(child.id),
            supervisor_pid=child.supervisor_pid,
            reason=reason,
            message=message,
            has_message=has_message,
        )
        if reason.error is not None:
            # The record has the traceback. Left on the error it would keep the step's frames, and all that they
            # hold, alive for as long as anybody keeps the reason.
            reason.error.__traceback__ = None
        child.last_crash = crash
        child.crashes += 1
        self.crashed += 1
        self.crashes.append(crash)
        for hook in self.instruments.on_crash:
            hook(crash)

    def _bury(self, agent: Agent, reason: ExitReason, tell_supervisor: bool = True) -> None:
        """Take the agent out of every table, answer all who wait for it, tell its supervisor."""
        if agent._o_status == EXITED:
            return
        agent._o_status = EXITED
        agent._o_exit = reason
        timer = self._timers.pop(agent._o_pid, None)
        if timer is not None:
            timer.cancel()
        child = agent._o_child
        left = [*reversed(agent._o_backlog or ()), *(agent._o_mailbox or ())]
        agent._o_backlog = None
        agent._o_mailbox = DeadMailbox(agent, reason)
        self.agents.pop(agent._o_pid, None)
        name = child.name
        if name is not None and self.registry.get(name) is agent:
            del self.registry[name]
        for message in left:
            self.node.dead_letter(agent, message, reason, waited=True)
        if agent._o_bonds is not None:
            self.groups.forget(agent)
            if agent._o_bonds.care is not None:
                agent._o_bonds.care.buried(reason)
            sever(agent, reason)
        agent._o_buried(reason)
        self.exited += 1
        for hook in self.instruments.on_exit:
            hook(agent, reason)
        for waiting in self._waiting.pop(agent._o_pid, ()):
            if not waiting.done():
                waiting.set_result(reason)
        child.ended(agent, reason, tell_supervisor)
