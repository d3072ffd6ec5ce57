"""Changes of audited fields of agents in worker processes: compared there, told to the node's process, on record as those of all others."""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any, Final

from observe.probe.audited import Fields, Report
from observe.runtime.instrument import Instrument
from observe.runtime.node import Node

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.exits import ExitReason
    from observe.runtime.workers.worker_node import WorkerNode

MOST_A_SECOND: Final = 500
"""Changes told by one worker: the link is the agents' as well. The next one that is told says how many were left out."""

_OF: Final[weakref.WeakKeyDictionary[Node, Report]] = weakref.WeakKeyDictionary()
"""In the node's process: who is told."""


def register(node: Node, report: Report) -> None:
    """In the node's process: tell this one. The newest counts."""
    _OF[node] = report


def take_far(node: Node, facts: dict[str, Any]) -> None:
    """In the node's process: what a worker sends."""
    report = _OF.get(node)
    if report is not None:
        report(("audited", facts))


class FarFields(Instrument):
    """In a worker. Belongs to its loop."""

    def __init__(self, node: WorkerNode) -> None:
        self._node = node
        self._fields = Fields(node, self._tell)
        self._second = 0
        self._count = 0
        self._left_out = 0
        node.instruments.add(self)
        for agent in list(node.agents.values()):
            self.on_spawn(agent)

    def end(self) -> None:
        """Compare nothing more."""
        self._node.instruments.remove(self)
        self._fields.end()

    def on_spawn(self, agent: Agent) -> None:
        if agent.audited:
            self._fields.spawned(agent)

    def on_exit(self, agent: Agent, reason: ExitReason) -> None:
        self._fields.ended(agent._o_pid)

    def _tell(self, report: tuple[str, dict[str, Any]]) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        if self._count > MOST_A_SECOND:
            self._left_out += 1
            return
        _, facts = report
        if self._left_out:
            facts["how"] = ", ".join(
                filter(None, [facts["how"], f"{self._left_out} changes before it left out"])
            )
            self._left_out = 0
        self._node.inside.tell(take_far, facts)
