"""Containment of agents in worker processes: each level does there what it does at home, and the answer says that it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio

from observe.audit.reading import read
from observe.audit.record import Record
from observe.probe import Probe
from observe.probe.client import NodeClient, connect
from observe.probe.wire_table import Query
from observe.runtime import Budget, ChildSpec, Contained, Node, Supervisor
from tests.probe.live import eventually, private_runtime
from tests.runtime.worker_agents import Guarded, Odd

ROOT = Path(__file__).parents[2]
Where = Literal["process", "worker"]

pytestmark = pytest.mark.asyncio(loop_scope="module")
shared = pytest.mark.parametrize("bench", ["worker"], indirect=True, scope="module")
both = pytest.mark.parametrize("bench", ["worker", "process"], indirect=True, scope="module")
"""Where the agents are: what begins or ends them differs."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Node, NodeClient, Path, Where]]:
    """One node for all tests of this module: each has agents of its own."""
    audit = tmp_path_factory.mktemp("audit") / "log"
    with pytest.MonkeyPatch.context() as patch, private_runtime(patch):
        patch.syspath_prepend(str(ROOT))
        async with (
            Node("far", intensity=100, workers=int(request.param == "worker")) as node,
            Probe(node, placement="thread", audit=audit, tick_s=0.05),
            connect("far", timeout_s=20.0) as client,
        ):
            yield node, client, audit, request.param


async def guarded(bench: tuple[Node, NodeClient, Path, Where], name: str, **more: Any) -> None:
    """An agent in a worker, which the probe knows."""
    node, client, _, where = bench
    spec = ChildSpec(Guarded, name=name, isolation=where, **more)
    await node.supervisor.start_child(spec)
    await known(client, name)


async def known(client: NodeClient, name: str) -> None:
    await eventually(lambda: client.agents(Query(filter=f"name={name}")), lambda page: page.matched == 1)


async def level(client: NodeClient, name: str) -> str | None:
    rows = (await client.agents(Query(filter=f"name={name}", columns=["containment"]))).rows
    return str(rows[0][0]) if rows else None


def told_of(path: Path, name: str) -> list[Record]:
    found = [one for one in read(path)[0] if one.what.startswith("governed_")]
    return [one for one in found if one.target.get("name") == name]


@shared
async def test_restricted_cancels_denies_and_lets_the_listed_pass(
    bench: tuple[Node, NodeClient, Path, Where],
) -> None:
    node, client, audit, _ = bench
    await guarded(bench, "a")
    open_call = node.ref("a").call(("long", "tool:risky"), timeout=60)
    waiting = asyncio.ensure_future(open_call)
    await eventually(lambda: client.inspect("a"), lambda found: bool(found.activities))
    acted = await client.contain("a", "restricted", reason="odd")
    assert (acted.done, acted.facts["away"], acted.facts["cancelled"]) == (True, 1, 1)
    with pytest.raises(Contained, match="tool:risky; it is restricted: odd"):
        await waiting
    with pytest.raises(Contained, match="tool:risky"):
        await node.ref("a").call(("tool", "tool:risky"))
    assert await node.ref("a").call(("tool", "tool:safe")) == ["tool:safe"], "it goes on with its state"
    await node.spawn(Odd, name="sink", isolation="none")
    with pytest.raises(Contained, match="a message to sink"):
        await node.ref("a").call(("cast", "sink"))
    await eventually(lambda: level(client, "a"), lambda found: found == "restricted")
    spec = (await client.inspect("a")).spec
    assert spec is not None
    assert spec["containment"].endswith(": odd (tools tool:safe; recipients none)")

    async def denied() -> list[str]:
        return [one.target["on"] for one in told_of(audit, "a") if one.phase == "denied"]

    assert await eventually(denied, lambda found: len(found) == 3) == ["tool:risky", "tool:risky", "sink"]
    assert (await client.contain("a", "none")).facts["before"] == "restricted"
    assert await node.ref("a").call(("tool", "tool:risky")) == ["tool:safe", "tool:risky"]


@shared
async def test_isolated_holds_messages_and_lets_state_and_mailbox_be_read(
    bench: tuple[Node, NodeClient, Path, Where],
) -> None:
    node, client, _, _ = bench
    await guarded(bench, "b")
    assert await node.ref("b").call("one") == ["one"]
    await client.contain("b", "isolated")
    node.ref("b").cast("two")
    detail = await eventually(lambda: client.inspect("b"), lambda found: found.mailbox_total == 1)
    assert detail.state is not None
    assert dict(detail.state.items or [])["done"].text == "['one']"
    with pytest.raises(Exception, match="lower its containment"):
        await client.resume("b")
    await client.contain("b", "none")
    assert await node.ref("b").call("three") == ["one", "two", "three"]


@both
async def test_the_fence_is_the_place_s_also_in_another_process_and_before_the_first_step(
    bench: tuple[Node, NodeClient, Path, Where],
) -> None:
    node, client, _, where = bench
    await node.spawn(Supervisor, [ChildSpec(Guarded, name="c", isolation=where)], name="team")
    await known(client, "c")
    assert (await client.contain("team", "restricted", subtree=True)).facts["away"] == 1
    first = node.whereis("c")
    node.ref("c").cast("fall")
    await eventually(
        lambda: level(client, "c"), lambda found: found is not None and node.whereis("c") != first
    )
    with pytest.raises(Contained):
        await node.ref("c").call(("tool", "tool:risky"))
    team = node.control.find("team")
    spec = ChildSpec(Guarded, ("tool:risky",), name="d", isolation=where)
    with pytest.raises(Exception, match="may not do this: tool:risky"):
        await team._o_ref().start_child(spec)  # type: ignore[attr-defined]  # a supervisor's reference has it
    await client.contain("team", "none", subtree=True)
    assert await node.ref("c").call(("tool", "tool:risky")) == ["tool:risky"]


@both
async def test_killed_keeps_the_place_empty_until_the_level_is_lowered(
    bench: tuple[Node, NodeClient, Path, Where],
) -> None:
    node, client, _, _ = bench
    await guarded(bench, "e")
    node.ref("e").cast(("spin until", "/nonexistent"))  # a worker that is stuck does not keep it
    assert (await client.contain("e", "killed", reason="enough")).done
    await eventually(lambda: level(client, "e"), lambda found: found is None)
    assert node.whereis("e") is None
    assert (await client.contain("e", "none")).done
    await known(client, "e")
    assert await node.ref("e").call("x") == ["x"]


@shared
async def test_a_worker_that_is_stuck_keeps_the_level_when_it_gets_to_it_and_the_answer_says_so(
    bench: tuple[Node, NodeClient, Path, Where],
) -> None:
    node, client, audit, _ = bench
    await guarded(bench, "f")
    free = audit.parent / "free"
    node.ref("f").cast(("spin until", str(free)))
    acted = await client.contain("f", "restricted")
    assert (acted.done, acted.what.split(" of ")[0]) == (False, "contain")
    free.touch()
    await eventually(lambda: level(client, "f"), lambda found: found == "restricted")
    with pytest.raises(Contained):
        await node.ref("f").call(("tool", "tool:risky"), timeout=30)


@shared
async def test_all_that_a_monitored_one_does_is_on_record_and_nothing_after_it_is_let_out(
    bench: tuple[Node, NodeClient, Path, Where],
) -> None:
    node, client, audit, _ = bench
    await guarded(bench, "g")
    await client.contain("g", "monitored")
    await node.ref("g").call(("tool", "tool:any"))
    await node.ref("g").call(("cast", "nobody"))

    async def whats() -> list[str]:
        return [one.what.removeprefix("governed_") for one in told_of(audit, "g")]

    done = ["containment", "begin", "end", "handled", "send", "handled"]
    assert await eventually(whats, lambda found: len(found) == len(done)) == done
    assert (await client.contain("g", "none")).done
    await node.ref("g").call(("tool", "tool:any"))
    await client.contain("g", "monitored")
    assert await node.ref("g").call("state") == ["tool:any", "tool:any", "state"]
    done += ["containment", "containment", "handled"]
    assert await eventually(whats, lambda found: len(found) >= len(done)) == done


@shared
async def test_changes_of_its_audited_fields_are_on_record(
    bench: tuple[Node, NodeClient, Path, Where],
) -> None:
    node, _, audit, _ = bench
    await guarded(bench, "i")
    await node.ref("i").call("one")
    await node.ref("i").call("one")

    async def changes() -> list[Any]:
        found = [one for one in read(audit)[0] if one.what == "state" and one.target["name"] == "i"]
        return [(one.outcome or {})["diff"] for one in found]

    first, second = await eventually(changes, lambda found: len(found) == 2)
    assert first == [{"path": "/done", "old": "[]", "new": "['one']"}]
    assert second == [{"path": "/done", "old": "['one']", "new": "['one', 'one']"}]


@shared
async def test_a_budget_that_is_spent_there_is_the_node_s_to_lower(
    bench: tuple[Node, NodeClient, Path, Where],
) -> None:
    node, client, _, _ = bench
    await guarded(bench, "h", budget=Budget(tool_calls=1, on_limit="restricted"))
    await node.ref("h").call(("tool", "tool:x"))
    with pytest.raises(Contained):
        await node.ref("h").call(("tool", "tool:x"))
    await eventually(lambda: level(client, "h"), lambda found: found == "restricted")
    assert (await client.contain("h", "none")).done
    await client.act("reset_budget", agent="h")
    assert await node.ref("h").call(("tool", "tool:x")) == ["tool:x", "tool:x"]
