"""Bounded mailboxes: whoever overloads an agent learns it at once, or waits, as the agent's class declares."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe.runtime import Agent, ChildSpec, Down, MailboxFull, Node, Supervisor, actions
from observe.runtime.letters import DEAD_LETTERS_KEPT
from observe.runtime.mailbox import Overflow
from observe.runtime.testing import settled


class Bounded(Agent):
    """Handles nothing until its gate opens. At most three messages wait."""

    mailbox_limit = 3

    def init(self) -> None:
        self.gate = asyncio.Event()
        self.heard: list[Any] = []

    async def handle(self, message: Any) -> Any:
        await self.gate.wait()
        self.heard.append(message)
        return message


class Waits(Bounded):
    overflow: ClassVar[Overflow] = "wait"


class Rejects(Bounded):
    overflow: ClassVar[Overflow] = "reject"


class DropsOldest(Bounded):
    overflow: ClassVar[Overflow] = "drop_oldest"


class DropsNewest(Bounded):
    overflow: ClassVar[Overflow] = "drop_newest"


async def full(node: Node, kind: type[Bounded]) -> Any:
    """An agent with message 0 in hand and 1, 2, 3 waiting."""
    ref = await node.spawn(kind)
    ref.cast(0)
    await settled(node)
    for number in (1, 2, 3):
        ref.cast(number)
    return ref


async def heard(node: Node, ref: Any) -> list[Any]:
    agent = node.control.find(ref.pid)
    vars(agent)["gate"].set()
    await settled(node)
    return list(vars(agent)["heard"])


async def test_reject_tells_the_sender_and_loses_nothing(node: Node) -> None:
    ref = await full(node, Rejects)
    with pytest.raises(MailboxFull, match="is full: 3 messages"):
        ref.cast(4)
    with pytest.raises(MailboxFull):
        await ref.call(5)
    assert await heard(node, ref) == [0, 1, 2, 3]


async def test_wait_makes_senders_wait_in_their_order(node: Node) -> None:
    ref = await full(node, Waits)
    with pytest.raises(MailboxFull):
        ref.cast("cast does not wait")
    waiting = [asyncio.ensure_future(ref.send(number)) for number in (4, 5, 6)]
    asked = asyncio.ensure_future(ref.call(7))
    await settled(node)
    assert not any(sender.done() for sender in waiting)
    vars(node.control.find(ref.pid))["gate"].set()
    await asyncio.gather(*waiting)
    assert await asked == 7
    assert sorted(await heard(node, ref)) == [0, 1, 2, 3, 4, 5, 6, 7]


async def test_those_who_wait_for_a_dead_agents_room_go_on(node: Node) -> None:
    ref = await full(node, Waits)
    waiting = asyncio.ensure_future(ref.send("late"))
    await settled(node)
    ref.exit("killed")
    await asyncio.wait_for(waiting, 5)
    assert "late" in [letter.message for letter in node.dead_letters]


async def test_drop_oldest_keeps_the_newest(node: Node) -> None:
    ref = await full(node, DropsOldest)
    for number in (4, 5):
        ref.cast(number)
    assert [letter.message for letter in node.dead_letters] == [1, 2]
    assert await heard(node, ref) == [0, 3, 4, 5]


async def test_drop_newest_keeps_the_oldest_and_fails_requests(node: Node) -> None:
    ref = await full(node, DropsNewest)
    ref.cast(4)
    with pytest.raises(MailboxFull):
        await ref.call(5)
    assert [letter.message for letter in node.dead_letters] == [4]
    assert await heard(node, ref) == [0, 1, 2, 3]


async def test_what_is_lost_is_counted_with_the_agent(node: Node) -> None:
    ref = await full(node, DropsNewest)
    for number in range(10):
        ref.cast(number)
    bonds = node.control.find(ref.pid)._o_bonds
    assert bonds is not None
    assert bonds.overfull is not None
    assert (bonds.overfull.dropped, bonds.overfull.refused) == (10, 0)


async def test_news_of_a_death_passes_a_full_mailbox(node: Node) -> None:
    """Flow control of messages must not hide that somebody died."""

    class Watches(Rejects):
        def init(self, other: Any = None) -> None:
            super().init()
            self.monitor(other)

    other = await node.spawn(Bounded)
    ref = await node.spawn(Watches, other)
    ref.cast(0)
    await settled(node)
    for number in (1, 2, 3):
        ref.cast(number)
    other.exit("killed")
    await settled(node)
    assert isinstance((await heard(node, ref))[-1], Down)


async def test_a_full_agent_can_be_looked_at_suspended_and_killed(node: Node) -> None:
    """What operators and supervisors do goes past a mailbox that takes nothing more."""
    await node.spawn(Supervisor, [ChildSpec(Rejects, name="full")])
    ref = node.ref("full")
    ref.cast(0)
    await settled(node)
    for number in (1, 2, 3):
        ref.cast(number)
    with pytest.raises(MailboxFull):
        ref.cast(4)
    agent = node.control.find("full")
    assert node.control.mailbox(agent, 10) == ([1, 2, 3], 3)
    actions.suspend(node, agent)
    vars(agent)["gate"].set()
    await settled(node)
    assert (vars(agent)["heard"], node.control.mailbox(agent, 10)) == ([0], ([1, 2, 3], 3))
    assert actions.suspend(node, agent).what.endswith("was suspended already")
    before = ref.pid
    node.control.kill(before)
    await settled(node)
    assert ref.pid != before


async def test_dead_letters_are_all_counted_and_the_newest_kept(node: Node) -> None:
    """A service that sends to nobody for a week neither fills its memory nor hides how much was lost."""
    for number in range(DEAD_LETTERS_KEPT + 500):
        node.ref("nobody").cast(number)
    assert node.dead_letter_count == DEAD_LETTERS_KEPT + 500
    assert [letter.message for letter in node.dead_letters] == list(range(500, DEAD_LETTERS_KEPT + 500))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["send", "run"]), max_size=60), st.integers(1, 5))
def test_a_bounded_mailbox_never_holds_more_and_keeps_the_order(actions: list[str], limit: int) -> None:
    """Against the simplest model: a list that refuses when it is full."""

    class Counting(Agent):
        mailbox_limit = limit
        overflow: ClassVar[Overflow] = "reject"

        def init(self) -> None:
            self.heard: list[int] = []

        def handle(self, message: int) -> None:
            self.heard.append(message)

    async def main() -> None:
        async with Node("bounded") as node:
            ref = await node.spawn(Counting)
            waiting: list[int] = []
            expected: list[int] = []
            for number, action in enumerate(actions):
                if action == "send":
                    try:
                        ref.cast(number)
                    except MailboxFull:
                        assert len(waiting) == limit
                    else:
                        waiting.append(number)
                        assert len(waiting) <= limit
                else:
                    await settled(node)
                    expected += waiting
                    waiting = []
            await settled(node)
            assert vars(node.control.find(ref.pid))["heard"] == expected + waiting

    asyncio.run(main())


@pytest.mark.parametrize(("limit", "policy"), [(0, "wait"), (5, "explode")])
def test_a_wrong_declaration_is_refused_when_the_class_is_made(limit: int, policy: Any) -> None:
    with pytest.raises(TypeError, match="mailbox_limit"):
        type("Wrong", (Agent,), {"mailbox_limit": limit, "overflow": policy})
