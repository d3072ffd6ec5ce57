"""The node's worker processes, as its probe sees them: what the service says of them, and what the system measures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import psutil

from observe.probe.wire import Held
from observe.probe.wire_workers import WorkerLine, WorkerList

MEASURED: Final = 256
"""Processes measured in one go, at some 50 microseconds each; with more, each is measured every other time or less."""


@dataclass(slots=True)
class Worker:
    """One worker process."""

    facts: dict[str, Any]
    memory: int = 0
    cpu: float = 0.0
    held: Held | None = None
    process: psutil.Process | None = field(default=None, repr=False)


class Processes:
    """All worker processes of the node, by number."""

    def __init__(self) -> None:
        self.workers: dict[int, Worker] = {}
        self._next = 0

    def take(self, told: list[dict[str, Any]]) -> None:
        """What the service says of all that live."""
        before, self.workers = self.workers, {}
        for facts in told:
            number = int(facts["number"])
            worker = before.get(number)
            if worker is None or worker.facts["os_pid"] != facts["os_pid"]:
                worker = Worker(facts)
            worker.facts = facts
            self.workers[number] = worker

    def measure(self) -> None:
        """Look how much memory and processor time they use. About once a second."""
        workers = list(self.workers.values())
        start = self._next if self._next < len(workers) else 0
        chosen = workers[start : start + MEASURED]
        self._next = start + MEASURED
        for worker in chosen:
            pid = worker.facts["os_pid"]
            if not pid:
                continue
            try:
                if worker.process is None:
                    worker.process = psutil.Process(pid)
                with worker.process.oneshot():
                    worker.memory = int(worker.process.memory_info().rss)
                    worker.cpu = worker.process.cpu_percent(None) / 100
            except psutil.Error:
                worker.process = None

    def statement(self) -> dict[str, Any]:
        """The result of `workers`."""
        lines = [
            WorkerLine(
                number=number,
                os_pid=worker.facts["os_pid"],
                isolated=worker.facts["isolated"],
                agents=worker.facts["agents"],
                handled=worker.facts["handled"],
                waiting_bytes=worker.facts["waiting_bytes"],
                memory=worker.memory,
                cpu=worker.cpu,
                limits=worker.facts["limits"],
                started_at=worker.facts["started_at"],
                held=worker.held,
            )
            for number, worker in sorted(self.workers.items())
        ]
        return WorkerList(workers=lines).to_wire()
