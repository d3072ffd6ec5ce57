"""What agents may spend and have spent, through the probe: read from the counters that enforce it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from observe.probe import Probe
from observe.probe.client import NodeClient, connect
from observe.runtime import Agent, Budget, ChildSpec, Node, Supervisor
from observe.runtime.caps import Cap
from tests.probe.live import eventually, private_runtime


class Clerk(Agent):
    """Spends so many tokens."""

    async def handle(self, message: Any) -> Any:
        async with self.activity("model:chat") as activity:
            activity.usage(input_tokens=message, output_tokens=0, cost=message / 1000)
        async with self.activity("tool:search"):
            pass
        return None


class Idle(Agent):
    pass


@pytest.fixture(scope="module")
def runtime() -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch, private_runtime(patch) as path:
        yield path


@pytest.fixture
async def node(runtime: Path) -> AsyncIterator[Node]:
    clerk = ChildSpec(Clerk, name="clerk", budget=Budget(tokens=1000, wall_s=600.0, same_call=1000))
    children = [clerk, ChildSpec(Clerk, name="plain"), ChildSpec(Idle, name="idle")]
    team = ChildSpec(Supervisor, (children,), name="team", budget=Budget(cost=2.0, on_limit="suspended"))
    async with Node("spent") as made, Probe(made, placement="thread", tick_s=0.05):
        await made.supervisor.start_child(team)
        yield made


@pytest.fixture
async def client(node: Node) -> AsyncIterator[NodeClient]:
    async with connect("spent", timeout_s=20.0) as attached:
        yield attached


async def test_who_spends_is_told_with_limits_rates_and_what_is_left(node: Node, client: NodeClient) -> None:
    """The agent's own limits, the tree's, and who has none; idle ones are nobody's business."""
    await node.ref("clerk").call(900)
    await node.ref("plain").call(100)
    page = await client.budgets()
    assert [(one.name, one.kind, round(one.share, 2)) for one in page.lines] == [
        ("clerk", "agent", 0.9),
        ("team", "subtree", 0.5),
        ("plain", "agent", 0.0),
    ]
    clerk, team, plain = page.lines
    assert (clerk.tokens, clerk.tool_calls, clerk.cost) == (900, 1, 0.9)
    assert {limit.name for limit in clerk.limits} == {"tokens", "same_call", "wall_s"}
    assert clerk.limits[0].allowed == 1000
    wall = next(limit for limit in clerk.limits if limit.name == "wall_s")
    assert (wall.rate, wall.left_s is not None and 0 < wall.left_s < 600) == (1.0, True)
    assert (team.on_limit, team.limits[0].used, plain.limits) == ("suspended", 1.0, [])
    # The tree's spending is that of its agents: it is not counted twice.
    assert (page.tokens, page.cost, page.total, page.nearly) == (1000, 1.0, 3, 1)
    assert (page.tokens_min, page.over_s, clerk.limits[0].left_s) == (None, 0.0, None)
    # From the second look on there are rates.
    await node.ref("plain").call(50)
    page = await eventually(client.budgets, lambda found: found.over_s > 0)
    by_name = {one.name: one for one in page.lines}
    spent = by_name["plain"].tokens_min
    assert spent is not None
    assert spent == pytest.approx(50 * 60 / page.over_s, rel=0.01)
    assert page.tokens_min == pytest.approx(spent)
    assert by_name["clerk"].tokens_min == 0
    assert by_name["clerk"].limits[0].left_s is None
    cost = by_name["team"].limits[0]
    assert cost.rate == pytest.approx(0.05 / page.over_s, rel=0.01)
    assert cost.left_s == pytest.approx((2.0 - cost.used) / (cost.rate or 1), rel=0.01)


async def test_orders_filters_and_classes(node: Node, client: NodeClient) -> None:
    await node.ref("clerk").call(10)
    await node.ref("plain").call(100)
    assert [one.name for one in (await client.budgets(sort="tokens")).lines] == ["team", "plain", "clerk"]
    assert [one.name for one in (await client.budgets(sort="cost", text="CLERK")).lines] == ["plain", "clerk"]
    assert [one.name for one in (await client.budgets(sort="left_s", limit=1)).lines] == ["clerk"]
    page = await client.budgets(by="class")
    (line,) = page.lines
    assert (line.kind, line.class_name, line.members, line.tokens) == ("class", "Clerk", 2, 110)
    assert {limit.name: (limit.used, limit.allowed) for limit in line.limits}["tokens"] == (10, 1000)
    assert (await client.budgets(text="nobody")).matched == 0


async def test_what_is_spent_of_the_caps_of_policies(node: Node, client: NodeClient) -> None:
    """Tenants, agents and the node, the worst first; what a cap warns at counts as nearly spent."""
    assert (await client.budgets(by="policy")).lines == []
    caps = [Cap("each", tokens=1000), Cap("all", per="node", cost=10.0, tool_calls=4, effect="report")]
    node.govern().set_policies(None, caps=caps)
    await node.ref("clerk").call(100)
    await node.ref("plain").call(900)
    page = await client.budgets(by="policy")
    assert [(one.kind, one.class_name, one.name, round(one.share, 2)) for one in page.lines] == [
        ("cap", "each", "plain", 0.9),
        ("cap", "all", "the node", 0.5),
        ("cap", "each", "clerk", 0.1),
    ]
    plain, whole, _ = page.lines
    assert (plain.pid > 0, whole.pid, whole.on_limit, plain.on_limit) == (True, 0, "report", "deny")
    assert [(one.name, one.used, one.allowed) for one in whole.limits] == [
        ("tool_calls", 2, 4), ("cost", 1.0, 10.0),
    ]  # fmt: skip
    assert page.nearly == 1
    await node.ref("plain").call(50)
    page = await eventually(lambda: client.budgets(by="policy", text="plain"), lambda found: found.over_s > 0)
    [limit] = page.lines[0].limits
    assert limit.rate == pytest.approx(950 / page.over_s, rel=0.01)  # all of it since somebody looked first
    assert limit.left_s == pytest.approx(50 / (limit.rate or 1), rel=0.01)
