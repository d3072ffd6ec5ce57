"""The policies of a node: from Python or a file, which is read again when it changes, and never fails open."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from observe.runtime import Agent, Contained, Denied, Node
from observe.runtime.errors import PoliciesRefused
from observe.runtime.governed import Governed
from observe.runtime.instrument import Instrument
from observe.runtime.policies import Rule
from observe.runtime.testing import eventually

DENY = """\
version: 1
rules:
  - policy: refunds
    effect: deny
    on: tool:refund
    agents: [Session]
    where: {amount: ">100"}
    reason: too much
"""
STRICTER = DENY.replace(">100", ">10")


class Session(Agent):
    restricted_tools = ("tool:look",)

    async def handle(self, message: Any) -> Any:
        match message:
            case ("refund", amount):
                async with self.activity("tool:refund", amount=amount):
                    return "refunded"
            case ("long", amount):
                async with self.activity("tool:refund", amount=amount):
                    await asyncio.sleep(60)
            case str():
                async with self.activity(message):
                    return message
        return None


class Record(Instrument):
    def __init__(self) -> None:
        self.said: list[Governed] = []

    def on_governed(self, event: Governed) -> None:
        self.said.append(event)

    def of(self, what: str) -> list[Governed]:
        return [one for one in self.said if one.what == what]


async def try_refund(node: Node, amount: int) -> str:
    """`refunded`, or the policy that has denied it."""
    session = await node.spawn(Session)
    asked = await asyncio.gather(session.call(("refund", amount)), return_exceptions=True)
    if isinstance(asked[0], str):
        return asked[0]
    cause = (await session.wait_exit()).error
    assert isinstance(cause, Denied)
    return cause.policy


def put(file: Path, text: str | None) -> None:
    """Save a file, or remove it."""
    if text is None:
        file.unlink()
    else:
        file.write_text(text)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    put(path, DENY)
    return path


async def test_rules_in_python_hold_from_the_first_agent_on() -> None:
    async with Node("test", policies=[Rule("none", "deny", "tool:*")]) as node:
        assert node.policies is not None
        assert await try_refund(node, 1) == "none"
        node.policies.replace([Rule("some", "deny", "tool:refund", where={"amount": ">5"})])
        assert await try_refund(node, 1) == "refunded"
        assert await try_refund(node, 6) == "some"
        assert node.policies.loads == 2


async def test_a_file_holds_and_is_read_again_when_it_changes(file: Path) -> None:
    """And what has begun under the old rules is cancelled when the new ones deny it."""
    async with Node("test", policies=file) as node:
        record = Record()
        node.instruments.add(record)
        assert (await try_refund(node, 50), await try_refund(node, 500)) == ("refunded", "refunds")
        session = await node.spawn(Session)
        agent = node.control.find(session.pid)
        session.cast(("long", 50))
        await eventually(lambda: agent._o_activities)
        put(file, STRICTER)
        assert isinstance((await session.wait_exit()).error, Denied)
        assert await try_refund(node, 50) == "refunds"
        [told] = record.of("policies")
        assert node.policies is not None
        assert (told.pid, told.on, told.policy) == (0, str(file), node.policies.now.version)
        governing = node.govern()
        assert governing.policies is not None
        assert governing.policies.denied["refunds"] == 3, "counts go on over a reload"


@pytest.mark.parametrize(
    "wrong", ["", "version: 1\n", DENY.replace("deny", "dney"), DENY + "  - policy: [", None]
)
async def test_a_file_that_goes_wrong_leaves_the_old_policies_in_force(file: Path, wrong: str | None) -> None:
    """An editor that truncates first, a typing mistake, a file that is gone: none of it opens the gate."""
    async with Node("test", policies=str(file)) as node:
        policies = node.policies
        assert policies is not None
        record = Record()
        node.instruments.add(record)
        version = policies.now.version
        if wrong is None:
            put(file, None)
        else:
            put(file, wrong)
        await eventually(lambda: policies.refused is not None)
        assert await try_refund(node, 500) == "refunds"
        assert policies.now.version == version
        with pytest.raises(PoliciesRefused, match=r"shop\.yaml"):
            await policies.reload()
        [told] = record.of("policies")  # once, though it was tried twice
        assert (told.verdict, told.policy) == ("failed", version)
        assert "shop.yaml" in told.reason
        put(file, STRICTER)
        await eventually(lambda: policies.refused is None)
        assert await try_refund(node, 50) == "refunds"


async def test_a_node_does_not_start_with_a_file_that_is_wrong(file: Path) -> None:
    """Rather no service than one whose limits nobody has read."""
    put(file, DENY.replace(">100", ">much"))
    node = Node("test", policies=file)
    with pytest.raises(PoliciesRefused) as caught:
        await node.start()
    assert str(caught.value) == f"{file}:3: refunds: amount is compared with 'much', which is no number"
    assert not node.is_running
    with pytest.raises(PoliciesRefused, match="cannot be read"):
        await Node("test", policies=file.with_name("none.yaml")).start()


async def test_a_rule_contains_who_tries_something() -> None:
    """Its containment decides about the attempt, and goes on when the attempt is over."""
    rules = [
        Rule("drop", "contain", "tool:drop", level="restricted", reason="it drops tables"),
        Rule("odd", "contain", "tool:odd", level="monitored"),
    ]
    async with Node("test", policies=rules) as node:
        record = Record()
        session = await node.spawn(Session, name="one")
        containment, agent = node.govern().containment, node.control.find("one")
        assert await session.call("tool:odd") == "tool:odd"
        assert containment.level_of(agent) == "monitored"
        node.instruments.add(record)
        with pytest.raises(Contained, match="it is restricted: it drops tables"):
            await session.call("tool:drop")
        [told] = record.of("containment")
        assert (told.on, told.policy, told.reason) == ("restricted", "policy drop", "it drops tables")
        assert await session.call("tool:look") == "tool:look"
        with pytest.raises(Contained):
            await session.call("tool:else")
        containment.contain(agent, "none")
        assert await session.call("tool:else") == "tool:else"
        assert node.governing is not None
        assert node.governing.policies is not None
        assert node.governing.policies.hits == {"odd": 1, "drop": 1}


async def test_a_rule_kills_who_tries_something() -> None:
    rule = Rule("drop", "contain", "tool:drop", level="killed")
    async with Node("test", policies=[rule]) as node:
        session = await node.spawn(Session, restart="permanent")
        with pytest.raises(Exception, match=r"killed|tool:drop"):
            await session.call("tool:drop")
        assert (await session.wait_exit()).kind == "killed"
        assert node.govern().containment.empty


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"effect": "contain"}, "a level"),
        ({"level": "isolated"}, "a level"),
        ({"effect": "contain", "level": "none"}, "a level"),
        ({"effect": "contain", "level": "isolated", "tools": ("a",)}, "belong to the level restricted"),
        ({"kind": "message"}, "an activity or a send"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(more: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Rule(**({"policy": "p", "effect": "deny", "on": "tool:*"} | more))


def test_what_is_no_rule_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="rules, machines and caps, or the path"):
        Node("test", policies=[{"policy": "refunds"}])  # type: ignore[list-item]  # the mistake under test
