"""Whom a ref means that came from another process of the node, when the agent has ended meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from observe.runtime.agent import EXITED, Agent
from observe.runtime.children import Child, ChildSpec
from observe.runtime.exits import NOPROC
from observe.runtime.mailbox import DeadMailbox

if TYPE_CHECKING:
    from observe.runtime.node import Node


class Gone(Agent):
    """Whom a ref means that came from a worker, when the agent has ended meanwhile."""

    __slots__ = ()


def gone(node: Node, pid: int) -> Agent:
    """An agent that has ended, of which nothing but the pid is known any more."""
    agent = Gone.__new__(Gone)
    agent._o_pid = pid
    agent._o_scheduler = node.scheduler
    agent._o_child = Child(ChildSpec(Gone), "gone", None)
    agent._o_backlog = agent._o_activities = agent._o_bonds = agent._o_step = None
    agent._o_exit = NOPROC
    agent._o_status = EXITED
    agent._o_mailbox = DeadMailbox(agent, NOPROC)
    agent._o_handled = agent._o_busy_ns = agent._o_mailbox_max = agent._o_since_ns = 0
    agent._o_dirty = True
    return agent
