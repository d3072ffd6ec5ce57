"""In the node's process: has each worker process tell the probe itself, as long as there is a probe."""

from __future__ import annotations

import logging
from asyncio import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from observe.probe import far_emit, far_log
from observe.probe.dump_signal import stacks_beside
from observe.runtime.instrument import Instrument
from observe.runtime.node import Node

if TYPE_CHECKING:
    from observe.runtime.workers.process import WorkerProcess

logger = logging.getLogger("observe.probe")


class FarFeeds(Instrument):
    """Starts the emitter of every worker. On the scheduler's thread."""

    def __init__(
        self,
        node: Node,
        path: str,
        words: str,
        *,
        tick_s: float,
        budget: float,
        log: tuple[int, int] = (0, 0),
    ) -> None:
        """
        Args:
            log: how many log records each of them keeps, and from which level on.
            path: where the probe takes what workers tell.
            words: how the names of their pages of words begin.
            budget: share of one core that telemetry may take in each of them.
        """
        self._node = node
        self._path = path
        self._words = words
        self._tick_s = tick_s
        self._budget = budget
        self._log = log

    def start(self) -> None:
        """Begin in the workers that there are, and in those to come."""
        self._node.instruments.add(self)
        for process in self._processes():
            self.on_worker(process)

    def on_worker(self, process: WorkerProcess) -> None:
        words = f"{self._words}-w{process.serial}"
        asked = process.ask(far_emit.begin, self._path, words, self._tick_s, self._budget)
        asked.add_done_callback(partial(self._begun, process))
        if self._log[0]:
            process.ask(far_log.begin, *self._log).add_done_callback(_ignore)
        process.over.add_done_callback(lambda _: _remove(words))

    def stop(self) -> None:
        """Stop in all of them. Stopping twice has no effect."""
        self._node.instruments.remove(self)
        for process in self._processes():
            process.tells_itself = False
            process.ask(far_emit.end).add_done_callback(_ignore)
            if self._log[0]:
                process.ask(far_log.end).add_done_callback(_ignore)
            _remove(f"{self._words}-w{process.serial}")

    def _begun(self, process: WorkerProcess, asked: Future[Any]) -> None:
        if asked.cancelled():
            return
        error = asked.exception()
        process.tells_itself = error is None
        if error is not None and not process.is_closed:
            logger.warning("%s cannot tell the probe itself, the node does it: %s", process.text, error)

    def _processes(self) -> list[WorkerProcess]:
        workers = self._node.lifecycle.workers
        return [one for one in workers.processes.values() if not one.is_closed] if workers else []


def _remove(words: str) -> None:
    Path(words).unlink(missing_ok=True)
    stacks_beside(words).unlink(missing_ok=True)


def _ignore(asked: Future[Any]) -> None:
    if not asked.cancelled():
        asked.exception()
