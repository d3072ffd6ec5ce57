"""The log of worker processes: kept there, and fetched when somebody reads the node's.

Nothing is sent while nobody looks. What is fetched joins the node's own records with new numbers, so that a reader has one log;
its time is that at which it was logged.
"""

from __future__ import annotations

import asyncio
import threading
import time
from asyncio import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.logring import Logged, LogRing
from observe.runtime.node import Node

if TYPE_CHECKING:
    from observe.runtime.workers.process import WorkerProcess

AT_ONCE: Final = 500
"""Records fetched from one worker in one go; the newest, when there are more."""

EVERY_S: Final = 0.3
"""Workers are asked no more often, however many read."""

ANSWER_S: Final = 0.5
"""How long they may take together. One that is stuck tells what it has logged later."""

_rings: dict[Node, LogRing] = {}
"""Of this process, when it is a worker."""


def begin(node: Node, keep: int, level: int) -> None:
    """In the worker: keep what is logged from here on."""
    end(node)
    _rings[node] = ring = LogRing(node, keep, level)
    ring.open()


def end(node: Node) -> None:
    """In the worker: keep no more."""
    ring = _rings.pop(node, None)
    if ring is not None:
        ring.close()


def since(node: Node, after: int) -> list[Logged]:
    """In the worker: the newest of what was logged after this number."""
    ring = _rings.get(node)
    return [record for record in ring.kept() if record.number > after][-AT_ONCE:] if ring is not None else []


class FarLog:
    """In the node's process: fetches what workers have logged. `fetch` belongs to any thread but the loop's."""

    def __init__(self, node: Node, ring: LogRing) -> None:
        self._node = node
        self._ring = ring
        self._after: dict[int, int] = {}
        """By the worker's serial: the number of its record that was fetched last."""
        self._fetched_s = float("-inf")
        self._lock = threading.Lock()

    def fetch(self) -> None:
        """Put what is new into the node's ring. Waits for ANSWER_S at most."""
        workers = self._node.lifecycle.workers if self._node.is_running else None
        if workers is None or not workers.processes:
            return
        with self._lock:
            if time.monotonic() - self._fetched_s < EVERY_S:
                return
            self._fetched_s = time.monotonic()
            asking = self._ask()
            try:
                asked = asyncio.run_coroutine_threadsafe(asking, self._node.loop)
            except RuntimeError:  # the loop is closed
                asking.close()
                return
            try:
                found = asked.result(2 * ANSWER_S)
            except Exception:  # noqa: BLE001  # the loop is held, or a worker has just ended: what is here can be read all the same
                asked.cancel()
                return
            for serial, records in found:
                if records:
                    self._after[serial] = records[-1].number
            every = sorted((record for _, records in found for record in records), key=lambda one: one.at)
            self._ring.adopt(every)

    async def _ask(self) -> list[tuple[int, list[Logged]]]:
        workers = self._node.lifecycle.workers
        processes = [one for one in workers.processes.values() if not one.is_closed] if workers else []
        self._after = {one.serial: self._after.get(one.serial, 0) for one in processes}
        asked: dict[Future[Any], WorkerProcess] = {
            one.ask(since, self._after[one.serial]): one for one in processes
        }
        if asked:
            await asyncio.wait(asked, timeout=ANSWER_S)
        return [
            (one.serial, [replace(record, worker=one.number) for record in told.result()])
            for told, one in asked.items()
            if told.done() and not told.cancelled() and told.exception() is None
        ]
