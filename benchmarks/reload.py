"""Hot reload: 10,000 agents of one class move to new code, each migrated, while others are asked all the time. How long it
takes, how long the agents pause, and how much later the others answer meanwhile than while there are as many messages and no reload.

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
ROUNDS = 25
"""Some ten calls are under way during one reload: so many that their 99th percentile is one."""

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


async def ask(ref: Any, took: list[tuple[float, float]], stop: asyncio.Event) -> None:
    """Ask again and again, a thousand times a second at most. Both by the clock and by the processor time of this thread: what
    others on the machine take of it is nothing that a reload adds."""
    while not stop.is_set():
        began, spent = time.perf_counter(), time.thread_time()
        await ref.call(1)
        took.append((time.perf_counter() - began, time.thread_time() - spent))
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
        quiet: list[tuple[float, float]] = []
        stop = asyncio.Event()
        asking = asyncio.ensure_future(ask(other, quiet, stop))
        for number in range(ROUNDS):  # the same messages, and no reload
            for ref in refs:
                ref.cast(number)
            await asyncio.sleep(0.04)
        stop.set()
        await asking
        took: list[float] = []
        paused: list[float] = []
        meanwhile: list[tuple[float, float]] = []
        for number in range(ROUNDS, 2 * ROUNDS):
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
        wrong = sum(vars(node.agents[ref.pid])["seen"] != list(range(2 * ROUNDS)) for ref in refs)
    added, spent = (
        percentile([one[by] for one in meanwhile], 0.99) - percentile([one[by] for one in quiet], 0.99)
        for by in (0, 1)
    )
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
        at_most("the same, of processor time", 1000 * spent, "ms", 10, note="without what others took of it"),
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
