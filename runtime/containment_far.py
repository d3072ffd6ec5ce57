"""Containment of agents in worker processes: ordered in the node's process, kept in the worker.

    Containment (node) --take_fences--> Containment (worker): holds, judges and watches the agent as it would at home
          ^   ^                                |
          |   +------ order_above -------------+   a budget has ordered it there
          +---------- `governed` frames -------+   what was denied, and all that a monitored agent does

A successor of the agent, in whichever worker, is told of its fences with its start.
"""

from __future__ import annotations

import time
from asyncio import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.fences import Fence, Level
    from observe.runtime.governed import Governed
    from observe.runtime.node import Node

MOST_A_SECOND: Final = 500
"""Of what the agents of one worker do while they are monitored, and may do by a policy's name: as many as the audit log takes of all of
them. What is denied, deviates or changes is told without a limit."""


def send_fences(agent: Agent, fences: tuple[Fence, ...]) -> Future[int]:
    """In the node's process: have its worker keep these. A future of how many activities that has cancelled."""
    assert agent._o_away is not None
    asked: Future[int] = agent._o_away.ask(take_fences, agent._o_pid, fences)
    asked.add_done_callback(
        lambda done: done.cancelled() or done.exception()
    )  # with its process its agents are gone
    return asked


def take_fences(node: Node, pid: int, fences: tuple[Fence, ...]) -> int:
    """In the worker: these hold for the agent from here on, and no others. Tells how many activities were cancelled."""
    agent = node.agents.get(pid)
    if agent is None or (not fences and node.governing is None):
        return 0
    return node.govern().containment.take(agent._o_child, fences)


def order_above(
    owner: Agent,
    level: Level,
    reason: str,
    by: str,
    tools: tuple[str, ...] | None,
    recipients: tuple[str, ...] | None,
) -> None:
    """In a worker: the agent was fenced in there; let the node's process know, which has the last word."""
    inside: Any = owner._o_node.inside  # type: ignore[attr-defined]  # a worker's
    inside.tell(ordered_far, owner._o_pid, level, reason, by, tools, recipients)


def ordered_far(
    node: Node,
    pid: int,
    level: Level,
    reason: str,
    by: str,
    tools: tuple[str, ...] | None,
    recipients: tuple[str, ...] | None,
) -> None:
    """In the node's process: so was an agent of a worker."""
    from observe.runtime.containment import contain_at_least

    agent = node.agents.get(pid)
    if agent is not None:
        contain_at_least(agent, level, reason, by, tools, recipients)


class Sieve:
    """In a worker: lets through so much a second of what monitored agents do, and counts the rest."""

    def __init__(self) -> None:
        self._second = 0
        self._count = 0
        self._left_out = 0

    def take(self, event: Governed) -> Governed | None:
        """The event as it is to be told, or None. The next one that is told says how many were left out before it."""
        if event.verdict not in ("deny", "approve") and event.what not in ("containment", "violation"):
            second = int(time.monotonic())
            if second != self._second:
                self._second, self._count = second, 0
            self._count += 1
            if self._count > MOST_A_SECOND:
                self._left_out += 1
                return None
        if self._left_out:
            event = replace(event, facts={**event.facts, "left_out_before": str(self._left_out)})
            self._left_out = 0
        return event
