"""What observation costs: the throughput of 1,000 busy agents with the probe on and a console attached, over without.

The service runs the same rounds of messages in both states, in turns, in one process: with the probe and a client that
watches the agents table and the vital signs (as the console does) in a process of its own, then without, and so on.
Ratios of neighbouring rounds cancel what the machine does meanwhile; their median is the figure. It is given by the
clock on the wall, which needs a core for each of the three processes, and by the processor time of the service, which
others on the machine disturb less.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import Any

from benchmarks.measure import Result, at_most, child_argv, median
from benchmarks.messages import Async
from observe.probe import Probe
from observe.runtime import Agent, Node, Ref
from observe.runtime.testing import settled

AGENTS = 1_000
BURST = 5
ROUND_S = 2.0
PAIRS = 5


class Working(Agent):
    """Does what a small real handler does: some 50 microseconds of work."""

    def init(self) -> None:
        self.count = 0

    async def handle(self, message: Any) -> None:
        self.count += sum(range(2_000)) > 0


async def throughput(node: Node, refs: list[Ref]) -> tuple[float, float]:
    """Messages a second over one round, and messages a second of processor time.

    The event loop has its turn between bursts, as in a service.
    """
    began = time.perf_counter()
    began_cpu = time.process_time()
    sent = 0
    while time.perf_counter() - began < ROUND_S:
        for number in range(BURST):
            for ref in refs:
                ref.cast(number)
        await settled(node)
        sent += BURST * len(refs)
    return sent / (time.perf_counter() - began), sent / (time.process_time() - began_cpu)


async def watch(name: str) -> None:
    """The console's part: watch fifty rows sorted by a column that changes, and the vital signs."""
    from observe.probe.client import connect
    from observe.probe.wire_table import Query

    async with connect(name) as node:
        agents = await node.watch_agents(Query(sort="reductions", limit=50), interval_s=0.5)
        vitals = await node.watch_vitals(interval_s=1.0)
        print("watching", flush=True)

        async def follow(watch: Any) -> None:
            async for _ in watch:
                pass

        await asyncio.gather(follow(agents), follow(vitals))


async def compare(kind: type[Agent]) -> tuple[float, float, float]:
    """Median share of the throughput that observation takes by the wall's clock and by processor time, and median
    messages a second without it."""
    async with Node("bench-telemetry") as node:
        refs = [await node.spawn(kind) for _ in range(AGENTS)]
        await throughput(node, refs)
        costs, cpu_costs, rates = [], [], []
        for _ in range(PAIRS):
            plain = await throughput(node, refs)
            async with Probe(node):
                watcher = await asyncio.create_subprocess_exec(
                    *child_argv("benchmarks.telemetry", node.short_name), stdout=subprocess.PIPE
                )
                assert watcher.stdout is not None
                await watcher.stdout.readline()
                observed = await throughput(node, refs)
                watcher.kill()
                await watcher.wait()
            costs.append(1 - observed[0] / plain[0])
            cpu_costs.append(1 - observed[1] / plain[1])
            rates.append(plain[0])
        return median(costs), median(cpu_costs), median(rates)


def run() -> list[Result]:
    """Entry point for `python -m benchmarks telemetry`."""
    results = []
    for kind, text in ((Async, "handlers that do nothing"), (Working, "handlers that work")):
        cost, cpu_cost, rate = asyncio.run(compare(kind))
        note = f"of {rate:,.0f} messages/s over {AGENTS:,} agents"
        results.append(at_most(f"telemetry with a console, {text}", 100 * cost, "% of throughput", 5, note))
        results.append(at_most(f"the same, {text}", 100 * cpu_cost, "% of processor time", 5))
    return results


if __name__ == "__main__":
    asyncio.run(watch(sys.argv[1]))
