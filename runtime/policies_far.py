"""Policies in worker processes: each worker has the node's rules and machines, and judges its own agents by them.

    NodePolicies --(rules, machines, caps)--> each worker, those to come before their first agent: Policies, Conforming, Capping
                 <--`governed` frames-- what was decided there, for the record and the counts

A worker that is stuck judges by those of before until it gets to the new ones; so it does nothing meanwhile.
"""

from __future__ import annotations

import logging
from asyncio import Future
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from observe.runtime.caps_far import Outgoing, Spreading
from observe.runtime.errors import NotSendable
from observe.runtime.instrument import Instrument
from observe.runtime.policies import Policies, Rule

if TYPE_CHECKING:
    from observe.runtime.caps import Cap
    from observe.runtime.conformance import Machine
    from observe.runtime.governed import Governed
    from observe.runtime.node import Node
    from observe.runtime.workers.process import WorkerProcess

logger = logging.getLogger("observe.runtime")


class FarPolicies(Instrument):
    """In the node's process: has all workers hold what the node holds. On the scheduler's thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._rules: tuple[Rule, ...] = ()
        self._machines: tuple[Machine, ...] = ()
        self._caps: tuple[Cap, ...] = ()
        self._spreading = Spreading(node)
        node.instruments.add(self, first=True)

    def take(self, rules: Sequence[Rule], machines: Sequence[Machine], caps: Sequence[Cap] = ()) -> None:
        """These hold from here on."""
        self._rules, self._machines, self._caps = tuple(rules), tuple(machines), tuple(caps)
        capping = self._node.govern().capping
        if capping is not None:
            capping.on_shared = self._spreading.take
        workers = self._node.lifecycle.workers
        for process in list(workers.processes.values()) if workers is not None else []:
            if not process.is_closed:
                self.on_worker(process)

    def on_worker(self, process: WorkerProcess) -> None:
        try:
            asked = process.ask(take_policies, self._rules, self._machines, self._caps)
        except NotSendable as error:
            logger.error("the agents of %s are not under the node's policies: %s", process.text, error)
            return
        asked.add_done_callback(partial(_told, process))
        self._spreading.tell(process)


def _told(process: WorkerProcess, asked: Future[Any]) -> None:
    error = None if asked.cancelled() else asked.exception()
    if error is not None and not process.is_closed:
        logger.error("the agents of %s are not under the node's policies: %s", process.text, error)


def take_policies(
    node: Node, rules: tuple[Rule, ...], machines: tuple[Machine, ...], caps: tuple[Cap, ...]
) -> None:
    """In a worker: these hold from here on, also for what has begun already."""
    if not rules and not machines and not caps and node.governing is None:
        return
    governing = node.govern()
    governing.set_policies(Policies(rules), machines, caps)
    if governing.capping is not None and governing.capping.on_shared is None:
        governing.capping.on_shared = Outgoing(node.loop, node._charge_caps_above).take


def count_far(node: Node, event: Governed) -> None:
    """In the node's process: what a worker has decided counts with what was decided here."""
    governing = node.governing
    if governing is None:
        return
    policies, conforming, capping = governing.policies, governing.conforming, governing.capping
    if event.what == "violation" and conforming is not None:
        conforming.violations[event.policy] += 1
    elif policies is not None and event.policy in policies.names and event.what in ("activity", "send"):
        policies.hits[event.policy] += 1
        policies.denied[event.policy] += event.verdict == "deny"
    elif capping is not None and event.what == "activity" and event.verdict == "deny":
        capping.count_denied(event.policy)
