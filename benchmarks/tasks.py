"""What a service of plain asyncio tasks pays for being seen and preempted, and how late its tasks are beside endless loops.

Each case of lateness runs in a process of its own, because without preemption it does not come back.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from typing import Any

from benchmarks.measure import Result, at_most, child_argv
from observe.runtime import Node

STEPS = 20_000
CREATED = 2_000
REPEAT = 7
TASKS = 1_000
PERIOD_S = 0.1
RUN_S = 3.0

COSTS: tuple[tuple[str, dict[str, Any] | None], ...] = (
    ("no node", None),
    ("Node()", {}),
    ("Node(tasks=True)", {"tasks": True}),
    ("Node(preempt=True, preempt_tasks=True)", {"preempt": True, "preempt_tasks": True}),
)

LATENESS: tuple[tuple[str, bool, int], ...] = (
    ("nobody spins", True, 0),
    ("1 endless loop", True, 1),
    ("5 endless loops", True, 5),
    ("1 endless loop, no preemption", False, 1),
)


async def _steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _ends_at_once() -> None:
    pass


async def _costs(options: dict[str, Any] | None) -> tuple[float, float]:
    """Microseconds of processor time of a step, and of a task from its creation to its end: the best of some runs."""
    steps, created = [], []

    async def measure() -> None:
        for _ in range(REPEAT):
            gc.collect()
            began = time.process_time()
            await asyncio.gather(*(_steps(STEPS // 100) for _ in range(100)))
            steps.append((time.process_time() - began) / STEPS * 1e6)
            began = time.process_time()
            for _ in range(CREATED):
                await asyncio.create_task(_ends_at_once())
            created.append((time.process_time() - began) / CREATED * 1e6)

    if options is None:
        await measure()
    else:
        async with Node("costs", **options):
            await measure()
    return min(steps), min(created)


async def _looking() -> float:
    """Microseconds a task that listing 10,000 of them takes, in the thread that does it."""
    async with Node("looks", tasks=True) as node:
        tasks = [asyncio.create_task(asyncio.sleep(1000)) for _ in range(10_000)]
        await asyncio.sleep(0)
        best = float("inf")
        for _ in range(3):
            began = time.thread_time()
            found, _ = node.tasks.look()
            best = min(best, (time.thread_time() - began) / len(found) * 1e6)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return best


async def lateness(preempt: bool, spinners: int) -> dict[str, float]:
    """Of tasks that sleep for `PERIOD_S` again and again: how much later than that they wake, in milliseconds."""
    late: list[float] = []
    loop = asyncio.get_running_loop()

    async def ticks(phase_s: float) -> None:
        due = loop.time() + phase_s
        while due < end:
            await asyncio.sleep(due - loop.time())
            late.append((loop.time() - due) * 1000)
            due += PERIOD_S

    async def spins() -> None:
        while True:
            pass

    async with Node("late", preempt=preempt, preempt_tasks=preempt, watchdog_s=None):
        end = loop.time() + RUN_S
        tasks = [asyncio.create_task(ticks(number / TASKS * PERIOD_S)) for number in range(TASKS)]
        await asyncio.sleep(0.05)
        spinning = [asyncio.create_task(spins()) for _ in range(spinners)]
        await asyncio.gather(*tasks)
        late.sort()
        print(
            json.dumps({"p50": late[len(late) // 2], "p99": late[len(late) * 99 // 100], "max": late[-1]}),
            flush=True,
        )
        del spinning
        sys.exit(0)  # the spinners end with the process


def run() -> list[Result]:
    """Entry point for `python -m benchmarks tasks`."""
    results: list[Result] = []
    costs = {name: asyncio.run(_costs(options)) for name, options in COSTS}
    bare = costs["no node"]
    for name, (step, created) in costs.items():
        if name == "Node()":
            results.append(at_most(f"a step, {name}, over none", step / bare[0], "times", 1.05))
            results.append(at_most(f"a task, {name}, over none", created / bare[1], "times", 1.05))
        else:
            results.append(Result(f"a step, {name}", step, "us"))
            results.append(Result(f"a task from creation to end, {name}", created, "us"))
    results.append(Result("listing 10,000 tasks", asyncio.run(_looking()), "us a task"))
    for name, preempt, spinners in LATENESS:
        try:
            done = subprocess.run(
                child_argv("benchmarks.tasks", str(int(preempt)), str(spinners)),
                capture_output=True, text=True, timeout=30 if preempt else RUN_S + 3, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            results.append(Result(f"{name}: lateness", -1, "ms", note="it never came back"))
            continue
        figures = json.loads(done.stdout)
        results += [Result(f"{name}: lateness, {key}", value, "ms") for key, value in figures.items()]
    return results


if __name__ == "__main__":
    asyncio.run(lateness(bool(int(sys.argv[1])), int(sys.argv[2])))
