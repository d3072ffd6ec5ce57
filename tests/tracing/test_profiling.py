"""A profile sees the node's worker processes and what threads work, and needs no scheduler."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from observe.runtime import Node
from observe.tracing.errors import BadSelector
from observe.tracing.profiling import Profile
from tests.tracing.traced_agents import Sleeper, Spinner


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    async with Node("profiled@localhost", workers=1) as node:
        yield node


async def profiled(node: Node, pid: int = 0) -> list[dict[str, Any]]:
    profile = Profile(node, pid=pid, for_s=0.6, rate=50.0)
    over = asyncio.get_running_loop().create_future()
    profile.start()

    def tell(seen: list[dict[str, Any]]) -> None:
        node.loop.call_soon_threadsafe(over.set_result, seen)

    profile.when_over(tell)
    found: list[dict[str, Any]] = await over
    again: list[dict[str, Any]] = []
    profile.when_over(again.extend)
    assert again == found
    assert [one["n"] for one in found] == list(range(1, len(found) + 1))
    assert [one["kind"] for one in found[-2:]] == ["profile", "end"]
    return found


async def test_where_the_time_of_workers_goes(node: Node) -> None:
    spinner = await node.spawn(Spinner, name="spinner", isolation="worker")
    sleeper = await node.spawn(Sleeper, name="sleeper", isolation="worker")
    sleeper.cast("sleep")
    spinner.cast(time.time() + 20.0)  # longer than the test takes
    seen = await profiled(node)
    found = [one for one in seen if one["kind"] == "stack" and one["name"] == "spinner"]
    assert found
    assert any("traced_agents:Spinner.handle" in part for one in found for part in one["stack"])
    assert {one["pid"] for one in found} == {spinner.pid}
    # Of our threads one waits for the worker's end, which is no work.
    assert not any("waitpid" in part for one in seen for part in one.get("stack", ()))
    waits = [one for one in await profiled(node, sleeper.pid) if one["kind"] == "stack"]
    assert waits
    assert {(one["pid"], one["how"]) for one in waits} == {(sleeper.pid, "waits")}
    for process in node.lifecycle.workers.processes.values():  # type: ignore[union-attr]  # it has workers
        process.kill()
    with pytest.raises(BadSelector):
        Profile(node, pid=999, for_s=0.1, rate=10.0).start()


@pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="this system does not tell what threads use"
)
async def test_a_thread_that_waits_in_a_call_of_c_is_not_at_work(node: Node) -> None:
    """Its stack looks as if it ran: the innermost Python function is one of the program's own."""
    outlet, inlet = os.pipe()
    over = threading.Event()

    def compute() -> None:
        while not over.is_set():
            sum(range(1000))

    threads = [
        threading.Thread(target=lambda: os.read(outlet, 1), name="reads"),
        threading.Thread(target=compute, name="computes"),
    ]
    for thread in threads:
        thread.start()
    try:
        seen = await profiled(node)
    finally:
        over.set()
        os.write(inlet, b".")
        for thread in threads:
            thread.join()
        os.close(outlet)
        os.close(inlet)
    names = {one["name"] for one in seen if one["kind"] == "stack"}
    assert "thread computes" in names
    assert "thread reads" not in names
