"""What happens to single agents beside crashes reaches whoever watches, and a frozen agent is seen as one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from observe.probe import Probe
from observe.probe.client import NodeClient, connect
from observe.probe.wire_table import Query
from observe.probe.wire_watches import Event
from observe.runtime import Agent, Budget, ChildSpec, Ladder, Node, Retry, Supervisor
from tests.probe.live import eventually, private_runtime

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the signal of preemption


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private_runtime(monkeypatch) as path:
        yield path


class Patient(Agent):
    """Fails, spends, computes."""

    async def handle(self, message: Any) -> None:
        if message == "fail":
            raise ValueError("asked to")
        if message == "spend":
            for _ in range(3):
                async with self.activity("tool:x"):
                    pass
        elif message == "compute":
            spin(0.5)
        elif message == "loop":
            spin(1e9)


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def told(node: NodeClient, kinds: set[str], act: Any) -> dict[str, Event]:
    """The first event of each kind that follows `act`."""
    found: dict[str, Event] = {}
    watch = await node.watch_events(interval_s=0.05)
    await eventually(node.agents, lambda page: page.total >= 4)
    act()
    async for push in watch:
        for event in push.data.events:
            found.setdefault(event.kind, event)
        if kinds <= found.keys():
            await watch.close()
            return found
    raise AssertionError(found)


async def test_findings_rungs_and_limits_are_events() -> None:
    """Whoever is on call sees what the node found, what it tried, and who has spent too much."""
    specs = [
        ChildSpec(Patient, name="climber", ladder=Ladder(Retry(), Retry())),
        ChildSpec(Patient, name="spender", restart="temporary", budget=Budget(tool_calls=1)),
        ChildSpec(Patient, name="slow"),
    ]
    async with Node("shop", watchdog_s=0.05) as node, Probe(node, placement="thread", tick_s=0.05):
        await node.spawn(Supervisor, specs)
        async with connect("shop", timeout_s=10.0) as client:
            pids = {name: node.ref(name).pid for name in ("climber", "spender", "slow")}

            def act() -> None:
                node.ref("climber").cast("fail")
                node.ref("spender").cast("spend")
                node.ref("slow").cast("compute")

            found = await told(client, {"rung", "limit", "finding"}, act)
            assert (found["rung"].pid, found["rung"].reason) == (pids["climber"], "Retry")
            assert "attempt 1: Retry (ValueError: asked to)" in found["rung"].text
            assert (found["limit"].pid, found["limit"].reason) == (pids["spender"], "tool_calls")
            assert (found["finding"].pid, found["finding"].reason) == (pids["slow"], "holds_scheduler")
            numbers = sorted(event.seq for event in found.values())
            assert len(set(numbers)) == len(numbers)


async def test_a_frozen_agent_is_seen_as_one_with_its_stack_and_can_be_killed() -> None:
    """An endless loop on a node that preempts: others run, and a person sees where it loops."""
    async with Node("shop", preempt=True) as node, Probe(node, placement="thread", tick_s=0.05):
        await node.spawn(Patient, name="looper")
        async with connect("shop", timeout_s=10.0) as client:
            await eventually(client.agents, lambda page: page.total == 2)
            node.ref("looper").cast("loop")
            page = await eventually(
                lambda: client.agents(Query(filter="status=frozen", columns=["name"])), lambda page: page.rows
            )
            assert page.rows == [["looper"]]
            stack = await eventually(lambda: client.stack("looper"), lambda stack: stack.status == "frozen")
            assert stack.note.startswith("frozen")
            assert [frame.function for frame in stack.frames][:2] == ["handle", "spin"]
            assert (await client.kill("looper")).done
