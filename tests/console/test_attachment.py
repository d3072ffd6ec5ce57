"""Asking the node: at its own pace, never twice at a time; and finding where an agent is."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from textual.message import Message

from observe.console.attachment import Attachment, Poller
from observe.console.messages import Failed
from observe.console.state import AgentsView, Identity
from observe.probe.errors import NodeUnreachable, RemoteError
from tests.console.fake_node import FakeNode


def attached(node: FakeNode, view: AgentsView | None = None) -> tuple[Attachment, list[Message]]:
    posted: list[Message] = []
    attachment = Attachment(cast(Any, lambda: node), view or AgentsView(), posted.append)
    attachment.node = cast(Any, node)
    return attachment, posted


def identity(node: FakeNode, pid: int) -> Identity:
    found = node._row(node.index(pid))
    return Identity(pid, found["name"], found["class"], found["supervisor"], found["child"])


async def test_a_poller_asks_at_once_when_woken_and_never_twice_at_a_time() -> None:
    """A held key wakes it thirty times a second; the node answers when it can."""
    asked = running = most = 0
    gate = asyncio.Semaphore(0)

    async def ask() -> None:
        nonlocal asked, running, most
        asked += 1
        running += 1
        most = max(most, running)
        await gate.acquire()
        running -= 1

    poller = Poller(ask, 3600)
    task = asyncio.create_task(poller.run())
    for _ in range(5):
        poller.wake()
        await asyncio.sleep(0)
    assert (asked, most) == (1, 1)
    gate.release()
    while asked < 2:  # noqa: ASYNC110  the poller tells nobody that it asks
        await asyncio.sleep(0)
    assert most == 1
    task.cancel()


@pytest.mark.parametrize("sort", ["crashes", "mailbox", "pid", "name", "status", "load"])
@pytest.mark.parametrize("descending", [True, False])
async def test_an_agent_is_found_wherever_it_is_in_the_order(sort: str, descending: bool) -> None:
    """By counting what comes before it, or by looking through the pids."""
    node = FakeNode(number=3000)
    view = AgentsView(sort=sort, descending=descending)
    attachment, _ = attached(node, view)
    place = await attachment.place_of(identity(node, 2345))
    assert place is not None
    assert (await attachment._pids(place))[0] == 2345


async def test_an_agent_that_the_filter_hides_is_not_found() -> None:
    """There is nowhere to scroll to."""
    node = FakeNode(number=100)
    view = AgentsView()
    view.narrow("nothing-like-this")
    attachment, _ = attached(node, view)
    assert await attachment.place_of(identity(node, 50)) is None


async def test_a_successor_is_found_by_its_place_in_the_supervisor() -> None:
    """Not by its pid, which nobody knows yet."""
    node = FakeNode(number=100)
    before = identity(node, 50)
    new = node.restarted(50)
    attachment, _ = attached(node)
    row = await attachment.row_of(before)
    assert row is not None
    assert row[0] == new
    node.remove(new)
    assert await attachment.row_of(before) is None


async def test_names_with_spaces_do_not_break_a_filter_into_terms() -> None:
    """They cannot be asked for by name, and nobody else is found in their stead."""
    attachment, _ = attached(FakeNode(number=10))
    assert await attachment.row_of(Identity(99, "a name", "Session", 2, "a child")) is None


async def test_what_goes_wrong_is_reported_once_and_not_at_all_while_the_connection_is_lost() -> None:
    """The header says that it is lost; a message a second on top would hide the rest."""
    node = FakeNode(number=10)
    attachment, posted = attached(node)

    async def refuse(_: object) -> int:
        raise RemoteError("busy", "too many requests", "later")

    async def fail(_: object) -> int:
        raise NodeUnreachable("gone")

    assert await attachment.ask(refuse) is None
    assert [(type(message), message.text) for message in posted if isinstance(message, Failed)] == [
        (Failed, "too many requests")
    ]
    node.state = "lost"
    assert await attachment.ask(fail) is None
    assert len(posted) == 1
