"""Trace sessions over the wire: a real service, a real probe, and consoles that go away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from observe.probe.client import NodeClient, connect
from observe.probe.errors import NodeUnreachable, RemoteError
from observe.probe.wire_traces import TraceEvent
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
    async with connect("shop", timeout_s=10.0) as client:
        await eventually(client.agents, lambda page: page.total > 5)
        yield client


async def test_events_come_while_they_happen_and_the_session_ends_itself(
    service: LiveService, node: NodeClient
) -> None:
    trace = await node.trace("waiter-*", count=6, for_s=30.0)
    assert trace.agents == 3
    got: list[TraceEvent] = []
    service.do("cast", "waiter-0", "count")
    async for event in trace.events():
        got.append(event)
        if len(got) == 2:  # the first have come while the session goes on
            service.do("cast", "waiter-1", "count")
            service.do("cast", "waiter-2", "count")
    assert trace.ended == "after 6 events"
    assert [(event.kind, event.name) for event in got] == [
        (kind, f"waiter-{number}") for number in range(3) for kind in ("receive", "handled")
    ]
    assert got[0].message is not None
    assert got[0].message["text"] == "'count'"
    assert trace.dropped == 0


async def test_whoever_leaves_ends_the_session(node: NodeClient) -> None:
    """Eight is the most at a time, so each of the eight before must have ended: by being closed, or by being left."""
    for _ in range(8):
        async with await node.trace("waiter-0", for_s=3600.0) as trace:
            assert trace.agents == 1
    for _ in range(8):
        async with connect("shop", timeout_s=10.0) as other:
            await other.trace("waiter-0", for_s=3600.0)

    async def begin() -> bool:
        try:
            async with await node.trace("waiter-0", for_s=3600.0):
                return True
        except RemoteError:  # busy
            return False

    assert await eventually(begin)


@pytest.mark.parametrize(
    ("selector", "where", "says"),
    [
        ("clas:Waiter", "", "did you mean class:Waiter"),
        ("999999", "", "means no agent"),
        ("waiter-0", "mesage.kind == 1", "did you mean message"),
        ("waiter-0", "open('x')", "only len"),
        ("finding:stuck", "", "no finding"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_reason(
    node: NodeClient, selector: str, where: str, says: str
) -> None:
    with pytest.raises(RemoteError, match=says) as caught:
        await node.trace(selector, where=where)
    assert caught.value.code == "bad_request"


async def test_a_session_ends_with_its_node_and_its_reader_is_told(runtime: Path) -> None:
    with LiveService(runtime, "mortal", linger_s=0.5) as mortal:
        async with connect("mortal", timeout_s=10.0) as client:
            await eventually(client.agents, lambda page: page.total > 5)
            trace = await client.trace("waiter-*", for_s=3600.0)
            mortal.kill()
            with pytest.raises(NodeUnreachable):
                async for _ in trace.events():
                    pass


async def test_a_reader_that_is_slow_learns_how_much_it_missed(
    service: LiveService, node: NodeClient
) -> None:
    trace = await node.trace("waiter-0", count=20_000, rate=50_000.0, for_s=60.0, events=["receive"])
    for _ in range(4):
        service.do("flood", "waiter-0", 5000)
    await asyncio.sleep(0)
    seen = 0
    async for _ in trace.events():
        seen += 1
    assert seen + trace.dropped == 20_000
    assert trace.ended == "after 20,000 events"
