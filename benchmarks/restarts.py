"""How long from the end of one child until its successor has run its `init`, among 10, 1,000 and 100,000 siblings.

Ours should not depend on the number of siblings. Erlang's one_for_one walks through its children to find the dead one.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from typing import Any

from benchmarks import erlang
from benchmarks.measure import Result, at_most, child_argv
from observe.runtime import Agent, ChildSpec, Node, Supervisor
from observe.runtime.testing import settled

SIBLINGS = (10, 1_000, 100_000)
KILLS = 300

FLAT = 2.0
"""Times the latency among 10 siblings that the one among 100,000 may take: what caches and the machine's mood do."""


class Victim(Agent):
    """Notes when it was started, and when it raised."""

    began_ns = 0
    ready_ns = 0

    def init(self) -> None:
        Victim.ready_ns = time.perf_counter_ns()

    def handle(self, message: Any) -> None:
        Victim.began_ns = time.perf_counter_ns()
        raise ValueError(message)


class Sibling(Agent):
    """Is there."""

    def init(self) -> None:
        self.count = 0


async def measure(siblings: int) -> dict[str, dict[str, float]]:
    """Microseconds by the wall clock; the middle of hundreds is not moved by what else the machine does."""
    async with Node("bench", rare_full_gc=True) as node:
        specs = [ChildSpec(Sibling, id=number) for number in range(siblings)]
        specs.insert(siblings // 2, ChildSpec(Victim, name="victim"))
        await node.spawn(Supervisor, specs, intensity=10 * KILLS)
        gc.collect()
        gc.freeze()
        victim = node.ref("victim")
        took: dict[str, list[float]] = {"kill": [], "crash": []}
        for _ in range(KILLS):
            for how, times in took.items():
                before = node.whereis("victim")
                if how == "kill":
                    Victim.began_ns = time.perf_counter_ns()
                    victim.exit("killed")
                else:
                    victim.cast("crash")
                await settled(node)
                if node.whereis("victim") in (before, None):
                    raise RuntimeError("the victim has not come back")
                times.append((Victim.ready_ns - Victim.began_ns) / 1e3)
        return {how: _percentiles(times) for how, times in took.items()}


def _percentiles(times: list[float]) -> dict[str, float]:
    times.sort()
    return {"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}


def run() -> list[Result]:
    """Entry point for `python -m benchmarks restarts`."""
    results: list[Result] = []
    ours: dict[int, dict[str, dict[str, float]]] = {}
    for siblings in SIBLINGS:
        done = subprocess.run(
            child_argv("benchmarks.restarts", str(siblings)), capture_output=True, text=True, check=True
        )
        ours[siblings] = json.loads(done.stdout)
        for how, figures in ours[siblings].items():
            results.append(_row(f"{how} to ready, {siblings:,} siblings", figures))
        if erlang.is_installed():
            beam = erlang.figures("restarts", siblings)
            results.append(_row(f"Erlang, kill to ready, one_for_one, {siblings:,} siblings", beam))
        else:
            results.append(
                Result("Erlang, one_for_one", float("nan"), "us", note=f"skipped: {erlang.INSTALL}")
            )
    for how in ("kill", "crash"):
        few, many = ours[SIBLINGS[0]][how]["p50"], ours[SIBLINGS[-1]][how]["p50"]
        results.append(at_most(f"{how} to ready, 100,000 siblings over 10", many / few, "times", FLAT))
    return results


def _row(name: str, figures: dict[str, float]) -> Result:
    return Result(name, figures["p50"], "us", note=f"p99 {figures['p99']:,.0f}")


if __name__ == "__main__":
    json.dump(asyncio.run(measure(int(sys.argv[1]))), sys.stdout)
