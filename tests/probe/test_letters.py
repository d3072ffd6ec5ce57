"""Dead letters through the probe: for whom, from whom, why; and one of them sent again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from observe.audit.reading import read
from observe.audit.record import Record
from observe.probe import Probe
from observe.probe.client import NodeClient, connect
from observe.probe.errors import RemoteError
from observe.runtime import Agent, Node
from tests.probe.live import eventually, private_runtime


class Desk(Agent):
    """Notes what it gets; passes on what it is told to."""

    async def init(self) -> None:
        self.got: list[Any] = []

    async def handle(self, message: Any) -> Any:
        if isinstance(message, tuple):
            to, what = message
            to.cast(what)
        elif message == "all":
            return self.got
        else:
            self.got.append(message)
        return None


class Narrow(Desk):
    mailbox_limit = 1
    overflow = "drop_newest"


@pytest.fixture(scope="module")
def runtime() -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch, private_runtime(patch) as path:
        yield path


@pytest.fixture
async def node(runtime: Path) -> AsyncIterator[Node]:
    async with Node("post") as made, Probe(made, placement="thread", tick_s=0.05):
        yield made


@pytest.fixture
async def client(node: Node) -> AsyncIterator[NodeClient]:
    async with connect("post", timeout_s=20.0) as attached:
        yield attached


async def test_each_letter_says_for_whom_from_whom_and_why(node: Node, client: NodeClient) -> None:
    """Counted by all three, whatever is asked for; masked; one of them in full."""
    desk = await node.spawn(Desk, name="desk")
    gone = await node.spawn(Desk, name="gone")
    narrow = await node.spawn(Narrow, name="narrow")
    gone.exit()
    await gone.wait_exit()
    for number in range(3):
        await desk.call((gone, {"order": number, "password": "verysecret"}))
    await desk.call((node.ref("archive"), "keep this"))
    narrow.cast("first")
    narrow.cast("too much")
    page = await client.dead_letters()
    assert (page.total, page.kept, page.matched, page.in_a_minute) == (5, 5, 5, 5)
    assert [(one.why, one.sender_pid, one.target_pid) for one in page.letters] == [
        ("mailbox full", 0, narrow.pid),
        ("no such name", desk.pid, 0),
        *[("ended", desk.pid, gone.pid)] * 3,
    ]
    newest_for_gone = page.letters[2]
    assert (newest_for_gone.target, newest_for_gone.sender) == (
        f"Desk {gone.pid} (gone)",
        f"Desk {desk.pid} (desk)",
    )
    assert newest_for_gone.detail
    assert "'order': 2" in newest_for_gone.text
    assert "verysecret" not in page.model_dump_json()
    assert {one.key: one.count for one in page.by_why} == {"ended": 3, "mailbox full": 1, "no such name": 1}
    assert (page.by_target[0].key, page.by_target[0].count) == (newest_for_gone.target, 3)
    assert (page.by_sender[0].key, page.by_sender[0].count) == (newest_for_gone.sender, 4)
    assert [one.why for one in (await client.dead_letters(why="ended", limit=2)).letters] == ["ended"] * 2
    assert [one.text for one in (await client.dead_letters(text="KEEP")).letters] == ["'keep this'"]
    (full,) = (await client.dead_letters(letter=newest_for_gone.number)).letters
    assert full.message is not None
    assert full.message["type"] == "dict"
    assert "verysecret" not in str(full.message)
    assert (await client.dead_letters(letter=99)).letters == []


async def test_who_had_sent_what_waited_is_not_made_up(node: Node, client: NodeClient) -> None:
    """An agent that kills another has not sent what waits in that one's mailbox."""

    class Killer(Desk):
        async def handle(self, message: Any) -> Any:
            message.cast("waits")
            message.exit()
            return None

    killer, victim = await node.spawn(Killer), await node.spawn(Desk)
    await killer.call(victim)
    page = await eventually(client.dead_letters, lambda found: found.total == 1)
    assert (page.letters[0].sender, page.letters[0].why, page.letters[0].target_pid) == (
        "",
        "ended",
        victim.pid,
    )


def recorded(runtime: Path) -> list[Record]:
    (key,) = runtime.rglob("log.vkey")
    return read(key.parent)[0]


async def test_a_letter_is_sent_again_to_its_heir_or_to_whom_one_says_and_once(
    node: Node, client: NodeClient, runtime: Path
) -> None:
    """On record before and after, with the reason."""
    first = await node.spawn(Desk, name="desk")
    first.exit()
    await first.wait_exit()
    first.cast("order 1")
    first.cast("order 2")
    (two, one) = (await client.dead_letters()).letters
    assert (one.heir, one.heir_pid) == ("", 0)
    with pytest.raises(RemoteError, match="nobody has its name: say who") as caught:
        await client.resend(one.number)
    assert caught.value.code == "refused"
    second = await node.spawn(Desk, name="desk")
    other = await node.spawn(Desk, name="other")
    assert (await client.dead_letters()).letters[0].heir_pid == second.pid
    outcome = await client.resend(one.number, reason="it is back")
    assert (outcome.done, outcome.pid, outcome.facts["letter"]) == (True, second.pid, one.number)
    await eventually(lambda: client.agents(filter="name=other"), lambda page: page.matched == 1)
    assert (await client.resend(two.number, to="other")).pid == other.pid
    assert (await second.call("all"), await other.call("all")) == (["order 1"], ["order 2"])
    with pytest.raises(RemoteError, match="was sent again already"):
        await client.resend(one.number)
    with pytest.raises(RemoteError, match="is not kept any more"):
        await client.resend(99)
    with pytest.raises(RemoteError) as caught:
        await client.resend(two.number, to="nobody at all")
    assert caught.value.code == "no_such_agent"
    assert {letter.sent_to for letter in (await client.dead_letters()).letters} == {
        f"Desk {second.pid} (desk)",
        f"Desk {other.pid} (other)",
    }
    records = [record for record in recorded(runtime) if record.what == "resend"]
    assert ("requested", {"letter": one.number}, "it is back") in [
        (record.phase, record.target, record.reason) for record in records
    ]


async def test_a_full_mailbox_is_no_heir(node: Node, client: NodeClient) -> None:
    """What would only be lost again is refused, and can be sent later."""

    class Full(Desk):
        mailbox_limit = 1
        overflow = "reject"

    gone, full = await node.spawn(Desk), await node.spawn(Full, name="full")
    gone.exit()
    await gone.wait_exit()
    gone.cast("order")
    await eventually(lambda: client.agents(filter="name=full"), lambda page: page.matched == 1)
    await client.suspend("full")
    full.cast("waits")
    with pytest.raises(RemoteError) as caught:
        await client.resend(1, to="full")
    assert caught.value.code == "refused"
    assert (await client.dead_letters()).letters[0].sent_to == ""
