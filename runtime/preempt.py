"""Preemption: a step that overruns is frozen between two bytecodes, others run, and it goes on in its turn.

    event loop (the hub) --switch--> worker greenlet: a drain, or a hosted step --> the agent's step
          ^                                                                          |
          +-----------------------------switch---- SIGALRM: older than a quantum <---+

Drains and hosted steps run in pooled greenlets, so that half a step can be put aside with its whole stack of Python and
C frames. A timer's signal looks whether the step that runs is the one of a quantum ago; if so, and if the moment is fit
(moments.py), it switches back to the hub. If the moment is not fit, an opcode tracer waits for control to come back to the
agent's own code, and switches there.

What is per greenlet, and so is kept apart: the stack, the exception in hand, the context variables. What is per
thread is not: `threading.local`, the owner of an RLock. docs/preemption.md lists what follows from that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.agent import RUNNABLE, RUNNING
from observe.runtime.clock import now_ns
from observe.runtime.exits import SHUTDOWN
from observe.runtime.frozen import (
    COME,
    DONE,
    FROZEN,
    RAISED,
    Frozen,
    Preemption,
    Worker,
    has_left,
    import_greenlet,
    until_ours,
)
from observe.runtime.interrupt import Interruption
from observe.runtime.moments import shown_frames
from observe.runtime.step import Host, Step, swap_current_task
from observe.runtime.ticks import Ticks

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.calls import Call
    from observe.runtime.exits import ExitReason
    from observe.runtime.scheduler import Scheduler

logger = logging.getLogger("observe.runtime")

TASKS_FINISH_S: Final = 1.0
"""How long frozen steps of plain tasks may go on when the node stops."""

TASKS_END_S: Final = 0.5
"""And how long they may take to clean up, once they have been ended."""

WORKERS_KEPT: Final = 8
"""Greenlets kept for the next drain. One is in use; a step that is frozen takes it away."""

TURN_HOPS: Final = 3
"""Turns of the event loop that a frozen step lets pass before its own. What has become due meanwhile takes that many to reach an
agent: the timer or socket, the future's task, the cast. Without them each would wait for a quantum."""


class Preempter:
    """Freezes and resumes the steps of one scheduler, which must run in the main thread. Everything but `frozen` and
    `holds` belongs to it."""

    def __init__(self, scheduler: Scheduler, options: Preemption) -> None:
        self._greenlet = import_greenlet()
        if not options.quantum_s > 0 or not 0 < options.share <= 1:
            raise ValueError(f"quantum_s must be more than 0 and share in (0, 1], not {options!r}")
        self.scheduler = self._scheduler = scheduler
        self._options = options
        self._ticks = Ticks(self, scheduler, options)
        self._main = self._greenlet.getcurrent()
        """In which the event loop runs."""
        self._idle: list[Worker] = []
        self._idle_for_tasks: list[Worker] = []
        self._worker: Worker | None = None
        """The worker that runs now; the innermost one when calls are answered on the spot."""
        self._frozen: list[Frozen] = []
        """In the order in which they are resumed."""
        self._hosted: dict[Step, Frozen] = {}
        self.abandoned: list[Frozen] = []
        """Steps of agents that are buried: given up, and never resumed. Kept, because letting go of a greenlet would
        run its step."""
        self._not_before_ns = 0
        self._was_new = False
        """The last turn was that of a step that had none before."""
        self._turn_asked = False
        self._drain_asked = False
        self._closed = False

    # -- Start and stop

    def open(self) -> None:
        """Take SIGALRM and its timer, and put this between the scheduler and its steps.

        Raises:
            PreemptionUnavailable: not in the main thread, or somebody else uses the signal or the timer.
        """
        self._ticks.open()
        scheduler = self._scheduler
        scheduler.preempter = self
        PREEMPTERS[scheduler.loop] = self
        for name, method in (
            ("_run", self._run_drain),
            ("step_hosted", self._step_hosted),
            ("_rearm", self._rearm),
            ("_drain", self._drain),
        ):
            setattr(scheduler, name, method)  # on the object: a node without preemption pays nothing

    def close(self) -> None:
        """Give the signal back."""
        self._closed = True
        PREEMPTERS.pop(self._scheduler.loop, None)
        self._ticks.close()
        idle, self._idle, self._idle_for_tasks = self._idle + self._idle_for_tasks, [], []
        for worker in idle:
            worker.dismiss(self._greenlet.getcurrent())
        for frozen in self._frozen:
            if frozen.is_task:
                self._give_up(frozen)
        self.abandoned += self._frozen
        self._frozen = []
        _KEPT.extend(self.abandoned)

    async def end_tasks(self) -> None:
        """Let frozen steps of plain tasks come to their end, for a while; then end them. For a node that stops: nobody
        will resume them afterwards."""
        for patience_s in (TASKS_FINISH_S, TASKS_END_S):
            until_ns = now_ns() + int(patience_s * 1e9)
            while any(frozen.is_task for frozen in self._frozen) and now_ns() < until_ns:  # noqa: ASYNC110  # steps end in greenlets, which set no event
                await asyncio.sleep(0.002)
            for frozen in self.frozen:
                if frozen.is_task:
                    self.end(frozen, SHUTDOWN)

    # -- What others ask

    @property
    def frozen(self) -> list[Frozen]:
        """Steps that have been frozen and are not done. Any thread."""
        return list(self._frozen)

    def holds(self, agent: Agent) -> Frozen | None:
        """The frozen step of `agent`. Any thread."""
        return next((frozen for frozen in list(self._frozen) if frozen.agent is agent), None)

    def holds_task(self, task: asyncio.Task[Any]) -> Frozen | None:
        """The frozen step of a plain task. Any thread."""
        for frozen in list(self._frozen):
            if frozen.is_task and frozen.step is not None and frozen.step.host is task:
                return frozen
        return None

    def who_runs(self) -> Agent | None:
        """The agent whose step runs now, or what stands for a plain task's."""
        worker = self._worker
        body = worker.body if worker is not None else None
        return body if body is not None else self._scheduler.current

    def _where(self) -> Any:
        """The greenlet in which code of the scheduler or of a step runs."""
        worker = self._worker
        return worker.glet if worker is not None else self._main

    @property
    def is_busy(self) -> bool:
        """A worker runs, or a frozen step waits for its turn."""
        return self._worker is not None or bool(self._frozen)

    def running(self) -> Worker | None:
        """The worker in whose greenlet this is called, if it is the one that runs steps now."""
        worker = self._worker
        return worker if worker is not None and self._greenlet.getcurrent() is worker.glet else None

    def frames_of(self, frozen: Frozen) -> list[FrameType]:
        """The live frames of a frozen step, innermost first."""
        return shown_frames(frozen.worker.glet.gr_frame)

    def end(self, frozen: Frozen, reason: ExitReason) -> None:
        """Resume the step soon, and end it where it is."""
        if frozen.is_task and frozen.killing is not None and frozen.killing.is_raised:
            frozen.reason = frozen.killing = (
                None  # an operator asks again: what was caught is raised once more
            )
            self._scheduler.interrupter.ended_pid = 0
        if frozen.reason is not None or self._scheduler.interrupter.ended_pid == frozen.agent._o_pid:
            return  # it has been told, and cleans up; a second exception would cut that short
        frozen.reason = reason
        self._ask_turn()

    def abandon(self, frozen: Frozen) -> None:
        """Never resume it: its agent is buried."""
        if frozen in self._frozen:
            self._frozen.remove(frozen)
        if frozen.is_task:
            self._give_up(frozen)
        self.abandoned.append(frozen)
        if frozen.future is not None and not frozen.future.done():
            frozen.outcome = DONE, self._scheduler.ENDED
            frozen.future.set_result(None)

    def _give_up(self, frozen: Frozen) -> None:
        """The task of a step that will never be resumed must not wait for it."""
        logger.warning("%s computes on and on: it is given up", frozen.agent._o_text())
        self._done(frozen, RAISED, asyncio.CancelledError("its step was given up"))

    # -- For plain tasks

    def run_task_step(self, function: Callable[..., Any], args: tuple[Any, ...], body: Agent) -> Any:
        """Run a step of a plain task in a worker. Returns what it returns, or a `Frozen`; raises what it raises."""
        worker = (
            self._idle_for_tasks.pop()
            if self._idle_for_tasks
            else Worker(self._greenlet.greenlet, None, self._where)
        )
        worker.body = body
        # The context that the task has entered: in the worker it is current as well, and may be changed there.
        worker.glet.gr_context = self._greenlet.getcurrent().gr_context
        kind, value = self._start(worker, function, args, body)
        if kind is RAISED:
            raise value
        if kind is not FROZEN:
            body._o_busy_ns += 1  # so that a tick can tell the next step from this one
        return value

    # -- In place of the scheduler's own methods

    def _run_drain(self, until: Call | None) -> None:
        scheduler = self._scheduler
        began = now_ns()
        kind, value = self._start(self._take_worker(), type(scheduler)._run, (scheduler, until), None)
        if kind is FROZEN:
            value.host, scheduler._host = scheduler._host, None
            scheduler.busy_ns += now_ns() - began
            self._settle_armed()
        elif self._frozen:
            self._ask_turn()
        if kind is RAISED:
            raise value

    def _step_hosted(self, step: Step, resume: Callable[[Any], Any], value: Any) -> Any:
        scheduler = self._scheduler
        frozen = self._hosted.get(step)
        if frozen is None:
            began = now_ns()
            kind, value = self._start(
                self._take_worker(), type(scheduler).step_hosted, (scheduler, step, resume, value), step
            )
            if kind is not FROZEN:
                if kind is RAISED:
                    raise value
                return value
            scheduler.busy_ns += now_ns() - began
            self._hosted[step] = frozen = value
        elif frozen.outcome is not None:
            del self._hosted[step]
            thrown = value if isinstance(value, BaseException) else frozen.thrown
            kind, value = frozen.outcome
            if kind is RAISED:
                raise value
            if value is not scheduler.ENDED and step.host is not None and step.host.cancelling():
                step.error = thrown  # else it was taken back, as `asyncio.timeout` does
            return value
        else:
            # Something was thrown into the task while its step is frozen. The step gets it at its next wait.
            frozen.thrown = value
        frozen.future = scheduler.loop.create_future()
        return frozen.future

    def _drain(self) -> None:
        self._drain_asked = False
        if not self._scheduler.closed:
            self._run_drain(None)

    def _rearm(self) -> None:
        self._scheduler.armed = True
        if not self._drain_asked:
            self._drain_asked = True
            self._scheduler.loop.call_soon(self._drain)

    def _settle_armed(self) -> None:
        """A drain did not come to its end: ask for another if there is anything to run."""
        scheduler = self._scheduler
        scheduler.armed = False
        if (scheduler.ready or scheduler.system or scheduler._posts) and not scheduler.closed:
            self._rearm()

    # -- Switching

    def _take_worker(self) -> Worker:
        if self._idle:
            return self._idle.pop()
        return Worker(self._greenlet.greenlet, self._scheduler.context.copy(), self._where)

    def _put_back(self, worker: Worker) -> None:
        if worker.body is not None:
            worker.body = worker.glet.gr_context = None
            if len(self._idle_for_tasks) < WORKERS_KEPT and not self._closed:
                self._idle_for_tasks.append(worker)
            else:
                worker.dismiss(self._greenlet.getcurrent())
        elif len(self._idle) < WORKERS_KEPT:
            self._idle.append(worker)
        else:
            worker.dismiss(self._greenlet.getcurrent())

    def _start(
        self, worker: Worker, function: Callable[..., Any], args: tuple[Any, ...], step: Any
    ) -> tuple[Any, Any]:
        """Run a drain or a step in a worker. Returns how it came back: done, raised or frozen."""
        if not self._ticks.are_on:
            self._ticks.start()
        kind, value = self._switch(worker, function, args)
        if kind is not FROZEN:
            self._put_back(worker)
            return kind, value
        agent: Agent = value
        worker.frozen = frozen = Frozen(agent, worker, step, now_ns() - worker.seen_ns)
        agent._o_busy_ns += frozen.ran_ns
        self._frozen.append(frozen)
        self._park(frozen)
        self._ticks.note_freeze()
        self._ask_turn()
        return kind, frozen

    def _switch(self, worker: Worker, *args: Any) -> tuple[Any, Any]:
        scheduler = self._scheduler
        outer, current, draining = self._worker, scheduler.current, scheduler._draining
        task = asyncio.current_task(scheduler.loop)
        frozen = worker.frozen
        if frozen is not None:
            agent = frozen.agent
            scheduler.current = None if frozen.is_task else agent
            self._ticks.expect(agent)
            scheduler._draining = frozen.is_draining
            # Without a name for the task: the scheduler counts references to its spare.
            swap_current_task(scheduler.loop, scheduler._host if frozen.step is None else frozen.step.host)
            scheduler.tell_words(scheduler.current)
        worker.hub = self._greenlet.getcurrent()
        self._worker = worker
        came = (COME, *args) if args else (COME,)
        kind, value = until_ours(worker.glet.switch, came, has_left, self._where)
        self._worker = outer
        if kind is FROZEN or frozen is not None:
            # What the drain would have put back itself, or has put back as it was long ago.
            self._ticks.forget()
            if (
                task is not None or asyncio.current_task(scheduler.loop) is not None
            ):  # 3.12 takes out what is there
                swap_current_task(scheduler.loop, task)
            scheduler.current, scheduler._draining = current, draining
            scheduler.tell_words(current)
        return kind, value

    def _park(self, frozen: Frozen) -> None:
        agent = frozen.agent
        agent._o_status = RUNNABLE
        agent._o_since_ns = now_ns()
        self._scheduler.mark_dirty(agent)
        frozen.is_parked = True

    def _ask_turn(self) -> None:
        if not self._turn_asked and not self._closed:
            self._turn_asked = True
            self._scheduler.loop.call_soon(self._turn, TURN_HOPS)

    def _turn(self, hops: int) -> None:
        """Let one frozen step go on for a quantum, if it may."""
        if hops:
            self._scheduler.loop.call_soon(self._turn, hops - 1)
            return
        self._turn_asked = False
        if self._closed:
            return
        frozen = self._pick()
        if frozen is not None:
            self._resume(frozen)
            if self._frozen:
                self._ask_turn()
        # Else agents are runnable, and their drain asks again.

    def _pick(self) -> Frozen | None:
        waiting = [frozen for frozen in self._frozen if frozen.is_parked]
        for frozen in waiting:
            # The runtime's own work goes first, and steps that are to end are soon gone.
            if frozen.agent._o_system or (frozen.reason is not None and frozen.killing is None):
                return frozen
        if self._scheduler.run_queue and now_ns() < self._not_before_ns:
            return None
        # Most steps that overrun need little more, and loops that never end can wait: every other turn is for those that
        # had none yet.
        self._was_new = not self._was_new
        if self._was_new:
            for frozen in waiting:
                if not frozen.turns:
                    return frozen
        return waiting[0] if waiting else None

    def _resume(self, frozen: Frozen) -> None:
        scheduler, agent = self._scheduler, frozen.agent
        self._frozen.remove(frozen)
        self._frozen.append(frozen)
        began = now_ns()
        agent_ns, scheduler_ns = agent._o_busy_ns, scheduler.busy_ns
        agent._o_status = RUNNING
        agent._o_since_ns = began
        if frozen.reason is not None and frozen.killing is None:
            frozen.killing = Interruption(scheduler, agent, frozen.reason)
        spare: Host | None = None
        if frozen.is_draining:
            spare, scheduler._host, frozen.host = scheduler._host, frozen.host, None
            scheduler.armed = True
        frozen.is_parked = False
        frozen.turns += 1
        self._ticks.start()
        kind, value = self._switch(frozen.worker)
        used = now_ns() - began
        frozen.ran_ns += used
        # What the scheduler may have counted includes all the time in which others ran.
        agent._o_busy_ns = agent_ns + used
        scheduler.busy_ns = scheduler_ns + (0 if frozen.is_task else used)
        self._not_before_ns = now_ns() + int(used * (1 / self._options.share - 1))
        if frozen.is_draining:
            if kind is FROZEN:
                frozen.host, scheduler._host = scheduler._host, spare
            elif scheduler._host is None:
                scheduler._host = spare
            elif spare is not None:
                spare.dismiss()
            self._settle_armed()
        if kind is FROZEN:
            self._park(frozen)
            self._ticks.go_on()
        else:
            self._frozen.remove(frozen)
            frozen.worker.frozen = None
            self._put_back(frozen.worker)
            self._done(frozen, kind, value)

    def _done(self, frozen: Frozen, kind: Any, value: Any) -> None:
        if frozen.is_draining:
            if kind is RAISED:
                raise value
            return
        if getattr(value, "_asyncio_future_blocking", None):
            value._asyncio_future_blocking = (
                False  # as in Host.adopt: others may await it before our task does
            )
        frozen.outcome = kind, value
        if frozen.future is not None and not frozen.future.done():
            frozen.future.set_result(None)


PREEMPTERS: Final[dict[asyncio.AbstractEventLoop, Preempter]] = {}
"""By the loop on which they preempt: how a plain task finds its own."""

_KEPT: Final[list[Frozen]] = []
"""Abandoned steps of nodes that have stopped."""
