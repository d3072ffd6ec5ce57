"""Checkpoints: what cannot be saved, stores that fail, and specs that make no sense."""

from __future__ import annotations

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
    InitFailed,
    MemoryStore,
    Node,
    NotStorable,
    SQLiteStore,
    StoreFault,
    StoreFull,
    Supervisor,
    every,
)
from observe.runtime.testing import settled
from tests.runtime.tally import Tally, start, tally


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def node(store: MemoryStore) -> AsyncIterator[Node]:
    async with Node("test", intensity=1000, store=store) as node:
        yield node


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
