"""`supervised_map` in an agent of a worker: its items are agents of the worker, and seen on the node."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from observe.runtime import Agent, BadChildSpec, Limits, Node, NotSendable, WorkerDied, supervised_map
from observe.runtime.errors import NotInWorker
from observe.runtime.exits import ExitReason
from observe.runtime.instrument import Instrument
from observe.runtime.testing import eventually
from tests.runtime.worker_agents import Brief, Fan, Odd, double, sleep_long, vary, where

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
    next(one for one in node.lifecycle.workers.processes.values() if one.is_isolated).kill()  # type: ignore[union-attr]  # there are workers
    await eventually(lambda: len(node.agents) == 1)


# -- items in processes of their own ---------------------------------------------------------------------------------------


async def test_items_of_plain_code_run_in_the_workers_of_its_node(node: Node) -> None:
    """All cores for a function, in four words."""
    doubled = supervised_map(double, range(50), isolation="worker", node=node, ordered=True, timeout=60)
    assert [one.unwrap() async for one in doubled] == list(range(0, 100, 2))
    used = {
        one.unwrap()
        async for one in supervised_map(where, range(8), isolation="worker", node=node, timeout=60)
    }
    assert used == {one.os_pid for one in node.workers()}
    await eventually(lambda: len(node.agents) == 1)
    seen = [one.unwrap() async for one in supervised_map(where, range(2), node=node)]
    assert seen == [os.getpid()] * 2, "agents of the node, without isolation in its own process"


async def test_a_process_that_dies_is_the_outcome_of_its_item_alone(node: Node) -> None:
    items: list[Any] = [0, 1, 2, 3, lambda: None]
    outcomes = [
        one
        async for one in supervised_map(
            vary, items, isolation="process", limits=Limits(memory_bytes=2**32), node=node, ordered=True, timeout=60,
            max_concurrency=3,
        )
    ]  # fmt: skip
    assert [type(one.error) for one in outcomes] == [
        type(None),
        WorkerDied,
        ValueError,
        NotSendable,
        NotSendable,
    ]
    assert "SIGSEGV" in str(outcomes[1].error)
    await eventually(lambda: len(node.workers()) == 2 and len(node.agents) == 1)


async def test_an_agents_items_go_where_it_says(node: Node) -> None:
    here = await node.spawn(Fan, name="here", isolation="none")
    assert await here.call(("elsewhere", "none"), timeout=30) == {os.getpid()}
    assert await here.call(("elsewhere", "worker"), timeout=60) <= {one.os_pid for one in node.workers()}
    there = await node.spawn(Fan)
    with pytest.raises(Exception, match="cannot be had in a worker process") as refused:
        await there.call(("elsewhere", "worker"))
    assert NotInWorker.__name__ in str(refused.value)


async def test_one_that_ends_as_soon_as_it_has_started_ends_once(node: Node) -> None:
    """Its end may be told in the same breath as its start."""
    pids = Pids()
    node.instruments.add(pids)
    for _ in range(30):
        ref = await node.spawn(Brief, restart="temporary")
        await ref.wait_exit()
    assert len(pids.ended) == len(set(pids.ended)) == 30
    workers = node.lifecycle.workers
    assert workers is not None
    assert [process.load for process in workers.processes.values()] == [0, 0]


@pytest.mark.parametrize("isolation", ["worker", "process"])
async def test_a_late_item_and_those_of_a_caller_that_is_cancelled_are_ended(
    node: Node, isolation: Any
) -> None:
    late = [
        one async for one in supervised_map(sleep_long, [1], isolation=isolation, node=node, timeout=0.05)
    ]
    assert [one.timed_out for one in late] == [True]

    async def all_of() -> None:
        async for _ in supervised_map(
            sleep_long, range(20), isolation=isolation, node=node, max_concurrency=2
        ):
            pass

    caller = asyncio.create_task(all_of())
    await eventually(lambda: len(node.agents) == 4)
    caller.cancel()
    await eventually(lambda: len(node.agents) == 1)
    await eventually(lambda: len(node.workers()) == 2)
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_what_cannot_be_is_said_before_anything_begins(node: Node) -> None:
    async def first(**options: Any) -> Any:
        async for outcome in supervised_map(**options):
            return outcome
        return None

    with pytest.raises(NotSendable, match="the function <lambda>"):
        await first(fn=lambda item: item, items=[1], isolation="worker", node=node)
    for options, why in (
        ({"isolation": "worker"}, "needs a node"),
        ({"isolation": "elsewhere", "node": node}, "'elsewhere'"),
        ({"limits": Limits(cpu_s=1), "isolation": "worker", "node": node}, "isolation='process'"),
    ):
        with pytest.raises(ValueError, match=why):
            await first(fn=double, items=[1], **options)
    async with Node("alone") as alone:
        with pytest.raises(BadChildSpec, match="workers=2"):
            await first(fn=double, items=[1], isolation="worker", node=alone)
    assert len(node.agents) == 1
