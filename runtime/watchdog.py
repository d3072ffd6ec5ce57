"""The watchdog: a thread that names the agent that overruns its slice, while it does.

It looks at two plain attributes twice in each `limit_s`: which agent runs, and that agent's reductions, which change at
the end of each slice. The same agent with the same reductions in two looks has not left its slice between them. So
nobody who keeps within the limit pays anything, not even a clock reading.

It is a Python thread and needs the interpreter lock: what an agent does inside one call of C that keeps the lock is
named when that call returns. (The probe, a process of its own, sees that as well; docs/architecture.md.)
"""

from __future__ import annotations

import logging
from threading import Event, Thread, get_ident
from typing import TYPE_CHECKING, Final

from observe.runtime.agent import EXITED
from observe.runtime.clock import now_ns
from observe.runtime.findings import FindingKind, Findings, ago
from observe.runtime.plain_watch import PlainWatch
from observe.runtime.stacks import Stack, stack_of

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.scheduler import Scheduler

logger = logging.getLogger("observe.runtime")

LIMIT_S: Final = 0.1
"""How long a slice may take before it is a finding. A person notices a tenth of a second; a slice is meant to take a
hundredth of that."""


class Watchdog:
    """Watches one scheduler. `start` and `stop` belong to its thread.

    Args:
        limit_s: a slice that takes longer is a finding. It is seen after at most one and a half times that.
    """

    def __init__(self, scheduler: Scheduler, findings: Findings, limit_s: float = LIMIT_S) -> None:
        self.limit_s = limit_s
        self._scheduler = scheduler
        self._findings = findings
        self._ended = Event()
        self._thread = Thread(target=self._watch, name="observe:watchdog", daemon=True)
        self._open: dict[tuple[FindingKind, Agent], tuple[int, int]] = {}
        """Conditions that hold: since when, and with which reductions."""

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching. Does not wait longer than a second for a look that is under way."""
        self._ended.set()
        if self._thread.is_alive() and self._thread.ident != get_ident():
            self._thread.join(1.0)

    def _watch(self) -> None:
        scheduler = self._scheduler
        limit_ns = int(self.limit_s * 1e9)
        pause_s = self.limit_s / 2
        plain = PlainWatch(scheduler, self._findings, self.limit_s)
        seen: Agent | None = None
        mark = since_ns = 0
        while not self._ended.wait(pause_s):
            if scheduler.loop.is_closed():
                break  # a node that nobody has stopped
            pause_s = self.limit_s / 2
            try:
                agent = scheduler.current
                if agent is None or agent is not seen or agent._o_busy_ns != mark:
                    seen, since_ns = agent, now_ns()
                    if agent is not None:
                        mark = agent._o_busy_ns
                elif now_ns() - since_ns >= limit_ns:
                    self._overrun(agent, mark, since_ns)
                else:
                    pause_s = max(0.001, self.limit_s - (now_ns() - since_ns) / 1e9)
                if scheduler.preempter is not None:
                    self._look_at_frozen(limit_ns)
                plain.look()
                if self._open:
                    self._look_what_is_over()
            except Exception:  # a fault in here must not blind the watchdog for good
                logger.exception("the watchdog could not take a look; it goes on")

    def _overrun(self, agent: Agent, mark: int, since_ns: int) -> None:
        key: tuple[FindingKind, Agent] = ("holds_scheduler", agent)
        held_s = (now_ns() - since_ns) / 1e9
        stack = stack_of(agent)
        if self._scheduler.current is not agent or agent._o_busy_ns != mark:
            stack = Stack("", [], None, "")  # it ended while it was read: this may be somebody else's stack
        self._open[key] = since_ns, mark
        self._findings.observe(
            "holds_scheduler",
            agent,
            f"{agent._o_text()} has held the scheduler for {held_s:.1f} s in one slice; nobody else can run",
            ago(since_ns),
            tuple(stack.frames),
        )

    def _look_at_frozen(self, limit_ns: int) -> None:
        """Steps that are preempted hold nobody up, but somebody should know of those that compute for long."""
        preempter = self._scheduler.preempter
        assert preempter is not None
        for frozen in preempter.frozen:
            agent = frozen.agent
            if frozen.ran_ns < limit_ns or frozen.is_task:
                continue
            key: tuple[FindingKind, Agent] = ("long_step", agent)
            self._open[key] = frozen.since_ns, 0
            self._findings.observe(
                "long_step",
                agent,
                f"a step of {agent._o_text()} has computed for {frozen.ran_ns / 1e9:.1f} s "
                "without a pause; it is preempted, and others run in between",
                ago(frozen.since_ns),
                tuple(stack_of(agent).frames),
            )

    def _look_what_is_over(self) -> None:
        scheduler = self._scheduler
        for (kind, agent), (since_ns, mark) in list(self._open.items()):
            if kind == "holds_scheduler":
                stands = scheduler.current is agent and agent._o_busy_ns == mark
            else:
                preempter = scheduler.preempter
                stands = preempter is not None and preempter.holds(agent) is not None
            if stands:
                continue
            del self._open[kind, agent]
            took_s = (now_ns() - since_ns) / 1e9
            what = "has exited" if agent._o_status == EXITED else "is done with it"
            self._findings.clear(
                kind, agent, f"{agent._o_text()} {what}, after about {took_s:.1f} s: {_AFTER[kind]}"
            )


_AFTER: dict[FindingKind, str] = {
    "holds_scheduler": "the scheduler is free again",
    "long_step": "no step of it is preempted any more",
}
