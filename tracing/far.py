"""Tracing in worker processes: each exports what its agents do itself, as the node's process was told to at `setup`.

Light until it is used: a worker loads OpenTelemetry when the node has tracing, before its first agent starts.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import time
import weakref
from asyncio import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.errors import NotSendable
from observe.runtime.instrument import Instrument
from observe.runtime.node import Node
from observe.tracing import open_spans, references
from observe.tracing.beside import beside
from observe.tracing.far_accounts import Account, FarAccounts, leave
from observe.tracing.far_spans import FarSpans, Teller

if TYPE_CHECKING:
    from observe.runtime.workers.process import WorkerProcess
    from observe.tracing.export import Tracing

logger = logging.getLogger("observe.tracing")

EXIT_S: Final = 1.0
"""How long the end of a worker may wait for the backend; the node kills it after two seconds."""


class FarTracing(Instrument):
    """Sets tracing up in the node's workers. On the scheduler's thread."""

    def __init__(self, node: Node, options: dict[str, Any], tracing: Tracing) -> None:
        self._node = node
        self._options = options
        self._tracing = tracing
        self._kept: list[int] = []
        self._spans = FarSpans()
        self.accounts = FarAccounts()
        """Where the workers' spans and log records are."""
        self._spans.on_page = self._keep_ends

    def start(self) -> None:
        """In the workers that there are, and in those to come."""
        self._tracing.tail.on_keep = self._keep
        self._tracing.open_spans.far = self._spans
        _OF[self._node] = self
        references.register_far(self._node, self._spans.of_agent)
        self._node.instruments.add(self)
        for process in self._processes():
            self.on_worker(process)

    def stop(self) -> None:
        """End it in all of them, without waiting. From any thread."""
        self._node.instruments.remove(self)
        if self._node.is_running:
            self._node.scheduler.call_soon_threadsafe(self._end)

    def told(
        self,
        serial: int,
        opened: list[Any],
        ended: list[Any],
        resource: dict[str, Any] | None,
        accounts: dict[str, Account],
    ) -> None:
        """A worker tells which of its spans are open, and where all of them are."""
        self.accounts.told(serial, accounts)
        self._spans.told(serial, opened, [(end[0], end[1], end[2]) for end in ended], resource)

    def kept(self, kept: list[int]) -> None:
        """A worker keeps these traces."""
        for trace_id in kept:
            self._tracing.tail.keep(trace_id)

    def _over(self, process: WorkerProcess, _over: Future[None]) -> None:
        """It has ended: its spans are ended here."""
        death = process.death
        status = death.status if death is not None else None
        left, resource = self._spans.over(process.serial, status == 0)
        if death is None:
            left = []
        self.accounts.over(process.serial, len(left))
        if not left:
            return
        from observe.tracing import orphans

        number = -status if status is not None and status < 0 else None
        end = orphans.End(
            time.time_ns(), str(death).removeprefix("worker died: "), status if number is None else None, number,
            _signal_name(number), "worker",
        )  # fmt: skip
        self._tracing.adopt(orphans.ended(left, resource, end))

    def _keep_ends(self) -> None:
        for process in self._processes():
            self._ask_for_ends(process)

    def _ask_for_ends(self, process: WorkerProcess) -> None:
        page = self._spans.page_of(process.serial)
        if page is not None:
            process.ask(keep_ends, str(page)).add_done_callback(_ignore)

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
            asked = process.ask(begin, self._options, self.accounts.begin(process.serial))
            asked.add_done_callback(partial(_begun, process))
        except NotSendable as error:  # a sampler of the user's
            logger.warning("the agents of %s are not traced: %s", process.text, error)
            return
        process.over.add_done_callback(partial(self._over, process))
        self._ask_for_ends(process)

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


def _signal_name(number: int | None) -> str | None:
    if number is None:
        return None
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


_OF: Final[weakref.WeakKeyDictionary[Node, FarTracing]] = weakref.WeakKeyDictionary()
"""In the node's process: that of each node."""


def kept_far(node: Node, kept: list[int]) -> None:
    """In the node's process: a worker keeps these traces, so the node and its other workers do."""
    far = _OF.get(node)
    if far is not None:
        far.kept(kept)


def told_far(
    node: Node,
    serial: int,
    opened: list[Any],
    ended: list[Any],
    resource: dict[str, Any] | None,
    accounts: dict[str, Account],
) -> None:
    """In the node's process: a worker tells which of its spans are open, and where all of them are."""
    far = _OF.get(node)
    if far is not None:
        far.told(serial, opened, ended, resource, accounts)


def keep_ends(node: Node, page: str) -> None:
    """In a worker: write ends of spans down here."""
    made = _tracing.get(node)
    if made is not None:
        Path(page).unlink(missing_ok=True)
        made.open_spans.keep_ends(Path(page))


def keep(node: Node, kept: list[int]) -> None:
    """In a worker: the node keeps these traces."""
    made = _tracing.get(node)
    if made is not None:
        for trace_id in kept:
            made.tail.keep(trace_id, tell=False)


_tracing: dict[Node, Tracing] = {}
_tellers: dict[Node, Teller] = {}
"""Those of this worker."""


def begin(node: Node, options: dict[str, Any], last_word: str) -> None:
    """In the worker: export from now on, and say at the end what became of it, in a place that outlives us."""
    from observe.tracing.export import setup  # the SDK

    end(node)
    made = _tracing[node] = setup(node, **options)
    node.inside.refer = partial(references.refer, node)  # type: ignore[attr-defined]  # a worker's
    kept: list[int] = []

    def tell() -> None:
        told, kept[:] = list(kept), []
        node.inside.tell(kept_far, told)  # type: ignore[attr-defined]  # a worker's

    def on_keep(trace_id: int) -> None:
        kept.append(trace_id)
        if len(kept) == 1:
            node.scheduler.call_soon_threadsafe(tell)

    made.tail.on_keep = on_keep
    inside = node.inside  # type: ignore[attr-defined]  # as above
    tell_node = partial(inside.tell, told_far, inside.serial)
    resource = open_spans.resource_of(node)
    teller = _tellers[node] = Teller(node, made.open_spans, resource, made.accounts, tell_node)
    teller.start()
    try:
        descriptor = os.open(last_word, os.O_WRONLY | os.O_CLOEXEC) if last_word else -1
    except OSError:
        descriptor = -1
    atexit.register(_close, made, descriptor)


def _close(made: Tracing, descriptor: int) -> None:
    """The process ends."""
    made.shutdown(EXIT_S)
    leave(descriptor, made.accounts())


def end(node: Node) -> None:
    """In the worker: send what waits, beside the agents, and tell of that."""
    node.inside.refer = None  # type: ignore[attr-defined]  # a worker's
    made = _tracing.pop(node, None)
    teller = _tellers.pop(node, None)
    if teller is not None:
        teller.stop()
    if made is not None:
        made.unplug()
        beside(partial(_send, node, made, teller), "observe:close-tracing")


def _send(node: Node, made: Tracing, teller: Teller | None) -> None:
    made.shutdown()
    if teller is not None and node not in _tracing:  # another has begun: what counts now is that one's
        with contextlib.suppress(RuntimeError):  # the worker has ended meanwhile: it leaves its last word
            node.loop.call_soon_threadsafe(teller.tell_now)
