"""How an agent stands, as a console sees it: ties, ladder, checkpoint, budgets, past activities."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from observe.probe import Probe
from observe.probe.client import NodeClient, connect
from observe.probe.wire_agent import Branch, Detail
from observe.runtime import (
    Agent,
    Budget,
    ChangeApproach,
    ChildSpec,
    Ladder,
    MemoryStore,
    Node,
    Park,
    Supervisor,
)
from observe.runtime.ladder import Retry
from tests.probe.live import eventually, private_runtime


class Clerk(Agent):
    """Does what it is told, and remembers how much."""

    def init(self) -> None:
        self.done = 0

    async def handle(self, message: Any) -> Any:
        if message == "fail":
            api_key = "hunter2"
            async with self.activity("tool:pack", size=len(api_key)):
                raise ValueError("no box")
        if message == "model":
            async with self.activity("model:chat") as chat:
                chat.usage(input_tokens=40, output_tokens=60, cost=0.5)
        if isinstance(message, tuple):
            how, other = message
            getattr(self, how)(other)
        self.done += 1
        return self.done


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private_runtime(monkeypatch) as path:
        yield path


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    clerk = ChildSpec(
        Clerk, name="clerk", restore=True, checkpoint="each_message", budget=Budget(tokens=1000, wall_s=600.0),
        ladder=Ladder(Retry(times=2), ChangeApproach(), Park()),
    )  # fmt: skip
    team = ChildSpec(
        Supervisor, ([clerk, ChildSpec(Clerk, name="plain")],), {"intensity": 7, "period_s": 600.0}, name="team",
        budget=Budget(cost=2.0, on_limit="suspended"),
    )  # fmt: skip
    async with (
        Node("stood", store=MemoryStore()) as node,
        Probe(node, placement="thread", tick_s=0.05),
    ):
        await node.supervisor.start_child(team)
        yield node


@pytest.fixture
async def client(node: Node) -> AsyncIterator[NodeClient]:
    async with connect("stood", timeout_s=20.0) as client:
        await eventually(client.vitals, lambda vitals: vitals.agents == 4)
        yield client


async def test_a_budget_tells_what_was_spent_and_by_whose_tree(node: Node, client: NodeClient) -> None:
    """A bar of one's own limit is not all: the tree above may stop the agent as well."""
    await node.ref("clerk").call("model")
    await node.ref("plain").call("model")
    own = (await client.inspect("clerk")).budget
    assert own is not None
    assert own.owner.name == "clerk"
    limits = {limit.name: limit for limit in own.limits}
    assert (limits["tokens"].used, limits["tokens"].allowed) == (100.0, 1000.0)
    assert 0 < limits["wall_s"].used < 600
    assert (limits["cost"].used, limits["cost"].allowed) == (0.5, None)
    plain = await client.inspect("plain")
    assert plain.budget is not None
    assert [(limit.name, limit.allowed) for limit in plain.budget.limits] == [
        ("tokens", None),
        ("cost", None),
    ]
    (above,) = plain.budgets_above
    assert (above.owner.name, above.on_limit) == ("team", "suspended")
    assert [(limit.name, limit.used, limit.allowed) for limit in above.limits if limit.allowed] == [
        ("cost", 1.0, 2.0)
    ]


async def test_a_checkpoint_tells_its_age_and_size(node: Node, client: NodeClient) -> None:
    before = (await client.inspect("clerk")).checkpoint
    assert before is not None
    assert (before.generation, before.age_s, before.policy, before.restores) == (
        0,
        None,
        "each_message",
        True,
    )
    for _ in range(3):
        await node.ref("clerk").call("work")
    after = (await client.inspect("clerk")).checkpoint
    assert after is not None
    assert (after.generation, after.is_changed, after.fault) == (3, False, "")
    assert after.size
    assert after.age_s is not None
    assert 0 <= after.age_s < 60
    assert (await client.inspect("plain")).checkpoint is None


async def test_a_ladder_tells_the_rung_that_is_next(node: Node, client: NodeClient) -> None:
    """Whoever looks at the third failure wants to know what the fourth will do."""
    first = (await client.inspect("clerk")).ladder
    assert first is not None
    assert [(rung.rung, rung.times) for rung in first.rungs] == [
        ("Retry", 2),
        ("ChangeApproach", 1),
        ("Park", 1),
    ]
    assert (first.failures, first.next, first.taken) == (0, 0, None)
    node.ref("clerk").cast(
        "fail"
    )  # and again after each restart: the message is handed to it anew, until it is parked
    parked = await eventually(
        lambda: clerk(client), lambda found: found.ladder and found.ladder.taken == "Park"
    )
    assert parked.ladder is not None
    assert (parked.ladder.failures, parked.ladder.next) == (0, 0)
    assert parked.last_crash is not None
    assert parked.last_crash.message is not None
    assert parked.last_crash.message.text == "'fail'"


async def clerk(client: NodeClient) -> Detail:
    return await inspected(client, "clerk")


async def inspected(client: NodeClient, name: str, *, locals: bool = False) -> Detail:  # noqa: A002  # the protocol's word
    """The agent of the name, also in the moment in which the probe does not know its successor."""
    while True:
        try:
            return await client.inspect(name, locals=locals)
        except Exception as error:
            if getattr(error, "code", "") != "no_such_agent":
                raise
            await asyncio.sleep(0.01)


async def test_past_activities_are_noted_from_the_first_look_on_over_restarts(
    node: Node, client: NodeClient
) -> None:
    """Nobody pays for what nobody looks at, and a restart is when one wants to know what was before."""
    await node.ref("clerk").call("model")
    assert not node.instruments.on_activity_end or len(node.instruments.on_activity_end) == 1  # the emitter's
    assert (await client.inspect("clerk")).past == []
    assert len(node.instruments.on_activity_end) == 2
    before = node.ref("clerk").pid
    await node.ref("clerk").call("model")
    node.ref("clerk").cast("fail")
    found = await eventually(lambda: clerk(client), lambda found: len(found.past) >= 5)
    names = [(one.name, one.error) for one in found.past]
    assert names[-1] == ("model:chat", None)
    assert names[0] == ("tool:pack", "ValueError: no box")
    assert (found.past[-1].tokens, found.past[-1].cost, found.past[-1].pid) == (100, 0.5, before)
    assert len({one.pid for one in found.past}) == 4
    assert found.past_for_s is not None
    assert all(one.ended_s <= found.past_for_s for one in found.past)


async def test_ties_name_both_ends_and_groups(node: Node, client: NodeClient) -> None:
    plain, one = node.ref("plain"), node.ref("clerk")
    await one.call(("link", plain))
    await plain.call(("monitor", one))
    node.groups.join("packers", one)
    node.groups.join("packers", one)
    ties = (await client.inspect("clerk")).ties
    assert ties is not None
    assert [other.name for other in ties.links] == ["plain"]
    assert ([other.name for other in ties.monitored_by], ties.monitors) == (["plain"], [])
    assert [(group.name, group.times) for group in ties.groups] == [("packers", 2)]
    assert (ties.links_total, ties.monitored_by_total, ties.monitors_total, ties.groups_total) == (1, 1, 0, 1)
    await plain.call(("trap_exits", True))
    there = (await client.inspect("plain")).ties
    assert there is not None
    assert (there.traps_exits, [other.name for other in there.monitors]) == (True, ["clerk"])


def has_restarted(times: int, team: Branch) -> bool:
    return team.restarts_within == times


async def test_a_tree_tells_how_much_of_an_intensity_is_used_up(node: Node, client: NodeClient) -> None:
    """One restart more than it allows, and everything below the supervisor goes."""
    for count in (1, 2):
        node.ref("plain").cast("fail")
        team = await eventually(lambda: client.tree("team"), partial(has_restarted, count))
    assert (team.intensity, team.period_s) == (7, 600.0)
    spec = (await client.inspect("team")).spec
    assert spec is not None
    assert spec["restarts_within"] == 2


async def test_the_variables_of_a_crash_come_on_demand_and_masked(node: Node, client: NodeClient) -> None:
    """What was in hand explains most crashes; nobody pays for the wire until somebody asks."""
    node.ref("plain").cast("fail")
    await eventually(lambda: client.crashes(), lambda found: found.total >= 1)
    found = await eventually(
        lambda: inspected(client, "plain", locals=True), lambda found: found.crash_locals is not None
    )
    assert found.crash_locals is not None
    innermost = found.crash_locals[-1]
    assert innermost.function == "Clerk.handle"
    values = {name: value.text for name, value in innermost.values.items or []}
    assert values["message"] == "'fail'"
    assert "self" in values
    assert "hunter2" not in str(found.to_wire())
    assert (await client.inspect("plain")).crash_locals is None
    never = await client.inspect("team", locals=True)
    assert (never.crash_locals, never.last_crash) == (None, None)
