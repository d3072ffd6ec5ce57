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
import ctypes
import signal
import sys
import threading
from asyncio import Future
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.agent import RUNNABLE, RUNNING
from observe.runtime.clock import now_ns
from observe.runtime.errors import PreemptionUnavailable
from observe.runtime.interrupt import Interruption
from observe.runtime.moments import PLAIN, freezing_point, home_of, preemption_is_held_off, step_frames
from observe.runtime.step import Host, Step, swap_current_task
from observe.runtime.tracer import Tracer

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.calls import Call
    from observe.runtime.exits import ExitReason
    from observe.runtime.scheduler import Scheduler

IDLE_TICKS: Final = 3
"""Ticks without anything to run after which the timer is stopped. Starting it costs a microsecond, so that it is not
stopped at the end of each drain."""

WORKERS_KEPT: Final = 8
"""Greenlets kept for the next drain. One is in use; a step that is frozen takes it away."""

_DONE: Final = object()
_RAISED: Final = object()
_FROZEN: Final = object()


@dataclass(frozen=True, slots=True)
class Preemption:
    """How a node preempts: `Node(preempt=Preemption(quantum_s=0.001))`. `preempt=True` takes the defaults."""

    quantum_s: float = 0.0015
    """How old a step may get before it is frozen, in seconds; up to twice that when it begins just after a tick.
    Siblings are late by about as much. A slice of short messages takes 1 ms and should fit in."""

    share: float = 0.1
    """The part of the time that all frozen steps together get while other agents are runnable. When nobody is, they
    get all of it."""

    plain: frozenset[str] = frozenset()
    """Top-level names of installed packages that compute and keep no state that agents share: steps may be frozen
    inside them. (Your own code, and the agent's own package wherever it is installed, need not be named.)"""


class Frozen:
    """A step that has been frozen, from the first time until it is done or given up."""

    __slots__ = (
        "agent",
        "future",
        "host",
        "is_draining",
        "is_parked",
        "killing",
        "outcome",
        "ran_ns",
        "reason",
        "since_ns",
        "step",
        "thrown",
        "worker",
    )

    def __init__(self, agent: Agent, worker: _Worker, step: Step | None, ran_ns: int) -> None:
        self.agent = agent
        self.worker = worker
        self.step = step
        """The hosted step that this is; None for a step inside a drain."""
        self.is_draining = step is None
        self.host: Host | None = None
        """The spare task that stands for a step inside a drain; the scheduler's while the step runs."""
        self.since_ns = now_ns() - ran_ns
        """When the step was first seen."""
        self.ran_ns = ran_ns
        """How long it has computed since."""
        self.is_parked = True
        """It waits for its turn; else it runs at this moment."""
        self.reason: ExitReason | None = None
        """Why it is to end, if it is."""
        self.killing: Interruption | None = None
        self.future: Future[None] | None = None
        """What the task of a hosted step awaits meanwhile."""
        self.outcome: tuple[Any, Any] | None = None
        self.thrown: BaseException | None = None
        """What was thrown into the task meanwhile, for the step's next wait."""


class _Worker:
    """A greenlet that runs one function after another, and whoever switched to it last."""

    __slots__ = ("frozen", "glet", "hub", "seen_ns")

    def __init__(self, greenlet: Any, context: Any) -> None:
        self.glet = greenlet(self._main)
        self.glet.gr_context = context
        self.hub: Any = None
        self.frozen: Frozen | None = None
        self.seen_ns = 0

    def _main(self, function: Callable[..., Any] | None, args: tuple[Any, ...]) -> None:
        while function is not None:
            try:
                outcome = _DONE, function(*args)
            except BaseException as error:  # what comes out of a drain is the hub's to raise
                outcome = _RAISED, error
            function, args = self.hub.switch(outcome)
            outcome = None  # type: ignore[assignment]  # an error would hold its frames


class Preempter:
    """Freezes and resumes the steps of one scheduler, which must run in the main thread. Everything but `frozen` and
    `holds` belongs to it."""

    def __init__(self, scheduler: Scheduler, options: Preemption) -> None:
        self._greenlet = _import_greenlet()
        if not options.quantum_s > 0 or not 0 < options.share <= 1:
            raise ValueError(f"quantum_s must be more than 0 and share in (0, 1], not {options!r}")
        self._scheduler = scheduler
        self._options = options
        self._plain = PLAIN | options.plain
        self._idle: list[_Worker] = []
        self._worker: _Worker | None = None
        """The worker that runs now; the innermost one when calls are answered on the spot."""
        self._frozen: list[Frozen] = []
        """In the order in which they are resumed."""
        self._hosted: dict[Step, Frozen] = {}
        self.abandoned: list[Frozen] = []
        """Steps of agents that are buried: given up, and never resumed. Kept, because letting go of a greenlet would
        run its step."""
        self._seen: Agent | None = None
        self._mark = 0
        self._tracer: Tracer | None = None
        self._in_tick = False
        self._ticking = False
        self._idle_ticks = 0
        self._not_before_ns = 0
        self._turn_asked = False
        self._drain_asked = False
        self._closed = False

    # -- Start and stop

    def open(self) -> None:
        """Take SIGALRM and its timer, and put this between the scheduler and its steps.

        Raises:
            PreemptionUnavailable: not in the main thread, or somebody else uses the signal or the timer.
        """
        if threading.current_thread() is not threading.main_thread():
            raise PreemptionUnavailable(
                "preempt=True needs the node's event loop in the main thread: signals are handled there only. "
                "Leave it out, and steps that overrun are still named and can be killed"
            )
        if not hasattr(signal, "setitimer"):
            raise PreemptionUnavailable(
                "preempt=True needs signal.setitimer, which this system does not have"
            )
        if signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL or signal.getitimer(signal.ITIMER_REAL)[0]:
            raise PreemptionUnavailable(
                "preempt=True needs SIGALRM and ITIMER_REAL, and something in this process uses them already "
                f"(the handler is {signal.getsignal(signal.SIGALRM)!r}); only one node of a process can preempt"
            )
        signal.signal(signal.SIGALRM, self._tick)
        scheduler = self._scheduler
        scheduler.preempter = self
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
        self._disarm()
        self._pull()
        if signal.getsignal(signal.SIGALRM) == self._tick:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        idle, self._idle = self._idle, []
        for worker in idle:
            worker.glet.parent = self._greenlet.getcurrent()
            worker.glet.switch(None, ())
        self.abandoned += self._frozen
        self._frozen = []
        _KEPT.extend(self.abandoned)

    # -- What others ask

    @property
    def frozen(self) -> list[Frozen]:
        """Steps that have been frozen and are not done. Any thread."""
        return list(self._frozen)

    def holds(self, agent: Agent) -> Frozen | None:
        """The frozen step of `agent`. Any thread."""
        return next((frozen for frozen in list(self._frozen) if frozen.agent is agent), None)

    def frames_of(self, frozen: Frozen) -> list[FrameType]:
        """The live frames of a frozen step, innermost first."""
        frames = step_frames(frozen.worker.glet.gr_frame) or []
        while frames and frames[0].f_globals.get("__name__", "").startswith("observe.runtime."):
            del frames[0]
        return frames

    def end(self, frozen: Frozen, reason: ExitReason) -> None:
        """Resume the step soon, and end it where it is."""
        if frozen.reason is not None or self._scheduler.interrupter.ended is frozen.agent:
            return  # it has been told, and cleans up; a second exception would cut that short
        frozen.reason = reason
        self._ask_turn()

    def abandon(self, frozen: Frozen) -> None:
        """Never resume it: its agent is buried."""
        if frozen in self._frozen:
            self._frozen.remove(frozen)
        self.abandoned.append(frozen)
        if frozen.future is not None and not frozen.future.done():
            frozen.outcome = _DONE, self._scheduler.ENDED
            frozen.future.set_result(None)

    # -- In place of the scheduler's own methods

    def _run_drain(self, until: Call | None) -> None:
        scheduler = self._scheduler
        began = now_ns()
        kind, value = self._start(type(scheduler)._run, (scheduler, until), None)
        if kind is _FROZEN:
            value.host, scheduler._host = scheduler._host, None
            scheduler.busy_ns += now_ns() - began
            self._settle_armed()
        elif self._frozen:
            self._ask_turn()
        if kind is _RAISED:
            raise value

    def _step_hosted(self, step: Step, resume: Callable[[Any], Any], value: Any) -> Any:
        scheduler = self._scheduler
        frozen = self._hosted.get(step)
        if frozen is None:
            began = now_ns()
            kind, value = self._start(type(scheduler).step_hosted, (scheduler, step, resume, value), step)
            if kind is not _FROZEN:
                if kind is _RAISED:
                    raise value
                return value
            scheduler.busy_ns += now_ns() - began
            self._hosted[step] = frozen = value
        elif frozen.outcome is not None:
            del self._hosted[step]
            kind, value = frozen.outcome
            if kind is _RAISED:
                raise value
            if value is not scheduler.ENDED:
                step.error = frozen.thrown
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

    def _take_worker(self) -> _Worker:
        if self._idle:
            return self._idle.pop()
        return _Worker(self._greenlet.greenlet, self._scheduler.context.copy())

    def _put_back(self, worker: _Worker) -> None:
        if len(self._idle) < WORKERS_KEPT:
            self._idle.append(worker)
        else:
            worker.glet.parent = self._greenlet.getcurrent()
            worker.glet.switch(None, ())

    def _start(
        self, function: Callable[..., Any], args: tuple[Any, ...], step: Step | None
    ) -> tuple[Any, Any]:
        """Run a drain or a hosted step in a worker. Returns how it came back: done, raised or frozen."""
        worker = self._take_worker()
        if not self._ticking:
            self._arm()
        kind, value = self._switch(worker, function, args)
        if kind is not _FROZEN:
            self._put_back(worker)
            return kind, value
        agent: Agent = value
        worker.frozen = frozen = Frozen(agent, worker, step, now_ns() - worker.seen_ns)
        agent._o_busy_ns += frozen.ran_ns
        self._frozen.append(frozen)
        self._park(frozen)
        self._ask_turn()
        return kind, frozen

    def _switch(self, worker: _Worker, *args: Any) -> tuple[Any, Any]:
        scheduler = self._scheduler
        outer, current, draining = self._worker, scheduler.current, scheduler._draining
        task = asyncio.current_task(scheduler.loop)
        frozen = worker.frozen
        if frozen is not None:
            scheduler.current = agent = frozen.agent
            self._seen, self._mark = agent, agent._o_busy_ns  # so that the first tick freezes it again
            scheduler._draining = frozen.is_draining
            # Without a name for the task: the scheduler counts references to its spare.
            swap_current_task(scheduler.loop, scheduler._host if frozen.step is None else frozen.step.host)
            scheduler.tell_words(agent)
        worker.hub = self._greenlet.getcurrent()
        self._worker = worker
        kind, value = worker.glet.switch(*args)
        self._worker = outer
        if kind is _FROZEN or frozen is not None:
            # What the drain would have put back itself, or has put back as it was long ago.
            self._pull()
            self._seen = None
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
            self._scheduler.loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Let one frozen step go on for a quantum, if it may."""
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
        self._arm()  # a whole quantum, from here
        kind, value = self._switch(frozen.worker)
        used = now_ns() - began
        frozen.ran_ns += used
        # What the scheduler may have counted includes all the time in which others ran.
        agent._o_busy_ns = agent_ns + used
        scheduler.busy_ns = scheduler_ns + used
        self._not_before_ns = now_ns() + int(used * (1 / self._options.share - 1))
        if frozen.is_draining:
            if kind is _FROZEN:
                frozen.host, scheduler._host = scheduler._host, spare
            elif scheduler._host is None:
                scheduler._host = spare
            elif spare is not None:
                spare.dismiss()
            self._settle_armed()
        if kind is _FROZEN:
            self._park(frozen)
        else:
            self._frozen.remove(frozen)
            frozen.worker.frozen = None
            self._put_back(frozen.worker)
            self._done(frozen, kind, value)

    def _done(self, frozen: Frozen, kind: Any, value: Any) -> None:
        if frozen.is_draining:
            if kind is _RAISED:
                raise value
            return
        if getattr(value, "_asyncio_future_blocking", None):
            value._asyncio_future_blocking = (
                False  # as in Host.adopt: others may await it before our task does
            )
        frozen.outcome = kind, value
        if frozen.future is not None and not frozen.future.done():
            frozen.future.set_result(None)

    # -- The timer

    def _arm(self) -> None:
        quantum_s = self._options.quantum_s
        signal.setitimer(signal.ITIMER_REAL, quantum_s, quantum_s)
        self._ticking = True
        self._idle_ticks = 0

    def _disarm(self) -> None:
        if self._ticking:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._ticking = False

    def _tick(self, number: int, frame: FrameType | None) -> None:
        """The signal's handler: in the main thread, between any two bytecodes of anybody, or inside a call of C."""
        if self._in_tick:
            return
        self._in_tick = True
        try:
            freeze = self._look(frame)
        finally:
            self._in_tick = False
        if freeze is not None:
            self._freeze(freeze, frame)

    def _look(self, frame: FrameType | None) -> _Worker | None:
        """What this tick finds. Returns the worker to be frozen, if one is."""
        scheduler, worker = self._scheduler, self._worker
        agent = scheduler.current
        if worker is None or agent is None or self._greenlet.getcurrent() is not worker.glet:
            if worker is None and not self._frozen:
                self._idle_ticks += 1
                if self._idle_ticks >= IDLE_TICKS:
                    self._disarm()
            return None
        self._idle_ticks = 0
        if agent is not self._seen or agent._o_busy_ns != self._mark:
            self._seen, self._mark = agent, agent._o_busy_ns
            worker.seen_ns = now_ns()
            self._pull()
            return None
        killing = worker.frozen.killing if worker.frozen is not None else None
        killing = killing or scheduler.interrupter.active
        if killing is not None and not killing.is_over:
            self._pull()
            killing.strike(frame)
            return None
        if not agent.preemptible or preemption_is_held_off():
            return None
        frames = step_frames(frame)
        if not frames:
            return None
        caller = frames[-1].f_back
        if caller is None or caller.f_code.co_name not in ("_run", "_resume_step", "step_hosted"):
            return None  # `init` or `terminate`, called from the middle of the runtime's own work
        point = freezing_point(frames, home_of(agent), self._plain)
        if point is frames[0]:
            return worker
        if point is not None and (self._tracer is None or self._tracer.frame is not point):
            self._pull()
            self._tracer = Tracer(point, self._at_opcode)
        return None

    def _at_opcode(self, frame: FrameType) -> None:
        """Control has come back to the frame that may be frozen."""
        self._pull()
        worker, agent = self._worker, self._scheduler.current
        if (
            worker is None
            or agent is None
            or agent is not self._seen
            or agent._o_busy_ns != self._mark
            or self._greenlet.getcurrent() is not worker.glet
            or preemption_is_held_off()
            or freezing_point(step_frames(frame) or [], home_of(agent), self._plain) is not frame
        ):
            return
        # CPython traces nothing while a trace function runs, and we leave this one for others to run.
        state = ctypes.c_void_p(_thread_state())
        ctypes.pythonapi.PyThreadState_LeaveTracing(state)
        try:
            self._freeze(worker, frame)
        finally:
            ctypes.pythonapi.PyThreadState_EnterTracing(state)

    def _pull(self) -> None:
        if self._tracer is not None:
            self._tracer.pull()
            self._tracer = None

    def _freeze(self, worker: _Worker, frame: FrameType | None) -> None:
        """Switch back to the hub; returns when the step has been resumed."""
        self._pull()
        worker.hub.switch((_FROZEN, self._scheduler.current))
        frozen = worker.frozen
        if frozen is not None and frozen.killing is not None:
            frozen.killing.strike(frame)


_KEPT: Final[list[Frozen]] = []
"""Abandoned steps of nodes that have stopped."""


def _thread_state() -> int:
    get = ctypes.pythonapi.PyThreadState_Get
    get.restype = ctypes.c_void_p
    return int(get())


def _import_greenlet() -> Any:
    try:
        import greenlet
    except ImportError:
        raise PreemptionUnavailable(
            "preempt=True needs greenlet, which is not installed: pip install 'observe-agents[preempt]'"
        ) from None
    if not getattr(sys, "_is_gil_enabled", lambda: True)() or sys.version_info >= (3, 14):
        raise PreemptionUnavailable(
            "preempt=True works on CPython 3.11 to 3.13 with the interpreter lock; this is "
            f"{sys.version.split()[0]}"
        )
    return greenlet
