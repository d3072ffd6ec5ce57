"""Looking into the running code over the wire: calls of one function, and where time goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from observe.probe.client import NodeClient, connect
from observe.probe.errors import RemoteError
from observe.probe.profiles import Profile
from observe.probe.wire_code import ProfileEvent
from tests.probe.live import LiveService, eventually, private_runtime


@pytest.fixture(scope="module")
def runtime() -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch, private_runtime(patch) as path:
        yield path


@pytest.fixture(scope="module")
def service(runtime: Path) -> Iterator[LiveService]:
    with LiveService(runtime) as running:
        yield running


@pytest.fixture
async def node(service: LiveService) -> AsyncIterator[NodeClient]:
    async with connect("shop", timeout_s=20.0) as client:
        await eventually(client.agents, lambda page: page.total > 5)
        yield client


async def test_calls_of_a_function_come_while_they_happen_and_are_on_record(
    service: LiveService, node: NodeClient
) -> None:
    trace = await node.trace_function("__main__:wait_inside", count=2, for_s=60.0, reason="why so slow")
    assert "live_service.py" in trace.place
    service.do("cast", "waiter-0", 0.0)
    service.do("cast", "waiter-1", 0.01)
    calls = [call async for call in trace.calls()]
    assert trace.ended == "after 2 calls"
    assert {call.name for call in calls} == {"waiter-0", "waiter-1"}
    assert all(call.how == "returned" and "Waiter.handle" in call.caller for call in calls)
    assert "seconds=" in str((calls[0].arguments or {})["text"])
    lines = await node.audit_lines(limit=20)
    recorded = [line for line in lines.lines if "trace_function" in line]
    assert "why so slow" in str(recorded)
    assert "__main__:wait_inside" in str(recorded)


async def test_whoever_leaves_ends_the_session(node: NodeClient) -> None:
    """A function has one session at a time, so each of those before must have ended."""
    async with await node.trace_function("__main__:fork", for_s=600.0):
        with pytest.raises(RemoteError, match="traced already"):
            await node.trace_function("__main__:fork")
    async with connect("shop", timeout_s=20.0) as other:
        await eventually(lambda: begins(other))
    assert await eventually(lambda: begins(node))


async def begins(node: NodeClient) -> bool:
    try:
        await node.trace_function("__main__:fork", for_s=600.0)
    except RemoteError:
        return False
    return True


async def test_a_wrong_name_is_explained(node: NodeClient) -> None:
    with pytest.raises(RemoteError, match="did you mean wait_inside") as caught:
        await node.trace_function("__main__:wait_insid")
    assert caught.value.code == "bad_request"


async def test_a_profile_says_which_agent_ran_and_in_which_function(
    service: LiveService, node: NodeClient
) -> None:
    profile = asyncio.create_task(node.profile(for_s=1.0, rate=100.0))
    while not profile.done():  # each for a short while: a service that is held would not get to beginning it
        service.do("cast", "holder", ["python", 0.05])
        await asyncio.sleep(0.02)
    found = await profile
    holder = next(one for one in found.by_owner() if one.name.startswith("holder"))
    assert holder.self_count > 0
    assert found.by_function()[0].name == "__main__:spin_in_python"
    assert found.samples > 0
    assert found.took_s >= 0.9
    assert 0 <= found.cost_s < found.took_s


async def test_a_profile_is_had_while_a_step_holds_the_scheduler(
    service: LiveService, node: NodeClient
) -> None:
    """When it is needed most. It begins, ends and is told while nothing else of the node answers."""
    service.do("cast", "holder", ["python", 20.0])
    await eventually(node.vitals, lambda vitals: vitals.state == "held")
    found = await node.profile(for_s=0.5)
    assert (await node.vitals()).state == "held"
    assert found.by_function()[0].name == "__main__:spin_in_python"
    assert found.samples > 0
    holder = next(one for one in found.stacks if one.name == "holder")
    await node.kill(holder.pid, reason="the test is over")
    await eventually(node.vitals, lambda vitals: vitals.state == "up")


async def test_a_profile_of_one_agent_shows_where_it_waits(service: LiveService, node: NodeClient) -> None:
    service.do("cast", "waiter-2", 3.0)
    found = await node.profile("waiter-2", for_s=0.5)
    waiting = [one for one in found.stacks if one.how == "waits"]
    assert any("wait_inside" in part for one in waiting for part in one.stack)
    assert {one.pid for one in found.stacks} == {waiting[0].pid}
    with pytest.raises(RemoteError, match="no live agent"):
        await node.profile("nobody", for_s=0.1)


def made() -> Profile:
    facts: list[dict[str, Any]] = [
        {"n": 1, "kind": "stack", "pid": 7, "name": "desk", "how": "runs", "stack": ["a:x", "a:y"], "count": 6},
        {"n": 2, "kind": "stack", "pid": 7, "name": "desk", "how": "waits", "stack": ["a:x"], "count": 2},
        {"n": 3, "kind": "stack", "pid": 0, "name": "event loop", "how": "runs", "stack": ["b:z"], "count": 1},
        {"n": 4, "kind": "profile", "pid": 0, "samples": 10, "idle": 1, "took_s": 2.0, "cost_s": 0.01},
    ]  # fmt: skip
    return Profile.of([ProfileEvent.from_wire(one) for one in facts], "after 2 s", 0)


def test_sums_are_by_owner_and_by_function() -> None:
    found = made()
    assert [(one.name, one.self_count, one.total) for one in found.by_owner()] == [
        ("desk 7", 6, 8),
        ("event loop", 1, 1),
    ]
    assert [(one.name, one.self_count, one.total) for one in found.by_function()] == [
        ("a:y", 6, 6), ("a:x", 2, 8), ("b:z", 1, 1),
    ]  # fmt: skip


def test_other_programs_can_draw_it() -> None:
    found = made()
    assert found.as_collapsed().splitlines() == [
        "desk 7;a:x;a:y 6", "desk 7;(waits);a:x 2", "event loop;b:z 1",
    ]  # fmt: skip
    scope = json.loads(json.dumps(found.as_speedscope("shop")))
    (profile,) = scope["profiles"]
    frames = [one["name"] for one in scope["shared"]["frames"]]
    assert [frames[at] for at in profile["samples"][0]] == ["desk 7", "a:x", "a:y"]
    assert profile["weights"] == pytest.approx([1.2, 0.4, 0.2])
    assert profile["endValue"] == pytest.approx(1.8)
