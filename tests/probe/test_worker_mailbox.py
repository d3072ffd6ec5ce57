"""Messages taken out of the mailbox of an agent in a worker process: by an operator, through the probe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from observe.probe import Probe
from observe.probe.client import NodeClient, connect
from observe.probe.errors import RemoteError
from observe.runtime import AgentExited, MailboxFull, Node, Ref
from observe.runtime.errors import MessageDropped
from tests.probe.live import eventually, private_runtime
from tests.runtime.worker_agents import Newest, Odd

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(ROOT))
    with private_runtime(monkeypatch) as path:
        yield path


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("emptied", intensity=100, workers=2) as node, Probe(node, tick_s=0.05):
        yield node


@pytest.fixture
async def client(node: Node) -> AsyncIterator[NodeClient]:
    async with connect("emptied", timeout_s=10.0) as client:
        yield client


async def held(node: Node, client: NodeClient, cls: type[Odd] = Odd) -> Ref:
    """An agent of worker 1 that takes no messages."""
    ref = await node.spawn(cls, name="held", worker=1)
    await eventually(lambda: known(client, "held"))
    assert (await client.suspend("held")).done
    return ref


async def known(client: NodeClient, name: str) -> bool:
    return bool((await client.agents(filter=f"name={name}")).rows)


async def waiting(client: NodeClient) -> list[str]:
    return [value.text for value in (await client.inspect("held")).mailbox]


def letters(node: Node) -> list[Any]:
    return [letter.message for letter in node.dead_letters]


async def asked(ref: Ref, message: Any) -> asyncio.Task[Any]:
    """A request that waits in the mailbox."""
    asking = asyncio.create_task(ref.call(message, timeout=30.0))
    await asyncio.sleep(0)
    return asking


async def test_those_chosen_are_dead_letters_and_the_others_are_handled(
    node: Node, client: NodeClient
) -> None:
    ref = await held(node, client)
    ref.cast("good 1")
    ref.cast("bad 2")
    asking = await asked(ref, "bad 3")
    ref.cast("good 4")
    would = await client.mailbox("held", "drop", containing="bad", dry_run=True)
    assert (would.dry_run, would.facts["taken"], would.facts["queued"]) == (True, 2, 4)
    dropped = await client.mailbox("held", "drop", containing="bad")
    assert (dropped.facts["taken"], dropped.facts["queued"]) == (2, 2)
    with pytest.raises(MessageDropped):
        await asking
    assert letters(node) == ["bad 2"]
    assert await waiting(client) == ["'good 1'", "'good 4'"]
    ref.cast("good 5")
    await client.mailbox("held", "drop", newest=1)
    assert letters(node) == ["bad 2", "good 5"]
    await client.resume("held")
    assert await ref.call("heard") == ["good 1", "good 4"]
    ref.exit("killed")
    assert await ref.wait_exit()
    assert letters(node) == ["bad 2", "good 5"], "what was handled or taken out is not lost a second time"


async def test_those_chosen_go_to_another_agent_wherever_that_runs(node: Node, client: NodeClient) -> None:
    ref = await held(node, client)
    for where in (1, 2, 0):
        place: dict[str, Any] = {"worker": where} if where else {"isolation": "none"}
        other = await node.spawn(Odd, name=f"other-{where}", **place)
        await eventually(lambda name=f"other-{where}": known(client, name))  # type: ignore[misc]  # bound here
        ref.cast("one")
        asking = await asked(ref, "whoami")
        ref.cast("two")
        moved = await client.mailbox("held", "move", oldest=2, to=f"other-{where}")
        assert (moved.facts["taken"], moved.facts["queued"]) == (2, 1)
        assert (await asking).pid == other.pid, "whoever has the request now answers it"
        assert await other.call("heard") == ["one"]
        await client.resume("held")
        assert await ref.call("heard_once") == ["two"]
        await client.suspend("held")
    with pytest.raises(RemoteError, match="no live agent"):
        await client.mailbox("held", "move", everything=True, to=10_000)


async def test_what_a_neighbour_in_its_process_has_sent_is_taken_as_well(
    node: Node, client: NodeClient
) -> None:
    """Such messages have never been in the node's own process."""
    ref = await held(node, client)
    neighbour = await node.spawn(Odd, name="neighbour", worker=1)
    third = await node.spawn(Odd, name="third", worker=2)
    await eventually(lambda: known(client, "third"))
    ref.cast("from here")
    asking = asyncio.create_task(neighbour.call(("call", ref, "whoami"), timeout=30.0))
    await eventually(lambda: client.inspect("held"), lambda found: found.mailbox_total == 2)
    moved = await client.mailbox("held", "move", newest=1, to="third")
    assert (moved.facts["taken"], moved.facts["queued"]) == (1, 1)
    assert (await asking).pid == third.pid
    asking = asyncio.create_task(neighbour.call(("call", ref, "whoami"), timeout=30.0))
    await eventually(lambda: client.inspect("held"), lambda found: found.mailbox_total == 2)
    await client.mailbox("held", "drop", everything=True)
    with pytest.raises(AgentExited, match="MessageDropped"):  # of the neighbour, whose own call failed
        await asking
    assert letters(node) == ["from here"]


async def test_who_found_no_room_is_not_taken_for_another(node: Node, client: NodeClient) -> None:
    ref = await held(node, client, Newest)
    for number in range(3):
        ref.cast(f"kept {number}")
    late = await asked(ref, "late")
    with pytest.raises(MailboxFull):
        await late
    ref.cast("later")
    await eventually(lambda: lost(node), lambda found: found == ["later"])
    await client.mailbox("held", "drop", oldest=1)
    assert letters(node) == ["later", "kept 0"]
    await client.resume("held")
    assert await ref.call("heard") == ["kept 1", "kept 2"]


async def lost(node: Node) -> list[Any]:
    return letters(node)
