"""Caps that are counted across processes: what workers spend comes to the node, and what all have spent goes to each worker.

    worker: Capping --(charges of this turn)--> node: Capping --(totals, of what has changed)--> each worker: Capping

A worker judges by what it knows, so several that spend of the same at the same moment can go beyond it by what is under way, as a
model's answer can. Nobody waits for another process before an activity.
"""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from observe.runtime.charges import Charge
from observe.runtime.errors import NotSendable, RuntimeFault

if TYPE_CHECKING:
    from observe.runtime.node import Node
    from observe.runtime.workers.process import WorkerProcess

logger = logging.getLogger("observe.runtime")

SPREAD_S: Final = 0.02
"""Totals that change within this time go out together."""


class Outgoing:
    """In a worker: collects what its agents spend, and sends it once a turn of the loop."""

    def __init__(self, loop: AbstractEventLoop, send: Callable[[list[Charge]], None]) -> None:
        self._loop = loop
        self._send = send
        self._waiting: list[Charge] = []

    def take(self, charge: Charge) -> None:
        """An agent has spent this."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(charge)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._send(waiting)


class Spreading:
    """In the node's process: lets the workers know what all have spent."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._changed: set[tuple[str, str]] = set()
        self._timer: TimerHandle | None = None

    def take(self, charge: Charge) -> None:
        """This was spent, here or in a worker."""
        workers = self._node.lifecycle.workers
        if workers is None or not workers.processes:
            return
        self._changed.add((charge.policy, charge.key))
        if self._timer is None:
            self._timer = self._node.loop.call_later(SPREAD_S, self._spread)

    def tell(self, process: WorkerProcess) -> None:
        """A worker begins, or has other caps now: tell it everything."""
        self._tell([process], None)

    def _spread(self) -> None:
        self._timer = None
        changed, self._changed = self._changed, set()
        workers = self._node.lifecycle.workers
        if workers is not None and not self._node.scheduler.closed:
            self._tell(list(workers.processes.values()), changed)

    def _tell(self, processes: list[WorkerProcess], keys: Iterable[tuple[str, str]] | None) -> None:
        governing = self._node.governing
        capping = governing.capping if governing is not None else None
        totals = capping.totals(keys) if capping is not None else []
        for process in processes if totals else ():
            if process.is_closed:
                continue
            try:
                process.ask(take_totals, totals).add_done_callback(
                    lambda told: (
                        told.cancelled() or told.exception()
                    )  # one that ends has nothing more to spend
                )
            except (NotSendable, RuntimeFault) as error:
                logger.error("%s does not know what others have spent: %s", process.text, error)


def take_totals(node: Node, totals: list[Charge]) -> None:
    """In a worker: this is what all have spent."""
    if node.governing is not None and node.governing.capping is not None:
        node.governing.capping.take_totals(totals)
