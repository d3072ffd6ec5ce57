"""Parked messages: those that failed too often, kept for a human to look at, to retry or to drop."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from observe.runtime import encoding
from observe.runtime.checkpoint import key_of, load
from observe.runtime.clock import wall_s
from observe.runtime.errors import NoSuchAgent, NotStorable, RuntimeFault, Unreadable
from observe.runtime.stores import Record

if TYPE_CHECKING:
    from asyncio import Future

    from observe.runtime.agent import Agent
    from observe.runtime.children import Child
    from observe.runtime.node import Node

logger = logging.getLogger("observe.runtime")

PARKED_KEPT: Final = 1000
"""When another is parked, the oldest becomes a dead letter."""

_PREFIX: Final = "parked:"


@dataclass(frozen=True, slots=True)
class Parked:
    """A message that waits for a human."""

    id: str
    """By which it is retried or dropped."""
    place: str
    """Whose it is: the ids of the supervisors below the root and of the child, with slashes."""
    name: str | None
    """The agent's name, if it has one."""
    class_name: str
    message: Any
    reason: str
    """Why the agent ended that had it in hand."""
    at: float
    """When it was parked, in Unix time."""


class Parking:
    """The node's parked messages, oldest first. With a store they outlive the process, if they can be written down."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._parked: dict[str, Parked] = {}

    def __len__(self) -> int:
        return len(self._parked)

    def __iter__(self) -> Iterator[Parked]:
        return iter(list(self._parked.values()))

    def retry(self, parked_id: str) -> None:
        """Hand the message to the agent that is in its place now, as a cast.

        Raises:
            LookupError: nothing of this id is parked.
            NoSuchAgent: nobody is in the place; the message stays parked.
        """
        parked = self._of(parked_id)
        agent = self._agent_at(parked)
        if agent is None:
            raise NoSuchAgent(parked.name or parked.place)
        agent._o_ref().cast(parked.message)
        self._forget(parked_id)

    def drop(self, parked_id: str) -> None:
        """Give the message up: it becomes a dead letter.

        Raises:
            LookupError: nothing of this id is parked.
        """
        parked = self._of(parked_id)
        self._forget(parked_id)
        self._node.dead_letter(parked.name or parked.place, parked.message, why="given up")

    def park(self, child: Child, message: Any, reason: str) -> Parked:
        """Put a message of the agent in this place aside. The runtime does so; anybody may."""
        place = key_of(child)
        parked = Parked(
            id=token_hex(6),
            place=place,
            name=child.name,
            class_name=child.spec.agent.__qualname__,
            message=message,
            reason=reason,
            at=wall_s(),
        )
        if len(self._parked) >= PARKED_KEPT:
            self.drop(next(iter(self._parked)))
        self._parked[parked.id] = parked
        logger.warning("a message of %s is parked (%s): %s", child.name or place, parked.id, reason)
        store = self._node.store
        if store is not None:
            try:
                record = self._record(parked)
            except NotStorable as fault:
                logger.warning("%s; it is parked until this process ends", fault)
            else:
                store.put(record).add_done_callback(_report)
        return parked

    async def recall(self) -> None:
        """Read back what earlier processes have parked."""
        store = self._node.store
        if store is None:
            return
        found: list[Parked] = []
        async for record in load(store, _PREFIX):
            try:
                found.append(self._parked_of(record))
            except (Unreadable, RuntimeFault, LookupError, TypeError) as fault:
                logger.warning("a parked message stays in the store: %s", fault)
        found.sort(key=lambda parked: parked.at)
        self._parked = {parked.id: parked for parked in found[-PARKED_KEPT:]}

    def _of(self, parked_id: str) -> Parked:
        parked = self._parked.get(parked_id)
        if parked is None:
            raise LookupError(f"no message with the id {parked_id!r} is parked")
        return parked

    def _agent_at(self, parked: Parked) -> Agent | None:
        if parked.name is not None:
            return self._node.registry.get(parked.name)
        return next((a for a in self._node.agents.values() if key_of(a._o_child) == parked.place), None)

    def _forget(self, parked_id: str) -> None:
        del self._parked[parked_id]
        if self._node.store is not None:
            self._node.store.delete(_PREFIX + parked_id).add_done_callback(_report)

    def _record(self, parked: Parked) -> Record:
        what = f"the parked message of {parked.name or parked.place}"
        about = {"place": parked.place, "name": parked.name, "reason": parked.reason}
        return Record(
            key=_PREFIX + parked.id,
            class_name=parked.class_name,
            state=encoding.encode(about, what),
            message=encoding.encode(parked.message, what),
            at=parked.at,
        )

    def _parked_of(self, record: Record) -> Parked:
        about = encoding.decode(record.state, record.key, self._node)
        return Parked(
            id=record.key.removeprefix(_PREFIX),
            place=about["place"],
            name=about["name"],
            class_name=record.class_name,
            message=encoding.decode(record.message or b"null", record.key, self._node),
            reason=about["reason"],
            at=record.at,
        )


def _report(done: Future[None]) -> None:
    if not done.cancelled() and (fault := done.exception()) is not None:
        logger.error("a parked message is not on record: %s", fault)
