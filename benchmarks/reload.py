"""Hot reload: 10,000 agents of one class move to new code, each migrated, while others are asked all the time. How long it
takes, how long the agents pause, and how much later the others answer meanwhile.

By the clock, on a node in this process. Messages are cast to the agents throughout; each must be handled once.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import Result, at_most, median
from observe.runtime import Agent, Node

AGENTS = 10_000
ROUNDS = 5

TEXT = """
from observe.runtime import Agent

class Session(Agent):
    def init(self):
        self.seen = []

    def handle(self, message):
        self.seen.append(message)

    @classmethod
    def migrate(cls, old_version, state):
        return state | {"version": old_version}
"""


class Other(Agent):
    """Answers at once."""

    def handle(self, message: Any) -> Any:
        return message


async def ask(ref: Any, took: list[float], stop: asyncio.Event) -> None:
    """Ask again and again, a thousand times a second at most."""
    while not stop.is_set():
        began = time.perf_counter()
        await ref.call(1)
        took.append(time.perf_counter() - began)
        await asyncio.sleep(0.001)


def change(path: Path, number: int) -> None:
    """Another text, that does the same."""
    path.write_text(TEXT + f"\n# {number}\n")


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def reloads(path: Path) -> list[Result]:
    module = importlib.import_module("reload_bench")
    async with Node("bench-reload", rare_full_gc=True) as node:
        refs = [await node.spawn(module.Session) for _ in range(AGENTS)]
        other = await node.spawn(Other)
        quiet: list[float] = []
        stop = asyncio.Event()
        asking = asyncio.ensure_future(ask(other, quiet, stop))
        await asyncio.sleep(1.0)
        stop.set()
        await asking
        took: list[float] = []
        paused: list[float] = []
        meanwhile: list[float] = []
        for number in range(ROUNDS):
            change(path, number)
            for ref in refs:
                ref.cast(number)
            stop = asyncio.Event()
            asking = asyncio.ensure_future(ask(other, meanwhile, stop))
            began = time.perf_counter()
            done = await node.reloader.reload(["reload_bench"])
            took.append(time.perf_counter() - began)
            paused.append(done.paused_s)
            assert done.migrated == AGENTS
            stop.set()
            await asking
        await asyncio.sleep(0.2)
        wrong = sum(vars(node.agents[ref.pid])["seen"] != list(range(ROUNDS)) for ref in refs)
    added = percentile(meanwhile, 0.99) - median(quiet)
    return [
        at_most(
            f"{AGENTS:,} agents to new code, migrated",
            median(took),
            "s",
            1,
            note=f"they paused for {median(paused):.3f} s",
        ),
        at_most(
            "others, added latency, p99", 1000 * added, "ms", 10, note=f"{len(meanwhile)} calls meanwhile"
        ),
        at_most("agents with a message lost or handled twice", wrong, "", 0),
    ]


def run() -> list[Result]:
    """Entry point for `python -m benchmarks reload`."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "reload_bench.py"
        path.write_text(TEXT)
        sys.path.insert(0, place)
        try:
            return asyncio.run(reloads(path))
        finally:
            sys.path.remove(place)
            sys.modules.pop("reload_bench", None)
