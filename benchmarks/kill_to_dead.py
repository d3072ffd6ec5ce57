"""From an operator's kill to seeing the agent dead, on the console's side.

The service and its probe run in processes of their own, with a thousand agents at work. For each of a number of agents,
one half idle and one half in the middle of a step, the time is taken from sending the `kill` until the answer says that the
runtime has seen it dead, until its exit is told by an event, and until its row is gone from a watched table. The record in
the audit log, synced to the disk before and after, is part of the time.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from typing import Any

from benchmarks.measure import Result, at_most, child_argv, median
from observe.probe import Probe
from observe.runtime import Agent, Node

NODE = "bench-kill"
VICTIMS = 200
OTHERS = 1_000
GOAL_MS = 250


class Victim(Agent):
    """Idle, or asleep in a step."""

    async def handle(self, message: Any) -> None:
        async with self.activity("tool:wait"):
            await asyncio.sleep(1000)


class Other(Agent):
    """At work."""

    def init(self) -> None:
        self.turns = 0

    def handle(self, message: Any) -> None:
        self.turns += 1


async def serve() -> None:
    """The service."""
    async with Node(NODE) as node, Probe(node):
        others = [await node.spawn(Other) for _ in range(OTHERS)]
        for number in range(VICTIMS):
            ref = await node.spawn(Victim)
            if number % 2:
                ref.cast("work")
        print("ready", flush=True)
        while True:
            for ref in others[::10]:
                ref.cast("turn")
            await asyncio.sleep(0.02)


async def measure() -> dict[str, list[float]]:
    """Seconds for each victim: until answered, until its exit is told, until its row is gone."""
    from observe.probe.client import connect
    from observe.probe.wire_table import Query

    took: dict[str, list[float]] = {"answer": [], "event": [], "row": []}
    async with connect(NODE, timeout_s=20.0) as node:
        async for push in await node.watch_agents(Query(filter="class=Victim"), interval_s=0.05):
            if push.data.matched == VICTIMS:
                break
        pids = [
            row[0] for row in (await node.agents(filter="class=Victim", limit=VICTIMS, columns=["pid"])).rows
        ]
        events = await node.watch_events(interval_s=0.05)
        table = await node.watch_agents(
            Query(filter="class=Victim", limit=1000, columns=["pid"]), interval_s=0.05
        )
        for pid in pids:
            began = time.perf_counter()

            async def told(pid: int = pid, began: float = began) -> float:
                async for push in events:
                    if any(event.kind == "exit" and event.pid == pid for event in push.data.events):
                        break
                return time.perf_counter() - began

            async def gone(pid: int = pid, began: float = began) -> float:
                async for push in table:
                    if [pid] not in push.data.rows:
                        break
                return time.perf_counter() - began

            async def answered(pid: int = pid, began: float = began) -> float:
                outcome = await node.kill(pid, reason="a benchmark")
                assert outcome.done, outcome
                return time.perf_counter() - began

            times = await asyncio.gather(answered(), told(), gone())
            for kind, seconds in zip(took, times, strict=True):
                took[kind].append(seconds)
    return took


def p99(values: list[float]) -> float:
    """The 99th percentile."""
    return sorted(values)[max(0, round(len(values) * 0.99) - 1)]


def run() -> list[Result]:
    """Entry point for `python -m benchmarks kill_to_dead`."""
    service = subprocess.Popen(child_argv("benchmarks.kill_to_dead"), stdout=subprocess.PIPE, text=True)
    try:
        assert service.stdout is not None
        service.stdout.readline()
        took = asyncio.run(measure())
    finally:
        service.terminate()
        service.wait()
    names = {
        "answer": "kill until the answer that the runtime saw it dead",
        "event": "kill until its exit is told by an event",
        "row": "kill until its row is gone from the table",
    }
    results = []
    for kind, name in names.items():
        results.append(Result(f"{name}, median", 1000 * median(took[kind]), "ms"))
        results.append(at_most(f"{name}, p99", 1000 * p99(took[kind]), "ms", GOAL_MS))
    return results


if __name__ == "__main__":
    asyncio.run(serve())
