"""Watches the service from beside it: is it alive, and does something hold its scheduler?

Alive is what the kernel says of the process (a pidfd becomes readable when it ends, however it ends). Held is what the
words in shared memory say, which need no cooperation from a process that is stuck:

    word 1 (pid) set, its slice older than 0.5 s        the agent holds the scheduler
    word 1 zero, heartbeat older than 1 s and 3 ticks   other code on the loop's thread does
    control thread's beat older than 0.3 s as well      and it is C code that keeps the interpreter lock, or the system
                                                        lets the process not run (`observe.probe.silence`)
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import psutil

from observe.probe.last_breath import Ending, ending_of
from observe.probe.silence import Silence, Why
from observe.probe.stacks import last_stack
from observe.probe.wire_base import Frame
from observe.probe.words import NotWords, Words, WordsReading

SLICE_NS: Final = 500_000_000
"""A slice that runs for longer than 0.5 s holds the scheduler. A usual one takes microseconds."""

BEAT_NS: Final = 1_000_000_000
BEAT_TICKS: Final = 3
"""A loop that missed its heartbeat for 1 s and three ticks is held by something that is no agent."""

QUIET_NS: Final = 250_000_000
"""For so long nothing at all may have moved before code that is no agent is blamed."""

THREAD_NS: Final = 300_000_000
"""A control thread that has not run for 0.3 s cannot get the interpreter lock."""

DUMP_FIRST_S: Final = 1.0
DUMP_MOST_S: Final = 10.0
"""How long to wait between two signals for a stack. Doubles while one slice lasts: each dump adds to a file."""

STACKS_LIMIT_BYTES: Final = 4 << 20
"""The file of stacks is emptied when it has grown so far."""


@dataclass(frozen=True, slots=True)
class Holding:
    """Something holds the scheduler."""

    pid: int
    """The agent, or 0."""
    since_ns: int
    """Monotonic. Together with `pid` it names this slice."""
    where: str
    """`python`, `c`, `stopped` or `starved`."""
    running: bool
    """Whether the loop was in a callback of ours, for what is no agent."""


class LastWords:
    """Decides from the words who holds the scheduler. Remembers what they said before."""

    def __init__(self) -> None:
        self._last: tuple[int, int, int] | None = None
        """Pid, slices and heartbeat at the look before."""
        self._differed_ns = 0
        """When it last looked different from now; 0 if it never did."""
        self._quiet_since_ns = 0
        """The first look at which all of that was as it is now."""
        self._look_ns = 0
        self._beat_ns = 0
        self._tick_ns = 0

    def judge(self, reading: WordsReading, now_ns: int) -> Holding | None:
        """Who holds the scheduler at monotonic `now_ns`, if anybody does. To be asked several times a second."""
        self._notice(reading, now_ns)
        where = "c" if now_ns - reading.thread_ns > THREAD_NS else "python"
        if reading.pid:
            if now_ns - reading.slice_ns > SLICE_NS:
                return Holding(reading.pid, reading.slice_ns, where, reading.running)
            return None
        # Between the end of a long slice and the late heartbeat after it, it looks for a moment as if other code were
        # to blame. So that must be all there is to see for a while.
        stale = now_ns - reading.loop_ns > max(BEAT_NS, BEAT_TICKS * self._tick_ns)
        if stale and now_ns - self._quiet_since_ns > QUIET_NS:
            return Holding(0, max(reading.loop_ns, self._differed_ns), where, reading.running)
        return None

    def _notice(self, reading: WordsReading, now_ns: int) -> None:
        seen = (reading.pid, reading.slices, reading.loop_ns)
        if seen != self._last:
            if self._last is not None:
                self._differed_ns = self._look_ns
            self._quiet_since_ns = now_ns
            self._last = seen
        self._look_ns = now_ns
        if reading.loop_ns > self._beat_ns:
            if self._beat_ns:
                # Between two looks there may be several ticks; taking them for one errs to the patient side.
                self._tick_ns = min(reading.loop_ns - self._beat_ns, 2 * BEAT_NS)
            self._beat_ns = reading.loop_ns


@dataclass(slots=True)
class Dump:
    """The stack of one slice that holds the scheduler."""

    holding: Holding
    asked_at: float = float("-inf")
    pause_s: float = DUMP_FIRST_S
    mark_bytes: int | None = None
    """Size of the file of stacks when the last signal was sent: what is before is another slice's."""
    read_bytes: int = 0
    """Its size when it was read last."""
    frames: list[Frame] = field(default_factory=list)
    who: str = ""
    """What it is called, when it is no agent."""


class NodeWatch:
    """Watches one service."""

    def __init__(
        self, pid: int, words: Path, stacks: Path, dump_signal: int | None, scheduler_thread: int | None
    ) -> None:
        self.pid = pid
        self._words_path = words
        self._words: Words | None = None
        self._stacks = stacks
        self._signal = dump_signal
        self._thread = scheduler_thread
        self._judge = LastWords()
        self._silence = Silence()
        self._dump: Dump | None = None
        self._pidfd = _pidfd(pid)
        self._is_own = pid == os.getpid()  # the probe is a thread of the service, and ends with it
        # A process that ended before we looked may have left its pid to another. Our parent cannot have done that.
        self._gone = not self._is_own and os.getppid() != pid
        self._process: psutil.Process | None = None

    def fileno(self) -> int | None:
        """A descriptor that becomes readable when the service ends, where the system has such things."""
        return self._pidfd

    def close(self) -> None:
        """Let go of what was opened. Doing so twice has no effect."""
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        if self._words is not None:
            self._words.close()
            self._words = None

    def is_gone(self) -> bool:
        """Whether the service's process has ended. A fork of it does not count: only our parent does."""
        if not self._is_own:  # the kernel gives orphans another parent at once
            self._gone = self._gone or os.getppid() != self.pid
        return self._gone

    def ended(self) -> None:
        """The descriptor of `fileno` became readable."""
        self._gone = True

    def look(self, now_ns: int) -> Holding | None:
        """Who holds the scheduler at monotonic `now_ns`; None as well when there are no words to read."""
        if self._words is None:
            try:
                self._words = Words.open(self._words_path)
            except (OSError, NotWords):
                return None
        holding = self._judge.judge(self._words.read(), now_ns)
        if holding is not None and holding.where == "c":
            holding = replace(holding, where=self._why_silent(holding, now_ns))
        if holding is None:
            self._dump = None
        elif self._dump is None or not _is_same(self._dump.holding, holding):
            self._dump = Dump(holding)
        else:
            self._dump.holding = holding
        return holding

    def _why_silent(self, holding: Holding, now_ns: int) -> Why:
        try:
            process = self._process = self._process or psutil.Process(self.pid)
            with process.oneshot():
                used = process.cpu_times()
                status = process.status()
        except psutil.Error:
            return "c"
        return self._silence.why(holding.since_ns, now_ns / 1e9, status, used.user + used.system)

    def last_words(self) -> WordsReading | None:
        """What the words say, whoever wrote them and whether they live; None when there are none."""
        try:
            if self._words is None:
                self._words = Words.open(self._words_path)
            return self._words.read()
        except (OSError, NotWords):
            return None

    def ending(self) -> Ending:
        """How the service ended. To be asked soon after `is_gone`."""
        return Ending() if self._is_own else ending_of(self.pid, self._pidfd)

    # -- stacks ---------------------------------------------------------------------------------------------------------

    def wants_stack(self, now: float) -> bool:
        """Whether it is time to ask for the holder's stack (again). Saying yes counts as having asked."""
        dump = self._dump
        if dump is None or now < dump.asked_at + dump.pause_s:
            return False
        if dump.asked_at > float("-inf"):
            dump.pause_s = min(dump.pause_s * 2, DUMP_MOST_S)
        dump.asked_at = now
        return True

    def send_signal(self) -> bool:
        """Let `faulthandler` write all stacks of the service. False when that is not possible."""
        if self._signal is None or self.is_gone():
            return False
        mark = self._trim()
        if self._dump is not None:
            self._dump.mark_bytes = self._dump.read_bytes = mark
        try:
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, self._signal)
            else:  # `is_gone` has just made sure that the pid is our parent's
                os.kill(self.pid, self._signal)
        except OSError:
            return False
        return True

    def collect(self) -> None:
        """Read the stack that a signal brought, once the file has it."""
        dump = self._dump
        if dump is None or dump.mark_bytes is None:
            return
        size = _size(self._stacks)
        if size != dump.read_bytes:
            dump.read_bytes = size
            dump.frames = last_stack(self._stacks, self._thread, dump.mark_bytes) or dump.frames

    def remember(self, frames: list[Frame], holding: Holding, who: str = "") -> None:
        """A stack of the holder that came another way, and what it is called when it is no agent."""
        if self._dump is not None and _is_same(self._dump.holding, holding):
            self._dump.frames = frames
            self._dump.who = who

    def who(self) -> str:
        """What is known of a holder that is no agent."""
        return self._dump.who if self._dump is not None else ""

    def frames(self) -> list[Frame]:
        """The newest stack of whoever holds the scheduler, outermost first."""
        return self._dump.frames if self._dump is not None else []

    def _trim(self) -> int:
        """Empty the file of stacks if it has grown too large. Returns its size in bytes."""
        size = _size(self._stacks)
        if size > STACKS_LIMIT_BYTES:
            try:
                os.truncate(self._stacks, 0)
            except OSError:
                return size
            return 0
        return size

    # -- use of the machine ---------------------------------------------------------------------------------------------

    def measure(self) -> tuple[int, float] | None:
        """Resident bytes, and the share of a core that the service used since the last call; None when it is gone."""
        try:
            if self._process is None:
                self._process = psutil.Process(self.pid)
            with self._process.oneshot():
                resident = int(self._process.memory_info().rss)
                if not resident:
                    return None  # it has just ended, and nobody has waited for it yet
                return resident, self._process.cpu_percent(None) / 100
        except psutil.Error:
            return None


def _is_same(one: Holding, other: Holding) -> bool:
    return one.pid == other.pid and one.since_ns == other.since_ns


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # the service has not made it yet


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # no such call here, or the process is gone already
        return None
