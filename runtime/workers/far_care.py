"""The care of an agent of a worker, as far as it is the business of the node's own process.

    node's process                                       worker
    FarCare: what the place remembers (the ladder's      Care: checkpoints, budgets, `restored`, `on_retry`, as of any
    failures, the message to be handled again)           agent; its store is the node's, over the link

A checkpoint is acknowledged when it is on record in the node's store, so it outlives the worker and the node. The message in
hand is known here as well: it is handled again when the worker dies, unless a checkpoint that was asked for has it behind it.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from observe.runtime.care import Care
from observe.runtime.checkpoint import key_of, node_store, start_of
from observe.runtime.exits import ExitReason
from observe.runtime.workers.places import FarPlace

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.node import Node
    from observe.runtime.plan import Plan
    from observe.runtime.stores import Record
    from observe.runtime.workers.remote_end import RemoteEnd


class FarCare(Care):
    """Stands in the place of `Care` for an agent of a worker."""

    __slots__ = ("has_first", "saved")

    def __init__(self, agent: Agent, plan: Plan) -> None:
        super().__init__(agent, plan)
        self.saved = 0
        """How many messages are handled for good according to the newest checkpoint that was asked for."""
        self.has_first = False
        """The first message that it gets is one that a predecessor had in hand."""

    def place(self) -> FarPlace:
        """What the worker must know to start the agent."""
        agent, plan = self.agent, self.plan
        child = agent._o_child
        past = child.past_of()
        if plan.restore:
            node_store(agent._o_node)
        if plan.restore or plan.checkpoint is not None:
            self._key()  # said at the start rather than when it matters
        told = past.failure if past.is_told else None
        place = FarPlace(
            plan=plan,
            key=key_of(child),
            start=start_of(child),
            restores=past.restores,
            is_fresh=past.is_fresh,
            lived=past.lived or past.has_message,
            told=told,
            record=past.record,
        )
        past.is_told = past.is_fresh = False
        past.record = None
        self.has_first = past.has_message
        return place

    @property
    def end(self) -> RemoteEnd:
        """The way to the agent."""
        end: RemoteEnd = self.agent._o_away  # type: ignore[assignment]  # of a stand-in
        return end

    def begin(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Start the agent in its worker, which does what there is to do before."""
        return self.agent._o_init(args, kwargs)

    def handled(self) -> None:
        """A message has been handled."""
        past = self.agent._o_child.past
        if past is not None and past.failures:
            past.begin_anew()

    def checkpoint(self) -> Future[None]:
        """Have the agent take a checkpoint, in its worker."""
        return self.end.ask(_checkpoint_there, self.agent._o_pid)

    def asked(self, record: Record, saved: int, putting: Future[None]) -> None:
        """The agent has asked for `record` to be kept; `saved` of its messages are behind it for good."""
        self.generation = record.generation
        self.saved = saved
        putting.add_done_callback(lambda done: self._written(record.generation, done))

    def ending(self, reason: ExitReason) -> None:
        """What there is to save is saved there."""

    def keep_in_hand(self, message: Any) -> None:
        """The agent has ended with this message in hand."""
        self.message, self.has_message = message, True

    def buried(self, reason: ExitReason) -> None:
        """The agent is gone: leave to its successor what it needs."""
        if not self.has_message and self.agent._o_away is not None:
            self.end.leave_in_hand(self.has_first)
        super().buried(reason)


def _checkpoint_there(node: Node, pid: int) -> Any:
    """In the worker."""
    return node.control.find(pid).checkpoint()
