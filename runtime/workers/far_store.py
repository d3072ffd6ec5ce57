"""The node's store and its parked messages, as agents of a worker use them: all of it is done in the node's own process.

What is asked for over the link takes effect in the order in which it was asked for, and before whatever the worker says later: the
end of an agent never overtakes its last checkpoint. A future is done when the node's store says so.
"""

from __future__ import annotations

from asyncio import Future
from typing import TYPE_CHECKING, Any

from observe.runtime.agent import EXITED
from observe.runtime.parking import Parking
from observe.runtime.stores import Record
from observe.runtime.workers import store_requests

if TYPE_CHECKING:
    from observe.runtime.children import Child
    from observe.runtime.workers.inside import Inside


class FarStore:
    """A `Store` whose records are the node's."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside

    def open(self) -> Future[None]:
        return self._done()

    def put(self, record: Record) -> Future[None]:
        inside = self._inside
        pid = inside.keys.get(record.key, 0)
        agent = inside.node.agents.get(pid)
        saved = inside.progress.saved(agent, record.message is None) if agent is not None else 0
        return inside.ask(store_requests.put, record, pid, saved)

    def get(self, key: str) -> Future[Record | None]:
        return self._inside.ask(store_requests.get, key)

    def delete(self, key: str, *, below: str = "") -> Future[None]:
        return self._inside.ask(store_requests.delete, key, below)

    def scan(self, prefix: str, after: str = "", limit: int = 1000) -> Future[list[Record]]:
        return self._inside.ask(store_requests.scan, prefix, after, limit)

    def close(self) -> Future[None]:
        return self._done()

    def _done(self) -> Future[None]:
        done: Future[None] = self._inside.loop.create_future()
        done.set_result(None)
        return done


class FarParking(Parking):
    """Parks messages in the node's process."""

    def __init__(self, inside: Inside) -> None:
        super().__init__(inside.node)
        self._inside = inside

    def park(self, child: Child, message: Any, reason: str) -> Any:
        agent = child.agent
        if agent is None or agent._o_status == EXITED:
            past = child.past_of()  # it has ended with it: the node's process is told, and parks it
            past.message, past.has_message = message, True
            return
        self._inside.tell(store_requests.park, agent._o_pid, message, reason)

    async def recall(self) -> None:
        """The node's process has done so."""
