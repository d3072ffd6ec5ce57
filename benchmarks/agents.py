"""Spawn rate, and bytes per idle supervised agent. Each size in a process of its own, so that none inherits memory."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from typing import Any

from benchmarks.measure import Result, at_least, at_most, child_argv, resident_bytes
from observe.runtime import Agent, ChildSpec, Node, Supervisor

SIZES = (100_000, 1_000_000)


class Idle(Agent):
    """An agent with two attributes of state."""

    def init(self) -> None:
        self.name = "idle"
        self.count = 0

    async def handle(self, message: Any) -> Any:
        return message


async def spawn(count: int, rare_full_gc: bool | None) -> dict[str, float]:
    """Start `count` agents under one supervisor; seconds and bytes each."""
    async with Node("bench", rare_full_gc=rare_full_gc) as node:
        supervisor = await node.spawn(Supervisor, [])
        spec = ChildSpec(Idle)
        gc.collect()
        before = resident_bytes()
        began = time.process_time()
        for _ in range(count):
            await supervisor.start_child(spec)
        took_s = time.process_time() - began
        gc.collect()
        figures = {"per_s": count / took_s, "bytes": (resident_bytes() - before) / count}
        print(json.dumps(figures), flush=True)
        supervisor.exit("killed")
    return figures


def run() -> list[Result]:
    """Entry point for `python -m benchmarks agents`."""
    results: list[Result] = []
    for size in SIZES:
        for setting, text in (("default", ""), ("rare", ", rare_full_gc")):
            done = subprocess.run(
                child_argv("benchmarks.agents", str(size), setting),
                capture_output=True,
                text=True,
                check=True,
            )
            figures = json.loads(done.stdout.splitlines()[-1])
            name = f"supervised spawns, {size:,} agents{text}"
            results.append(at_least(name, figures["per_s"], "agents/s", 200_000))
        results.append(at_most(f"idle supervised agent, of {size:,}", figures["bytes"], "bytes", 900))
    return results


if __name__ == "__main__":
    asyncio.run(spawn(int(sys.argv[1]), True if sys.argv[2] == "rare" else None))
