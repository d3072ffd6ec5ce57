"""Containment from a client through the probe to the runtime: level, marks, events, and what stands in the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from observe.audit.reading import read
from observe.audit.record import Record
from observe.probe import Probe, wire_table
from observe.probe.client import NodeClient, connect
from observe.probe.errors import RemoteError
from observe.probe.wire_actions import ContainArgs
from observe.probe.wire_agent import Branch
from observe.probe.wire_table import Query
from observe.runtime import Agent, ChildSpec, Denied, Node, Supervisor
from observe.runtime.fences import LEVELS
from observe.runtime.policies import Rule
from tests.probe.live import eventually, private_runtime

REFUNDS = Rule("refunds", "approve", "tool:refund", reason="more than we give away")


class Clerk(Agent):
    restricted_tools = ("tool:read",)

    def init(self) -> None:
        self.done = 0

    async def handle(self, message: Any) -> Any:
        try:
            async with self.activity(str(message)):
                self.done += 1
        except Denied as error:
            return str(error)
        return self.done


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[tuple[Node, NodeClient, Path]]:
    with pytest.MonkeyPatch.context() as patch, private_runtime(patch):
        children = [ChildSpec(Clerk, name=f"clerk-{n}") for n in range(3)]
        async with (
            Node("office", policies=[REFUNDS]) as made,
            Probe(made, placement="thread", audit=tmp_path / "audit", tick_s=0.02),
        ):
            await made.spawn(Supervisor, children, name="clerks")
            async with connect("office", timeout_s=20.0) as client:
                await eventually(
                    lambda: client.agents(Query(filter="clerk-")), lambda page: page.matched == 3
                )
                yield made, client, tmp_path / "audit"


async def levels(client: NodeClient) -> dict[str, str]:
    rows = (await client.agents(Query(filter="clerk-", columns=["name", "containment"]))).rows
    return {str(name): str(level) for name, level in rows}


def records(path: Path, *whats: str) -> list[Record]:
    return [one for one in read(path)[0] if one.what in whats]


async def test_a_level_is_set_shown_and_on_record(node: tuple[Node, NodeClient, Path]) -> None:
    runtime, client, audit = node
    acted = await client.contain("clerk-1", "restricted", tools=["tool:look*"], reason="odd")
    assert (acted.done, acted.facts["before"], acted.facts["level"]) == (True, "none", "restricted")
    assert "may not do this: tool:pay" in await runtime.ref("clerk-1").call("tool:pay")
    assert await runtime.ref("clerk-1").call("tool:look-up") == 1
    await eventually(lambda: levels(client), lambda found: found["clerk-1"] == "restricted")
    page = await client.agents(Query(filter="containment=restricted", columns=["name"]))
    assert page.rows == [["clerk-1"]]
    detail = await client.inspect("clerk-1")
    assert detail.spec is not None
    assert detail.spec["containment"].startswith("restricted by ")
    assert detail.spec["containment"].endswith(": odd (tools tool:look*; recipients none)")
    tree = await client.tree()
    found: dict[str | None, str] = {}

    def walk(branch: Branch) -> None:
        found[branch.name] = branch.containment
        for child in branch.children:
            walk(child)

    walk(tree)
    assert (found["clerk-1"], found["clerk-2"]) == ("restricted", "none")

    async def denied() -> list[Record]:
        return records(audit, "governed_activity")

    (record,) = await eventually(denied)
    assert (record.phase, record.target["name"], record.target["on"]) == ("denied", "clerk-1", "tool:pay")
    command = records(audit, "contain")
    assert [one.phase for one in command] == ["requested", "completed"]
    assert command[0].reason == "odd"
    assert record.who.name.endswith(command[0].who.name)  # who has contained it has decided
    assert (await client.contain("clerk-1", "none")).done
    await eventually(lambda: levels(client), lambda now: now["clerk-1"] == "none")


async def test_a_subtree_and_an_empty_place(node: tuple[Node, NodeClient, Path]) -> None:
    runtime, client, _ = node
    with pytest.raises(RemoteError, match="supervisor"):
        await client.contain("clerks", "isolated")
    acted = await client.contain("clerks", "isolated", subtree=True)
    assert acted.facts["agents"] == 3
    await eventually(lambda: levels(client), lambda found: set(found.values()) == {"isolated"})
    await client.contain("clerks", "none", subtree=True)
    await client.contain("clerk-0", "killed", reason="enough")
    await eventually(lambda: levels(client), lambda found: "clerk-0" not in found)
    assert runtime.whereis("clerk-0") is None
    assert (await client.contain("clerk-0", "none")).done
    await eventually(lambda: levels(client), lambda found: "clerk-0" in found)
    with pytest.raises(RemoteError) as caught:
        await client.contain("nobody", "isolated")
    assert caught.value.code == "no_such_agent"


async def test_everything_that_a_monitored_agent_does_is_on_record(
    node: tuple[Node, NodeClient, Path],
) -> None:
    runtime, client, audit = node
    await client.contain("clerk-2", "monitored")
    await runtime.ref("clerk-2").call("tool:any")

    async def whats() -> list[str]:
        whats = [one.what for one in read(audit)[0] if one.what.startswith("governed_")]
        return [what for what in whats if what != "governed_policies"]

    assert await eventually(whats, lambda found: len(found) == 4) == [
        "governed_containment",
        "governed_begin",
        "governed_end",
        "governed_handled",
    ]


async def test_the_record_of_what_a_monitored_agent_does_says_that_it_was_the_agent(
    node: tuple[Node, NodeClient, Path],
) -> None:
    runtime, client, audit = node
    await client.contain("clerk-2", "monitored")
    await runtime.ref("clerk-2").call("tool:any")

    async def begun() -> list[Record]:
        return records(audit, "governed_begin")

    [one] = await eventually(begun, bool)
    assert (one.who.name.partition(" (")[0], one.who.role) == ("clerk-2", "agent")


@pytest.mark.parametrize("grants", [True, False])
async def test_who_has_decided_and_the_rule_that_wanted_it_are_both_on_record(
    node: tuple[Node, NodeClient, Path], grants: bool
) -> None:
    """Of the approval the person, with their key; of the activity the rule; and owners of the rule are told of both."""
    runtime, client, audit = node
    watch = await client.watch_events()
    answer = asyncio.ensure_future(runtime.ref("clerk-0").call("tool:refund", timeout=60))
    await eventually(client.approvals, lambda found: found.total == 1)
    await (client.approve if grants else client.refuse)("clerk-0", reason="known")
    assert ("refused" in str(await answer)) is not grants

    async def told() -> list[Record]:
        return records(audit, "governed_approval", "governed_activity")

    asked, decided, activity = await eventually(told, lambda found: len(found) == 3)
    outcomes = [one.outcome or {} for one in (asked, decided, activity)]
    assert [one["policy"] for one in outcomes] == ["refunds"] * 3
    assert (asked.who.name, asked.who.role) == ("refunds", "policy")
    [command, _] = records(audit, "approve" if grants else "refuse")
    assert decided.who.key == command.who.key != ""
    assert (decided.who.role, decided.reason) == (command.who.role, "known")
    assert (activity.who.role, outcomes[2]["verdict"]) == ("policy", "allow" if grants else "deny")
    assert outcomes[2]["by"] == f"{command.who.role} {command.who.name}"
    reasons = []
    async for push in watch:
        reasons += [event.reason for event in push.data.events if event.kind == "governed"]
        if len(reasons) >= 3:
            break
    assert reasons == ["refunds"] * 3


async def test_one_key_does_not_lower_what_takes_two(node: tuple[Node, NodeClient, Path]) -> None:
    _, client, _ = node
    await client.contain("clerk-1", "isolated", two_person=True)
    assert not (await client.contain("clerk-1", "none")).done
    with pytest.raises(RemoteError, match="second person"):
        await client.contain("clerk-1", "none")
    assert (await levels(client))["clerk-1"] == "isolated"


async def test_events_tell_of_it(node: tuple[Node, NodeClient, Path]) -> None:
    runtime, client, _ = node
    watch = await client.watch_events()
    await client.contain("clerk-1", "restricted", reason="odd")
    await runtime.ref("clerk-1").call("tool:pay")
    texts: list[str] = []
    async for push in watch:
        texts += [event.text for event in push.data.events if event.kind == "governed"]
        if len(texts) >= 2:
            break
    assert "is contained: restricted by" in texts[0]
    assert "denied tool:pay by" in texts[1]


def test_the_wire_and_the_runtime_have_the_same_levels() -> None:
    levels = ContainArgs.model_fields["level"].annotation
    assert levels is not None
    assert LEVELS == wire_table.LEVELS == levels.__args__
