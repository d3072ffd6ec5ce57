"""Agents that a worker has started itself (the items of a `supervised_map`), as the node's own process sees them.

They are in the node's tables from the word of their start to that of their end, so that they are seen, inspected, killed and
on record when they crash as any agent is. Their supervisor is in the worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from observe.runtime.agent import IDLE, Agent
from observe.runtime.children import Child, ChildSpec
from observe.runtime.clock import now_ns
from observe.runtime.exits import ExitReason
from observe.runtime.fanout_agents import FanOut, FanOutItem
from observe.runtime.workers.remote_end import RemoteEnd

if TYPE_CHECKING:
    from observe.runtime.workers.process import WorkerProcess

KINDS = {cls.__name__: cls for cls in (FanOut, FanOutItem)}
"""What a worker starts itself."""


class Lodging(Child):
    """The place of a lodger: nobody here brings it back."""

    __slots__ = ("_supervisor_pid",)

    def __init__(self, spec: ChildSpec, child_id: str, supervisor_pid: int) -> None:
        super().__init__(spec, child_id, None)
        self._supervisor_pid = supervisor_pid

    @property
    def supervisor_pid(self) -> int:
        return self._supervisor_pid

    def ended(self, agent: Agent, reason: ExitReason, tell_supervisor: bool) -> None:
        self.agent = None


def lodged(process: WorkerProcess, pid: int, kind: str, child_id: str, supervisor_pid: int) -> None:
    """An agent has been started in the worker."""
    lifecycle = process.node.lifecycle
    cls = process.workers.stand_in(KINDS[kind])
    agent = cls.__new__(cls)
    root = process.node._root
    above = supervisor_pid or (root._o_pid if root is not None else 0)
    agent._o_child = child = Lodging(ChildSpec(KINDS[kind], restart="temporary"), child_id, above)
    child.agent = agent
    agent._o_pid = pid
    agent._o_scheduler = process.node.scheduler
    agent._o_backlog = agent._o_activities = agent._o_bonds = agent._o_step = agent._o_exit = None
    agent._o_handled = agent._o_mailbox_max = 0
    agent._o_busy_ns = 1000
    agent._o_dirty = not process.node.scheduler.collecting
    agent._o_since_ns = now_ns()
    agent._o_status = IDLE
    agent._o_away = agent._o_mailbox = end = RemoteEnd(agent, process)
    end.started.set_result(None)
    end.status = IDLE
    process.load += 1
    process.agents[pid] = agent
    lifecycle.agents[pid] = agent
    lifecycle.spawned += 1
    for hook in lifecycle.instruments.on_spawn:
        hook(agent)
