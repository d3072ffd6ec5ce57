"""Lateness of 10,000 agents that tick every 100 ms, beside agents that compute without end.

Each case runs in a process of its own, because without preemption it does not come back.
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
from observe.runtime import Agent, Node

AGENTS = 10_000
PERIOD_S = 0.1
RUN_S = 5.0
CHILD_TIMEOUT_S = 60.0

CASES: tuple[tuple[str, bool, int], ...] = (
    ("nobody spins, no preemption", False, 0),
    ("nobody spins", True, 0),
    ("1 endless loop", True, 1),
    ("10 endless loops", True, 10),
    ("1 endless loop, no preemption", False, 1),
)


class Ticks(Agent):
    """Notes how late its tick is."""

    late_ns: list[int] = []

    def handle(self, due_ns: int) -> None:
        self.late_ns.append(time.monotonic_ns() - due_ns)


class Spins(Agent):
    """Computes without end."""

    def handle(self, message: Any) -> None:
        number = 0
        while True:
            number += 1


async def measure(preempt: bool, spinners: int) -> dict[str, float]:
    """Lateness in milliseconds, and how many of the ticks that were due have been handled."""
    async with Node("fair", preempt=preempt, watchdog_s=None) as node:
        loop = asyncio.get_running_loop()
        refs = [await node.spawn(Ticks) for _ in range(AGENTS)]
        spinning = [await node.spawn(Spins, shutdown_s=0.1) for _ in range(spinners)]
        gc.collect()
        gc.freeze()
        # A hundredth of the agents is due at each millisecond.
        batch = AGENTS // 100
        began = time.monotonic_ns() + 50_000_000
        for ref in spinning:
            loop.call_at(began / 1e9 + 1.0, ref.cast, 1)
        sent = 0
        while sent < RUN_S * 1000:
            now = time.monotonic_ns()
            while sent < RUN_S * 1000 and began + sent * 1_000_000 <= now:
                due = began + sent * 1_000_000
                first = sent % 100 * batch
                for ref in refs[first : first + batch]:
                    ref.cast(due)
                sent += 1
            await asyncio.sleep(max(0.0, (began + sent * 1_000_000 - time.monotonic_ns()) / 1e9))
        await asyncio.sleep(0.1)
        late = sorted(Ticks.late_ns)
        used_ms = sum(node.agents[ref.pid]._o_busy_ns for ref in spinning) / 1e6
        for ref in spinning:
            ref.exit("killed")
        return {
            "p50": late[len(late) // 2] / 1e6,
            "p99": late[len(late) * 99 // 100] / 1e6,
            "max": late[-1] / 1e6,
            "handled": len(late) / (RUN_S / PERIOD_S * AGENTS),
            "spinners_share": used_ms / ((RUN_S - 1) * 1000),
        }


def run() -> list[Result]:
    """Entry point for `python -m benchmarks fairness`."""
    results: list[Result] = []
    for name, preempt, spinners in CASES:
        timeout_s = CHILD_TIMEOUT_S if preempt or not spinners else RUN_S + 5
        try:
            done = subprocess.run(
                child_argv("benchmarks.fairness", str(int(preempt)), str(spinners)),
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=True,
            )
        except subprocess.TimeoutExpired:
            results.append(
                Result(
                    name, float("inf"), "ms", note=f"never: no tick was handled again within {timeout_s:g} s"
                )
            )
            continue
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip().splitlines() or ["no message"])[-1]
            results.append(Result(name, float("nan"), "ms", note=f"could not run: {last}"))
            continue
        figures = json.loads(done.stdout)
        note = f"{figures['handled']:.1%} of the ticks handled"
        if spinners:
            note += f", {figures['spinners_share']:.0%} of a core for the loops"
        results.append(Result(f"{name}, p50", figures["p50"], "ms", note=note))
        if spinners:
            results.append(at_most(f"{name}, p99", figures["p99"], "ms", 5))
            results.append(at_most(f"{name}, max", figures["max"], "ms", 20))
        else:
            results.append(Result(f"{name}, p99", figures["p99"], "ms"))
            results.append(Result(f"{name}, max", figures["max"], "ms"))
    return results


def main() -> None:
    """One case, in a child: `python -m benchmarks.fairness PREEMPT SPINNERS`."""
    json.dump(asyncio.run(measure(bool(int(sys.argv[1])), int(sys.argv[2]))), sys.stdout)


if __name__ == "__main__":
    main()
