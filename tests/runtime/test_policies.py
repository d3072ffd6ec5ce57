"""Policies: the first rule that fits decides, and other rules hold at once, also for what has begun."""

from __future__ import annotations

import ast
import asyncio
import re
from decimal import Decimal
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from observe.runtime import Agent, Denied, Node
from observe.runtime.policies import Policies, Rule
from observe.runtime.testing import eventually


class Session(Agent):
    async def handle(self, message: Any) -> Any:
        match message:
            case ("refund", amount):
                async with self.activity("tool:refund", amount=amount):
                    return "refunded"
            case ("long", name):
                async with self.activity(name):
                    await asyncio.sleep(60)
            case ("tell", to):
                self.node.ref(to).cast("hello")
                return "told"
        return message


async def test_the_first_rule_that_fits_decides(node: Node) -> None:
    policies = Policies(
        [
            Rule("small", "allow", "tool:refund", where={"amount": "<=100"}),
            Rule("refunds", "deny", "tool:*", agents=("Session",), reason="too much for a machine"),
        ]
    )
    node.govern().set_judges((policies,))
    session = await node.spawn(Session)
    assert await session.call(("refund", 100)) == "refunded"
    with pytest.raises(Exception, match="tool:refund; too much for a machine"):
        await session.call(("refund", 101))
    assert policies.hits == {"small": 1, "refunds": 1}


@pytest.mark.parametrize("amount", [Decimal("100.01"), "500", float("nan"), Decimal("NaN"), None, 101])
async def test_what_cannot_be_compared_does_not_slip_past_a_limit(node: Node, amount: object) -> None:
    """Money is a Decimal, and a model may write a number as text."""
    limit = Rule("limit", "deny", "tool:refund", where={"amount": ">100"})
    node.govern().set_judges((Policies([limit]),))
    with pytest.raises(Exception, match="tool:refund"):
        await (await node.spawn(Session)).call(("refund", amount))
    assert await (await node.spawn(Session)).call(("refund", Decimal("99.99"))) == "refunded"
    only = [
        Rule("small", "allow", "tool:refund", where={"amount": "<=100"}),
        Rule("else", "deny", "tool:refund"),
    ]
    node.govern().set_judges((Policies(only),))
    with pytest.raises(Exception, match="tool:refund"):
        await (await node.spawn(Session)).call(("refund", amount))


async def test_what_is_revoked_is_cancelled_where_it_waits(node: Node) -> None:
    node.govern().set_judges((Policies([]),))
    session = await node.spawn(Session)
    agent = node.control.find(session.pid)
    asking = asyncio.create_task(session.call(("long", "tool:search")))
    await eventually(lambda: agent._o_activities)
    node.govern().set_judges((Policies([Rule("stop", "deny", "tool:search")]),))
    with pytest.raises(Exception, match="tool:search"):
        await asking
    error = (await session.wait_exit()).error
    assert isinstance(error, Denied)
    assert error.policy == "stop"


async def test_messages_are_authorised_by_name_and_class(node: Node) -> None:
    await node.spawn(Session, name="vault")
    session = await node.spawn(Session, name="session-1")
    rule = Rule("vault", "deny", "vault", kind="send", agents=("session-*",))
    node.govern().set_judges((Policies([rule]),))
    other = await node.spawn(Session)
    assert await other.call(("tell", "vault")) == "told"
    with pytest.raises(Exception, match="a message to vault"):
        await session.call(("tell", "vault"))


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"effect": "maybe"}, "allows, denies, approves or contains"),
        ({"hours": "9-17"}, "hours are such as"),
        ({"where": {"amount": ">much"}}, "no number"),
        ({"agents": "Session"}, "lists of texts"),
        ({"kind": "send", "effect": "approve"}, "do not wait"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_in_words(more: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Rule(**({"policy": "p", "effect": "deny", "on": "tool:*"} | more))


async def test_hours_pass_midnight(node: Node) -> None:
    session = await node.spawn(Session)
    always = [
        Rule("night", "deny", "tool:*", hours="12:00-00:00"),
        Rule("day", "deny", "tool:*", hours="00:00-12:00"),
    ]
    node.govern().set_judges((Policies(always),))
    with pytest.raises(Exception, match="tool:refund"):
        await session.call(("refund", 1))


async def test_the_example_of_the_document_runs() -> None:
    text = (Path(__file__).parent.parent.parent / "docs" / "policies.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code = compile(example, "policies.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    said: list[str] = []
    await FunctionType(code, {"__name__": __name__, "print": lambda error: said.append(str(error))})()
    assert said == re.findall(r"print\(error\)  # (.*)", example)
