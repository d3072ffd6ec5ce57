"""Findings: diagnoses that the node makes of itself, told to instruments and to the log, and not too often.

A finding stands from the moment it is raised until it is cleared. Both are told. What comes back again and again is
told once in `QUIET_S` and counted meanwhile, so that an agent that overruns at each message is one line, not a flood.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Final, Literal

from observe.runtime.clock import now_ns, wall_s
from observe.runtime.stacks import Frame

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.instrument import Instruments

logger = logging.getLogger("observe.runtime")

FindingKind = Literal["holds_scheduler", "long_step"]
"""`holds_scheduler`: nobody else gets to run. `long_step`: the step is preempted, so that others do."""

QUIET_S: Final = 10.0
"""A finding of one kind about one agent is told at most this often. Shorter floods the log, longer hides that it
still happens."""

BURST: Final = 20
"""Findings told within `QUIET_S`, of all agents together. Further ones are counted in `Findings.suppressed`."""

REMEMBERED: Final = 1000
"""Agents whose findings are remembered for rate limiting; the longest quiet are forgotten first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One diagnosis, about one agent or one plain asyncio task."""

    kind: FindingKind
    pid: int
    """0 for a plain task."""
    name: str | None
    """The agent's registered name, if it has one; the task's."""
    class_name: str
    """The agent's class; the function that the task runs."""
    text: str
    """One sentence for people."""
    since: float
    """Unix time at which the condition was first seen."""
    stack: tuple[Frame, ...] = ()
    """Where the agent was when the finding was made, outermost frame first. Empty when that could not be read."""
    count: int = 1
    """How often the condition has come up for this agent since it was last quiet for long."""
    cleared: bool = False
    """The condition is over. Comes once for each finding that was told."""


@dataclass(frozen=True, slots=True)
class PlainTask:
    """An asyncio task that is no step of an agent, as findings name it: without a pid."""

    name: str
    coroutine: str

    def __str__(self) -> str:
        return f"the task {self.name} ({self.coroutine})"


class _Known:
    """What is remembered of one kind of finding about one agent."""

    __slots__ = ("count", "finding", "is_open", "told_ns")

    def __init__(self) -> None:
        self.count = 0
        self.told_ns = 0
        self.finding: Finding | None = None
        """The finding that was told and is not cleared."""
        self.is_open = False
        """The condition holds at this moment, told or not."""


class Findings:
    """Tells findings to instruments and the log. May be used from any thread."""

    def __init__(self, instruments: Instruments) -> None:
        self.suppressed = 0
        """Findings that were not told because too many came at once. Above 0, look at the log for what was."""
        self._instruments = instruments
        self._known: dict[tuple[FindingKind, int | str], _Known] = {}
        self._told: list[int] = []
        self._lock = Lock()

    @property
    def standing(self) -> list[Finding]:
        """What has been told and is not over."""
        with self._lock:
            return [known.finding for known in self._known.values() if known.finding is not None]

    def observe(
        self,
        kind: FindingKind,
        agent: Agent | PlainTask,
        text: str,
        since: float,
        stack: tuple[Frame, ...] = (),
    ) -> bool:
        """The condition holds. Call it as often as it is seen; tells whether it was told this time.

        Of plain tasks, one at a time may be the subject of a kind of finding: they have no pid to be told apart by.
        """
        pid, name, class_name = _identity(agent)
        key = _key(kind, agent)
        now = now_ns()
        with self._lock:
            known = self._known.pop(key, None) or _Known()
            self._known[key] = known  # the order of the dict is that of the newest observation
            if not known.is_open:
                if now - known.told_ns > 6 * QUIET_S * 1e9:
                    known.count = 0
                known.is_open = True
                known.count += 1
            if known.finding is not None or (known.told_ns and now - known.told_ns < QUIET_S * 1e9):
                return False
            if not self._may_tell(now):
                self.suppressed += 1
                known.told_ns = now
                return False
            known.told_ns = now
            known.finding = finding = Finding(
                kind=kind,
                pid=pid,
                name=name,
                class_name=class_name,
                text=text,
                since=since,
                stack=stack,
                count=known.count,
            )
            if len(self._known) > REMEMBERED:
                oldest = next(iter(self._known))
                if not self._known[oldest].is_open:
                    del self._known[oldest]
        self._tell(finding)
        return True

    def clear(self, kind: FindingKind, agent: Agent | PlainTask, text: str) -> None:
        """The condition is over. Told if its beginning was; `text` says how it went, for people."""
        with self._lock:
            known = self._known.get(_key(kind, agent))
            if known is None:
                return
            known.is_open = False
            finding, known.finding = known.finding, None
        if finding is not None:
            self._tell(replace(finding, text=text, stack=(), cleared=True))

    def _may_tell(self, now: int) -> bool:
        self._told = [told for told in self._told if now - told < QUIET_S * 1e9]
        if len(self._told) >= BURST:
            return False
        self._told.append(now)
        return True

    def _tell(self, finding: Finding) -> None:
        # Instruments first: a log handler may be what the scheduler's thread hangs in, and its lock is held then.
        for hook in self._instruments.on_finding:
            hook(finding)
        if finding.cleared:
            logger.info("%s", finding.text)
        else:
            inner = finding.stack[-1] if finding.stack else None
            where = f' (in {inner.function}, {inner.file}:{inner.line}: "{inner.source}")' if inner else ""
            logger.warning("%s%s", finding.text, where)


def _key(kind: FindingKind, agent: Agent | PlainTask) -> tuple[FindingKind, int | str]:
    return kind, str(agent) if isinstance(agent, PlainTask) else agent._o_pid


def _identity(agent: Agent | PlainTask) -> tuple[int, str | None, str]:
    """Pid, name and class, as a finding has them."""
    if isinstance(agent, PlainTask):
        return 0, agent.name, agent.coroutine
    return agent._o_pid, agent._o_child.name, type(agent).__name__


def ago(since_ns: int) -> float:
    """The Unix time of a monotonic reading."""
    return wall_s() - (now_ns() - since_ns) / 1e9
