"""Checkpoints: agents come back from what was saved, and nothing is claimed that is not on record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

from observe.runtime import (
    Agent,
    BadChildSpec,
    ChildSpec,
    DynamicSupervisor,
    InitFailed,
    MemoryStore,
    Node,
    SQLiteStore,
    Supervisor,
    every,
)
from observe.runtime.actions import Acted, restart
from observe.runtime.errors import ActionRefused
from observe.runtime.testing import eventually, settled
from tests.runtime.tally import Tally, start, tally


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def node(store: MemoryStore) -> AsyncIterator[Node]:
    async with Node("test", intensity=1000, store=store) as node:
        yield node


async def test_a_child_comes_back_from_its_last_checkpoint(node: Node) -> None:
    """State that was saved is there again, what came later is not, and `restored` ran in place of `init`."""
    ref = await start(node)
    await ref.call(5)
    await ref.call("save")
    await ref.call(10)
    ref.cast("crash")
    await settled(node)
    assert await ref.call("who") == (5, "restored")
    assert node.control.find("t").conn is not None  # type: ignore[attr-defined]  # of a Tally


async def test_a_child_without_a_checkpoint_begins_with_init(node: Node) -> None:
    ref = await start(node)
    await ref.call(5)
    ref.cast("crash")
    await settled(node)
    assert await ref.call("who") == (0, "init")


async def test_without_restore_a_restart_begins_anew(node: Node) -> None:
    """OTP's way stays the default, also where checkpoints are taken."""
    ref = await start(node, restore=False, checkpoint="each_message")
    await ref.call(5)
    ref.cast("crash")
    await settled(node)
    assert await ref.call("who") == (0, "init")


async def test_each_message_is_on_record_before_its_reply(store: MemoryStore, node: Node) -> None:
    """A reply is an acknowledgement: nothing that was acknowledged is lost."""
    ref = await start(node, checkpoint="each_message")
    for n in range(1, 4):
        await ref.call(1)
        (record,) = store.records.values()
        assert record.generation == n
        assert f'"count":{n}'.encode() in record.state
        assert record.message is None


async def test_a_sync_handler_can_checkpoint_too(node: Node) -> None:
    class Sync(Agent):
        def init(self) -> None:
            self.items: list[int] = []

        def handle(self, message: int) -> list[int]:
            if message < 0:
                raise ValueError(message)
            self.items.append(message)
            self.checkpoint()
            return self.items

    await node.supervisor.start_child(ChildSpec(Sync, name="s", restore=True))
    for n in range(3):
        await node.ref("s").call(n)
    node.ref("s").cast(-1)
    await settled(node)
    assert await node.ref("s").call(3) == [0, 1, 2, 3]


async def test_every_saves_what_has_changed_and_only_that(store: MemoryStore, node: Node) -> None:
    ref = await start(node, checkpoint=every(0.01))
    await asyncio.sleep(0.03)
    assert not store.records
    ref.cast(1)
    ref.cast(1)
    record = await eventually(lambda: next(iter(store.records.values()), None))
    assert (record.generation, b'"count":2' in record.state) == (1, True)


async def test_every_waits_for_the_end_of_a_message(store: MemoryStore, node: Node) -> None:
    """In the middle of a message the state may be half changed."""
    ref = await start(node, checkpoint=every(0.01))
    event = asyncio.Event()
    ref.cast(1)
    ref.cast(("wait", event))
    await asyncio.sleep(0.03)
    assert not store.records
    event.set()
    await eventually(lambda: store.records)


async def test_each_step_saves_the_message_in_hand_and_each_activity(store: MemoryStore, node: Node) -> None:
    """An agent that works for an hour on one message loses one activity, not the hour."""
    tried: list[str] = []

    class Worker(Agent):
        def init(self) -> None:
            self.done: list[str] = []

        async def handle(self, message: list[str]) -> list[str]:
            for step in message:
                if step in self.done:
                    continue
                async with self.activity(f"tool:{step}"):
                    tried.append(step)
                    if step == "b" and tried.count("b") == 1:
                        raise ValueError("the first b fails")
                    self.done.append(step)
            return self.done

    spec = ChildSpec(Worker, name="w", restore=True, checkpoint="each_step", in_hand="retry")
    await node.supervisor.start_child(spec)
    node.ref("w").cast(["a", "b", "c"])
    await settled(node)
    assert tried == ["a", "b", "b", "c"]
    (record,) = store.records.values()
    assert record.message is None


async def test_an_operator_gets_the_checkpoint_and_not_what_the_agent_is_by_now(node: Node) -> None:
    """Its end would have saved that. And without a checkpoint nothing is lost: the agent goes on."""
    ref = await start(node, checkpoint=every(3600.0))
    await ref.call(5)
    with pytest.raises(ActionRefused, match="has no checkpoint yet, and goes on as it is"):
        await restarted(node, "checkpoint")
    assert await ref.call("who") == (5, "init")
    await ref.call("save")
    await ref.call(10)
    told = await restarted(node, "checkpoint")
    assert told.facts["from_checkpoint"]
    assert await ref.call("who") == (5, "restored")
    await ref.call(10)
    await restarted(node, "spec")
    assert await ref.call("who") == (15, "restored")


async def restarted(node: Node, source: Literal["spec", "checkpoint"]) -> Acted:
    told = restart(node, node.control.find("t"), source)
    return told if isinstance(told, Acted) else await told


# -- Across processes


async def test_a_node_that_stops_in_order_loses_nothing(tmp_path: Path) -> None:
    """A deployment is a restart as well: what `every` had not saved yet is saved at the end."""
    for n in range(3):
        async with Node("x", store=SQLiteStore(tmp_path / "s.db")) as node:
            await node.spawn(Supervisor, [tally(checkpoint=every(60.0))], name="sup")
            assert await node.ref("t").call("who") == (n, "restored" if n else "init")
            await node.ref("t").call(1)


async def test_children_of_dynamic_supervisors_come_back_by_themselves(store: MemoryStore) -> None:
    """Nobody else knows that they were there: their names and arguments are on record with them."""
    template = ChildSpec(Tally, restore=True, checkpoint="each_message", restart="transient")
    async with Node("x", store=store) as node:
        sessions = await node.spawn(DynamicSupervisor, template, name="sessions")
        await sessions.start_child(10, name="a/b")
        await sessions.start_child(start=20)
        await sessions.start_child(name="done")
        await node.ref("a/b").call(1)
        with pytest.raises(BadChildSpec, match="already"):
            await sessions.start_child(name="a/b")
        node.ref("done").cast("stop")
        await settled(node)
    async with Node("x", store=store) as node:
        sessions = await node.spawn(DynamicSupervisor, template, name="sessions")
        got = [await ref.call("who") for _, ref, _ in sessions.which_children() if ref is not None]
        assert sorted(got) == [(11, "restored"), (20, "restored")]
        assert await node.ref("a/b").call(1) == (12, "restored")
        await sessions.terminate_child(node.ref("a/b"))
        await sessions.start_child(30)
        assert sessions.count_children()["active"] == 2
    async with Node("x", store=store) as node:
        sessions = await node.spawn(DynamicSupervisor, template, name="sessions")
        assert sessions.count_children()["active"] == 2


async def test_one_that_cannot_come_back_does_not_keep_the_others(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """At night, 399 of 400 is the better outcome; and the checkpoint of the one stays, to be looked at."""
    template = ChildSpec(Tally, restore=True, checkpoint="each_message")
    async with Node("x", store=store) as node:
        sessions = await node.spawn(DynamicSupervisor, template, name="sessions")
        for name in "abc":
            await sessions.start_child(name=name)
    key = "state:sessions/b"
    old = store.records[key]
    store.records[key] = type(old)(key, old.class_name, b"{", None, 3, 0.0, old.start)
    with caplog.at_level(logging.CRITICAL):
        async with Node("x", store=store) as node:
            sessions = await node.spawn(DynamicSupervisor, template, name="sessions")
            assert {child for child, ref, _ in sessions.which_children() if ref is not None} == {"a", "c"}
            assert store.records[key].state == b"{"
            with pytest.raises(InitFailed, match="cannot be read back"):
                await sessions.restart_child("b")


async def test_a_checkpoint_of_another_class_is_not_put_into_this_one(store: MemoryStore) -> None:
    class Other(Tally):
        pass

    async with Node("x", store=store) as node:
        await start(node, checkpoint="each_message")
        await node.ref("t").call(1)
    async with Node("x", store=store) as node:
        with pytest.raises(InitFailed, match="of a Tally"):
            await node.supervisor.start_child(ChildSpec(Other, name="t", restore=True))
        assert "state:t" in store.records


async def test_the_message_in_hand_of_a_process_that_died_is_retried(store: MemoryStore) -> None:
    """It is on record with the checkpoint that the handler took."""
    async with Node("x", store=store) as node:
        ref = await start(node, checkpoint="each_step", in_hand="retry")
        ref.cast(2)
        await settled(node)
        seen = dict(store.records)
        ref.cast(40)
        ref.cast("save")
        await settled(node)
    # As it was on the disk when the second message was in hand.
    crashed = MemoryStore()
    for key, record in seen.items():
        crashed.records[key] = type(record)(key, record.class_name, record.state, b"40", 9, 0.0)
    async with Node("x", store=crashed) as node:
        ref = await start(node, checkpoint="each_step", in_hand="retry")
        await settled(node)
        assert await ref.call("who") == (42, "restored")


@pytest.mark.parametrize("end", ["stop", "terminate"])
async def test_who_has_ended_for_good_is_forgotten(store: MemoryStore, node: Node, end: str) -> None:
    """Else the next start of the service would bring back what had finished."""
    supervisor = await node.spawn(
        Supervisor, [tally(restart="transient", checkpoint="each_message")], name="s"
    )
    await node.ref("t").call(1)
    assert list(store.records) == ["state:s/t"]
    if end == "stop":
        node.ref("t").cast("stop")
        await settled(node)
    else:
        await supervisor.terminate_child("t")
        assert list(store.records) == ["state:s/t"]  # it can be restarted yet
        supervisor.delete_child("t")
    assert not store.records


async def test_checkpoints_need_a_place_that_is_found_again(node: Node) -> None:
    """A child's number depends on the order of starts: another agent's state could come back in it."""
    with pytest.raises(InitFailed, match="an id or a name"):
        await node.supervisor.start_child(ChildSpec(Tally, restore=True))
    unnamed = await node.spawn(Supervisor, [])
    with pytest.raises(InitFailed, match="an id or a name"):
        await unnamed.start_child(tally())
