"""Messages between two processes, and how soon an agent is back after its process died."""

from __future__ import annotations

import asyncio
import os
import time

from benchmarks.measure import Result
from observe.runtime import Agent, AgentExited, Node
from observe.runtime.testing import eventually

CASTS = 20_000
CALLS = 2_000
RESTARTS = 5


class Counts(Agent):
    """Counts, until it is told to end its process."""

    def init(self) -> None:
        self.count = 0

    def handle(self, message: str) -> int:
        if message == "exit":
            os._exit(1)
        self.count += 1
        return self.count


async def _measure() -> list[Result]:
    async with Node("bench", intensity=100) as node:
        await node.spawn(Counts, name="far", isolation="process", restart="permanent")
        far = node.ref("far")
        await far.call("warm")
        began = time.perf_counter()
        for _ in range(CASTS):
            far.cast("count")
        await far.call("count", timeout=60)
        casts = CASTS / (time.perf_counter() - began)
        began = time.perf_counter()
        for _ in range(CALLS):
            await far.call("count")
        calls = CALLS / (time.perf_counter() - began)
        took = []
        for _ in range(RESTARTS):
            began = time.perf_counter()
            try:
                await far.call("exit")
            except AgentExited:
                pass
            await eventually(lambda: node.whereis("far"))
            await far.call("count", timeout=60)  # waits until it has started
            took.append(time.perf_counter() - began)
    return [
        Result("casts to another process", casts, "/s"),
        Result("calls to another process", calls, "/s"),
        Result("process died to first reply", min(took) * 1000, "ms"),
    ]


def run() -> list[Result]:
    """By the wall clock: two processes are at work."""
    return asyncio.run(_measure())
