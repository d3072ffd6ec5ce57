"""The node's worker processes, as its probe sees them: what the service says of them, and what the system measures."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from observe.probe.dump_signal import stacks_beside
from observe.probe.holding import held_by
from observe.probe.node_watch import Holding, LastWords
from observe.probe.wire import Held
from observe.probe.wire_base import Frame
from observe.probe.wire_workers import WorkerLine, WorkerList
from observe.probe.words import NotWords, Words
from observe.probe.worker_stacks import WorkerStacks

if TYPE_CHECKING:
    from observe.probe.picture import Picture

MEASURED: Final = 256
"""Processes measured in one go, at some 50 microseconds each; with more, each is measured every other time or less."""


@dataclass(slots=True, eq=False)
class Worker:
    """One worker process."""

    facts: dict[str, Any]
    memory: int = 0
    cpu: float = 0.0
    held: Held | None = None
    page: Words | None = field(default=None, repr=False)
    judge: LastWords = field(default_factory=LastWords, repr=False)
    process: psutil.Process | None = field(default=None, repr=False)
    stacks: WorkerStacks | None = field(default=None, repr=False)

    def open_page(self, words: str) -> Words | None:
        """Its page of words, if it has one by now. `words` is the node's."""
        try:
            self.page = Words.open(Path(f"{words}-w{self.facts.get('serial', 0)}"))
        except (OSError, NotWords):
            return None
        return self.page

    def stack(self, holding: Holding, picture: Picture) -> list[Frame]:
        """Where its holder is. One in a process of its own holds nobody up, and is left in peace."""
        if self.facts["isolated"] or not self.facts["os_pid"]:
            return []
        if self.stacks is None:
            path = stacks_beside(f"{picture.config.words}-w{self.facts.get('serial', 0)}")
            self.stacks = WorkerStacks(path, self.facts["os_pid"], picture.config.pid)
        return self.stacks.look(holding, time.monotonic())


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
            if worker is None or worker.facts.get("serial") != facts.get("serial"):
                worker = Worker(facts)
            worker.facts = facts
            self.workers[number] = worker
        alive = set(self.workers.values())
        for worker in before.values():
            if worker.page is not None and worker not in alive:
                worker.page.close()

    def look(self, picture: Picture) -> None:
        """Who holds which worker. To be asked several times a second."""
        now_ns = time.monotonic_ns()
        for worker in self.workers.values():
            page = worker.page or worker.open_page(picture.config.words)
            holding = worker.judge.judge(page.read(), now_ns) if page is not None else None
            if holding is None:
                worker.held = None
                continue
            if worker.held is None and holding.pid:
                picture.table.note_running(holding.pid, holding.since_ns // 1000)
            worker.held = held_by(holding, worker.stack(holding, picture), picture, now_ns // 1000)

    def close(self) -> None:
        """Let go of all pages."""
        for worker in self.workers.values():
            if worker.page is not None:
                worker.page.close()
                worker.page = None

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
