"""The message in hand when an agent ended: dropped, retried or parked, as its spec says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from observe.runtime import (
    Agent,
    AgentExited,
    ChildSpec,
    MemoryStore,
    Node,
)
from observe.runtime.testing import eventually, settled
from tests.runtime.tally import start


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def node(store: MemoryStore) -> AsyncIterator[Node]:
    async with Node("test", intensity=1000, store=store) as node:
        yield node


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
