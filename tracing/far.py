"""Tracing in worker processes: each exports what its agents do itself, as the node's process was told to at `setup`.

Light until it is used: a worker loads OpenTelemetry when the node has tracing, before its first agent starts.
"""

from __future__ import annotations

import atexit
import logging
import weakref
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
    from observe.tracing.tail import Tail

logger = logging.getLogger("observe.tracing")

EXIT_S: Final = 1.0
"""How long the end of a worker may wait for the backend; the node kills it after two seconds."""


class FarTracing(Instrument):
    """Sets tracing up in the node's workers. On the scheduler's thread."""

    def __init__(self, node: Node, options: dict[str, Any], tail: Tail) -> None:
        self._node = node
        self._options = options
        self._tail = tail
        self._kept: list[int] = []
        tail.on_keep = self._keep

    def start(self) -> None:
        """In the workers that there are, and in those to come."""
        _tails[self._node] = self._tail
        self._node.instruments.add(self)
        for process in self._processes():
            self.on_worker(process)

    def stop(self) -> None:
        """End it in all of them, without waiting. From any thread."""
        self._node.instruments.remove(self)
        if self._node.is_running:
            self._node.scheduler.call_soon_threadsafe(self._end)

    def _keep(self, trace_id: int) -> None:
        """A trace is kept here: the workers have parts of it. In any thread."""
        if self._node.is_running:
            self._kept.append(trace_id)
            if len(self._kept) == 1:
                self._node.scheduler.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        kept, self._kept = self._kept, []
        for process in self._processes():
            process.ask(keep, kept).add_done_callback(_ignore)

    def on_worker(self, process: WorkerProcess) -> None:
        try:
            process.ask(begin, self._options).add_done_callback(partial(_begun, process))
        except NotSendable as error:  # a sampler of the user's
            logger.warning("the agents of %s are not traced: %s", process.text, error)

    def _end(self) -> None:
        for process in self._processes():
            process.ask(end).add_done_callback(_ignore)

    def _processes(self) -> list[WorkerProcess]:
        if not self._node.is_running or self._node.lifecycle.workers is None:
            return []
        return [one for one in self._node.lifecycle.workers.processes.values() if not one.is_closed]


def _begun(process: WorkerProcess, asked: Future[Any]) -> None:
    error = None if asked.cancelled() else asked.exception()
    if error is not None and not process.is_closed:
        logger.warning("the agents of %s are not traced: %s", process.text, error)


def _ignore(asked: Future[Any]) -> None:
    if not asked.cancelled():
        asked.exception()


_tails: Final[weakref.WeakKeyDictionary[Node, Tail]] = weakref.WeakKeyDictionary()
"""In the node's process: those of nodes with workers."""


def kept_far(node: Node, kept: list[int]) -> None:
    """In the node's process: a worker keeps these traces, so the node and its other workers do."""
    tail = _tails.get(node)
    if tail is not None:
        for trace_id in kept:
            tail.keep(trace_id)


def keep(node: Node, kept: list[int]) -> None:
    """In a worker: the node keeps these traces."""
    made = _tracing.get(node)
    if made is not None:
        for trace_id in kept:
            made.tail.keep(trace_id, tell=False)


_tracing: dict[Node, Tracing] = {}
"""That of this worker."""


def begin(node: Node, options: dict[str, Any]) -> None:
    """In the worker: export from now on."""
    from observe.tracing.export import setup  # the SDK

    end(node)
    made = _tracing[node] = setup(node, **options)
    kept: list[int] = []

    def tell() -> None:
        told, kept[:] = list(kept), []
        node.inside.tell(kept_far, told)  # type: ignore[attr-defined]  # a worker's

    def on_keep(trace_id: int) -> None:
        kept.append(trace_id)
        if len(kept) == 1:
            node.scheduler.call_soon_threadsafe(tell)

    made.tail.on_keep = on_keep
    atexit.register(made.shutdown, EXIT_S)


def end(node: Node) -> None:
    """In the worker: send what waits, beside the agents."""
    made = _tracing.pop(node, None)
    if made is not None:
        made.unplug()
        beside(made.shutdown, "observe:close-tracing")
