"""The emitter: turns the runtime's counters into frames of the feed, on the scheduler's loop, each tick.

    beat (every tick_s)  -->  heartbeat word, `vitals`
         and when a tick is due  -->  strings, spawn, crash, restart, rows, exit
         and when the probe asks -->  hello, then spawn and rows of everything alive
         and when one attaches   -->  spawn, crash, restart, exit: facts out of turn (`observe.probe.greetings`)

It is a guest. No turn of it holds the loop for longer than 5 ms; what is left goes on in a later turn. Ticks move apart
when they cost more than their budget (`observe.probe.pace`). What the socket does not take is dropped, and the probe is told all of it anew
when it asks. Nothing here waits, and nothing raises into the service.

Facts (spawn, exit, crash, restart, and the reports of `probe/reports.py`) are batched per tick and never sampled. While
nobody takes the feed, spawns and exits need not be kept (everything alive is told again); the others are, the newest
`KEPT_FACTS` of each sort.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from array import array
from collections import deque
from pathlib import Path
from typing import Any, Final

from observe.probe import far_audited
from observe.probe.askers import Askers, Tell
from observe.probe.audited import Fields
from observe.probe.concerns import Concerns
from observe.probe.outlet import Outlet
from observe.probe.pace import Pace
from observe.probe.reports import (
    Report,
    containment_reports,
    finding_report,
    governed_report,
    limit_report,
    rung_report,
)
from observe.probe.risk_telling import RiskTeller
from observe.probe.span_telling import SpanTeller
from observe.probe.telling import FeedLost, Teller, Telling
from observe.probe.words import WORD_LOOP_NS, Words
from observe.runtime.activity import Activity
from observe.runtime.agent import Agent
from observe.runtime.children import Child
from observe.runtime.errors import BudgetExceeded
from observe.runtime.exits import Crash, ExitReason
from observe.runtime.findings import Finding
from observe.runtime.governed import Governed
from observe.runtime.instrument import Instrument
from observe.runtime.ladder import Failure, Rung
from observe.runtime.node import Node
from observe.runtime.snapshot import spawn_facts
from observe.tracing.references import far_reference, is_far, refer

logger = logging.getLogger("observe.probe")

TURN_NS: Final = 4_000_000
"""After so long a turn ends, so that with the piece in hand it stays under 5 ms."""

FAREWELL_NS: Final = 20_000_000
"""Processor time for the last facts before `bye`: nobody needs the loop any more, and a crash that was seen by nobody is
what a reader of the recording looks for."""

RETRY_S: Final = 0.02
"""When the socket takes nothing for the moment, this long until it is tried again."""

WORKERS_S: Final = 1.0
"""Between two tellings of the worker processes."""

KEPT_FACTS: Final = 1000
"""Crashes, and restarts, kept while nobody takes the feed."""

QUEUED_FACTS: Final = 20_000
"""Crashes, and restarts, that may wait for a tick."""

QUEUED_AGENTS: Final = 500_000
"""Spawns and exits that may wait for a tick. Beyond it, telling everything anew is cheaper."""

MOST_STRINGS: Final = 1_000_000
"""Strings after which everything is told anew, because they are never forgotten otherwise; more for a larger node."""

SWEEP_IS_YOUNG_S: Final = 1.0
"""A probe that asks within this time of a sweep's start asked before it had read its beginning."""


class Emitter(Instrument):
    """Feeds one probe from one node. All of it belongs to the scheduler's thread."""

    def __init__(
        self,
        node: Node,
        outlet: Outlet,
        words: Words,
        *,
        tick_s: float,
        budget: float,
        version: str,
        ends: Path | None = None,
    ) -> None:
        """
        Args:
            ends: where ends of spans are written down; None: open spans are not told.
            tick_s: seconds between two ticks, when their cost allows it.
            budget: share of one core that ticks may take.
        """
        self._node = node
        self._outlet = outlet
        self._teller = Teller(node, outlet, version)
        self._spans = SpanTeller(node, outlet, ends) if ends is not None else None
        self._words = words
        self._tick_s = tick_s
        self._pace = Pace(tick_s, budget)
        self._loop = node.loop
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        """When the next beat is due, by the loop's clock."""
        self._next_tick = 0.0
        self._next_workers = 0.0
        self._job: Telling | None = None
        self._job_ns = 0
        self._turn_began_ns = 0
        self._is_sweeping = False
        self._is_aside = False
        """Whether the job tells facts out of turn."""
        self._is_live = False
        """Whether the probe has been told everything up to the last tick, or is being told."""
        self._sweep_wanted = False
        self._swept_at = float("-inf")
        self._lag_us = 0
        self._spawned: list[Agent] = []
        self._exited = array("q")
        self._crashes: deque[Crash] = deque()
        self._restarts: deque[dict[str, Any]] = deque()
        self._reports: deque[Report] = deque()
        self._concerns = Concerns(node)
        self._fields = Fields(node, self._report)
        far_audited.register(node, self._report)
        self._askers = Askers()
        self._risks = RiskTeller(node)
        self._dropped_facts = 0
        self._cost_ns = 0
        self._longest_turn_ns = 0

    # -- start, stop, and what the probe asks ---------------------------------------------------------------------

    def start(self) -> None:
        """Plug in and begin to beat."""
        self._node.instruments.add(self)
        if Agent._o_audits:
            for agent in [agent for agent in self._node.agents.values() if agent.audited]:
                self._fields.spawned(agent)
        self._node.scheduler.collect()
        self._node.scheduler.attach_words(self._words.view[:])
        self._due = self._loop.time()
        self._beat()

    def resync(self) -> None:
        """The probe wants everything anew."""
        young = self._loop.time() - self._swept_at < SWEEP_IS_YOUNG_S
        if not (self._is_live and young):
            self._sweep_wanted = True
            self._schedule(0.0)

    def hurry(self) -> None:
        """Let the next tick be now: somebody waits to see what has just happened."""
        self._next_tick = 0.0
        self._schedule(0.0)

    def fresh(self, tell: Tell) -> None:
        """Tell what has happened until now out of turn; then `tell` gets the number of its last frame."""
        self._askers.add(tell)
        self._schedule(0.0)

    def offer(self, kind: str, fields: dict[str, Any]) -> bool:
        """Put a frame on the feed at once, between two of a tick. False: it is not taken now, or nobody reads."""
        return self._is_live and self._outlet.offer(kind, fields)

    def stop(self, reason: str) -> None:
        """Say `bye` and unplug. Stopping twice has no effect."""
        if self._timer is None:
            return
        self.unplug()
        try:
            self._flush()
            self._outlet.offer("bye", {"reason": reason})
        except Exception:
            logger.exception("the last telemetry could not be sent")
        self._risks.end()

    def unplug(self) -> None:
        """Stop without a word. In a forked child this is all that may be done."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._job = None
        self._node.instruments.remove(self)
        self._node.scheduler.detach_words()
        self._node.scheduler.collect(False)

    def statistics(self) -> dict[str, int]:
        """What was sent, dropped and spent."""
        return (
            {
                "frames": self._outlet.sent,
                "lost": self._outlet.lost,
                "dropped_facts": self._dropped_facts,
                "watched": self._teller.watched,
                "strings": self._outlet.texts,
                "cost_us": self._cost_ns // 1000,
                "longest_turn_us": self._longest_turn_ns // 1000,
                "pause_us": int(self._pace.pause_s * 1e6),
            }
            | self._concerns.statistics()
            | self._fields.statistics()
        )

    # -- hooks ------------------------------------------------------------------------------------------------------

    def on_spawn(self, agent: Agent) -> None:
        if agent.audited:
            self._fields.spawned(agent)
        if self._is_live:
            self._spawned.append(agent)
            if len(self._spawned) > QUEUED_AGENTS:
                self._lose()

    def on_exit(self, agent: Agent, reason: ExitReason) -> None:
        pid = agent.ref.pid
        self._concerns.ended(pid)
        self._fields.ended(pid)
        if self._is_live:
            self._exited.append(pid)
            self._teller.forget(pid)
            if len(self._exited) > QUEUED_AGENTS:
                self._lose()

    def on_crash(self, crash: Crash) -> None:
        self._crashes.append(crash)
        self._bound(self._crashes)

    def on_restart(self, old: Agent, new: Agent) -> None:
        facts = spawn_facts(new)
        self._restarts.append(
            {"at": time.time(), "pid": facts.pid, "old": old.ref.pid, "supervisor": facts.supervisor_pid}
        )
        self._bound(self._restarts)

    def on_rung(self, child: Child, rung: Rung, failure: Failure) -> None:
        self._report(rung_report(child, rung, failure))

    def on_limit(self, owner: Agent, error: BudgetExceeded) -> None:
        self._report(limit_report(owner, error))

    def on_governed(self, event: Governed) -> None:
        kind, facts = governed_report(event)
        if event.trace:
            facts.update(trace=event.trace, span=event.span)
        elif is_far(self._node, event.pid):
            facts.update(far_reference(self._node, event.pid))
        else:
            # Usually the run to which it belongs begins right after, and before this is told.
            refer(self._node, event.pid, lambda trace, span: facts.update(trace=trace, span=span))
        self._report((kind, facts))
        if event.what == "violation":
            self._concerns.deviated(event.pid, event.policy, event.reason, event.facts)
        elif event.what == "cap":
            self._concerns.capped(event.pid, event.policy, event.reason, event.facts)

    def on_activity_start(self, agent: Agent, activity: Activity) -> None:
        self._concerns.activity_started(agent, activity)

    def on_activity_end(self, agent: Agent, activity: Activity, error: BaseException | None) -> None:
        self._concerns.activity_ended(agent, activity, error)

    def on_checkpoint(self, agent: Agent, size_bytes: int) -> None:
        self._concerns.checkpointed(agent, size_bytes)

    def on_spending(self, owner: Agent, limit: str, used: float, allowed: float) -> None:
        self._concerns.spent(owner, limit, used, allowed)

    def on_finding(self, finding: Finding) -> None:
        # In the watchdog's thread. Whoever holds the scheduler is seen by the probe meanwhile, in the words.
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._report, finding_report(finding))

    def _report(self, report: Report) -> None:
        self._reports.append(report)
        self._bound(self._reports)

    def _bound(self, facts: deque[Any]) -> None:
        most = QUEUED_FACTS if self._is_live else KEPT_FACTS
        while len(facts) > most:
            facts.popleft()
            self._dropped_facts += 1

    # -- turns ------------------------------------------------------------------------------------------------------

    def _schedule(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._loop.call_later(delay_s, self._beat)

    def _beat(self) -> None:
        """One turn on the loop."""
        began_ns = time.perf_counter_ns()
        self._timer = self._loop.call_later(self._tick_s, self._beat)  # also if what follows fails
        try:
            pause_s = self._turn(began_ns)
        except FeedLost:
            pause_s = self._tick_s
            self._lose()
        except Exception:  # the edge: a fault in telemetry must not hurt the service
            logger.exception("a telemetry tick failed; the probe will be told everything anew")
            pause_s = self._tick_s
            self._lose()
        spent_ns = time.perf_counter_ns() - began_ns
        self._cost_ns += spent_ns
        self._longest_turn_ns = max(self._longest_turn_ns, spent_ns)
        self._schedule(pause_s)

    def _turn(self, began_ns: int) -> float:
        """Do what is due; returns in how many seconds the next turn is."""
        now = self._loop.time()
        self._turn_began_ns = began_ns
        self._words.view[WORD_LOOP_NS] = time.monotonic_ns()
        if now >= self._due:
            self._lag_us = max(self._lag_us, int((now - self._due) * 1e6))
            self._due = now + self._tick_s
            if self._tell_vitals():
                self._lag_us = 0
            if self._node.lifecycle.workers is not None and now >= self._next_workers:
                self._next_workers = now + WORKERS_S
                self._teller.tell_workers()
            if self._spans is not None and self._is_live:
                self._spans.beat()
        if self._sweep_wanted:
            self._sweep_wanted = False
            self._lose()
            self._begin(self._sweep(), is_sweep=True)
        elif self._job is None and now >= self._next_tick:
            self._begin(self._tick())
        elif self._job is None and self._askers:
            self._begin(self._tell_facts(), is_aside=True)
        if self._job is None:
            return max(0.0, self._due - self._loop.time())
        for taken in self._job:
            spent_ns = time.perf_counter_ns() - began_ns
            if not taken or spent_ns > TURN_NS:
                self._job_ns += spent_ns
                return spent_ns / 1e9 if taken else RETRY_S  # as long for the agents as for us
        self._job = None
        self._askers.told(self._outlet.seq)
        cost_s = (self._job_ns + time.perf_counter_ns() - began_ns) / 1e9
        pace = self._pace
        if self._is_aside:
            pace.aside(cost_s)
        else:
            self._next_tick = now + (
                pace.after_sweep(cost_s) if self._is_sweeping else pace.after_tick(cost_s)
            )
        return 0.0 if self._askers else max(0.0, self._due - self._loop.time())

    def _begin(self, job: Telling, *, is_sweep: bool = False, is_aside: bool = False) -> None:
        self._job, self._job_ns, self._is_sweeping, self._is_aside = job, 0, is_sweep, is_aside
        if not is_sweep:  # whose beginning is later, when the socket has taken the hello
            self._askers.begin()

    def _tick(self) -> Telling:
        """Tell what has changed since the last tick."""
        teller = self._teller
        now_s = self._loop.time()
        for report in self._concerns.due(now_s):
            self._report(report)
        for report in self._risks.due(now_s):
            self._report(report)
        if not self._is_live:
            yield from teller.discard_changed()
            yield from teller.tell_crashes(self._crashes)
            yield from teller.tell_restarts(self._restarts)
            yield from teller.tell_reports(self._reports)
            return
        if self._outlet.texts > max(MOST_STRINGS, 4 * len(self._node.agents)):
            self._sweep_wanted = True
            return
        yield from self._tell_facts(self._rows_of_others())

    def _rows_of_others(self) -> Telling:
        yield from self._teller.tell_changed(self._is_nearly_enough)
        yield from self._teller.tell_watched(self._is_enough)

    def _tell_facts(self, between: Telling | None = None) -> Telling:
        """Tell what has happened. `between`: what is told before those that have ended."""
        teller = self._teller
        # Both now: an agent that starts and ends while this goes on must not be told gone before it is told.
        spawned, self._spawned = self._spawned, []
        exited, self._exited = self._exited, array("q")
        yield from teller.tell_spawned(spawned)
        yield from teller.tell_crashes(self._crashes)
        yield from teller.tell_restarts(self._restarts)
        yield from teller.tell_reports(self._reports)
        if between is not None:
            yield from between
        yield from teller.tell_exited(exited)

    def _tell_vitals(self) -> bool:
        cost_us = self._cost_ns // 1000
        return self._teller.tell_vitals(self._lag_us, cost_us, self._pace.pause_s, self._dropped_facts)

    def _is_enough(self) -> bool:
        """Whether this tick should leave the rest to the next one."""
        return self._pace.is_enough((self._job_ns + time.perf_counter_ns() - self._turn_began_ns) / 1e9)

    def _is_nearly_enough(self) -> bool:
        """The same with some room for what comes after, so that it gets its turn on a node that is never told all."""
        spent_ns = self._job_ns + time.perf_counter_ns() - self._turn_began_ns
        return self._pace.is_enough(spent_ns * 1.25e-9)

    def _sweep(self) -> Telling:
        """Tell everything. Facts that come meanwhile wait for the next tick, so that none overtakes its agent."""

        def begun() -> None:
            self._is_live = True
            self._askers.begin()
            self._swept_at = self._loop.time()
            self._concerns.begin_anew()
            self._risks.begin_anew()
            if self._spans is not None:
                self._spans.begin_anew()
            self._next_workers = 0.0

        yield from self._teller.tell_all(begun)
        self._reports.extend(containment_reports(self._node))
        self._tell_vitals()
        self._next_tick = 0.0

    def _lose(self) -> None:
        """What was to be told is lost: tell no changes until the probe has been told everything."""
        self._job = None
        if self._is_live:
            self._outlet.lose()
        self._is_live = False
        self._spawned = []
        self._exited = array("q")
        self._teller.forget_all()
        self._bound(self._crashes)
        self._bound(self._restarts)
        self._bound(self._reports)
        self._askers.begin()
        self._askers.told(self._outlet.seq)  # which the probe reaches only once it has been told everything

    def _flush(self) -> None:
        """The facts of the last moments, as far as they fit into `FAREWELL_NS`."""
        end_ns = time.thread_time_ns() + FAREWELL_NS
        for taken in self._tick():
            if not taken or time.thread_time_ns() > end_ns:
                return
        self._tell_vitals()
