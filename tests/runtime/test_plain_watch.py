"""The watchdog's eye on plain asyncio tasks: who holds the loop is named, also in a service without agents."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from observe.runtime import Finding, Instrument, Node, plain_watch
from observe.runtime.testing import eventually

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal as preemption

LIMIT_S = 0.05


class Told(Instrument):
    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.came = threading.Event()

    def on_finding(self, finding: Finding) -> None:
        self.findings.append(finding)
        self.came.set()


def hold(until: threading.Event) -> None:
    end = time.monotonic() + 30
    while not until.is_set() and time.monotonic() < end:
        pass


async def test_a_task_that_holds_the_loop_is_named_with_its_stack_and_cleared() -> None:
    told = Told()
    async with Node("test", watchdog_s=LIMIT_S) as node:
        node.instruments.add(told)

        async def holder() -> None:
            hold(told.came)

        await asyncio.create_task(holder(), name="holder")
        finding = (await eventually(lambda: told.findings))[0]
        assert (finding.kind, finding.pid, finding.name) == ("holds_scheduler", 0, "holder")
        assert finding.class_name.endswith("holder")
        assert finding.text.startswith("the task holder (")
        assert "has held the event loop for" in finding.text
        functions = [frame.function.rpartition(".")[2] for frame in finding.stack]
        assert functions[:2] == ["holder", "hold"]
        over = (await eventually(lambda: told.findings[1:]))[0]
        assert over.cleared
        assert "the event loop is free again" in over.text
        assert node.findings.standing == []


async def test_a_busy_task_of_short_steps_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be the current one whenever somebody looks; whether the loop has turned meanwhile is what counts."""
    told = Told()
    clock = [10**9]
    monkeypatch.setattr(plain_watch, "now_ns", lambda: clock[0])
    async with Node("test", watchdog_s=None) as node:
        node.instruments.add(told)
        watch = plain_watch.PlainWatch(node.scheduler, node.findings, limit_s=0.1)
        for _ in range(20):
            watch.look()
            await asyncio.sleep(0)
            clock[0] += 50_000_000
        assert told.findings == []
        for _ in range(4):
            watch.look()
            clock[0] += 50_000_000
        assert [finding.kind for finding in told.findings] == ["holds_scheduler"]


async def test_of_preempted_tasks_the_longest_is_told_and_the_others_are_counted() -> None:
    told = Told()
    until = threading.Event()
    async with Node("test", watchdog_s=LIMIT_S, preempt=True, preempt_tasks=True) as node:
        node.instruments.add(told)

        async def computes() -> None:
            hold(until)

        tasks = [asyncio.create_task(computes(), name=f"computes-{number}") for number in range(2)]
        finding = (await eventually(lambda: told.findings, timeout_s=20))[0]
        assert (finding.kind, finding.pid) == ("long_step", 0)
        assert finding.name is not None
        assert finding.name.startswith("computes-")
        functions = [frame.function.rpartition(".")[2] for frame in finding.stack]
        assert functions[:1] in (["computes"], [])  # nothing, if it had its turn whenever it was read
        until.set()
        await asyncio.gather(*tasks)
        over = await eventually(lambda: [one for one in told.findings if one.cleared], timeout_s=20)
        assert "is done with it" in over[0].text
