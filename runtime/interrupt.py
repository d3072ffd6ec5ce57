"""Ending a step that will not end: an exception between two of its bytecodes, raised so that its clean-up runs.

    another thread --(SIGURG)--> handler in the scheduler's thread --> opcode tracer on the agent's frame --> raise

An exception that is thrown into a thread from outside (a signal handler's, `PyThreadState_SetAsyncExc`) comes out at a
backward jump as a rule, which belongs to no `try` and no `with`: the clean-up of `while True:` does not run, a lock stays taken
(https://github.com/python/cpython/issues/108214, https://github.com/python/cpython/issues/130279). So the signal only
plants a tracer, and the tracer raises at the first instruction that is fit (moments.py).

SIGURG is ignored by default, so a late one hurts nobody; Go's scheduler uses it for the same reasons.
"""

from __future__ import annotations

import ctypes
import dis
import signal
import sys
import threading
import time
from threading import get_ident
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.agent import EXITED
from observe.runtime.clock import now_ns
from observe.runtime.errors import Interrupted, NodeDown
from observe.runtime.moments import ending_frame, home_of, is_ending_point, step_frames
from observe.runtime.tracer import Tracer

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.exits import ExitReason
    from observe.runtime.scheduler import Scheduler

SIGNAL: Final = signal.SIGURG

POKE_S: Final = 0.01
"""Seconds between two signals to a step that is to end. Two interpreter switch intervals: the first has had its effect
by then if it can have one."""

AGAIN_S: Final = 1.0
"""How long the clean-up of a step may take before the step is interrupted again: as long as a killed step that waits
has to unwind."""

INTERRUPT_S: Final = 2.5
"""How long a kill from another thread is tried: two attempts a second apart, and what it takes to unwind after."""

JUMPS: Final = 3
"""Instructions unfit for raising after which it is done all the same: `while True: pass` has no other."""

STILL: Final = 3
"""Signals in a row that find a step at the same instruction, with none executed between: it is inside a call of C."""

PATIENCE_NS: Final = 250_000_000
"""Nanoseconds after which the step is ended wherever it is, when control does not come back to the agent's own code."""


class Interruption:
    """The end of one step, under way. Everything but `is_over` belongs to the scheduler's thread."""

    def __init__(self, scheduler: Scheduler, agent: Agent, reason: ExitReason) -> None:
        self.agent = agent
        self.reason = reason
        self.is_raised = False
        self.strikes = 0
        """How often the scheduler's thread has looked. 0 after some time: it is inside C code that sees no signals."""
        self._scheduler = scheduler
        self._mark = agent._o_busy_ns
        self._late_ns = now_ns() + PATIENCE_NS
        self._tracer: Tracer | None = None
        self._jumps = 0
        self._jumps_only = True
        self._still = 0
        self._place: tuple[FrameType | None, int] = (None, 0)
        self._seen = 0

    @property
    def is_over(self) -> bool:
        """The slice that was to end has ended, or the exception is on its way. Any thread."""
        if self.is_raised or self.agent._o_busy_ns != self._mark:
            return True
        scheduler = self._scheduler
        preempter = scheduler.preempter
        return scheduler.current is not self.agent and (
            preempter is None or preempter.who_runs() is not self.agent
        )

    def strike(self, frame: FrameType | None) -> None:
        """Look at the step, whose innermost frame is `frame`, and go on with ending it. Raises Interrupted when the
        step is inside a call of C that looks at signals, as `time.sleep` and `lock.acquire` do."""
        if self.is_over:
            self.withdraw()
            return
        frames = step_frames(frame)
        if not frames:
            return  # between two messages, or in code of the runtime's own
        self.strikes += 1
        tracer = self._tracer
        place = frames[0], frames[0].f_lasti
        seen = tracer.seen if tracer is not None else 0
        self._still = self._still + 1 if place == self._place and seen == self._seen else 0
        self._place, self._seen = place, seen
        # Where the tracer stands on another frame, a loop in a library may look as if it stood still.
        if self._still >= (STILL if tracer is not None and tracer.frame is frames[0] else 10 * STILL):
            self._raise()
        if self._is_late:
            if tracer is None or tracer.frame is not frames[0]:
                self._plant(frames[0])
        elif tracer is None or not tracer.is_planted or tracer.frame not in frames:
            self._plant(ending_frame(frames, home_of(self.agent)))

    @property
    def _is_late(self) -> bool:
        return now_ns() > self._late_ns

    def withdraw(self) -> None:
        """Leave the thread as it was."""
        self._place = (None, 0)
        if self._tracer is not None:
            self._tracer.pull()
            self._tracer = None

    def _plant(self, frame: FrameType) -> None:
        self.withdraw()
        self._jumps, self._jumps_only = 0, True
        self._tracer = Tracer(frame, self._at_opcode)

    def _at_opcode(self, frame: FrameType) -> None:
        interrupter = self._scheduler.interrupter
        if interrupter.in_handler:
            return
        interrupter.in_handler = True
        try:
            self._end_at(frame)
        finally:
            interrupter.in_handler = False

    def _end_at(self, frame: FrameType) -> None:
        if self.is_over:
            self.withdraw()
            return
        if not is_ending_point(frame) and not self._is_late:
            # Cleaning up may take a while and is waited for; a loop of nothing but a jump has no fit instruction.
            self._jumps += 1
            if self._jumps <= JUMPS:
                self._jumps_only = self._jumps_only and frame.f_code.co_code[frame.f_lasti] in _JUMPS
                return
            if not self._jumps_only:
                return
        self._raise()

    def _raise(self) -> None:
        agent = self.agent
        self.is_raised = True
        self.withdraw()
        error = Interrupted(str(self.reason))
        error.trace_before = sys.gettrace()
        self._scheduler.interrupter.ended_pid = agent._o_pid
        if agent._o_exit is None or self.reason.kind == "killed":
            agent._o_exit = self.reason
        raise error


class Interrupter:
    """Ends steps of one scheduler from other threads."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._one_at_a_time = threading.Lock()
        self.active: Interruption | None = None
        """What is under way in the scheduler's thread."""
        self.ended_pid = 0
        """Whose step was ended last."""
        self.in_handler = False
        """A signal's handler or a tracer is at work. Signals nest in each other's handlers between two bytecodes, and two
        tracers planted at once would not be pulled again."""
        self.has_signal = False
        """The scheduler's thread can be reached by signal."""

    def is_ended_otherwise(self, agent: Agent) -> bool:
        """The preempter ends the step: two exceptions would cut its clean-up short."""
        preempter = self._scheduler.preempter
        frozen = preempter.holds(agent) if preempter is not None else None
        return frozen is not None and frozen.reason is not None

    def open(self) -> None:
        """Take the signal, if this is the main thread and nobody else has it."""
        if threading.current_thread() is not threading.main_thread():
            return
        if not _LISTENING:
            if signal.getsignal(SIGNAL) not in (signal.SIG_DFL, signal.SIG_IGN):
                return
            signal.signal(SIGNAL, _on_signal)
        _LISTENING.append(self)
        self.has_signal = True

    def close(self) -> None:
        """Give the signal back."""
        if self in _LISTENING:
            _LISTENING.remove(self)
            if (
                not _LISTENING
                and signal.getsignal(SIGNAL) is _on_signal
                and threading.current_thread() is threading.main_thread()
            ):
                signal.signal(SIGNAL, signal.SIG_DFL)
        self.has_signal = False

    def kill(self, agent: Agent, reason: ExitReason, timeout_s: float = INTERRUPT_S) -> str:
        """End `agent` from another thread than the scheduler's, in the middle of a step if need be. Waits for at most
        `timeout_s`, and returns in one line for people what came of it: "" when the agent has ended.
        """
        scheduler = self._scheduler
        deadline = time.monotonic() + timeout_s
        try:
            # Whatever becomes of the step, this will be done as soon as the scheduler is free.
            scheduler.call_soon_threadsafe(scheduler.lifecycle.exit, agent, reason)
        except NodeDown:
            return "the node has stopped"
        raised_at: float | None = None
        strikes = 0
        with self._one_at_a_time:
            while agent._o_status != EXITED and time.monotonic() < deadline:
                if scheduler.current is agent:
                    if self.active is None or self.active.is_over:
                        if self.active is not None and self.active.is_raised:
                            raised_at = raised_at or time.monotonic()
                        if raised_at is None or time.monotonic() - raised_at > AGAIN_S:
                            raised_at = None
                            self.active = Interruption(scheduler, agent, reason)
                    if self.active is not None and not self.active.is_over:
                        self._poke(self.active)
                        strikes = max(strikes, self.active.strikes)
                time.sleep(POKE_S)
            active, self.active = self.active, None
        if agent._o_status == EXITED:
            return ""
        current = scheduler.current
        if current is None:
            return "its step is unwinding"
        if current is not agent:
            return f"{current._o_text()} holds the scheduler; this will be done as soon as it is free"
        if raised_at is not None or (active is not None and active.is_raised):
            return "its step has caught the exception that was to end it, or is still cleaning up"
        if strikes:
            return "no fit moment came to end its step; try again"
        return (
            "its step is inside a single call of C code, which cannot be interrupted; "
            "it ends when that call returns"
        )

    def _poke(self, interruption: Interruption) -> None:
        """Have the scheduler's thread look at its step."""
        scheduler = self._scheduler
        if self.has_signal:
            signal.pthread_kill(scheduler.thread_id, SIGNAL)
        elif sys.version_info >= (3, 12):
            _Monitor.poke(scheduler.thread_id, interruption)
        else:
            _throw(scheduler.thread_id, interruption)


_LISTENING: list[Interrupter] = []
"""Of nodes whose scheduler runs in the main thread, which is where signals are handled."""


def _on_signal(number: int, frame: FrameType | None) -> None:
    for interrupter in tuple(_LISTENING):
        active = interrupter.active
        if active is None or interrupter.in_handler or interrupter.is_ended_otherwise(active.agent):
            continue
        interrupter.in_handler = True
        try:
            active.strike(frame)
        finally:
            interrupter.in_handler = False


def _throw(thread_id: int, interruption: Interruption) -> None:
    """The last resort where neither signals nor `sys.monitoring` reach the thread (3.11, not the main thread). The
    exception comes at the next bytecode, so that clean-up may not run: see above."""
    agent = interruption.agent
    if not step_frames(sys._current_frames().get(thread_id)) or interruption.is_over:
        return
    interruption.strikes += 1
    if agent._o_exit is None or interruption.reason.kind == "killed":
        agent._o_exit = interruption.reason
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(Interrupted))
    interruption.is_raised = True


if sys.version_info >= (3, 12):
    _mon = sys.monitoring
    _EVENTS = _mon.events.JUMP | _mon.events.BRANCH | _mon.events.PY_START | _mon.events.PY_RESUME

    class _Monitor:
        """Gets a word in a thread that no signal reaches: one callback at its next jump or call."""

        @staticmethod
        def poke(thread_id: int, interruption: Interruption) -> None:
            tool = next((number for number in range(5, -1, -1) if _mon.get_tool(number) is None), None)
            if tool is None:
                return
            _mon.use_tool_id(tool, "observe")
            looked = threading.Event()

            def look(*args: Any) -> None:
                if get_ident() != thread_id or looked.is_set():
                    return
                looked.set()
                _mon.set_events(tool, 0)
                frame = sys._getframe(1)
                interruption.strike(frame)

            try:
                for number in range(_EVENTS.bit_length()):
                    if _EVENTS >> number & 1:
                        _mon.register_callback(tool, 1 << number, look)
                _mon.set_events(tool, _EVENTS)
                looked.wait(POKE_S)
            finally:
                _mon.set_events(tool, 0)
                for number in range(_EVENTS.bit_length()):
                    if _EVENTS >> number & 1:
                        _mon.register_callback(tool, 1 << number, None)
                _mon.free_tool_id(tool)


_JUMPS: Final = frozenset(
    number for name, number in dis.opmap.items() if "JUMP" in name or name in ("RESUME", "NOP")
)
