"""Activities with a key: what has completed is not done again, not on a retry and not after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from observe.runtime import (
    Agent,
    AgentExited,
    ChildSpec,
    MemoryStore,
    Node,
    activity,
)
from observe.runtime.testing import settled

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
