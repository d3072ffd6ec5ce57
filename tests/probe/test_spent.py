"""What agents use of models, in the agents table and the vital signs: wherever they run, and for whoever attaches later."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from observe.probe import Probe, connect
from observe.probe.client import NodeClient
from observe.probe.table import Table
from observe.probe.wire_table import Query
from observe.runtime import Agent, ChildSpec, Node
from tests.probe.live import eventually, private_runtime
from tests.probe.test_table import column, table_of
from tests.runtime.worker_agents import Thinker

ROOT = Path(__file__).parents[2]


class Idle(Agent):
    """Uses none."""


@pytest.fixture
async def bench() -> AsyncIterator[tuple[Node, NodeClient]]:
    with pytest.MonkeyPatch.context() as patch, private_runtime(patch):
        patch.syspath_prepend(str(ROOT))
        async with (
            Node("thinking", workers=1) as node,
            Probe(node, placement="thread", tick_s=0.05),
            connect("thinking", timeout_s=20.0) as client,
        ):
            for spec in (
                ChildSpec(Thinker, name="here"),
                ChildSpec(Thinker, name="there", isolation="worker"),
            ):
                await node.supervisor.start_child(spec)
            await node.spawn(Idle, name="idle")
            yield node, client


async def rows(client: NodeClient, **query: Any) -> list[tuple[Any, ...]]:
    columns = ["name", "tokens", "cost"]
    page = await client.agents(Query(columns=columns, sort="cost", **query))
    return [tuple(row) for row in page.rows]


async def test_who_has_used_what_is_told_wherever_it_runs(bench: tuple[Node, NodeClient]) -> None:
    node, client = bench
    await node.ref("here").call(100)
    await node.ref("there").call(300, timeout=30)
    await node.ref("here").call(100)
    found = await eventually(
        lambda: rows(client, filter="cost>0"), [("there", 330, 0.3), ("here", 220, 0.2)].__eq__
    )
    assert found
    assert ("idle", 0, 0.0) in await rows(client)
    vitals = await eventually(client.vitals, lambda one: one.tokens_min == 550)
    assert vitals.cost_min == pytest.approx(0.5)
    vitals = await client.vitals(history_s=5)
    assert vitals.history["tokens_min"][-1] == 550
    # What an agent had used ends with it.
    node.ref("there").exit("enough")
    await eventually(lambda: rows(client, filter="cost>0"), [("here", 220, 0.2)].__eq__)


def test_totals_are_of_live_agents_and_stay_over_other_frames() -> None:
    table: Table = table_of(2, 3, 5)
    table.spent([5, 2, 77], [9, 4, 1], [0.5, 0.25, 1.0])
    assert (column(table, "tokens"), table.strays) == ([4, 0, 9], 0)
    successor = table_of(3, 5, 8)
    successor.inherit(table)
    assert column(successor, "tokens") == [0, 9, 0]
    assert successor.floats("cost")[successor.alive()].tolist() == [0.0, 0.5, 0.0]
