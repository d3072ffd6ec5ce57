"""The worker processes of one node, and which agent runs where."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.errors import BadChildSpec, NodeDown
from observe.runtime.workers.packing import why_not_found
from observe.runtime.workers.process import CLOSE_S, WorkerProcess
from observe.runtime.workers.remote import Remote, stand_in

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.children import Child
    from observe.runtime.node import Node

MOST_PROCESSES: Final = 1024
"""Processes of one node at a time. Each takes some 15 MB and a few descriptors."""


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """One worker process, for people."""

    number: int
    serial: int
    """Never used again on this node."""
    os_pid: int
    is_isolated: bool
    """It belongs to one agent."""
    agents: int
    waiting_bytes: int
    """Bytes of messages that it has not read yet."""
    handled: int
    """Messages that its agents have handled."""
    limits: str
    """Of its process, for people; empty for none."""
    started_at: float
    """Unix time."""


class Workers:
    """Starts processes, places agents, ends processes."""

    def __init__(self, node: Node, count: int) -> None:
        self.node = node
        self.count = count
        self.processes: dict[int, WorkerProcess] = {}
        """All that live, by number: 1 to `count` are shared, later ones belong to one agent each."""
        self.died = 0
        """Processes that ended without having been told to."""
        self.handled_before = 0
        """Messages handled by those that have ended."""
        self._next = count + 1
        self._serial = 0
        self._classes: dict[type[Agent], type[Remote]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    def start(self) -> None:
        """Start the shared ones, so that they are there when they are needed."""
        for number in range(1, self.count + 1):
            self._shared(number)

    def _shared(self, number: int) -> WorkerProcess:
        process = self.processes.get(number)
        if process is None or process.is_closed:
            process = self.processes[number] = WorkerProcess(self, number, False, None)
        return process

    def class_for(self, child: Child) -> type[Agent]:
        """Of what class the object is that takes this place: the user's, or one that stands for an agent elsewhere.

        Raises:
            BadChildSpec: it is to run in another process, and cannot.
        """
        spec = child.spec
        cls = spec.agent
        isolation = spec.isolation
        if isolation is None and (not self.count or cls._o_system):
            return cls
        if isolation == "none":
            return cls
        if isolation == "worker" and not self.count:
            raise BadChildSpec("isolation='worker' needs worker processes: Node(..., workers=2)")
        if spec.worker is not None and spec.worker > self.count:
            raise BadChildSpec(f"there is no worker {spec.worker}: the node has {self.count}")
        if cls not in self._classes:
            why = why_not_found(cls)
            if why:
                raise BadChildSpec(
                    f"{cls.__name__} cannot run in another process: {why}\n"
                    "  or keep it in the node's own process: isolation='none'"
                )
        return self.stand_in(cls)

    def stand_in(self, cls: type[Agent]) -> type[Remote]:
        """The class of those that stand for agents of class `cls`."""
        found = self._classes.get(cls)
        if found is None:
            found = self._classes[cls] = stand_in(cls)
        return found

    def assign(self, child: Child) -> WorkerProcess:
        """The process in which an agent is to run."""
        if self._is_closed:
            raise NodeDown("the node is stopping")
        spec = child.spec
        if spec.isolation == "process":
            if len(self.processes) >= MOST_PROCESSES:
                raise NodeDown(f"the node has {len(self.processes):,} processes, as many as it may have")
            number, self._next = self._next, self._next + 1
            process = self.processes[number] = WorkerProcess(self, number, True, spec.limits)
            return process
        if spec.worker is not None:
            return self._shared(spec.worker)
        return min(
            (self._shared(number) for number in range(1, self.count + 1)),
            key=lambda process: process.load,
        )

    def next_serial(self) -> int:
        """How many processes have been started, with the one that asks."""
        self._serial += 1
        return self._serial

    def process_ended(self, process: WorkerProcess) -> None:
        """A process is gone, and its agents with it."""
        self.handled_before += process.handled
        if self.processes.get(process.number) is process:
            del self.processes[process.number]

    @property
    def handled(self) -> int:
        """Messages handled by all their agents since the start."""
        return self.handled_before + sum(process.handled for process in self.processes.values())

    def facts(self) -> list[WorkerFacts]:
        """All processes that live. From any thread."""
        return [
            WorkerFacts(
                process.number,
                process.serial,
                process.os_pid,
                process.is_isolated,
                len(process.agents),
                process.link.waiting_bytes,
                process.handled,
                str(process.limits or ""),
                process.started_at,
            )
            for process in list(self.processes.values())
        ]

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold a task until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End all processes, and wait until they are gone."""
        self._is_closed = True
        processes = list(self.processes.values())
        for process in processes:
            process.close()
        if processes:
            _, late = await asyncio.wait([process.over for process in processes], timeout=CLOSE_S + 1.0)
            for process in processes:
                if not process.over.done():
                    process.kill()
            if late:
                await asyncio.wait(late, timeout=5.0)
        for task in list(self._tasks):
            task.cancel()
