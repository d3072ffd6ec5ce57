"""Tracing in worker processes: each exports what its agents do itself, as the node's process was told to at `setup`.

Light until it is used: a worker loads OpenTelemetry when the node has tracing, before its first agent starts.
"""

from __future__ import annotations

import atexit
import logging
from asyncio import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.errors import NotSendable
from observe.runtime.instrument import Instrument
from observe.runtime.node import Node
from observe.tracing.beside import beside

if TYPE_CHECKING:
    from observe.runtime.workers.process import WorkerProcess
    from observe.tracing.export import Tracing

logger = logging.getLogger("observe.tracing")

EXIT_S: Final = 1.0
"""How long the end of a worker may wait for the backend; the node kills it after two seconds."""


class FarTracing(Instrument):
    """Sets tracing up in the node's workers. On the scheduler's thread."""

    def __init__(self, node: Node, options: dict[str, Any]) -> None:
        self._node = node
        self._options = options

    def start(self) -> None:
        """In the workers that there are, and in those to come."""
        self._node.instruments.add(self)
        for process in self._processes():
            self.on_worker(process)

    def stop(self) -> None:
        """End it in all of them, without waiting. From any thread."""
        self._node.instruments.remove(self)
        if self._node.is_running:
            self._node.scheduler.call_soon_threadsafe(self._end)

    def on_worker(self, process: WorkerProcess) -> None:
        try:
            process.ask(begin, self._options).add_done_callback(partial(_begun, process))
        except NotSendable as error:  # a sampler of the user's
            logger.warning("the agents of %s are not traced: %s", process.text, error)

    def _end(self) -> None:
        for process in self._processes():
            process.ask(end).add_done_callback(lambda done: done.cancelled() or done.exception())

    def _processes(self) -> list[WorkerProcess]:
        if not self._node.is_running or self._node.lifecycle.workers is None:
            return []
        return [one for one in self._node.lifecycle.workers.processes.values() if not one.is_closed]


def _begun(process: WorkerProcess, asked: Future[Any]) -> None:
    error = None if asked.cancelled() else asked.exception()
    if error is not None and not process.is_closed:
        logger.warning("the agents of %s are not traced: %s", process.text, error)


_tracing: dict[Node, Tracing] = {}
"""That of this worker."""


def begin(node: Node, options: dict[str, Any]) -> None:
    """In the worker: export from now on."""
    from observe.tracing.export import setup  # the SDK

    end(node)
    made = _tracing[node] = setup(node, **options)
    atexit.register(made.shutdown, EXIT_S)


def end(node: Node) -> None:
    """In the worker: send what waits, beside the agents."""
    made = _tracing.pop(node, None)
    if made is not None:
        made.unplug()
        beside(made.shutdown, "observe:close-tracing")
