"""What workers have run in the node's process for agents with checkpoints and budgets, by `ask`."""

from __future__ import annotations

from asyncio import Future
from typing import TYPE_CHECKING, Any

from observe.runtime import budget
from observe.runtime.checkpoint import node_store
from observe.runtime.errors import BudgetExceeded
from observe.runtime.workers.far_care import FarCare

if TYPE_CHECKING:
    from observe.runtime.charges import Charge
    from observe.runtime.node import Node
    from observe.runtime.stores import Record


def put(node: Node, record: Record, pid: int, saved: int) -> Future[None]:
    """`Store.put` of a worker. `pid` is that of the agent whose checkpoint it is, or 0."""
    putting = node_store(node).put(record)
    agent = node.agents.get(pid)
    care = agent._o_bonds.care if agent is not None and agent._o_bonds is not None else None
    if isinstance(care, FarCare):
        care.asked(record, saved, putting)
    return putting


def get(node: Node, key: str) -> Future[Record | None]:
    """`Store.get` of a worker."""
    return node_store(node).get(key)


def delete(node: Node, key: str, below: str) -> Future[None]:
    """`Store.delete` of a worker."""
    return node_store(node).delete(key, below=below)


def scan(node: Node, prefix: str, after: str, limit: int) -> Future[list[Record]]:
    """`Store.scan` of a worker."""
    return node_store(node).scan(prefix, after, limit)


def park(node: Node, pid: int, message: Any, reason: str) -> None:
    """`Parking.park` of a worker."""
    agent = node.agents.get(pid)
    if agent is not None:
        node.parked.park(agent._o_child, message, reason)


def charge_call(node: Node, pid: int, name: str, said: str) -> None:
    """An activity has begun in a worker: charge it to the supervisors above that have budgets."""
    agent = node.agents.get(pid)
    if agent is not None:
        try:
            budget.charge_call(agent, name, lambda: said, only_above=True)
        except BudgetExceeded:
            pass  # it has ended the supervisor, and with it the agent


def charge_usage(node: Node, pid: int, input_tokens: int, output_tokens: int, cost: float) -> None:
    """And so a model's use."""
    agent = node.agents.get(pid)
    if agent is not None:
        try:
            budget.charge_usage(agent, input_tokens, output_tokens, cost, only_above=True)
        except BudgetExceeded:
            pass


def charge_caps(node: Node, charges: list[Charge]) -> None:
    """Agents of a worker have spent this of what the node's policies count for several agents."""
    if node.governing is not None and node.governing.capping is not None:
        node.governing.capping.charged_far(charges)


def progress(node: Node, pid: int) -> None:
    """And so progress."""
    agent = node.agents.get(pid)
    if agent is not None:
        budget.progress(agent, only_above=True)
