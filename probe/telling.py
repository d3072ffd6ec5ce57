"""What is told over the feed, in pieces that fit between the agents' slices.

Each `tell_…` is a generator: it does some half a millisecond of work, then yields. True means go on when you like, False
that the socket takes nothing for the moment. When it has taken nothing for a while, `FeedLost` says that what was to be
told is lost: the probe is gone or stuck, and will ask for everything.
"""

from __future__ import annotations

import asyncio
import platform
import struct
import time
from array import array
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from observe.probe.describe import crash_map
from observe.probe.outlet import Outlet
from observe.runtime.agent import EXITED, IDLE, WAITING, Agent
from observe.runtime.exits import Crash
from observe.runtime.node import Node
from observe.runtime.snapshot import ROW_WIDTH, row_values, spawn_facts
from observe.tracing.open_spans import account_of

CHUNK_AGENTS: Final = 256
"""Agents handled between two yields: about half a millisecond."""

MOST_NUMBER: Final = 1 << 62
"""A child id that is a number below this is told as one, and takes no string; a larger one as text."""

SPAWN_BYTES: Final = 8 * 8
"""Of one agent in a spawn frame."""

_CALM: Final = frozenset({IDLE, WAITING})
"""What an agent without messages can be without its row changing unnoticed: leaving it takes a slice."""

FRAME_AGENTS: Final = 2048
"""Agents in one frame of a sweep: 150 kB of rows."""

TICK_PATIENCE_S: Final = 1.0
SWEEP_PATIENCE_S: Final = 5.0
"""How long the socket may take nothing in the middle of a tick, or of a sweep."""

CRASHES_IN_FULL: Final = 20
"""Crashes of one tick that are told with traceback and message, at some 0.3 ms each; more are told without."""

Telling = Generator[bool, None, None]


def _all_pids(alive: Mapping[int, Agent]) -> Sequence[int]:
    """The pids of these agents, and of some that are gone; agents stand there in the order of their pids.

    A list of a million would hold the loop for 10 ms.
    """
    if not alive:
        return ()
    assert isinstance(alive, dict)
    between = range(next(iter(alive)), next(reversed(alive)) + 1)
    return between if len(between) < 4 * len(alive) else list(alive)


def count_tasks() -> int:
    """Tasks of asyncio that something still refers to, as far as the interpreter counts them; else 0."""
    for name in ("_scheduled_tasks", "_all_tasks"):  # 3.12 and later, and before
        tasks = getattr(asyncio.tasks, name, None)
        if tasks is not None:
            return len(tasks)
    return 0


class FeedLost(Exception):
    """The socket has taken nothing for too long."""


class Teller:
    """Makes frames of one node's agents. Belongs to the scheduler's thread."""

    def __init__(self, node: Node, outlet: Outlet, version: str) -> None:
        self._node = node
        self._outlet = outlet
        self._version = version
        self._watched_at = 0
        """Where the next look at them begins."""
        self._tick = 0
        self._watched: dict[int, tuple[Agent, int, int, int]] = {}
        """Agents to look at each tick, with the status and mailbox that were told last, and in which tick that was."""

    @property
    def watched(self) -> int:
        """How many agents are looked at each tick."""
        return len(self._watched)

    def forget(self, pid: int) -> None:
        """This agent has ended."""
        self._watched.pop(pid, None)

    def forget_all(self) -> None:
        """Nothing has been told to anybody."""
        self._watched.clear()

    # -- changes ----------------------------------------------------------------------------------------------------

    def tell_spawned(self, agents: Sequence[Agent]) -> Telling:
        """Agents that have started, and their rows: one that has never run is not among the changed."""
        alive = self._node.agents
        for start in range(0, len(agents), CHUNK_AGENTS):
            chunk = agents[start : start + CHUNK_AGENTS]
            yield from self._tell("spawn", {"n": len(chunk), "data": self._spawns(chunk)})
            yield from self._tell_rows(self._rows([agent for agent in chunk if agent.ref.pid in alive]))

    def tell_changed(self, is_enough: Callable[[], bool]) -> Telling:
        """Rows of the agents whose counters have changed; those that change meanwhile are for the next tick, as are those
        that are left when it is enough."""
        scheduler = self._node.scheduler
        waiting = scheduler.dirty
        alive = self._node.agents
        while waiting > 0 and not is_enough():
            taken = scheduler.take_dirty(FRAME_AGENTS)  # copies what it leaves: not too often
            waiting -= FRAME_AGENTS
            for start in range(0, len(taken), CHUNK_AGENTS):
                chunk = [agent for agent in taken[start : start + CHUNK_AGENTS] if agent.ref.pid in alive]
                yield from self._tell_rows(self._rows(chunk))

    def tell_watched(self, is_enough: Callable[[], bool]) -> Telling:
        """Rows of agents that get no slice and change nevertheless, because messages pile up, but for those that this tick has
        told of already. When it is enough, the next tick goes on where this one has ended."""
        tick = self._tick
        self._tick = tick + 1
        pids = [pid for pid, watched in self._watched.items() if watched[3] != tick]
        first = self._watched_at % max(len(pids), 1)
        pids = pids[first:] + pids[:first]
        self._watched_at = first
        for start in range(0, len(pids), CHUNK_AGENTS):
            if is_enough():
                break
            self._watched_at = first + start + CHUNK_AGENTS
            chunk = [self._watched[pid] for pid in pids[start : start + CHUNK_AGENTS] if pid in self._watched]
            agents = [watched[0] for watched in chunk]
            values = row_values(agents, self._outlet.number)
            changed = array("q")
            for index, (_, status, mailbox, _) in enumerate(chunk):
                at = index * ROW_WIDTH
                if values[at + 1] != status or values[at + 2] != mailbox:
                    changed.extend(values[at : at + ROW_WIDTH])
            self._watch(agents, values)
            yield from self._tell_rows(changed)

    def tell_exited(self, pids: array[int]) -> Telling:
        """Agents that are gone."""
        if pids:
            yield from self._tell("exit", {"n": len(pids), "data": pids.tobytes()})

    def tell_crashes(self, crashes: deque[Crash]) -> Telling:
        """Crashes, oldest first; each is taken out when it has been told."""
        told = 0
        while crashes:
            crash = crashes[0]
            fields = crash_map(crash, in_full=told < CRASHES_IN_FULL)
            yield from self._insist(partial(self._outlet.offer, "crash", fields))
            if crashes and crashes[0] is crash:
                crashes.popleft()
            told += 1

    def tell_restarts(self, restarts: deque[dict[str, Any]]) -> Telling:
        """Restarts, oldest first; each is taken out when it has been told."""
        while restarts:
            restart = restarts[0]
            yield from self._insist(partial(self._outlet.offer, "restart", restart))
            if restarts and restarts[0] is restart:
                restarts.popleft()

    def tell_reports(self, reports: deque[tuple[str, dict[str, Any]]]) -> Telling:
        """Findings, rungs and limits, oldest first; each is taken out when it has been told."""
        while reports:
            report = reports[0]
            yield from self._insist(partial(self._outlet.offer, *report))
            if reports and reports[0] is report:
                reports.popleft()

    def discard_changed(self) -> Telling:
        """Nobody listens: let go of the agents that have changed."""
        scheduler = self._node.scheduler
        while scheduler.dirty:
            scheduler.take_dirty(10 * CHUNK_AGENTS)
            yield True

    def tell_vitals(self, lag_us: int, cost_us: int, pause_s: float = 0.0, dropped_facts: int = 0) -> bool:
        """The node's totals. Once, without insisting: the next beat has newer ones."""
        vitals = self._node.snapshot_vitals()
        return self._outlet.offer(
            "vitals",
            {
                "mono_us": time.monotonic_ns() // 1000,
                "agents": vitals.agents,
                "handled": vitals.handled,
                "run_queue": vitals.run_queue,
                "busy_us": vitals.busy_us,
                "lag_us": lag_us,
                "spawned": vitals.spawned,
                "exited": vitals.exited,
                "crashes": vitals.crashes,
                "restarts": vitals.restarts,
                "cost_us": cost_us,
                "dead_letters": vitals.dead_letters,
                "tasks": count_tasks(),
                "pause_us": int(pause_s * 1e6),
                "lost": self._outlet.lost,
                "dropped_facts": dropped_facts,
                "spans": account_of(self._node),
            },
        )

    def tell_workers(self) -> bool:
        """The node's worker processes, if it has any. Once, without insisting."""
        workers = [
            {
                "number": facts.number,
                "serial": facts.serial,
                "os_pid": facts.os_pid,
                "isolated": facts.is_isolated,
                "agents": facts.agents,
                "handled": facts.handled,
                "waiting_bytes": facts.waiting_bytes,
                "limits": facts.limits,
                "started_at": facts.started_at,
            }
            for facts in self._node.workers()
        ]
        return self._outlet.offer("workers", {"workers": workers})

    # -- everything -------------------------------------------------------------------------------------------------

    def tell_all(self, begun: Callable[[], None]) -> Telling:
        """A sweep: hello, then all agents with their rows.

        `begun` is called at the moment from which on spawns and exits must be kept for later: they are not in here.
        """
        self._outlet.begin()
        yield from self._insist(partial(self._outlet.offer, "hello", self._hello()), SWEEP_PATIENCE_S)
        alive = self._node.agents
        pids = _all_pids(alive)
        begun()
        for start in range(0, len(pids), FRAME_AGENTS):
            spawns: list[bytes] = []
            rows = array("q")
            for first in range(start, min(start + FRAME_AGENTS, len(pids)), CHUNK_AGENTS):
                chunk = [
                    agent
                    for pid in pids[first : first + CHUNK_AGENTS]
                    if (agent := alive.get(pid)) is not None
                ]
                spawns.append(self._spawns(chunk))
                yield True
                rows += self._rows(chunk)
                yield True
            data = b"".join(spawns)
            yield from self._tell("spawn", {"n": len(data) // SPAWN_BYTES, "data": data}, SWEEP_PATIENCE_S)
            yield from self._tell_rows(rows, SWEEP_PATIENCE_S)

    def _hello(self) -> Mapping[str, Any]:
        node = self._node
        return {
            "node": node.short_name,
            "host": node.host,
            "incarnation": node.incarnation,
            "pid": node.os_pid,
            "started_at": node.started_at,
            "python": platform.python_version(),
            "version": self._version,
            "mono_us": time.monotonic_ns() // 1000,
            "wall": time.time(),
        }

    # -- pieces -----------------------------------------------------------------------------------------------------

    def _spawns(self, agents: Sequence[Agent]) -> bytes:
        number = self._outlet.number
        values: list[int] = []
        extend = values.extend
        classes: dict[str, int] = {}
        for agent in agents:
            pid, class_name, name, supervisor, child, restarts, crashes, worker = spawn_facts(agent)
            class_number = classes.get(class_name)
            if class_number is None:
                class_number = classes[class_name] = number(class_name)
            name_number = number(name) if name else 0
            if type(child) is int and 0 <= child < MOST_NUMBER:
                child_number = ~child
            else:
                child_number = name_number if name and child == name else number(str(child))
            extend((pid, class_number, name_number, supervisor, child_number, restarts, crashes, worker))
        return struct.pack(f"<{len(values)}q", *values)  # a third of the time that an array takes

    def _rows(self, agents: Sequence[Agent]) -> array[int]:
        values = row_values(agents, self._outlet.number)
        if self._watched or any(values[2::ROW_WIDTH]) or not _CALM.issuperset(values[1::ROW_WIDTH]):
            self._watch(agents, values)
        return values

    def _watch(self, agents: Sequence[Agent], values: array[int]) -> None:
        """Keep an eye on those whose rows can change without their getting a slice."""
        watched, tick = self._watched, self._tick
        for agent, pid, status, mailbox in zip(
            agents, values[::ROW_WIDTH], values[1::ROW_WIDTH], values[2::ROW_WIDTH], strict=True
        ):
            if (mailbox or status not in _CALM) and status != EXITED:
                watched[pid] = (agent, status, mailbox, tick)
            elif pid in watched:
                del watched[pid]

    def _tell_rows(self, values: array[int], patience_s: float = TICK_PATIENCE_S) -> Telling:
        count = len(values) // ROW_WIDTH
        if count:
            now_us = time.monotonic_ns() // 1000
            yield from self._tell(
                "rows", {"mono_us": now_us, "n": count, "data": values.tobytes()}, patience_s
            )
        else:
            yield True

    def _tell(self, kind: str, fields: Mapping[str, Any], patience_s: float = TICK_PATIENCE_S) -> Telling:
        yield from self._insist(self._outlet.offer_strings, patience_s)
        yield from self._insist(partial(self._outlet.offer, kind, fields), patience_s)

    def _insist(self, offer: Callable[[], bool], patience_s: float = TICK_PATIENCE_S) -> Telling:
        """Offer until it is taken.

        Raises:
            FeedLost: it was not taken in time.
        """
        until = time.monotonic() + patience_s
        while not offer():
            if time.monotonic() > until:
                raise FeedLost
            yield False
        yield True
