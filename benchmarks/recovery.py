"""From `kill -9` of a service with 10,000 checkpointed agents to the moment when its successor has all of them back.

A static tree and a dynamic one; every agent has answered since its last checkpoint, and says afterwards what it had said
before.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import Result, child_argv
from observe.runtime import Agent, ChildSpec, DynamicSupervisor, Node, SQLiteStore, Supervisor

AGENTS = 10_000
TIMEOUT_S = 300.0


class Session(Agent):
    """An agent as they are: a few turns of a conversation."""

    def init(self, customer: str = "") -> None:
        self.customer = customer
        self.turns: list[str] = []

    def handle(self, message: str) -> int:
        if message != "how many?":
            self.turns.append(message)
        return len(self.turns)


async def serve(path: str, kind: str) -> None:
    """The service: says `back SECONDS TURNS` when its tree stands, `ready` when each has handled one more turn."""
    began = time.perf_counter()
    async with Node("bench", store=SQLiteStore(path, durability="process")) as node:
        options: dict[str, Any] = {"restore": True, "checkpoint": "each_message"}
        names = [f"session-{number}" for number in range(AGENTS)]
        if kind == "static":
            specs = [ChildSpec(Session, (name,), name=name, **options) for name in names]
            await node.spawn(Supervisor, specs, name="sessions")
        else:
            sessions = await node.spawn(DynamicSupervisor, ChildSpec(Session, **options), name="sessions")
        back_s = time.perf_counter() - began
        back = sum(node.whereis(name) is not None for name in names)
        if kind == "dynamic" and back == 0:
            await asyncio.gather(*(sessions.start_child(name, name=name) for name in names))
        turns = sum(await asyncio.gather(*(node.ref(name).call("how many?", timeout=None) for name in names)))
        print(json.dumps({"back_s": back_s, "back": back, "turns": turns}), flush=True)
        await asyncio.gather(*(node.ref(name).call("a turn of some length", timeout=None) for name in names))
        print("ready", flush=True)
        await asyncio.sleep(TIMEOUT_S)


def _life(path: Path, kind: str) -> tuple[dict[str, Any], float]:
    """Start the service and kill it when it is ready: what it said, and seconds from its start to that."""
    began = time.perf_counter()
    service = subprocess.Popen(
        child_argv("benchmarks.recovery", str(path), kind), stdout=subprocess.PIPE, text=True
    )
    try:
        assert service.stdout is not None
        said: dict[str, Any] = json.loads(service.stdout.readline())
        took_s = time.perf_counter() - began
        if service.stdout.readline() != "ready\n":
            raise RuntimeError("the service has ended by itself")
    finally:
        service.send_signal(signal.SIGKILL)
        service.communicate(timeout=TIMEOUT_S)
    return said, took_s


def run() -> list[Result]:
    """Entry point for `python -m benchmarks recovery`, by the wall clock."""
    results: list[Result] = []
    for kind in ("static", "dynamic"):
        with tempfile.TemporaryDirectory(prefix="observe-benchmark-") as folder:
            path = Path(folder) / "agents.db"
            _life(path, kind)
            said, took_s = _life(path, kind)
        if (said["back"], said["turns"]) != (AGENTS, AGENTS):
            raise RuntimeError(
                f"{said['back']:,} agents came back with {said['turns']:,} turns, not {AGENTS:,}"
            )
        text = f"{AGENTS:,} agents, {kind} tree"
        results += [
            Result(
                f"start of the process to all back, {text}", took_s, "s", note="Python's own start included"
            ),
            Result(f"of that, start of the node to all back, {text}", said["back_s"], "s"),
            Result(f"an agent back, {text}", said["back_s"] / AGENTS * 1e6, "us"),
        ]
    return results


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2]))
