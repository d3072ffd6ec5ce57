"""Approvals for agents in worker processes: they wait here, and are put before people in the node's process.

    step --> FarApprovals --(open_approval: number)------> Approvals of the node
                          --(answer_of: the decision)---->     decided there, by whoever may
                          --(give_up)-------------------->

An agent that ends meanwhile is given up by the node's process (`Remote._o_buried`), also when its worker has died.
"""

from __future__ import annotations

from asyncio import Future, shield
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from observe.runtime.approvals import Approval, Approvals, Waiting, refusal
from observe.runtime.approvals_decided import plain
from observe.runtime.decisions import Decision, deny
from observe.runtime.errors import ApprovalRefused

if TYPE_CHECKING:
    from observe.runtime.activity import Activity
    from observe.runtime.governing import Governing
    from observe.runtime.node import Node
    from observe.runtime.workers.inside import Inside

UNKNOWN = "it is an item of a `supervised_map`, of which nobody knows outside its process: have the agent that started it ask"

Answer = tuple[str, str, str, bool]
"""Verdict, reason, who or what has decided, and whether nobody has answered."""


class FarApprovals(Approvals):
    """In a worker: waits in the agent's step for what people say elsewhere."""

    def __init__(self, governing: Governing, inside: Inside) -> None:
        super().__init__(governing)
        self._inside = inside

    async def _open(self, activity: Activity, asked: Approval, policy: str) -> int:
        agent, said = activity.agent, plain(activity.said)
        asking = self._inside.ask(open_approval, agent._o_pid, activity.name, said, asked, policy)
        try:
            number: int | str = await shield(asking)
        except BaseException:  # it does not wait for the number any more, and nobody else will give it up
            asking.add_done_callback(self._opened_in_vain)
            raise
        if isinstance(number, str):
            raise refusal(agent, activity.name, number)
        return number

    def _opened_in_vain(self, asking: Future[Any]) -> None:
        if not asking.cancelled() and asking.exception() is None and isinstance(asking.result(), int):
            self._inside.tell(give_up, asking.result(), "it was given up while it was asked for")

    async def _answer(self, number: int, activity: Activity, policy: str) -> Decision:
        verdict, reason, by, expired = await shield(self._inside.ask(answer_of, number))
        self._decided(activity, verdict == "allow" and not expired)
        if verdict == "allow":
            return Decision("allow", reason, by)
        refused = refusal(activity.agent, activity.name, reason, "" if expired else by, expired=expired)
        return deny(reason, by, refused)

    def _give_up(self, number: int, activity: Activity, why: str) -> None:
        self._inside.tell(give_up, number, why)
        self._decided(activity, False)

    def _decided(self, activity: Activity, is_granted: bool) -> None:
        """Machines of agents here run here."""
        conforming = self._governing.conforming
        if conforming is not None:
            conforming.decided(activity.agent, activity.name, activity.said, is_granted)


def open_approval(
    node: Node, pid: int, name: str, said: Mapping[str, Any], asked: Approval, policy: str
) -> int | str:
    """In the node's process: an agent of a worker asks. Returns the approval's number, or why nobody is asked."""
    agent = node.agents.get(pid)
    if agent is None:
        return UNKNOWN
    try:
        return node.govern().approvals.open(agent, name, said, asked, policy).number
    except ApprovalRefused as refused:
        return refused.why


async def answer_of(node: Node, number: int) -> Answer:
    """In the node's process: what was decided, when it is."""
    governing = node.govern()
    found = [one for one in governing.approvals.waiting if one.number == number]
    decision = await governing.approvals.answered(number)
    for one in found:
        _count(node, one, decision)
    expired = not isinstance(decision.error, ApprovalRefused) or decision.error.expired
    by_nobody = expired if decision.verdict == "deny" else not decision.policy
    return decision.verdict, decision.reason, decision.policy, by_nobody


def give_up(node: Node, number: int, why: str) -> None:
    """In the node's process: who has asked does not wait any more."""
    node.govern().approvals.give_up(number, why)


def _count(node: Node, one: Waiting, decision: Decision) -> None:
    """What the worker tells of it names who has decided, and not the rule because of which they were asked."""
    policies = node.govern().policies
    if policies is not None and one.policy in policies.names and decision.policy != one.policy:
        policies.hits[one.policy] += 1
        policies.denied[one.policy] += decision.verdict == "deny" and decision.policy != ""  # not given up
