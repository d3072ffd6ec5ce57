"""What an operator may do about an activity that waits for a person: grant or refuse it. As the other actions on agents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from observe.runtime.actions import Acted, Result
from observe.runtime.agent import Agent
from observe.runtime.approvals import Person
from observe.runtime.errors import ActionRefused
from observe.runtime.node import Node


def approve(
    node: Node, agent: Agent, approval: int = 0, who: str = "", by: str = "", role: str = "", reason: str = ""
) -> Acted:
    """Let the activity begin; of two people the first lets it wait for the second."""
    return _decide(node, agent, approval, Person(who, by, role), True, reason)


def refuse(
    node: Node, agent: Agent, approval: int = 0, who: str = "", by: str = "", role: str = "", reason: str = ""
) -> Acted:
    """Let it not begin: its block raises ApprovalRefused."""
    return _decide(node, agent, approval, Person(who, by, role), False, reason)


def _decide(node: Node, agent: Agent, approval: int, person: Person, granted: bool, reason: str) -> Acted:
    if node.governing is None:
        raise ActionRefused(f"{agent._o_text()} does not wait for any approval")
    what = node.governing.approvals.decide(agent, approval, person, granted, reason)
    return Acted(True, what, agent._o_pid, {"granted": granted})


ON_APPROVALS: Final[dict[str, Callable[..., Result]]] = {"approve": approve, "refuse": refuse}
"""By the op of the control link. They take node, agent and keywords."""
