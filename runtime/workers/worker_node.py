"""The node as its agents in a worker see it: what they do with it is done in the node's own process."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Self

from observe.runtime.agent import EXITED, Agent
from observe.runtime.calls import Call
from observe.runtime.children import Child
from observe.runtime.errors import NodeDown, NotInWorker, NotSendable
from observe.runtime.exits import ExitReason
from observe.runtime.groups import Groups
from observe.runtime.lifecycle import Lifecycle
from observe.runtime.node import Node
from observe.runtime.ref import NamedRef, Ref
from observe.runtime.scheduler import Scheduler
from observe.runtime.supervisor_ref import SupervisorRef
from observe.runtime.workers import requests, store_requests
from observe.runtime.workers.boot import KEEP_APART
from observe.runtime.workers.far_store import FarParking, FarStore
from observe.runtime.workers.packing import pack
from observe.runtime.workers.stubs import Stub, Target

if TYPE_CHECKING:
    from observe.runtime.approvals import Approvals
    from observe.runtime.charges import Charge
    from observe.runtime.children import ChildSpec
    from observe.runtime.governing import Governing
    from observe.runtime.letters import Why
    from observe.runtime.step import Step
    from observe.runtime.workers.inside import Inside

PIDS_OF_ONE: Final = 10**12
"""A worker numbers the agents that it starts itself (the items of a `supervised_map`) from its serial number times this,
without asking: no two processes of a node, past ones included, ever give the same pid. The node's own stay below."""


class WorkerScheduler(Scheduler):
    """Tells after each drain what has been handled."""

    def _run(self, until: Call | None) -> None:
        try:
            super()._run(until)
        finally:
            self._touch()

    def step_hosted(self, step: Step, resume: Callable[[Any], Any], value: Any) -> Any:
        try:
            return super().step_hosted(step, resume, value)
        finally:
            self._touch()

    def mark_dirty(self, agent: Agent) -> None:
        super().mark_dirty(agent)
        self._touch()

    def _touch(self) -> None:
        node = self.node
        if isinstance(node, WorkerNode):
            node.inside.progress.touch()


class Names(dict[str, Agent]):
    """The registry of a worker: agents here by name, and for any other name somebody elsewhere."""

    def __init__(self, inside: Inside) -> None:
        super().__init__()
        self._inside = inside

    def get(self, name: str, default: Any = None) -> Any:
        found = super().get(name)
        return found if found is not None else self._inside.stub(name)

    def __contains__(self, name: object) -> bool:
        return True  # as far as is known here


class WorkerLifecycle(Lifecycle):
    """Starts agents under the pids that they were given, and sends on what is meant for others."""

    def __init__(self, node: WorkerNode, scheduler: Scheduler) -> None:
        super().__init__(node, scheduler, node.instruments)
        self.registry = Names(node.inside)
        self.cut: dict[int, Step] = {}
        """By pid: the steps of agents that were ended in the middle of a message, until they are gone."""
        self._next_pid = node.inside.serial * PIDS_OF_ONE + 1

    def start_as(self, pid: int, child: Child) -> Agent | Future[Agent]:
        """`start` with this pid."""
        own, self._next_pid = self._next_pid, pid
        try:
            return self.start(child)
        finally:
            self._next_pid = own

    def exit(self, agent: Agent, reason: ExitReason) -> None:
        if agent._o_away is not None:
            agent._o_away.signal(None, reason)
            return
        if agent._o_step is not None and agent._o_step.kind == "message":
            self.cut[agent._o_pid] = agent._o_step
        super().exit(agent, reason)

    def taken_out(self, agent: Agent, places: list[int], taken: list[Any], to: Agent | None) -> list[Any]:
        node = self.node
        assert isinstance(node, WorkerNode)
        return node.inside.progress.taken_out(agent, places, taken, to)

    async def wait_exit(self, agent: Agent) -> ExitReason:
        if isinstance(agent, Stub):
            node = self.node
            assert isinstance(node, WorkerNode)
            reason: ExitReason = await node.inside.ask(requests.wait_exit, agent._o_target)
            return reason
        return await super().wait_exit(agent)


class WorkerGroups(Groups):
    """The node's groups, as far as one can use them without an answer."""

    def __init__(self, inside: Inside) -> None:
        super().__init__()
        self._inside = inside

    def join(self, group: str, ref: Ref) -> None:
        self._inside.tell(requests.join, group, ref)

    def leave(self, group: str, ref: Ref) -> bool:
        self._inside.tell(requests.leave, group, ref)
        return True

    def publish(self, group: str, message: Any) -> int:
        self._inside.tell(requests.publish, group, message)
        return 0  # not known here

    def members(self, group: str) -> list[Ref]:
        raise NotInWorker("the members of a group", "publish to it, or ask an agent of the node's process")

    def which_groups(self) -> list[str]:
        raise NotInWorker("the list of groups", "ask an agent of the node's process")


class WorkerNode(Node):
    """The node, seen from a worker: the same name, and what it does is done in the node's process."""

    is_worker = True

    def __init__(self, inside: Inside, facts: dict[str, Any]) -> None:
        super().__init__(facts["name"], watchdog_s=facts["watchdog_s"], preempt=facts["preempt"] or False)
        self.inside = inside
        self.incarnation = facts["incarnation"]
        self.started_at = facts["started_at"]
        self.store = FarStore(inside) if facts["has_store"] else None

    async def open(self) -> None:
        """Begin: a scheduler and no root supervisor, which is in the node's process."""
        self.parked = FarParking(self.inside)
        await self._open()
        self.lifecycle.groups = WorkerGroups(self.inside)

    async def start(self) -> Self:
        raise NodeDown(KEEP_APART)

    def _make_scheduler(self, loop: AbstractEventLoop) -> Scheduler:
        return WorkerScheduler(self, loop)

    def _make_lifecycle(self, scheduler: Scheduler) -> Lifecycle:
        return WorkerLifecycle(self, scheduler)

    def _make_approvals(self, governing: Governing) -> Approvals:
        from observe.runtime.workers.far_approvals import (
            FarApprovals,
        )  # not for a worker that is never governed

        return FarApprovals(governing, self.inside)

    def _ref_to(self, target: Target) -> Ref:
        if isinstance(target, str):
            return NamedRef(self, target)
        agent = self.agents.get(target)
        return Ref(agent if agent is not None else self.inside.stub(target))

    def _root_ended(self, reason: ExitReason) -> None:
        """An agent here has ended, whose supervisor is elsewhere; `Inside.on_exit` has told it."""

    async def spawn(self, *args: Any, **options: Any) -> Ref:  # type: ignore[override]  # the same, for any kind
        ref: Ref = await self.inside.ask(requests.spawn, args, options)
        return ref

    def _charge_call_above(self, agent: Agent, name: str, arguments: Callable[[], str]) -> None:
        payer = _payer(agent)
        if payer._o_child.is_charged_above:
            self.inside.tell(store_requests.charge_call, payer._o_pid, name, arguments())

    def _charge_usage_above(self, agent: Agent, input_tokens: int, output_tokens: int, cost: float) -> None:
        payer = _payer(agent)
        if payer._o_child.is_charged_above:
            self.inside.tell(store_requests.charge_usage, payer._o_pid, input_tokens, output_tokens, cost)

    def _charge_caps_above(self, charges: list[Charge]) -> None:
        self.inside.tell(store_requests.charge_caps, charges)

    def _progress_above(self, agent: Agent) -> None:
        payer = _payer(agent)
        if payer._o_child.is_charged_above:
            self.inside.tell(store_requests.progress, payer._o_pid)

    async def _start_fan_out(self, spec: ChildSpec) -> Agent:
        started = self.lifecycle.start(Child(spec, spec.agent.__name__, None))
        return started if isinstance(started, Agent) else await started

    def ref(self, target: Target) -> Ref:
        return self._ref_to(target)

    @property
    def supervisor(self) -> SupervisorRef:
        raise NotInWorker("the root supervisor", "start agents with `await self.node.spawn(...)`")

    def dead_letter(
        self,
        target: Agent | str,
        message: Any,
        reason: ExitReason | None = None,
        why: Why | None = None,
        *,
        waited: bool = False,
    ) -> None:
        if type(message) is not Call and isinstance(target, Agent) and not isinstance(target, Stub):
            if target._o_status == EXITED:
                return  # the node's process has kept what it sent
            try:
                self.inside.link.send(("letter", target._o_pid, pack(message, "a dead letter")))
            except NotSendable:
                pass
            return
        super().dead_letter(target, message, reason, why, waited=waited)


def _payer(agent: Agent) -> Agent:
    """The agent that the node's process knows: what the items of a `supervised_map` spend is their caller's."""
    while (supervisor := agent._o_child.supervisor) is not None:
        agent = supervisor._o_caller or supervisor
    return agent
