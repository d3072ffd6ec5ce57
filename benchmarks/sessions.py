"""Live trace sessions: what one on one agent costs 10,000 busy others, and how many events a second reach a console.

The first is a median of ratios of neighbouring short rounds in one process, with and without a session, by the processor time
of the scheduler's thread; a state is compared with itself, too, which shows how far the figure can be trusted. The second
runs a service, its probe and a reader, each in a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import time
from typing import Any

import psutil

from benchmarks.measure import Result, at_least, at_most, child_argv, median
from observe.probe import Probe
from observe.probe.client import connect
from observe.runtime import Agent, Node
from observe.runtime.testing import settled
from observe.tracing.selecting import parse
from observe.tracing.sessions import Bounds, Session

NODE = "bench-sessions"
OTHERS = 10_000
MESSAGES = 5
"""To each of them in a round."""
ROUNDS = 21
EVENTS = 100_000
STREAM_GOAL = 20_000


class Worker(Agent):
    """Does a little with each message."""

    def init(self) -> None:
        self.turns = 0

    def handle(self, message: Any) -> None:
        self.turns += 1


async def beside() -> list[Result]:
    """The cost for agents that nobody listens to."""
    took: dict[str, list[float]] = {"off": [], "off again": [], "on": []}
    async with Node(NODE) as node:
        others = [await node.spawn(Worker) for _ in range(OTHERS)]
        traced = await node.spawn(Worker, name="traced")
        everybody = [*others, traced]

        async def work() -> None:
            for ref in everybody:
                for number in range(MESSAGES):
                    ref.cast(number)
                if not node.scheduler.run_queue % 64:
                    await asyncio.sleep(0)
            await settled(node)

        await work()
        for _ in range(ROUNDS):
            for state, seconds in took.items():
                bounds = Bounds(count=1_000_000, rate=1000.0, for_s=3600.0)
                session = Session(node, parse("traced"), bounds, lambda events, left_out: True)
                if state == "on":
                    session.start()
                gc.collect()
                began = time.thread_time()
                await work()
                seconds.append(time.thread_time() - began)
                if state == "on":
                    session.stop()

    def cost(state: str) -> float:
        return 100 * (median([new / old for new, old in zip(took[state], took["off"], strict=True)]) - 1)

    text = f"a session on one of {OTHERS:,} busy agents"
    return [
        Result("no session, compared with itself", cost("off again"), "% more processor time"),
        at_most(text, cost("on"), "% more processor time", 3.0),
    ]


async def serve() -> None:
    """The service of the second figure: one agent that is sent messages until it has had enough."""
    async with Node(NODE) as node, Probe(node):
        await node.spawn(Worker, name="traced")
        ref = node.ref("traced")
        print("ready", flush=True)
        while True:  # more than a session takes: not the pauses of a busy machine decide
            for number in range(100):
                ref.cast(number)
            await asyncio.sleep(0)


async def stream(service: int) -> list[Result]:
    """Events that arrive in a console a second, and what each takes of the processor where it goes on its way."""
    probe, me = psutil.Process(service).children()[0], psutil.Process()

    def used_s() -> list[float]:
        return [sum(process.cpu_times()[:2]) for process in (probe, me)]

    async with connect(NODE, timeout_s=10.0) as client:
        before = used_s()
        trace = await client.trace(
            "traced", events=["receive", "handled"], count=EVENTS, rate=50_000.0, for_s=60.0
        )
        first = last = 0.0
        got = 0
        async for event in trace.events():
            first = first or event.at
            last = event.at
            got += 1
        probe_s, console_s = (after - then for after, then in zip(used_s(), before, strict=True))
    note = f"{got:,} came, {trace.dropped:,} were left out ({trace.ended})"
    return [
        at_least("trace events to a console", got / (last - first), "/s", STREAM_GOAL, note=note),
        Result("processor time an event: the probe", probe_s / got * 1e6, "us"),
        Result("processor time an event: the console's client", console_s / got * 1e6, "us"),
    ]


def run() -> list[Result]:
    """Entry point for `python -m benchmarks sessions`."""
    results = asyncio.run(beside())
    service = subprocess.Popen(child_argv("benchmarks.sessions"), stdout=subprocess.PIPE)
    try:
        assert service.stdout is not None
        service.stdout.readline()
        return results + asyncio.run(stream(service.pid))
    finally:
        service.kill()
        service.communicate()


if __name__ == "__main__":
    asyncio.run(serve())
