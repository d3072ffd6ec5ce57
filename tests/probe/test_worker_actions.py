"""What an operator does to agents of worker processes, through the probe: it is done there, or refused with the reason."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from observe.probe import Probe
from observe.probe.client import NodeClient, connect
from observe.probe.errors import RemoteError
from observe.probe.wire_table import Query
from observe.runtime import Budget, ChangeApproach, ChildSpec, Ladder, MemoryStore, Node
from observe.runtime.ladder import Retry
from tests.probe.live import eventually, private_runtime
from tests.runtime.worker_agents import Clerk

ROOT = Path(__file__).parents[2]
Where = Literal["process", "worker"]


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(ROOT))
    with private_runtime(monkeypatch) as path:
        yield path


@pytest.fixture(params=["process", "worker"])
async def node(request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    workers = int(request.param == "worker")
    async with (
        Node("acted", intensity=100, workers=workers, store=MemoryStore()) as node,
        Probe(node, tick_s=0.05),
    ):
        spec = ChildSpec(
            Clerk, name="clerk", restore=True, isolation=request.param, budget=Budget(tool_calls=5),
            ladder=Ladder(Retry(), ChangeApproach()),
        )  # fmt: skip
        await node.supervisor.start_child(spec)
        yield node


@pytest.fixture
async def client(node: Node) -> AsyncIterator[NodeClient]:
    async with connect("acted", timeout_s=10.0) as client:
        await eventually(client.vitals, lambda vitals: vitals.agents == 2)
        yield client


async def field(client: NodeClient, name: str) -> str:
    detail = await client.inspect("clerk")
    assert detail.state is not None, detail.note
    return dict(detail.state.items or [])[name].text


async def status(client: NodeClient) -> Any:
    """Of whoever has the name; None while the probe still names one that has just ended."""
    try:
        return (await client.inspect("clerk")).agent["status"]
    except RemoteError as error:
        if error.code != "no_such_agent":
            raise
        return None


async def test_it_is_suspended_sent_to_and_resumed(node: Node, client: NodeClient) -> None:
    assert (await client.suspend("clerk")).what.endswith("is suspended")
    await client.send("clerk", "count")
    await eventually(lambda: status(client), lambda found: found == "suspended")
    assert [value.text for value in (await client.inspect("clerk")).mailbox] == ["'count'"]
    assert await field(client, "done") == "0"
    assert (await client.resume("clerk")).done
    await eventually(lambda: field(client, "done"), lambda found: found == "1")


async def test_its_state_is_edited_where_it_is(node: Node, client: NodeClient) -> None:
    would = await client.edit("clerk", "rate", 2.5, dry_run=True)
    assert would.diff[0].new == "2.5"
    assert (await client.edit("clerk", "rate", 2.5)).done
    assert await field(client, "rate") == "2.5"
    with pytest.raises(RemoteError, match="rat"):
        await client.edit("clerk", "rat", 1)


async def test_its_activity_is_cancelled_and_it_goes_on(node: Node, client: NodeClient) -> None:
    node.ref("clerk").cast("look")
    await eventually(lambda: client.inspect("clerk"), lambda found: bool(found.activities))
    assert "goes on" in (await client.act("cancel_activity", agent="clerk", reason="too slow")).what
    assert "too slow" in await field(client, "cancelled")
    with pytest.raises(RemoteError, match="not in the activity"):
        await client.act("cancel_activity", agent="clerk")


async def test_it_is_saved_restarted_from_there_and_afresh(node: Node, client: NodeClient) -> None:
    before = node.ref("clerk").pid
    with pytest.raises(RemoteError, match="has no checkpoint yet, and goes on as it is"):
        await client.restart("clerk", "checkpoint")
    assert node.ref("clerk").pid == before
    await node.ref("clerk").call("count")
    saved = await client.act("checkpoint", agent="clerk")
    assert (saved.done, saved.facts["generation"]) == (True, 1)
    await node.ref("clerk").call("count")
    again = await client.restart("clerk", "checkpoint")
    assert (again.facts["from_checkpoint"], await field(client, "done")) == (True, "1")
    await client.restart("clerk", "fresh")
    assert await field(client, "done") == "0"


async def test_the_next_rung_is_taken_and_the_budget_begins_anew(node: Node, client: NodeClient) -> None:
    assert (await client.next_rung("clerk")).facts["rung"] == "Retry"
    await eventually(lambda: status(client), lambda found: found == "idle")
    for _ in range(5):
        await node.ref("clerk").call("tools")
    spec = (await client.inspect("clerk")).spec
    assert spec is not None
    assert spec["budget"] == "tool_calls 5/5"
    assert "tool_calls 5/5" in (await client.act("reset_budget", agent="clerk")).what
    assert await node.ref("clerk").call("tools") == 0


async def test_what_cannot_be_done_there_says_so_and_a_worker_that_is_stuck_does_it_never(
    node: Node, client: NodeClient
) -> None:
    with pytest.raises(RemoteError, match="not in the activity") as refused:
        await client.act("cancel_activity", agent="clerk")
    assert refused.value.code == "refused"
    before = node.ref("clerk")._agent._o_pid
    node.ref("clerk").cast("spin")
    stack = await eventually(lambda: client.stack("clerk"), lambda stack: stack.status == "running")
    assert "handle" in [frame.function for frame in stack.frames]
    with pytest.raises(RemoteError, match="did not get to it") as late:
        await client.suspend("clerk")
    assert late.value.code == "node_timeout"
    await client.kill("clerk")

    async def successor() -> list[dict[str, Any]]:
        found = (await client.agents(Query(filter="name=clerk"))).as_dicts()
        return [row for row in found if row["pid"] != before and row["status"] != "starting"]

    rows = await eventually(successor, bool)
    assert rows[0]["status"] != "suspended"


async def test_actions_on_the_node_reach_its_workers(node: Node, client: NodeClient) -> None:
    assert (await client.act("log_level", logger="shop", level="DEBUG")).facts["workers"] == 1
    assert "worker processes" in (await client.act("collect_garbage", generation=0)).what


async def test_how_it_stands_is_told_from_both_sides(node: Node, client: NodeClient) -> None:
    """Budget, checkpoint and activities are counted where it runs, its ladder and its ties where its supervisor is."""
    await client.inspect("clerk")
    await node.ref("clerk").call("tools")
    assert (await client.checkpoint("clerk")).done
    found = await client.inspect("clerk")
    assert found.note == ""
    assert found.budget is not None
    assert [(limit.name, limit.used, limit.allowed) for limit in found.budget.limits] == [
        ("tool_calls", 1.0, 5.0)
    ]
    assert found.checkpoint is not None
    assert found.checkpoint.generation == 1
    assert [one.name for one in found.past] == ["tool:hammer"]
    assert found.ladder is not None
    assert [rung.rung for rung in found.ladder.rungs] == ["Retry", "ChangeApproach"]
    assert found.ties is not None
