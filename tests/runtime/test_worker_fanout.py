"""`supervised_map` in an agent of a worker: its items are agents of the worker, and seen on the node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from observe.runtime import Agent, Node
from observe.runtime.exits import ExitReason
from observe.runtime.instrument import Instrument
from observe.runtime.testing import eventually
from tests.runtime.worker_agents import Fan, Odd

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import the agents of the tests as we do."""
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("fanned", workers=2, intensity=100) as node:
        yield node


class Pids(Instrument):
    """Every pid that the node has told of."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.ended: list[int] = []

    def on_spawn(self, agent: Agent) -> None:
        self.started.append(agent.ref.pid)

    def on_exit(self, agent: Agent, reason: ExitReason) -> None:
        self.ended.append(agent.ref.pid)


async def test_the_items_have_pids_of_their_own_in_all_processes_of_the_node(node: Node) -> None:
    """A pid names one agent of the node, whichever process has numbered it."""
    pids = Pids()
    node.instruments.add(pids)
    first, second = await node.spawn(Fan, worker=1), await node.spawn(Fan, worker=2)
    for fan in (first, second, first):
        assert await fan.call(("map", 20)) == list(range(0, 40, 2))
    later = await node.spawn(Odd)
    assert later.pid == second.pid + 1, "the node's own numbers are not touched"
    await eventually(lambda: len(pids.ended) == 3 * 21)
    assert len(pids.started) == len(set(pids.started)) == 3 * 21 + 3
    assert set(node.agents) == {1, first.pid, second.pid, later.pid}


async def test_a_crash_of_an_item_is_on_record_and_local_to_it(node: Node) -> None:
    fan = await node.spawn(Fan)
    assert await fan.call(("errors", 4)) == [ValueError, type(None), ValueError, type(None)]
    await eventually(lambda: len(node.lifecycle.crashes) == 2)
    crash = node.lifecycle.crashes[0]
    assert (crash.class_name, crash.child_id) == ("FanOutItem", "odd_only[0]")
    assert "is even" in crash.traceback
    assert fan.is_alive


async def test_items_are_seen_below_their_supervisor_and_can_be_killed(node: Node) -> None:
    fan = await node.spawn(Fan, name="fan")
    fan.cast("wait")
    await eventually(lambda: len(node.agents) == 6)
    items = [agent for agent in node.agents.values() if type(agent).__name__ == "FanOutItem"]
    (supervisor,) = {agent._o_child.supervisor_pid for agent in items}
    assert type(node.agents[supervisor]).__name__ == "FanOut"
    node.control.kill(items[0].ref.pid)
    await eventually(lambda: len(node.agents) == 5)
    fan.exit("killed")
    await eventually(lambda: len(node.agents) == 1)


async def test_items_end_with_the_process_of_their_caller(node: Node) -> None:
    fan = await node.spawn(Fan, isolation="process")
    fan.cast("wait")
    await eventually(lambda: len(node.agents) == 6)
    next(one for one in node.lifecycle.workers.processes.values() if one.is_isolated).kill()  # type: ignore[union-attr]
    await eventually(lambda: len(node.agents) == 1)
