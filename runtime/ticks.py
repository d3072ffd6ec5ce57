"""The timer of preemption: when is the step that runs too old, and is this a moment to freeze it?

SIGALRM comes each quantum while there is anything to run, in the main thread: between any two bytecodes of anybody,
or inside a call of C that looks at signals.
"""

from __future__ import annotations

import ctypes
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Final

from observe.runtime.clock import now_ns
from observe.runtime.errors import PreemptionUnavailable
from observe.runtime.frozen import Preemption, Worker
from observe.runtime.moments import (
    PLAIN,
    STEPPING,
    freezing_point,
    home_of,
    preemption_is_held_off,
    step_frames,
)
from observe.runtime.tracer import Tracer

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.preempt import Preempter
    from observe.runtime.scheduler import Scheduler

IDLE_TICKS: Final = 3
"""Ticks without anything to run after which the timer is stopped. Starting it costs a microsecond, so that it is not
stopped at the end of each drain."""

BURST_QUANTA: Final = 20
"""How many quanta long a first freeze makes the quanta of steps shorter that have not been frozen yet. Loops that begin at the same time would
else have a whole one each, one after the other, and everybody else waits for all of them."""

SHORTEST_S: Final = 0.0001
"""A tick costs some ten microseconds, so more than ten of them in a millisecond would cost more than they help."""


class Ticks:
    """Tells the preempter when to freeze. Belongs to the main thread."""

    def __init__(self, preempter: Preempter, scheduler: Scheduler, options: Preemption) -> None:
        self.are_on = False
        """The timer runs."""
        self._preempter = preempter
        self._scheduler = scheduler
        self._quantum_s = options.quantum_s
        self._plain = PLAIN | options.plain
        self._seen: Agent | None = None
        self._mark = 0
        self._tracer: Tracer | None = None
        self._idle = 0
        self._burst = 0
        """First freezes in the burst under way."""
        self._burst_until_ns = 0

    def open(self) -> None:
        """Take the signal and its timer.

        Raises:
            PreemptionUnavailable: not in the main thread, or somebody else uses them.
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
        handler = signal.getsignal(signal.SIGALRM)
        if handler is not signal.SIG_DFL or signal.getitimer(signal.ITIMER_REAL)[0]:
            raise PreemptionUnavailable(
                "preempt=True needs SIGALRM and ITIMER_REAL, and something in this process uses them already "
                f"(the handler is {handler!r}); only one node of a process can preempt"
            )
        signal.signal(signal.SIGALRM, self._tick)

    def close(self) -> None:
        """Give them back."""
        self._stop()
        self.forget()
        if signal.getsignal(signal.SIGALRM) == self._tick:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def start(self) -> None:
        """Let the next tick come in a whole quantum."""
        signal.setitimer(signal.ITIMER_REAL, self._quantum_s, self._quantum_s)
        self.are_on = True
        self._idle = 0

    def note_freeze(self) -> None:
        """A step has been frozen for the first time. The second in a burst gets half a quantum, the third a third, and so on:
        ten together take as much as three would."""
        now = now_ns()
        if now > self._burst_until_ns:
            self._burst, self._burst_until_ns = 0, now + int(BURST_QUANTA * self._quantum_s * 1e9)
        self._burst += 1
        self.go_on()

    def go_on(self) -> None:
        """Time the steps that follow on one that has been frozen."""
        if self._burst:
            every_s = min(self._quantum_s, max(SHORTEST_S, self._quantum_s / (1 + self._burst)))
            signal.setitimer(signal.ITIMER_REAL, every_s, every_s)

    def _stop(self) -> None:
        self._burst = 0
        if self.are_on:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.are_on = False

    def expect(self, agent: Agent) -> None:
        """A frozen step of `agent` goes on: the next tick freezes it again."""
        self._seen, self._mark = agent, agent._o_busy_ns

    def forget(self) -> None:
        """No step runs that a tick has seen."""
        self._seen = None
        if self._tracer is not None:
            self._tracer.pull()
            self._tracer = None

    def _tick(self, number: int, frame: FrameType | None) -> None:
        interrupter = self._scheduler.interrupter
        if interrupter.in_handler:
            return
        interrupter.in_handler = True
        try:
            worker = self._look(frame)
        finally:
            interrupter.in_handler = False
        if worker is not None:
            self._freeze(worker, frame)

    def _look(self, frame: FrameType | None) -> Worker | None:
        """What this tick finds. Returns the worker to be frozen, if one is."""
        scheduler, worker = self._scheduler, self._preempter.running()
        agent = self._preempter.who_runs()
        if worker is None or agent is None:
            self._look_whether_idle()
            return None
        self._idle = 0
        if self._burst and now_ns() > self._burst_until_ns:
            self._burst = 0
            self.start()
        if not self._is_seen(agent):
            self.forget()
            self.expect(agent)
            worker.seen_ns = now_ns()
            return None
        killing = worker.frozen.killing if worker.frozen is not None else None
        killing = killing or scheduler.interrupter.active
        if killing is not None and not killing.is_over:
            killing.strike(frame)
            return None
        if not agent.preemptible or preemption_is_held_off():
            return None
        frames = step_frames(frame)
        if not frames:
            return None
        caller = frames[-1].f_back
        if caller is None or caller.f_code.co_name not in STEPPING:
            return None  # `init` or `terminate`, called from the middle of the runtime's own work
        point = freezing_point(frames, home_of(agent), self._plain)
        if point is frames[0]:
            return worker
        if point is not None and (self._tracer is None or self._tracer.frame is not point):
            if self._tracer is not None:
                self._tracer.pull()
            self._tracer = Tracer(point, self._at_opcode)
        return None

    def _look_whether_idle(self) -> None:
        if not self._preempter.is_busy:
            self._idle += 1
            if self._idle >= IDLE_TICKS:
                self._stop()
                self.forget()

    def _is_seen(self, agent: Agent) -> bool:
        """The slice that runs is the one that ran at the last tick: its agent's reductions change when it ends."""
        return agent is self._seen and agent._o_busy_ns == self._mark

    def _at_opcode(self, frame: FrameType) -> None:
        """Control has come back to the frame that may be frozen."""
        interrupter = self._scheduler.interrupter
        if interrupter.in_handler:
            return
        interrupter.in_handler = True
        try:
            worker = self._check(frame)
        finally:
            interrupter.in_handler = False
        if worker is None:
            return
        # CPython traces nothing while a trace function runs, and we leave this one for others to run.
        state = _thread_state()
        ctypes.pythonapi.PyThreadState_LeaveTracing(state)
        try:
            self._freeze(worker, frame)
        finally:
            ctypes.pythonapi.PyThreadState_EnterTracing(state)

    def _check(self, frame: FrameType) -> Worker | None:
        """The worker to be frozen at `frame`, if it still may be."""
        if self._tracer is not None:
            self._tracer.pull()
            self._tracer = None
        worker, agent = self._preempter.running(), self._preempter.who_runs()
        if worker is None or agent is None or not self._is_seen(agent) or preemption_is_held_off():
            return None
        point = freezing_point(step_frames(frame) or [], home_of(agent), self._plain)
        return worker if point is frame else None

    def _freeze(self, worker: Worker, frame: FrameType | None) -> None:
        """Switch back to the hub; returns when the step has been resumed."""
        self.forget()
        worker.freeze(self._preempter.who_runs())
        if worker.frozen is not None and worker.frozen.killing is not None:
            self._scheduler.interrupter.in_handler = True
            try:
                worker.frozen.killing.strike(frame)
            finally:
                self._scheduler.interrupter.in_handler = False


def _thread_state() -> ctypes.c_void_p:
    get = ctypes.pythonapi.PyThreadState_Get
    get.restype = ctypes.c_void_p
    return ctypes.c_void_p(get())
