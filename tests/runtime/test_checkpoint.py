"""Checkpoints: agents come back from what was saved, with the message that was in hand, and nothing is claimed that is not on record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from observe.runtime import (
    Agent,
    AgentExited,
    BadChildSpec,
    ChildSpec,
    DynamicSupervisor,
    InitFailed,
    MemoryStore,
    Node,
    NotStorable,
    Ref,
    SQLiteStore,
    StoreFault,
    StoreFull,
    Supervisor,
    activity,
    every,
)
from observe.runtime.testing import eventually, settled

CHARGED: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_charged() -> None:
    CHARGED.clear()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def node(store: MemoryStore) -> AsyncIterator[Node]:
    async with Node("test", intensity=1000, store=store) as node:
        yield node


class Tally(Agent):
    """Counts what it is told, and does as it is told."""

    unsaved = ("conn",)

    def init(self, start: int = 0) -> None:
        self.count = start
        self.conn = object()
        self.how = "init"

    def restored(self, start: int = 0) -> None:
        self.conn = object()
        self.how = "restored"

    async def handle(self, message: Any) -> Any:
        match message:
            case int():
                self.count += message
            case "save":
                await self.checkpoint()
            case "crash":
                raise ValueError("crash")
            case ("save and crash once", amount):
                self.count += amount
                if self.how == "init":
                    await self.checkpoint()
                    raise ValueError("once")
            case ("wait", event):
                await event.wait()
            case "unsavable":
                self.lamp = object()
            case "stop":
                self.stop()
            case _:
                pass
        return self.count, self.how


def tally(name: str = "t", **options: Any) -> ChildSpec:
    return ChildSpec(Tally, name=name, **({"restore": True} | options))


async def start(node: Node, **options: Any) -> Ref:
    await node.supervisor.start_child(tally(**options))
    return node.ref("t")


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

    class Worker(Agent):
        def init(self) -> None:
            self.done: list[str] = []

        async def handle(self, message: list[str]) -> list[str]:
            for step in message:
                if step in self.done:
                    continue
                async with self.activity(f"tool:{step}"):
                    CHARGED.append(step)
                    if step == "b" and CHARGED.count("b") == 1:
                        raise ValueError("the first b fails")
                    self.done.append(step)
            return self.done

    spec = ChildSpec(Worker, name="w", restore=True, checkpoint="each_step", in_hand="retry")
    await node.supervisor.start_child(spec)
    node.ref("w").cast(["a", "b", "c"])
    await settled(node)
    assert CHARGED == ["a", "b", "b", "c"]
    (record,) = store.records.values()
    assert record.message is None


@pytest.mark.parametrize(("in_hand", "count", "parked"), [("drop", 0, 0), ("retry", 7, 0), ("park", 0, 1)])
async def test_the_message_in_hand_is_treated_as_the_spec_says(
    node: Node, in_hand: Any, count: int, parked: int
) -> None:
    ref = await start(node, in_hand=in_hand, restore=False)
    event = asyncio.Event()
    ref.cast(("wait", event))
    ref.cast(7)
    await settled(node)
    event.set()
    ref.exit("killed")
    await settled(node)
    if in_hand == "retry":
        assert [letter.message for letter in node.dead_letters] == [7]  # it waited; the other was in hand
        ref.cast(7)
    assert (await ref.call("who"))[0] == count
    assert [one.message for one in node.parked] == [("wait", event)] * parked


async def test_a_retried_message_comes_before_those_that_wait(node: Node) -> None:
    """Those that were sent by name while it came back have come later."""
    seen: list[Any] = []

    class Slow(Agent):
        async def init(self) -> None:
            await asyncio.sleep(0)
            if seen:
                self.ref.cast("later")

        def handle(self, message: str) -> None:
            seen.append(message)
            if seen == ["first"]:
                raise ValueError("once")

    await node.supervisor.start_child(ChildSpec(Slow, name="s", in_hand="retry"))
    node.ref("s").cast("first")
    await eventually(lambda: len(seen) == 3)
    assert seen == ["first", "first", "later"]


async def test_a_caller_whose_message_is_retried_hears_of_the_end_at_once(node: Node) -> None:
    """As in OTP: a call fails when the agent does. What the retry returns goes to nobody."""
    ref = await start(node, in_hand="retry")
    with pytest.raises(AgentExited):
        await ref.call(("save and crash once", 3))
    await settled(node)
    assert await ref.call("who") == (6, "restored")  # 3 of the checkpoint and 3 of the retry


async def test_a_parked_message_can_be_retried_or_dropped(store: MemoryStore, node: Node) -> None:
    ref = await start(node, in_hand="park")
    for _ in range(2):
        ref.cast("crash")
        await settled(node)
    first, second = node.parked
    assert (first.message, first.name, first.reason) == ("crash", "t", "ValueError: crash")
    assert len(store.records) == 2
    node.parked.drop(first.id)
    assert [letter.message for letter in node.dead_letters] == ["crash"]
    node.parked.retry(second.id)
    await settled(node)
    (third,) = node.parked  # it failed again, and waits again
    assert third.id != second.id
    with pytest.raises(LookupError, match="parked"):
        node.parked.retry(second.id)


async def test_parked_messages_outlive_the_process(store: MemoryStore) -> None:
    async with Node("one", store=store) as node:
        ref = await start(node, in_hand="park")
        ref.cast("crash")
        await settled(node)
        (parked,) = node.parked
    async with Node("two", store=store) as node:
        assert list(node.parked) == [parked]
        with pytest.raises(LookupError):
            node.parked.retry(parked.id)  # nobody is there yet
        await start(node, in_hand="park")
        node.parked.retry(parked.id)
        assert len(node.parked) == 0
        await settled(node)


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


# -- What goes wrong


async def test_a_state_that_cannot_be_saved_names_the_attribute_and_loses_nothing(
    store: MemoryStore, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller learns that its message is not on record; the agent lives, and the last checkpoint stays."""
    ref = await start(node, checkpoint="each_message")
    await ref.call(5)
    with caplog.at_level(logging.CRITICAL), pytest.raises(NotStorable, match=r"self\.lamp"):
        await ref.call("unsavable")
    assert ref.is_alive
    (record,) = store.records.values()
    assert b'"count":5' in record.state
    assert "self.lamp" in node.control.relations(node.control.find("t")).spec["checkpoint_fault"]
    del node.control.find("t").lamp  # type: ignore[attr-defined]  # of a Tally
    assert await ref.call(1) == (6, "init")
    await settled(node)
    assert "checkpoint_fault" not in node.control.relations(node.control.find("t")).spec


async def test_a_broken_store_leaves_the_tree_as_it_is(
    store: MemoryStore, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """Agents go on and callers learn it; a restart that must read the store fails, as any `init` that raises."""
    await node.spawn(Supervisor, [tally(checkpoint="each_message")], name="s", intensity=2)
    ref = node.ref("t")
    await ref.call(5)
    store.fault = StoreFault("the store", "it is broken")
    with caplog.at_level(logging.CRITICAL):
        for _ in range(3):
            with pytest.raises(StoreFault, match="broken"):
                await ref.call(1)
        assert ref.is_alive
        with pytest.raises(AgentExited, match="broken"):
            await ref.call("save")  # its own await raised in the handler
        await settled(node)
        assert not ref.is_alive
        assert node.whereis("s") is None  # its intensity was reached, as with any child that does not start
        store.fault = None
        await node.spawn(Supervisor, [tally(checkpoint="each_message")], name="s")
        assert await ref.call("who") == (5, "restored")


async def test_a_full_disk_is_a_fault_of_the_caller_and_passes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Hoard(Agent):
        def init(self) -> None:
            self.text = ""

        def handle(self, size: int) -> int:
            self.text = "x" * size
            return size

    path = tmp_path / "s.db"
    with caplog.at_level(logging.CRITICAL):
        async with Node("x", store=SQLiteStore(path, max_bytes=256 << 10)) as node:
            spec = ChildSpec(Hoard, name="h", restore=True, checkpoint="each_message")
            await node.supervisor.start_child(spec)
            await node.ref("h").call(1000)
            for _ in range(3):
                with pytest.raises(StoreFull, match="no room"):
                    await node.ref("h").call(1_000_000)
            assert await node.ref("h").call(2000) == 2000
    async with Node("x", store=SQLiteStore(path)) as node:
        await node.supervisor.start_child(spec)
        assert node.control.find("h").text == "x" * 2000  # type: ignore[attr-defined]  # of a Hoard


async def test_a_checkpoint_that_nobody_would_read_is_refused(node: Node) -> None:
    """Rather than let somebody believe in it."""
    ref = await node.spawn(Tally)
    with pytest.raises(AgentExited, match="restore=True"):
        await ref.call("save")


async def test_restoring_needs_a_store() -> None:
    async with Node("x") as node:
        with pytest.raises(InitFailed, match="it has no store"):
            await node.supervisor.start_child(tally())


@pytest.mark.parametrize(
    "options",
    [
        {"checkpoint": "sometimes"},
        {"checkpoint": 5},
        {"in_hand": "keep"},
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadChildSpec):
        tally(**options)
    with pytest.raises(BadChildSpec, match="supervisor"):
        ChildSpec(Supervisor, restore=True)
    with pytest.raises(BadChildSpec):
        every(0)


async def test_a_class_can_declare_its_policy(store: MemoryStore, node: Node) -> None:
    class Saved(Tally):
        checkpoints: ClassVar[Any] = "each_message"

    await node.supervisor.start_child(ChildSpec(Saved, name="s", restore=True))
    await node.ref("s").call(1)
    assert list(store.records) == ["state:s"]


# -- Done once only


class Shop(Agent):
    def init(self) -> None:
        self.receipts: list[Any] = []

    async def handle(self, message: tuple[str, str]) -> Any:
        how, order = message
        if how == "block":
            async with self.activity("tool:charge", key=order) as charge:
                if not charge.completed:
                    charge.result = self.bank(order)
            receipt = charge.result
        else:
            receipt = await self.charge(order)
        self.receipts.append(receipt)
        if len(CHARGED) == 1 and len(self.receipts) == 1:
            CHARGED.append("crash")
            raise ValueError("after the charge")
        return receipt

    def bank(self, order: str) -> tuple[str, int]:
        if order == "bad card":
            raise PermissionError(order)
        CHARGED.append(order)
        return order, len(CHARGED)

    @activity("tool:charge", key=lambda self, order: order)
    async def charge(self, order: str) -> tuple[str, int]:
        return self.bank(order)


@pytest.mark.parametrize("how", ["block", "decorator"])
async def test_what_has_completed_is_not_done_again(node: Node, how: str) -> None:
    """The card is charged once, though the agent crashed behind it and handles the order again."""
    await node.supervisor.start_child(ChildSpec(Shop, name="shop", in_hand="retry"))
    node.ref("shop").cast((how, "order-17"))
    await settled(node)
    assert CHARGED == ["order-17", "crash"]
    assert node.control.find("shop").receipts == [("order-17", 1)]  # type: ignore[attr-defined]  # of a Shop
    assert await node.ref("shop").call((how, "order-18")) == ("order-18", 3)
    assert await node.ref("shop").call((how, "order-18")) == ("order-18", 3)


async def test_what_has_failed_may_be_done_again(store: MemoryStore, node: Node) -> None:
    await node.supervisor.start_child(ChildSpec(Shop, name="shop"))
    CHARGED.append("x")
    for _ in range(2):
        with pytest.raises(AgentExited, match="bad card"):
            await node.ref("shop").call(("block", "bad card"))
        await settled(node)
    assert not store.records


async def test_results_are_the_agents_own_and_end_with_it(store: MemoryStore, node: Node) -> None:
    """Two agents may use the same key for different things; and a new agent of a name that was used before is new."""
    CHARGED.append("x")
    for name in ("a", "a:tool"):
        await node.supervisor.start_child(ChildSpec(Shop, name=name, restore=True))
        await node.ref(name).call(("block", "1"))
    assert len(CHARGED) == 3
    await node.supervisor.terminate_child("a")
    node.supervisor.delete_child("a")
    assert list(store.records) == ["result:a%3Atool:tool:charge:1"]


async def test_a_key_needs_async(node: Node) -> None:
    """Looking up the store waits."""

    class Wrong(Agent):
        def handle(self, message: str) -> None:
            with self.activity("tool:x", key="k"):
                pass

    ref = await node.spawn(Wrong)
    with pytest.raises(AgentExited, match="async with"):
        await ref.call("x")
    with pytest.raises(TypeError, match="async def"):

        @activity("tool:x", key="k")
        def sync() -> None: ...
