"""Approvals: an activity waits for a person, and begins only when they have agreed."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from observe.runtime import (
    ActionRefused,
    Agent,
    AgentExited,
    Approval,
    ApprovalRefused,
    Contained,
    Denied,
    Node,
    Ref,
    actions,
)
from observe.runtime.approvals import Person
from observe.runtime.approvals_decided import KEPT, plain
from observe.runtime.decisions import ALLOW, Attempt, Decision, deny, need_approval
from observe.runtime.governed import Governed
from observe.runtime.instrument import Instrument
from observe.runtime.testing import eventually

ANN = Person("key-of-ann", "ann", "operator")
BOB = Person("key-of-bob", "bob", "operator")
EVE = Person("key-of-eve", "eve", "admin")


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


class Teller(Agent):
    """Refunds what it is told, once a person agrees; answers with how that went."""

    async def handle(self, message: Any) -> Any:
        asked, amount = message
        try:
            async with self.activity("tool:refund", approval=asked, amount=amount) as refund:
                return "refunded", refund.is_approved
        except Denied as error:
            return error


class Seen(Instrument):
    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def on_governed(self, event: Governed) -> None:
        if event.what == "approval":
            self.events.append((event.verdict, event.policy, event.reason))


async def asks(node: Node, asked: Approval | str | None, amount: int = 10) -> tuple[Ref, asyncio.Task[Any]]:
    """A teller that waits for a person, and its answer to come."""
    teller = await node.spawn(Teller)
    answer = asyncio.ensure_future(teller.call((asked, amount), timeout=60))
    await eventually(lambda: node.govern().approvals.waiting)
    return teller, answer


def decide(node: Node, person: Person, granted: bool, reason: str = "", number: int = 0) -> str:
    [one, *_] = node.govern().approvals.waiting
    return node.govern().approvals.decide(one.agent, number, person, granted, reason)


async def test_an_activity_waits_until_a_person_agrees() -> None:
    async with Node("t") as node:
        node.instruments.add(seen := Seen())
        teller, answer = await asks(node, "ten to ann")
        agent = node.control.find(teller.pid)
        assert [one.name for one in agent._o_activities or ()] == ["approval:tool:refund"]
        [one] = node.govern().approvals.waiting
        assert (one.name, one.said, one.asked.ask) == ("tool:refund", {"amount": 10}, "ten to ann")
        assert decide(node, ANN, True, "known") == f"tool:refund of Teller {teller.pid} was granted"
        assert await answer == ("refunded", True)
        assert node.govern().approvals.waiting == []
        assert seen.events == [("approve", "", "ten to ann"), ("allow", "operator ann", "known")]


async def test_who_is_refused_learns_by_whom_and_why() -> None:
    async with Node("t") as node:
        _, answer = await asks(node, "ten to ann")
        decide(node, ANN, False, "twice the price")
        error = await answer
        assert isinstance(error, ApprovalRefused)
        assert (error.attempt, error.policy, error.expired) == ("tool:refund", "operator ann", False)
        assert "operator ann has refused it: twice the price" in str(error)


@pytest.mark.parametrize("allowed", [True, False])
async def test_when_nobody_answers_it_ends_by_itself_as_was_said(allowed: bool) -> None:
    async with Node("t") as node:
        node.instruments.add(seen := Seen())
        teller = await node.spawn(Teller)
        asked = Approval("?", 0.05, "allow" if allowed else "deny", escalate=((0.01, "lead"), (9, "head")))
        answer = await teller.call((asked, 1), timeout=60)
        if allowed:
            assert answer == ("refunded", True)
        else:
            assert isinstance(answer, ApprovalRefused)
            assert answer.expired
        verdicts = [verdict for verdict, _, _ in seen.events]
        assert verdicts == ["approve", "escalate", "allow" if allowed else "deny"]
        assert "lead is to be told" in seen.events[1][2]


async def test_two_people_are_two_keys() -> None:
    """Whoever has one key cannot be both."""
    async with Node("t") as node:
        _, answer = await asks(node, Approval("much", two_person=True))
        assert "waits for a second person" in decide(node, ANN, True)
        with pytest.raises(ActionRefused, match="takes a second person"):
            decide(node, Person(ANN.key, "ann again", "operator"), True)
        [one] = node.govern().approvals.waiting
        assert (one.needed, list(one.granted_by.values())) == (1, ["operator ann"])
        assert not answer.done()
        decide(node, BOB, True)
        assert await answer == ("refunded", True)


@pytest.mark.parametrize(
    ("approvers", "person", "may"),
    [(("admin",), ANN, False), (("admin",), EVE, True), (("ann",), BOB, False), (("ann",), ANN, True), (("operator",), EVE, True)],
)  # fmt: skip
async def test_only_those_who_are_named_may_grant_it(
    approvers: tuple[str, ...], person: Person, may: bool
) -> None:
    async with Node("t") as node:
        _, answer = await asks(node, Approval("?", approvers=approvers))
        if may:
            decide(node, person, True)
            assert await answer == ("refunded", True)
        else:
            with pytest.raises(ActionRefused, match="may be granted by"):
                decide(node, person, True)
            decide(node, person, False)  # anybody may say no
            assert isinstance(await answer, ApprovalRefused)


async def test_what_does_not_wait_cannot_be_decided() -> None:
    async with Node("t") as node:
        teller, answer = await asks(node, "?")
        agent = node.control.find(teller.pid)
        with pytest.raises(ActionRefused, match="does not wait for approval 7; it has 1"):
            node.govern().approvals.decide(agent, 7, ANN, True, "")
        decide(node, ANN, True, number=1)
        await answer
        with pytest.raises(ActionRefused, match="does not wait for any approval"):
            node.govern().approvals.decide(agent, 0, ANN, True, "")


async def test_an_agent_that_ends_meanwhile_has_done_nothing_and_asks_nobody_any_more() -> None:
    async with Node("t") as node:
        node.instruments.add(seen := Seen())
        teller, answer = await asks(node, "?")
        node.control.kill(teller.pid)
        await eventually(lambda: not node.govern().approvals.waiting)
        assert seen.events[-1][0] == "deny"
        with pytest.raises(Exception, match="killed"):
            await answer


async def test_an_operator_may_cancel_the_wait_and_containment_ends_it() -> None:
    async with Node("t") as node:
        teller, answer = await asks(node, "?")
        acted = actions.cancel_activity(node, node.control.find(teller.pid))
        with pytest.raises(AgentExited, match="ActivityCancelled"):
            await answer
        if asyncio.iscoroutine(acted):
            await acted
        teller, answer = await asks(node, "?")
        node.govern().containment.contain(node.control.find(teller.pid), "isolated", by="me")
        assert isinstance(await answer, Contained)
        assert node.govern().approvals.waiting == []


class Policy:
    """Wants refunds of more than 5 to be approved."""

    sees_sends = False
    depends_on_time = False

    def __init__(self) -> None:
        self.is_closed = False

    def judge(self, attempt: Attempt) -> Decision:
        if self.is_closed:
            return deny("closed", "hours")
        if attempt.name == "tool:refund" and attempt.arguments["amount"] > 5:
            return need_approval("refunds", "a large refund", ("ann",), 60.0, two_person=False)
        return ALLOW


async def test_a_policy_asks_and_the_answer_is_judged_again() -> None:
    """The wait may be long, and the policy another one afterwards."""
    async with Node("t") as node:
        policy = Policy()
        node.govern().set_judges((policy,))
        small = await node.spawn(Teller)
        assert await small.call((None, 3)) == ("refunded", False)
        _, answer = await asks(node, None)
        [one] = node.govern().approvals.waiting
        assert (one.policy, one.asked.ask, one.asked.approvers) == ("refunds", "a large refund", ("ann",))
        decide(node, ANN, True)
        assert await answer == ("refunded", True)
        _, answer = await asks(node, None)
        policy.is_closed = True
        decide(node, ANN, True)
        error = await answer
        assert isinstance(error, Denied)
        assert error.policy == "hours"


async def test_what_the_code_has_asked_the_policy_does_not_ask_again() -> None:
    async with Node("t") as node:
        node.govern().set_judges((Policy(),))
        _, answer = await asks(node, "by code")
        decide(node, BOB, True)
        assert await answer == ("refunded", True)


class Plain(Agent):
    def handle(self, message: Any) -> Any:
        with self.activity("tool:refund", approval="?"):
            return None


async def test_code_that_cannot_wait_is_told_the_right_way() -> None:
    async with Node("t") as node:
        plain = await node.spawn(Plain)
        with pytest.raises(Exception, match="async with"):
            await plain.call(1)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"timeout_s": 0}, ValueError),
        ({"on_timeout": "maybe"}, ValueError),
        ({"approvers": "ann"}, TypeError),
    ],
)
def test_an_approval_that_makes_no_sense_is_refused_where_it_is_written(
    fields: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Approval("?", **fields)


async def test_what_was_decided_is_remembered_without_keeping_anybody_alive() -> None:
    """Who comes to the desk sees what the last one did; a node that decides for years does not grow by it."""
    async with Node("t") as node:
        approvals = node.govern().approvals
        for person, granted in ((ANN, True), (BOB, False)):
            _, answer = await asks(node, "ten to ann")
            decide(node, person, granted, "known")
            await answer
        teller, answer = await asks(node, Approval("ten to ann", timeout_s=0.01, on_timeout="allow"))
        await answer
        teller, answer = await asks(node, "ten to ann")
        node.control.find(teller.pid).ref.exit("killed")
        with pytest.raises(AgentExited):
            await answer
        await eventually(lambda: approvals.past.total == 4)
        assert [(one.outcome, one.is_allowed, one.by) for one in approvals.past.newest(10)] == [
            ("given up", False, ""), ("expired", True, ""), ("refused", False, "operator bob"), ("granted", True, "operator ann"),
        ]  # fmt: skip
        newest = approvals.past.newest(1)[0]
        assert (newest.activity, newest.said, newest.pid) == ("tool:refund", {"amount": 10}, teller.pid)
        for _ in range(300):
            approvals.past.add(newest)
        assert (len(approvals.past.newest(1000)), approvals.past.total) == (KEPT, 304)


def test_of_what_an_activity_was_given_only_small_plain_values_are_kept() -> None:
    assert plain({"a": "x" * 1000, "b": 3, "c": [1], "d": None}) == {"a": "x" * 200, "b": 3, "d": None}
    assert len(plain({str(number): number for number in range(100)})) == 8
