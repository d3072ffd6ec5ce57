"""A function is traced in all processes of the node at once, and one session's bounds hold for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from observe.runtime import Node, Ref
from observe.runtime.testing import eventually
from observe.tracing.far_functions import FunctionSessions
from tests.tracing.traced_agents import Caller

FUNCTION = "tests.tracing.functions_to_trace:search"


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    async with Node("functions@localhost", workers=1) as node:
        yield node


class Heard:
    """What a session tells."""

    def __init__(self, node: Node, function: str = FUNCTION, **bounds: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.left_out = 0
        self.place = self.why = ""
        chosen: dict[str, Any] = {"count": 100, "for_s": 30.0, "rate": 1000.0} | bounds
        self.session = FunctionSessions(node, function, number=7, sink=self.take, **chosen)
        self.session.start(self.begun, self.failed)

    def begun(self, place: str) -> None:
        self.place = place

    def failed(self, why: str) -> None:
        self.why = why

    def take(self, events: list[dict[str, Any]], left_out: int) -> bool:
        self.events += events
        self.left_out += left_out
        return True

    @property
    def is_over(self) -> bool:
        return bool(self.events) and self.events[-1]["kind"] == "end"


async def callers(node: Node) -> tuple[Ref, Ref]:
    near = await node.spawn(Caller, name="near", isolation="none")
    far = await node.spawn(Caller, name="far", isolation="worker")
    return near, far


async def test_calls_here_and_in_workers_come_in_one_stream(node: Node) -> None:
    near, far = await callers(node)
    heard = Heard(node, count=4)
    assert "functions_to_trace.py" in heard.place
    await eventually(lambda: heard.session._far, 20.0)
    for one in (near, far, near, far):
        await one.call("lamps", timeout=30)
    await eventually(lambda: heard.is_over, 20.0)
    *calls, end = heard.events
    assert {(one["name"], one["pid"]) for one in calls} == {("near", near.pid), ("far", far.pid)}
    assert [one["n"] for one in calls] == [1, 2, 3, 4]
    assert all("lamps" in one["arguments"]["text"] for one in calls)
    assert end["text"] == "after 4 calls"
    assert await far.call("again", timeout=30) == await near.call("again")
    again = Heard(node, count=1)  # no session is left behind anywhere
    await eventually(lambda: again.session._far, 20.0)
    await far.call("lamps", timeout=30)
    await eventually(lambda: again.is_over, 20.0)


async def test_its_time_ends_it_everywhere_and_so_does_whoever_watched(node: Node) -> None:
    _, far = await callers(node)
    heard = Heard(node, for_s=0.3)
    await eventually(lambda: heard.is_over, 20.0)
    assert heard.events[-1]["text"] == "after 0.3 s"
    heard = Heard(node)
    await eventually(lambda: heard.session._far, 20.0)
    heard.session.stop("whoever watched is gone")
    await far.call("lamps", timeout=30)
    await asyncio.sleep(0)
    assert [one["kind"] for one in heard.events] == ["end"]


async def test_where_no_process_has_it_the_reason_is_told(node: Node) -> None:
    await callers(node)
    heard = Heard(node, "tests.tracing.functions_to_trace:serch")
    await eventually(lambda: heard.why, 20.0)
    assert "did you mean search" in heard.why
    assert not heard.place
    assert not heard.events
