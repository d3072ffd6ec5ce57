"""Whatever crashes, is killed or does not start, in whatever order: names stay unique, messages in order, and the tree whole."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe.runtime import (
    Agent,
    ChildSpec,
    DynamicSupervisor,
    ExitReason,
    InitFailed,
    NameTaken,
    Node,
    Ref,
    RuntimeFault,
    Supervisor,
)
from observe.runtime.testing import eventually, settled
from tests.runtime.whole import assert_whole


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.getLogger("observe.runtime").setLevel(logging.CRITICAL + 1)
    yield
    logging.getLogger("observe.runtime").setLevel(logging.NOTSET)


class Fragile(Agent):
    """Fails where it is told to."""

    fails: ClassVar[set[str]] = set()

    async def init(self, label: str = "") -> None:
        await asyncio.sleep(0)
        if "init" in self.fails:
            self.fails.discard("init")
            raise OSError("init")
        self.node.groups.join("all", self.ref)

    async def handle(self, message: Any) -> None:
        await asyncio.sleep(0)
        if message == "stop":
            self.stop()
        elif message == "crash":
            raise ValueError(message)

    async def terminate(self, reason: ExitReason) -> None:
        await asyncio.sleep(0)
        if "terminate" in self.fails:
            raise OSError("terminate")


LABELS = "abcd"


class Branch(Supervisor):
    """Two static children, of a strategy of its own."""

    intensity = 5

    def init(self, labels: str, strategy: Any) -> list[ChildSpec]:
        self.strategy = strategy
        return [ChildSpec(Fragile, (label,), name=label, shutdown_s=1) for label in labels]


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["crash", "kill", "stop", "fail init", "fail terminate", "heal", "take", "kill branch", "settle"]
        ),
        st.sampled_from(LABELS),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]), EVENTS)
async def test_the_tree_stays_whole_and_names_unique(strategy: Any, events: list[tuple[str, str]]) -> None:
    Fragile.fails.clear()
    async with Node("random", intensity=10_000) as node:
        branches = [
            ChildSpec(Branch, (labels, strategy), name=f"branch {labels}", restart="permanent")
            for labels in ("ab", "cd")
        ]
        await node.spawn(Supervisor, branches, intensity=10_000, name="top")
        dynamic = await node.spawn(
            DynamicSupervisor, ChildSpec(Fragile, restart="transient"), name="dynamic", intensity=10_000
        )
        for event, label in events:
            holder = node.whereis(label)
            match event:
                case "crash" | "stop" if holder is not None:
                    holder.cast(event)
                case "kill" if holder is not None:
                    holder.exit("killed")
                case "kill branch":
                    branch = node.whereis("branch ab" if label in "ab" else "branch cd")
                    if branch is not None:
                        branch.exit("killed")
                case "fail init":
                    Fragile.fails.add("init")
                case "fail terminate":
                    Fragile.fails.add("terminate")
                case "heal":
                    Fragile.fails.clear()
                case "take":
                    try:
                        taken: Ref | None = await dynamic.start_child(label, name=label)
                    except (NameTaken, InitFailed):
                        taken = None
                    assert taken is None or node.whereis(label) in (taken, None)
                case "settle":
                    await settled(node)
            assert_whole(node)
        Fragile.fails.clear()
        await settled(node)
        assert_whole(node)
        assert set(node.registry) >= {"root", "top", "dynamic"}
    assert not node.agents
    assert not node.registry
    assert not node.groups.which_groups()


class Notes(Agent):
    """Notes what comes, at its own pace, and crashes now and then."""

    noted: ClassVar[list[tuple[int, int]]] = []

    async def handle(self, message: tuple[int, int, str]) -> None:
        sender, number, how = message
        if how == "waits":
            await asyncio.sleep(0)
        self.noted.append((sender, number))
        if how == "crashes":
            raise ValueError(number)


class Sends(Agent):
    """Sends what it is given, in that order."""

    async def handle(self, messages: list[tuple[int, int, str]]) -> None:
        for message in messages:
            self.node.ref("notes").cast(message)
            if message[2] == "waits":
                await asyncio.sleep(0)


HOW = st.sampled_from(["plain", "waits", "crashes"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(HOW, max_size=15), min_size=1, max_size=4))
async def test_messages_of_one_sender_arrive_in_order_and_once_whoever_crashes(hows: list[list[str]]) -> None:
    """Across restarts as well: those that wait in the mailbox of one that dies are dead letters, and none overtakes another."""
    Notes.noted = []
    async with Node("order", intensity=10_000) as node:
        await node.spawn(Supervisor, [ChildSpec(Notes, name="notes")], intensity=10_000)
        sent = [[(sender, number, how) for number, how in enumerate(own)] for sender, own in enumerate(hows)]
        for own in sent:
            (await node.spawn(Sends)).cast(own)
        total = sum(map(len, sent))
        await eventually(lambda: len(Notes.noted) + node.dead_letter_count == total)
        for sender in range(len(hows)):
            numbers = [number for one, number in Notes.noted if one == sender]
            assert numbers == sorted(set(numbers))
        lost = [letter.message[:2] for letter in node.dead_letters]
        assert sorted([*Notes.noted, *lost]) == sorted(message[:2] for own in sent for message in own)


async def test_two_who_start_under_one_name_at_once_are_one(node: Node) -> None:
    """A hundred at once, all of which wait in `init`: one has the name, and the others are told who."""
    starts = [asyncio.ensure_future(node.spawn(Fragile, "x", name="x")) for _ in range(100)]
    results = await asyncio.gather(*starts, return_exceptions=True)
    (ref,) = [result for result in results if isinstance(result, Ref)]
    refused = [result for result in results if isinstance(result, RuntimeFault)]
    assert {error.pid for error in refused if isinstance(error, NameTaken)} == {ref.pid}
    assert len(refused) == 99
    assert_whole(node)
