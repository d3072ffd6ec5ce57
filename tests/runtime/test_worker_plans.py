"""Checkpoints, ladders and budgets of agents in processes of their own and in workers: as those of any agent."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest

from observe.runtime import (
    AgentExited,
    Budget,
    BudgetExceeded,
    ChangeApproach,
    ChildSpec,
    DynamicSupervisor,
    InitFailed,
    Ladder,
    MemoryStore,
    Node,
    NoSuchAgent,
    Park,
    Ref,
    Restore,
    Retry,
    SQLiteStore,
    Supervisor,
)
from observe.runtime.errors import StoreFull
from observe.runtime.testing import Recorder, eventually
from tests.runtime.worker_plans import Keeper

ROOT = Path(__file__).parents[2]
Where = Literal["process", "worker"]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Workers import the agents of the tests as we do."""
    monkeypatch.syspath_prepend(str(ROOT))
    caplog.set_level(logging.CRITICAL)


@pytest.fixture(params=["process", "worker"])
def where(request: pytest.FixtureRequest) -> Where:
    found: Where = request.param
    return found


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def node(where: Where, store: MemoryStore) -> AsyncIterator[Node]:
    async with Node("plans", intensity=1000, store=store, workers=int(where == "worker")) as node:
        yield node


async def start(node: Node, where: Where, **options: Any) -> Ref:
    spec = {"restore": True, "isolation": where} | options
    await node.supervisor.start_child(ChildSpec(Keeper, name="t", **spec))
    return node.ref("t")


async def asked(ref: Ref, message: Any) -> Any:
    """What it answers, as soon as there is somebody to ask."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await ref.call(message, timeout=30)
            except (AgentExited, NoSuchAgent):
                await asyncio.sleep(0.01)


async def restarted(node: Node, before: int) -> None:
    await eventually(lambda: (ref := node.whereis("t")) is not None and ref.pid != before and ref.is_alive)


async def test_it_comes_back_from_its_last_checkpoint(node: Node, where: Where) -> None:
    ref = await start(node, where)
    await ref.call(5)
    await ref.call("save")
    await ref.call(10)
    with pytest.raises(AgentExited):
        await ref.call("crash")
    assert await asked(ref, "who") == (5, "restored")


async def test_each_message_is_on_record_before_its_reply(
    node: Node, where: Where, store: MemoryStore
) -> None:
    ref = await start(node, where, checkpoint="each_message")
    for n in range(1, 4):
        await ref.call(1)
        (record,) = store.records.values()
        assert (record.key, record.generation) == ("state:t", n)
        assert f'"count":{n}'.encode() in record.state
    assert node.control.relations(node.control.find("t")).spec["generation"] == 3


async def test_nothing_acknowledged_is_lost_when_its_process_is_killed(
    node: Node, where: Where, tmp_path: Path
) -> None:
    """At random moments, in the middle of whatever it does."""
    ref = await start(node, where, checkpoint="each_message")
    seeded = random.Random(7)
    acknowledged = 0
    for _ in range(4):
        os_pid = await asked(ref, "pid")
        loop = asyncio.get_running_loop()
        loop.call_later(seeded.random() * 0.05, os.kill, os_pid, signal.SIGKILL)
        while True:
            try:
                count, _ = await ref.call(1, timeout=30)
            except (AgentExited, NoSuchAgent):
                break
            assert count > acknowledged
            acknowledged = count
        count, how = await asked(ref, "who")
        assert how == "restored"
        assert acknowledged <= count <= acknowledged + 1, "the one in hand may be on record, unacknowledged"
        acknowledged = count


async def test_the_message_in_hand_is_handled_again_when_its_process_dies(
    node: Node, where: Where, tmp_path: Path
) -> None:
    ref = await start(node, where, checkpoint="each_message", in_hand="retry")
    await ref.call(100)
    ref.cast(("add and die once", str(tmp_path / "died")))
    ref.cast(1000)  # waits behind it, and becomes a dead letter
    await eventually(lambda: len(node.dead_letters) == 1)
    await eventually(lambda: (ref := node.whereis("t")) is not None and ref.is_alive)
    assert await asked(ref, "who") == (110, "restored")


async def test_a_message_that_a_checkpoint_has_behind_it_is_not_handled_twice(
    node: Node, where: Where, store: MemoryStore
) -> None:
    """The process dies between the checkpoint and the word that the message is handled."""
    ref = await start(node, where, checkpoint="each_message", in_hand="retry")
    for n in range(1, 30):
        ref.cast(1)
        pid = node.control.find("t").ref.pid
        await eventually(lambda n=n: any(f'"count":{n},'.encode() in r.state for r in store.records.values()))  # type: ignore[misc]  # bound now
        if n % 10 == 0:
            os.kill(node.workers()[0].os_pid, signal.SIGKILL)
            await restarted(node, pid)
    assert await asked(ref, "who") == (29, "restored")


async def test_a_message_in_hand_is_retried_after_a_kill_and_after_an_end_in_order(
    node: Node, where: Where
) -> None:
    """And a request in hand fails its caller at once."""
    ref = await start(node, where, in_hand="retry")
    ref.cast("wait")
    for reason in ("killed", "shutdown", "killed"):
        agent = node.control.find("t")
        await eventually(lambda agent=agent: agent._o_away._in_hand)  # type: ignore[misc]  # bound now
        ref.exit(reason)
        await restarted(node, agent.ref.pid)
    assert not node.dead_letters


async def test_a_call_to_one_that_is_ended_in_order_fails_at_once(where: Where) -> None:
    async with Node("plain", workers=int(where == "worker")) as node:
        ref = await node.spawn(Keeper, isolation=where)
        waiting = asyncio.create_task(ref.call("wait", timeout=None))
        agent = node.control.find(ref.pid)
        await eventually(lambda: agent._o_away._in_hand)  # type: ignore[union-attr]  # it is elsewhere
        ref.exit("shutdown")
        with pytest.raises(AgentExited, match="shutdown"):
            await waiting


async def test_the_ladder_changes_the_approach_and_parks(node: Node, where: Where) -> None:
    recorder = Recorder()
    node.instruments.add(recorder)
    ladder = Ladder(Retry(), Restore(), ChangeApproach(), Park())
    ref = await start(node, where, restore=False, ladder=ladder)
    await ref.call(5)
    await ref.call("save")
    ref.cast(("needs care", 1))
    assert (await asked_until(ref, 5))[1] == "restored"
    assert rungs(recorder) == ["Retry", "Restore", "ChangeApproach"]
    ref.cast(("never",))
    await eventually(lambda: len(node.parked) == 1)
    (parked,) = node.parked
    assert (parked.message, parked.name, str(parked.reason)) == (("never",), "t", "ValueError: never")
    assert rungs(recorder)[3:] == ["Retry", "Restore", "ChangeApproach", "Park"]


def rungs(recorder: Recorder) -> list[str]:
    return [str(event.what) for event in recorder.events if event.kind == "rung"]


async def asked_until(ref: Ref, count: int) -> Any:
    while (told := await asked(ref, "who"))[0] != count:  # noqa: ASYNC110  # it is in another process
        await asyncio.sleep(0.01)
    return told


async def test_a_keyed_activity_is_done_once_also_when_the_process_dies(
    node: Node, where: Where, tmp_path: Path
) -> None:
    book = tmp_path / "book"
    ref = await start(node, where, checkpoint="each_step", in_hand="retry")
    with pytest.raises(AgentExited, match="exit code 7"):
        await ref.call(("charge", str(book), True), timeout=30)
    assert await asked(ref, ("charge", str(book), False)) == "receipt"
    assert book.read_text() == "charged\n"


async def test_a_budget_ends_it_and_names_its_rung(node: Node, where: Where) -> None:
    recorder = Recorder()
    node.instruments.add(recorder)
    ref = await start(node, where, restore=False, restart="temporary", budget=Budget(tool_calls=3))
    await ref.call(("tools", 3))
    with pytest.raises(AgentExited) as ended:
        await ref.call(("tools", 1))
    error = ended.value.reason.error
    assert isinstance(error, BudgetExceeded)
    assert (error.limit, error.used, error.allowed) == ("tool_calls", 4, 3)
    assert recorder.kinds.count("limit") == 1
    parking = Budget(tokens=10, on_limit=Park())
    again = await start(node, where, restore=False, budget=parking)
    again.cast(("chat", 11))
    await eventually(lambda: len(node.parked) == 1)


async def test_a_supervisors_budget_is_that_of_its_children_in_all_processes(where: Where) -> None:
    async with Node("above", intensity=1000, workers=2 * (where == "worker")) as node:
        specs = [ChildSpec(Keeper, name=name, isolation=where) for name in ("a", "b")]
        tree = await node.supervisor.start_child(
            ChildSpec(Supervisor, (specs,), name="tree", restart="temporary", budget=Budget(tool_calls=5))
        )
        await node.ref("a").call(("tools", 3))
        await node.ref("b").call(("tools", 2))
        spending = node.control.spending(node.control.find("tree"))
        assert spending is not None
        assert spending.tool_calls == 5
        assert tree.is_alive
        node.ref("a").cast(("tools", 1))
        assert "tool_calls" in str(await tree.wait_exit())


async def test_what_is_wrong_with_a_checkpoint_is_told(node: Node, where: Where, store: MemoryStore) -> None:
    ref = await start(node, where, checkpoint="each_message")
    await ref.call(1)
    store.fault = StoreFull("the memory store", "no room")
    with pytest.raises(StoreFull):
        await ref.call(1)
    care = node.control.find("t")._o_bonds.care  # type: ignore[union-attr]  # it has a plan
    assert isinstance(care.fault, StoreFull)  # type: ignore[union-attr]  # it is there
    store.fault = None
    assert await ref.call(1) == (3, "init")
    assert care.fault is None  # type: ignore[union-attr]  # it is there


async def test_who_ends_for_good_is_forgotten(node: Node, where: Where, store: MemoryStore) -> None:
    ref = await start(node, where, checkpoint="each_message", restart="transient")
    await ref.call(1)
    await ref.call("stop")
    await eventually(lambda: node.whereis("t") is None)
    await eventually(lambda: not store.records)


async def test_without_a_store_or_a_place_it_is_refused() -> None:
    async with Node("none") as node:
        with pytest.raises(InitFailed, match="no store"):
            await node.supervisor.start_child(ChildSpec(Keeper, name="t", restore=True, isolation="process"))
        with pytest.raises(InitFailed) as failed:
            await node.supervisor.start_child(
                ChildSpec(
                    Keeper, name="t", isolation="process", budget=Budget(tokens=1, on_limit=lambda *_: None)
                )
            )
        assert "cannot be sent to another process" in str(failed.value)


SERVICE = """
import asyncio, sys
from observe.runtime import ChildSpec, DynamicSupervisor, Node, SQLiteStore
from tests.runtime.worker_plans import Keeper

async def main():
    store = SQLiteStore(sys.argv[1], durability="process")
    async with Node("doomed", store=store, workers=1) as node:
        plan = {"restore": True, "checkpoint": "each_step", "in_hand": "retry"}
        await node.supervisor.start_child(ChildSpec(Keeper, name="t", isolation="process", **plan))
        template = ChildSpec(Keeper, isolation="worker", **plan)
        pool = await node.spawn(DynamicSupervisor, template, name="pool")
        await pool.start_child(name="d")
        print(await node.ref("t").call(5), await node.ref("d").call(7), flush=True)
        node.ref("t").cast("wait")
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_they_come_back_after_a_kill_of_the_whole_service(tmp_path: Path) -> None:
    """With the message that was in hand in the worker."""
    database = tmp_path / "store.db"
    service = subprocess.Popen(  # noqa: ASYNC220  # nothing else runs here
        [sys.executable, "-c", SERVICE, database], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert service.stdout is not None
    assert service.stdout.readline().decode() == "(5, 'init') (7, 'init')\n"
    await asyncio.to_thread(
        wait_for, lambda: b"wait" in b"".join(p.read_bytes() for p in tmp_path.glob("store*"))
    )
    service.kill()
    service.wait()
    service.stdout.close()
    async with Node("again", store=SQLiteStore(database, durability="process"), workers=1) as node:
        plan: dict[str, Any] = {"restore": True, "checkpoint": "each_step", "in_hand": "park"}
        await node.supervisor.start_child(ChildSpec(Keeper, name="t", isolation="process", **plan))
        await node.spawn(DynamicSupervisor, ChildSpec(Keeper, isolation="worker", **plan), name="pool")
        assert await node.ref("t").call("who") == (5, "restored")
        assert await node.ref("d").call("who") == (7, "restored")
        assert node.control.find("d")._o_away is not None
        assert [parked.message for parked in node.parked] == ["wait"]


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
