"""A sampling profile of the running service: where its time goes, by agent and by function.

    thread, so many times a second --> sys._current_frames() --> whose stack is it? --> counts by (whose, stack) --> events

The scheduler's thread is whoever's agent runs; without one it is the event loop's own work, or idle. Other threads count by
name, while they use the processor. A profile of one agent also looks where it waits. Worker processes sample themselves
(`far_profiles`). Nothing is switched on in the interpreter: the observed code runs as ever, but for the interpreter lock, which
one sample holds for some tens of microseconds. What that cost is told. Nothing here needs the scheduler, which a step may hold.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.workers.remote_end import RemoteEnd
from observe.tracing.errors import BadSelector
from observe.tracing.far_profiles import FarProfile
from observe.tracing.kinds import clean
from observe.tracing.thread_use import ThreadUse

if TYPE_CHECKING:
    from observe.runtime.node import Node

DEPTH: Final = 60
"""Functions of one stack; the outermost are left out."""

STACKS: Final = 2000
"""Different stacks that are told, the most frequent first; the others are counted together."""

KEPT: Final = 20_000
"""Different stacks that are kept while it runs."""

BUDGET: Final = 0.02
"""Share of a core that sampling may take. It slows down to keep it."""

OURS: Final = "observe:"
"""Threads of observe itself are not looked at."""

_WAITS: Final = frozenset(
    {"selectors", "threading", "queue", "concurrent.futures.thread", "socketserver", "socket"}
)
"""A thread whose innermost function is here waits."""

_WAITING: Final = frozenset({"_do_waitpid", "_try_wait"})
"""So does one in a function of this name: for the end of a process, as asyncio's and `subprocess` have it."""

_sessions: Final = itertools.count(1)

Event = dict[str, Any]

Key = tuple[int, str, str, tuple[str, ...]]
"""Pid (0: no agent), whose it is, what it does (`runs` or `waits`), and the functions, outermost first."""


class Profile:
    """Made, `start`ed, and ended by itself or by `stop`, in any thread."""

    def __init__(self, node: Node, *, pid: int, for_s: float, rate: float) -> None:
        """`pid` is that of the only agent to look at, or 0; `rate` so many samples a second."""
        self._node = node
        self._pid = pid
        self._for_s = for_s
        self._rate = rate
        self._counts: Counter[Key] = Counter()
        self._others = 0
        self._samples = self._idle = 0
        self._use = ThreadUse()
        self._cost_s = self._took_s = 0.0
        self._finish = threading.Event()
        self._why = ""
        self._thread = threading.Thread(target=self._run, name="observe:profile", daemon=True)
        self._far: list[FarProfile] = []
        self._is_far = False
        """The one agent to look at is in a worker."""
        self._lock = threading.Lock()
        self._waiting: list[Callable[[list[Event]], None]] = []
        self.result: list[Event] | None = None
        """What was seen, once it is over."""
        self.over_at: float | None = None
        """Monotonic seconds of its end."""

    def start(self) -> None:
        """Begin. Raises `BadSelector`: there is no such agent."""
        node = self._node
        session = next(_sessions)
        processes = (
            []
            if node.is_worker or node.lifecycle.workers is None
            else list(node.lifecycle.workers.processes.values())
        )
        if self._pid:
            agent = node.agents.get(self._pid)
            if agent is None:
                raise BadSelector(f"there is no agent {self._pid}")
            self._is_far = agent._o_away is not None
            processes = [agent._o_away.process] if isinstance(agent._o_away, RemoteEnd) else []
        self._far = [FarProfile(one, session) for one in processes if not one.is_closed]
        self._thread.start()

    def when_over(self, told: Callable[[list[Event]], None]) -> None:
        """Have `told` called with what was seen: now, or by the thread that samples, once."""
        with self._lock:
            if self.result is None:
                self._waiting.append(told)
                return
        told(self.result)

    def stop(self, why: str = "stopped") -> None:
        """End it early. What was seen can be had soon. Doing so twice has no effect."""
        self._why = self._why or why
        self._finish.set()

    # -- the thread

    def _run(self) -> None:
        for one in self._far:
            one.begin(self._pid, self._for_s, self._rate)
        began = due = time.monotonic()
        pause_s = 1.0 / self._rate
        try:
            while (now := time.monotonic()) - began < self._for_s and not self._finish.is_set():
                cost = time.thread_time()
                self._sample()
                self._cost_s += time.thread_time() - cost
                # The budget is kept by rarer samples; a backlog (the interpreter lock was held) is not made up for.
                floor_s = self._cost_s / max(self._samples, 1) / BUDGET
                due = max(due + max(pause_s, floor_s), now)
                self._finish.wait(max(0.0, due - time.monotonic()))
        except Exception as error:  # noqa: BLE001  # the edge of the thread
            self._why = f"sampling failed: {type(error).__name__}"
        self._took_s = time.monotonic() - began
        found = self._found()
        with self._lock:
            self.result, waiting = found, self._waiting
            self.over_at = time.monotonic()
        for told in waiting:
            told(found)

    def _sample(self) -> None:
        self._samples += 1
        if self._is_far:
            return
        scheduler = self._node.scheduler
        frames = sys._current_frames()
        running = self._node.agents.get(scheduler.running_pid) if scheduler.running_pid else scheduler.current
        mine = threading.get_ident()
        threads = {thread.ident: thread for thread in threading.enumerate()} if not self._pid else {}
        self._use.begin_look()
        seen = False
        for ident, frame in frames.items():
            if ident == mine:
                continue
            if ident == scheduler.thread_id:
                pid = 0 if running is None else running._o_pid
                if self._pid and pid != self._pid:
                    continue
                seen = True
                if running is not None:
                    self._count(pid, running._o_child.name or type(running).__name__, "runs", frame)
                elif _waits(frame):
                    self._idle += 1
                else:
                    self._count(0, "event loop", "runs", frame)
            elif not self._pid:
                thread = threads.get(ident)
                name, number = ("?", None) if thread is None else (thread.name, thread.native_id)
                if not name.startswith(OURS) and not _waits(frame) and self._use.is_at_work(number):
                    self._count(0, f"thread {name}", "runs", frame)
        del frames
        if self._pid and not seen:
            self._sample_wait()

    def _sample_wait(self) -> None:
        """Where the one agent waits."""
        agent = self._node.agents.get(self._pid)
        if agent is None:
            self.stop("the agent has ended")
            return
        if agent._o_step is None:
            self._idle += 1
            return
        stack = self._node.control.stack(agent)
        names = [f"{frame.function} ({frame.file.rpartition('/')[2]})" for frame in stack.frames][-DEPTH:]
        name = agent._o_child.name or type(agent).__name__
        self._add((self._pid, name, "waits", tuple(clean(one[:200]) for one in names)))

    def _count(self, pid: int, whose: str, how: str, frame: FrameType) -> None:
        self._add((pid, clean(whose[:100]), how, _stack(frame)))

    def _add(self, key: Key) -> None:
        if key in self._counts or len(self._counts) < KEPT:
            self._counts[key] += 1
        else:
            self._others += 1

    def _found(self) -> list[Event]:
        """All stacks, the sums, and the end."""
        for one in self._far:
            self._add_far(one)
        most = self._counts.most_common(STACKS)
        others = self._others + sum(self._counts.values()) - sum(count for _, count in most)
        found: list[Event] = []
        for (pid, whose, how, stack), count in most:
            found.append(
                {"kind": "stack", "pid": pid, "name": whose, "how": how, "stack": list(stack), "count": count}
            )
        found.append(
            {"kind": "profile", "pid": self._pid, "samples": self._samples, "idle": self._idle, "others": others,
             "took_s": self._took_s, "cost_s": self._cost_s}
        )  # fmt: skip
        found.append({"kind": "end", "pid": 0, "text": self._why or f"after {self._for_s:g} s"})
        now = time.time()
        return [{"n": number, "at": now, "class": "", **event} for number, event in enumerate(found, start=1)]

    def _add_far(self, far: FarProfile) -> None:
        for event in far.take(self._why):
            if event["kind"] == "profile":
                self._others += event["others"]
                self._cost_s = max(self._cost_s, event["cost_s"])
                if self._is_far:
                    self._samples, self._idle = event["samples"], event["idle"]
                continue
            name = event["name"] if event["pid"] else f"worker {far.process.number}: {event['name']}"
            key = event["pid"], name, event["how"], tuple(event["stack"])
            if key in self._counts or len(self._counts) < KEPT:
                self._counts[key] += event["count"]
            else:
                self._others += event["count"]


def _waits(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__") in _WAITS or frame.f_code.co_name in _WAITING


def _stack(frame: FrameType) -> tuple[str, ...]:
    """Functions, outermost first, without what of the runtime and the event loop stands around them."""
    found: list[tuple[str, str]] = []
    step: FrameType | None = frame
    while step is not None:
        found.append((str(step.f_globals.get("__name__", "?")), step.f_code.co_qualname))
        step = step.f_back
    found.reverse()
    first = next(
        (
            at
            for at in range(1, len(found))
            if found[at - 1][0].startswith("observe.runtime.") and not _is_around(found[at][0])
        ),
        0,
    )
    return tuple(clean(f"{module}:{name}"[:200]) for module, name in found[first:][-DEPTH:])


def _is_around(module: str) -> bool:
    return module.startswith(("observe.runtime.", "asyncio.")) or module in ("asyncio", "contextvars")
