"""Time from attach to the first painted table, and from `observe ps` to its answer, at 100,000 agents.

The service runs in a process of its own, and so does its probe. The console is started as a person would start it, in
a pseudo-terminal of 200x50, and the time is taken until a row of the table stands on that terminal's screen.
"""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import Result, at_most, child_argv, median
from observe.probe import Probe
from observe.runtime import Agent, ChildSpec, Node, Supervisor

AGENTS = 100_000
TIMES = 5


class Session(Agent):
    """One of many."""

    def init(self) -> None:
        self.turns = 0

    async def handle(self, message: Any) -> None:
        self.turns += 1


async def serve() -> None:
    """The service: 100,000 agents, a few of them busy."""
    async with Node("bench-attach") as node, Probe(node):
        supervisor = await node.spawn(Supervisor, [], name="sessions")
        spec = ChildSpec(Session)
        refs = [await supervisor.start_child(spec) for _ in range(AGENTS)]
        print("ready", flush=True)
        while True:
            for ref in refs[::100]:
                ref.cast("turn")
            await asyncio.sleep(0.1)


async def wait_for_all() -> None:
    """Until the probe's table holds every agent."""
    from observe.probe.client import connect

    async with connect("bench-attach") as node:
        async for push in await node.watch_vitals(interval_s=0.1):
            if push.data.agents >= AGENTS:
                return


def first_row_s() -> float:
    """Seconds from starting the command to the first row on its screen."""
    import pexpect

    began = time.perf_counter()
    console = pexpect.spawn(
        str(Path(sys.executable).with_name("observe")),
        ["attach", "bench-attach"],
        dimensions=(50, 200),
        encoding="utf-8",
    )
    try:
        console.expect("Session", timeout=30)
        return time.perf_counter() - began
    finally:
        console.close(force=True)


def ps_s() -> tuple[float, float]:
    """Seconds from starting `observe ps` until it has answered, and how many of them it used the processor."""
    command = [str(Path(sys.executable).with_name("observe")), "ps", "bench-attach", "--limit", "20"]
    began, before = time.perf_counter(), _children_s()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began, _children_s() - before


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def first_page_s() -> float:
    """Seconds from connecting to having the first page, without the console: what node and wire need."""
    from observe.probe.client import connect
    from observe.probe.wire_table import Query

    began = time.perf_counter()
    async with connect("bench-attach") as node:
        await node.agents(Query(limit=50))
    return time.perf_counter() - began


def run() -> list[Result]:
    """Entry point for `python -m benchmarks attach`."""
    service = subprocess.Popen(child_argv("benchmarks.attach"), stdout=subprocess.PIPE, text=True)
    try:
        assert service.stdout is not None
        service.stdout.readline()
        asyncio.run(wait_for_all())
        wire = median([asyncio.run(first_page_s()) for _ in range(TIMES)])
        painted = median([first_row_s() for _ in range(TIMES)])
        asked, used = (median(list(part)) for part in zip(*(ps_s() for _ in range(TIMES)), strict=True))
        return [
            at_most(
                "`observe ps`, from the command to its answer",
                1000 * asked,
                "ms",
                300,
                f"{1000 * used:.0f} ms of processor time",
            ),
            Result(f"connect and fetch a page of {AGENTS:,} agents", 1000 * wire, "ms"),
            at_most(f"start the console until a row of {AGENTS:,} is painted", painted, "s", 2),
        ]
    finally:
        service.terminate()
        service.wait()


if __name__ == "__main__":
    asyncio.run(serve())
