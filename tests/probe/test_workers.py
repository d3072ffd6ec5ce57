"""What a console sees of agents in processes of their own, and that its acts reach them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from observe.probe import Probe
from observe.probe.client import NodeClient, connect
from observe.probe.wire_table import Query
from observe.runtime import Limits, Node
from tests.probe.live import eventually, private_runtime
from tests.runtime.worker_agents import Odd

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(ROOT))
    with private_runtime(monkeypatch) as path:
        yield path


async def row(client: NodeClient, name: str) -> dict[str, object]:
    page = await client.agents(Query(filter=f"name={name}"))
    return dict(zip(page.columns, page.rows[0], strict=True)) if page.rows else {}


async def test_an_agent_of_another_process_is_seen_inspected_and_killed() -> None:
    async with Node("processes", intensity=100) as node, Probe(node, tick_s=0.05):
        ref = await node.spawn(Odd, 7, name="odd", isolation="process", restart="permanent")
        os_pid = await ref.call("pid")
        await ref.call("x")
        ref.cast("wait")
        ref.cast("later")
        async with connect("processes") as client:
            seen = await eventually(
                lambda: row(client, "odd"), lambda row: row.get("activity") == "tool:wait"
            )
            assert (seen["class"], seen["status"], seen["mailbox"]) == ("Odd", "waiting", 1)
            assert seen["handled"] == 3

            detail = await client.inspect("odd")
            assert detail.state is not None
            assert ["count", "8"] in [[key, value.text] for key, value in detail.state.items or []]
            assert detail.stack is not None
            assert "handle" in [frame.function for frame in detail.stack.frames]
            assert [value.text for value in detail.mailbox] == ["'later'"]
            assert detail.spec is not None
            assert detail.spec["os_pid"] == os_pid
            assert [one.name for one in detail.activities] == ["tool:wait"]

            await client.kill("odd")
            again = await eventually(lambda: row(client, "odd"), lambda row: row.get("restarts") == 1)
            assert again["pid"] != ref.pid

            # C code holds the interpreter over there: what is known here is shown, and it can be killed.
            node.ref("odd").cast("c")
            await eventually(lambda: client.inspect("odd"), lambda found: "does not answer" in found.note)
            await client.kill("odd")
            await eventually(lambda: row(client, "odd"), lambda row: row.get("restarts") == 2)


async def test_the_worker_processes_are_listed_with_what_they_use() -> None:
    """A process that eats the machine is found by its agents' console, without logging in there."""
    async with Node("listed", workers=1) as node, Probe(node, tick_s=0.05):
        shared = await node.spawn(Odd, name="shared")
        own = await node.spawn(Odd, name="own", isolation="process", limits=Limits(memory_bytes=2**31))
        here = await node.spawn(Odd, name="here", isolation="none")
        pids = [await ref.call("pid") for ref in (shared, own)]
        async with connect("listed") as client:
            found = await eventually(
                client.workers, lambda found: len(found.workers) == 2 and all(w.memory for w in found.workers)
            )
            first, second = found.workers
            assert [first.os_pid, second.os_pid] == pids
            assert (first.number, first.isolated, first.agents, first.limits) == (1, False, 1, "")
            assert (second.number, second.isolated, second.agents) == (2, True, 1)
            assert second.limits == "memory 2,048 MiB"
            assert all(worker.memory > 2**20 for worker in found.workers)

            rows = (await client.agents(Query(sort="pid", descending=False))).as_dicts()
            assert {row["name"]: row["process"] for row in rows} == {
                "root": 0,
                "shared": 1,
                "own": 2,
                "here": 0,
            }
            only = await client.agents(Query(filter="process=2"))
            assert [row["name"] for row in only.as_dicts()] == ["own"]
            assert (await client.inspect("own")).agent["process"] == 2

            own.exit("killed")
            await eventually(client.workers, lambda found: [w.number for w in found.workers] == [1])
            assert here.is_alive
