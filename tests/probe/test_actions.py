"""Actions on agents, from a client through the probe to the runtime and back."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from observe.audit.reading import read
from observe.audit.record import Record
from observe.probe.client import NodeClient, connect
from observe.probe.errors import RemoteError
from observe.probe.wire_table import Query
from tests.probe.live import LiveService, eventually, private_runtime


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with pytest.MonkeyPatch.context() as patch, private_runtime(patch) as path, LiveService(path) as live:
        yield live


@pytest.fixture
async def node(service: LiveService) -> AsyncIterator[NodeClient]:
    async with connect("shop", timeout_s=10.0) as client:
        await eventually(lambda: client.agents(Query(filter="waiter-")), lambda page: page.matched == 3)
        yield client


async def field(node: NodeClient, agent: str, name: str) -> str:
    detail = await node.inspect(agent)
    assert detail.state is not None
    return dict(detail.state.items or [])[name].text


async def row(node: NodeClient, agent: str) -> dict[str, Any]:
    return (await node.inspect(agent)).agent


async def pid_of(node: NodeClient, agent: str) -> int:
    """0 while the probe still names one that has just ended."""
    try:
        return int((await row(node, agent))["pid"])
    except RemoteError as error:
        if error.code != "no_such_agent":
            raise
        return 0


async def test_a_suspended_agent_keeps_its_messages_until_it_is_resumed(node: NodeClient) -> None:
    """Somebody can look at it in peace, and nothing is lost."""
    assert (await node.suspend("waiter-0")).done
    sent = await node.send("waiter-0", "count")
    assert sent.facts["queued"] == 1
    assert (await row(node, "waiter-0"))["status"] == "suspended"
    assert await field(node, "waiter-0", "done") == "0"
    assert (await node.resume("waiter-0")).done

    async def done() -> str:
        return await field(node, "waiter-0", "done")

    await eventually(done, lambda found: found == "1")


async def test_waiting_messages_are_dropped_and_moved(node: NodeClient) -> None:
    """A poisoned mailbox is cleaned without killing its owner."""
    await node.suspend("waiter-0")
    for message in ("crash", "count", "count"):
        await node.send("waiter-0", message)
    looked = await node.mailbox("waiter-0", "drop", containing="crash", dry_run=True)
    assert (looked.dry_run, looked.facts["taken"], looked.facts["queued"]) == (True, 1, 3)
    dropped = await node.mailbox("waiter-0", "drop", containing="crash")
    assert (dropped.facts["taken"], dropped.facts["queued"]) == (1, 2)
    before = int(await field(node, "waiter-1", "done"))
    moved = await node.mailbox("waiter-0", "move", everything=True, to="waiter-1")
    assert (moved.facts["taken"], moved.facts["queued"]) == (2, 0)
    await node.resume("waiter-0")

    async def done() -> int:
        return int(await field(node, "waiter-1", "done"))

    await eventually(done, lambda found: found == before + 2)
    await eventually(lambda: row(node, "waiter-0"), lambda found: found["status"] == "idle")


async def test_a_field_is_edited_after_its_difference_was_shown(node: NodeClient) -> None:
    looked = await node.edit("waiter-1", "number", 42, dry_run=True)
    assert [(one.path, one.old, one.new) for one in looked.diff] == [("/number", "1", "42")]
    assert await field(node, "waiter-1", "number") == "1"
    await node.edit("waiter-1", "number", 42)
    assert await field(node, "waiter-1", "number") == "42"


@pytest.mark.parametrize(
    ("name", "value"), [("number", "many"), ("nothing", 1), ("handle", 1), ("_o_pid", 1), ("__class__", 1)]
)
async def test_a_field_takes_only_what_fits_it(node: NodeClient, name: str, value: Any) -> None:
    """A typo must not break an agent, and no code can be put into one."""
    with pytest.raises(RemoteError) as caught:
        await node.edit("waiter-2", name, value)
    assert caught.value.code == "refused"


async def test_an_activity_is_cancelled_where_it_waits(node: NodeClient) -> None:
    """The hung call ends, by an error that says who did it, and nothing else does."""
    before = await row(node, "waiter-2")
    await node.send("waiter-2", "1000")

    async def doing() -> str:
        return str((await row(node, "waiter-2"))["activity"])

    await eventually(doing, lambda found: found == "tool:search")
    assert (await node.cancel_activity("waiter-2", reason="hangs")).done
    after = await eventually(lambda: crashed_from(node, before["pid"]))
    assert "ActivityCancelled" in after


async def crashed_from(node: NodeClient, pid: int) -> str:
    crashes = (await node.crashes()).crashes
    return next((crash.kind for crash in crashes if crash.pid == pid), "")


async def test_a_restart_tells_the_successor(node: NodeClient) -> None:
    before = await row(node, "waiter-1")
    outcome = await node.restart("waiter-1", "fresh", reason="to be sure")
    assert outcome.done
    assert outcome.facts["old_pid"] == before["pid"]
    assert outcome.pid != before["pid"]
    await eventually(lambda: pid_of(node, "waiter-1"), lambda found: found == outcome.pid)
    assert await field(node, "waiter-1", "number") == "1"


@pytest.mark.parametrize("verb", ["checkpoint", "reset_budget", "next_rung"])
async def test_what_an_agent_does_not_have_is_refused_with_the_reason(node: NodeClient, verb: str) -> None:
    with pytest.raises(RemoteError) as caught:
        await node.act(verb, agent="waiter-0")
    assert caught.value.code == "refused"
    assert "waiter-0" in str(caught.value)


async def test_a_polite_stop_and_the_nodes_own_actions(node: NodeClient) -> None:
    before = await row(node, "waiter-0")
    assert (await node.stop("waiter-0")).facts["exit"].startswith("shutdown")
    assert (await eventually(lambda: row(node, "waiter-0")))["pid"] != before["pid"]
    assert (await node.set_log_level("DEBUG", "some.logger")).facts["before"] == "NOTSET"
    assert (await node.collect_garbage()).done


async def test_supervisors_are_not_suspended(node: NodeClient) -> None:
    with pytest.raises(RemoteError, match="supervisor"):
        await node.suspend("waiters")


async def test_each_action_is_on_record(node: NodeClient) -> None:
    """Its intent before, its outcome after."""
    await node.send("waiter-1", "count", reason="for the record")
    records = [one for one in recorded() if one.reason == "for the record"]
    assert [(one.phase, one.what, one.target["name"]) for one in records] == [
        ("requested", "send", "waiter-1"),
        ("completed", "send", "waiter-1"),
    ]


def recorded() -> list[Record]:
    (key,) = Path(os.environ["OBSERVE_RUNTIME_DIR"]).rglob("log.vkey")
    return read(key.parent)[0]
