"""Pictures of agents for telemetry: the rows and facts that the feed carries (docs/protocol.md, section 2)."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from observe.runtime.agent import FROZEN, RUNNABLE, STATUS_NAMES

if TYPE_CHECKING:
    from observe.runtime.agent import Agent

__all__ = ["ROW_WIDTH", "STATUS_NAMES", "SpawnFacts", "row_values", "spawn_facts"]

ROW_WIDTH = 9
"""int64 values in a row: pid, status, mailbox, mailbox_max, handled, reductions, since_us, activity,
activity_since_us."""


class SpawnFacts(NamedTuple):
    """What never changes while an agent lives."""

    pid: int
    class_name: str
    name: str | None
    supervisor_pid: int
    child_id: str | int
    """As text, but for a number: those that children are given unless told otherwise."""
    restarts: int
    crashes: int
    worker: int
    """The number of the worker process in which it runs; 0 for the node's own."""


def row_values(agents: Sequence[Agent], activity_id: Callable[[str], int]) -> array[int]:
    """The counters of `agents`, `ROW_WIDTH` values each, one after the other.

    Args:
        activity_id: the number that stands for a string in the feed.
    """
    values: list[int] = []
    extend = values.extend
    for agent in agents:
        if agent._o_away is not None:
            extend(agent._o_away.row(activity_id))
            continue
        new = agent._o_mailbox
        old = agent._o_backlog
        queued = (len(new) if new else 0) + (len(old) if old else 0)
        if queued > agent._o_mailbox_max:  # noqa: PLR1730  # max() costs a call for each agent
            agent._o_mailbox_max = queued
        status = agent._o_status
        if status == RUNNABLE:
            preempter = agent._o_scheduler.preempter
            if preempter is not None and preempter.holds(agent) is not None:
                status = FROZEN
        activities = agent._o_activities
        if activities:
            activity = activities[-1]
            doing, doing_since_us = activity_id(activity.name), activity.since_us
        else:
            doing = doing_since_us = 0
        extend(
            (
                agent._o_pid,
                status,
                queued,
                agent._o_mailbox_max,
                agent._o_handled,
                agent._o_busy_ns // 1000,
                agent._o_since_ns // 1000,
                doing,
                doing_since_us,
            )
        )
    # Thrice as fast as growing the array itself.
    return array("q", struct.pack(f"{len(values)}q", *values))


def spawn_facts(agent: Agent) -> SpawnFacts:
    """What the feed says once of each agent."""
    child = agent._o_child
    return SpawnFacts(
        agent._o_pid,
        type(agent).__name__,
        child.name,
        child.supervisor_pid,
        child.id if type(child.id) is int else str(child.id),
        child.restarts,
        child.crashes,
        agent._o_away.worker if agent._o_away is not None else 0,
    )
