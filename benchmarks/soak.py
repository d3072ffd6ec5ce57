"""A soak: agents crash, start and end, messages flow, consoles come, watch, freeze, are killed and go, canaries are made and traced,
trace sessions of every kind of event begin and end, in order or by their client's going away.
At the end memory, file descriptors, threads and tasks must be as they were after the first while.

    python -m benchmarks soak                  # five minutes
    OBSERVE_SOAK_S=14400 python -m benchmarks soak

Each figure is the growth from the second quarter to the last: what is filled once (buffers of crashes, events, history of the vital
signs) is full by then. In runs of less than half an hour what is kept for ten minutes is not: the history of the vital signs, 1.5 MB,
and commands that were carried out, 2 kB each.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.measure import Result, at_most, child_argv, median
from observe.probe import Probe, connect
from observe.probe.client import NodeClient
from observe.probe.errors import ProbeError
from observe.probe.wire_table import Query
from observe.probe.wire_traces import Kind
from observe.runtime import Agent, Budget, ChildSpec, Node, Supervisor

SECONDS: Final = float(os.environ.get("OBSERVE_SOAK_S", "300"))
NAME: Final = "bench-soak"
AGENTS: Final = 2_000
ONE_CONSOLE_S: Final = 20.0
"""A whole console is started in a terminal about so often; it takes a second of processor time."""


class Session(Agent):
    """Works, uses a tool, crashes now and then, all as it is told."""

    def init(self) -> None:
        self.turns = 0

    async def handle(self, message: Any) -> Any:
        self.turns += 1
        if message == "crash":
            raise ValueError(f"turn {self.turns}")
        if message == "tool":
            async with self.activity("tool:search", query=self.turns):
                await asyncio.sleep(0.01)
        return self.turns


async def serve() -> None:
    """The service: it does its work until it is killed."""
    dice = random.Random(1)
    async with Node(NAME) as node, Probe(node):
        supervisor = await node.spawn(Supervisor, [], name="sessions", intensity=10**6, period_s=1.0)
        budget = Budget(tool_calls=10**9, same_call=10**9)
        for number in range(AGENTS):
            spec = ChildSpec(Session, name=f"session-{number}", budget=budget if number % 10 == 0 else None)
            await supervisor.start_child(spec)
        print(json.dumps({"pid": os.getpid()}), flush=True)
        while True:
            for number in dice.sample(range(AGENTS), 100):
                node.ref(f"session-{number}").cast(dice.choice(["turn"] * 20 + ["tool"] * 4 + ["crash"]))
            for _ in range(5):  # some live for a moment only
                ref = await supervisor.start_child(ChildSpec(Session, restart="temporary"))
                ref.cast("turn")
                asyncio.get_running_loop().call_later(dice.random(), ref.exit, "shutdown")
            node.ref("nobody").cast("anyone?")
            await asyncio.sleep(0.05)


async def visit(dice: random.Random) -> int:
    """One client: it looks at things, watches for a while, traces, and goes, in order or not. Returns the traced events."""
    async with connect(NAME, timeout_s=20.0) as node:
        await node.agents(
            sort=dice.choice(["reductions", "name", "mailbox"]), filter=dice.choice(["", "session-1"])
        )
        await node.tree(depth=2)
        await node.crashes(limit=10)
        await node.findings()
        with contextlib.suppress(ProbeError):  # it may have crashed meanwhile
            await node.inspect(f"session-{dice.randrange(AGENTS)}")
        watches: list[Any] = [
            await node.watch_agents(Query(sort="handled"), interval_s=0.1),
            await node.watch_vitals(interval_s=0.1),
            await node.watch_events(interval_s=0.1),
        ]
        for watch in watches:
            for _ in range(3):
                await anext(watch)
        traced = await trace(node, dice)
        if dice.random() < 0.5:
            for watch in watches:
                await watch.close()
        return traced


async def trace(node: NodeClient, dice: random.Random) -> int:
    """One trace session: it ends by its bounds, is ended, or is left behind. Returns how many events came."""
    selector = dice.choice(
        ["class:Session", "session-1*", "under:sessions", f"session-{dice.randrange(AGENTS)}"]
    )
    events: list[Kind] = dice.sample(
        ["receive", "handled", "state", "crash", "restart", "activity", "spawn", "exit"], 4
    )
    where = dice.choice(["", 'message == "turn"', 'kind == "crash" or size > 2'])
    try:
        session = await node.trace(selector, events=events, where=where, count=200, for_s=2.0, rate=500.0)
    except ProbeError:  # eight at one time, or an agent that has just crashed
        return 0
    came, most = 0, dice.choice([1, 50, 1000])
    async for push in session:
        came += len(push.data.events)
        if came >= most:
            break
    if dice.random() < 0.5:
        await session.close()
    return came


async def come_and_go(dice: random.Random, until: float, counts: dict[str, int]) -> None:
    while time.monotonic() < until:
        traced = await visit(dice)
        counts["clients"] += 1
        counts["sessions"] += traced > 0
        counts["traced"] += traced


async def consoles(until: float, counts: dict[str, int]) -> None:
    """A console in a terminal: frozen for a while, then killed. Beside it a canary, which is spawned, traced and killed."""
    import pexpect

    observe = str(Path(sys.executable).with_name("observe"))
    while time.monotonic() < until:
        console = pexpect.spawn(observe, ["attach", NAME], dimensions=(50, 160), encoding="utf-8")
        await asyncio.sleep(3)
        os.kill(console.pid, signal.SIGSTOP)
        await asyncio.sleep(2)
        console.close(force=True)
        counts["consoles"] += 1
        doctor = await asyncio.create_subprocess_exec(
            observe, "doctor", NAME, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        counts["canaries"] += await doctor.wait() == 0
        await asyncio.sleep(ONE_CONSOLE_S - 5)


def measure(service: psutil.Process, probe: psutil.Process) -> dict[str, float]:
    figures: dict[str, float] = {}
    for label, process in (("service", service), ("probe", probe)):
        with process.oneshot():
            figures[f"{label}: memory (kB)"] = process.memory_info().rss / 1000
            figures[f"{label}: file descriptors"] = process.num_fds()
            figures[f"{label}: threads"] = process.num_threads()
    return figures


async def follow(
    service: psutil.Process, probe: psutil.Process, until: float, into: list[dict[str, float]]
) -> None:
    """Measure once a second."""
    async with connect(NAME, timeout_s=20.0) as node:
        watch = await node.watch_vitals(interval_s=1.0)
        async for push in watch:
            figures = measure(service, probe)
            figures["service: agents"] = push.data.agents
            figures["probe: lag (ms)"] = 1000 * max(0.0, time.time() - push.data.at)
            with contextlib.suppress(ProbeError):  # on a busy machine it may get no processor for seconds
                into.append(figures | {"service: tasks": float((await node.tasks(limit=1)).total)})
            if time.monotonic() > until:
                return


async def soak(service_pid: int) -> tuple[list[dict[str, float]], dict[str, int], int]:
    service = psutil.Process(service_pid)
    (probe,) = [child for child in service.children() if "observe.probe.process" in child.cmdline()]
    until = time.monotonic() + SECONDS
    counts = dict.fromkeys(("clients", "consoles", "canaries", "sessions", "traced"), 0)
    samples: list[dict[str, float]] = []
    visitors = [come_and_go(random.Random(number), until, counts) for number in range(3)]
    await asyncio.gather(follow(service, probe, until, samples), consoles(until, counts), *visitors)
    async with connect(NAME, timeout_s=20.0) as node:
        crashes = (await node.crashes(limit=1)).total
    assert probe.is_running()
    return samples, counts, crashes


ALLOWED: Final = {"memory (kB)": 4_000, "file descriptors": 3, "threads": 1, "agents": 20, "tasks": 20}
"""By how much the last quarter may lie above the second: noise, and the history of the vital signs."""


def run() -> list[Result]:
    """Entry point for `python -m benchmarks soak`."""
    child = subprocess.Popen(child_argv("benchmarks.soak", "serve"), stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        pid = json.loads(child.stdout.readline())["pid"]
        samples, counts, crashes = asyncio.run(soak(pid))
    finally:
        child.kill()
        child.wait()
    quarter = len(samples) // 4
    results = [
        Result("seconds", SECONDS, "s"),
        Result("clients that came and went", counts["clients"], "clients"),
        Result("consoles that were killed", counts["consoles"], "consoles"),
        Result("canaries that were seen to live and die", counts["canaries"], "canaries"),
        Result("trace sessions that told something", counts["sessions"], "sessions"),
        Result("events of trace sessions", counts["traced"], "events"),
        Result("crashes", crashes, "crashes"),
    ]
    for name in samples[0]:
        early = median([one[name] for one in samples[quarter : 2 * quarter]])
        late = median([one[name] for one in samples[-quarter:]])
        most = next((most for part, most in ALLOWED.items() if name.endswith(part)), None)
        note = f"{early:,.0f} then, {late:,.0f} at the end"
        if most is None:
            results.append(Result(f"growth, {name}", late - early, "", note=note))
        else:
            results.append(at_most(f"growth, {name}", late - early, "", most, note))
    return results


if __name__ == "__main__":
    asyncio.run(serve())
