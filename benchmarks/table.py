"""The agents table at 1,000,000 agents: attach, sort, filter, watch, and what being observed costs a node of that size.

The service runs in a process of its own, its probe in another; questions are asked over the wire as a console asks them,
and timed there. What is asked: a sort by every column in both directions, and filters by a part of a name, by class,
status, supervisor and comparison, each again and again, while 10,000 of the agents are busy and a console watches. The
text of each filter is a new one each time, so that no answer is one that has been given before.

What observation costs is told by the processor time that the service takes for a message, with the probe and a console
and without it, in turns; and by the probe's own processor time, which is another core's.

    python -m benchmarks table          # OBSERVE_BENCH_AGENTS=100000 for fewer
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import Result, at_most, child_argv, median
from observe.probe import Probe
from observe.probe.wire_table import COLUMNS, Query
from observe.runtime import Agent, ChildSpec, Node, Ref, Supervisor
from observe.runtime.testing import settled

AGENTS = int(os.environ.get("OBSERVE_BENCH_AGENTS", "1000000"))
GROUPS = 100
BUSY = 10_000
ROUND_S = 2.0
PAIRS = 3
TIMES = 6
ATTACHES = 5
NAME = "bench-table"


class Session(Agent):
    """One of many."""

    def init(self) -> None:
        self.turns = 0

    async def handle(self, message: Any) -> None:
        self.turns += sum(range(2_000)) > 0


class Cart(Session):
    """Another class."""


# -- the service --------------------------------------------------------------------------------------------------------


async def serve() -> None:
    """Does what it is told on stdin, line by line, and answers with JSON."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with Node(NAME, rare_full_gc=True) as node:
        refs: list[Ref] = []
        began = time.perf_counter()
        for group in range(GROUPS):
            supervisor = await node.spawn(Supervisor, [], name=f"group-{group:03}")
            for number in range(AGENTS // GROUPS):
                kind = Cart if number % 3 == 0 else Session
                spec = ChildSpec(kind, name=f"session-{group:03}-{number:05}")
                refs.append(await supervisor.start_child(spec))
        busy = refs[:: max(1, len(refs) // BUSY)]
        say(spawn_s=time.perf_counter() - began)
        probe: Probe | None = None
        load: asyncio.Task[None] | None = None
        while line := (await reader.readline()).decode().strip():
            if line == "probe":
                probe = await Probe(node).start()
                say(**probe.statistics())
            elif line == "statistics":
                say(**(probe.statistics() if probe is not None else {}))
            elif line == "stop" and probe is not None:
                await probe.stop()
                say()
            elif line == "load":
                load = asyncio.create_task(trickle(busy))
                say()
            elif line == "rest" and load is not None:
                load.cancel()
                say()
            elif line == "round":
                say(**await work(node, busy))
            elif line == "idle":
                cpu = time.process_time()
                await asyncio.sleep(ROUND_S)
                say(cpu=(time.process_time() - cpu) / ROUND_S)


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


async def trickle(refs: list[Ref]) -> None:
    """Some work all the time, so that the table changes; about a tenth of a core."""
    while True:
        for ref in refs[::10]:
            ref.cast("turn")
        refs = refs[1:] + refs[:1]
        await asyncio.sleep(0.5)


async def work(node: Node, refs: list[Ref]) -> dict[str, float]:
    """Messages a second, by the clock and by processor time, with the loop having its turn between bursts."""
    began, cpu, sent = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < ROUND_S:
        for ref in refs:
            ref.cast("turn")
        await settled(node)
        sent += len(refs)
    return {
        "rate": sent / (time.perf_counter() - began),
        "cpu_rate": sent / (time.process_time() - cpu),
    }


class Service:
    """The other end of its stdin and stdout."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            child_argv("benchmarks.table", "serve"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.facts = self.read()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        facts: dict[str, Any] = json.loads(self.process.stdout.readline())
        return facts

    def do(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.read()


# -- questions ----------------------------------------------------------------------------------------------------------


def questions(time_of: int) -> Iterator[tuple[str, Query]]:
    """What a console asks, by kind."""
    for column in COLUMNS:
        for descending in (True, False):
            yield f"sort by {column}", Query(sort=column, descending=descending)
    yield "next page", Query(sort="reductions", offset=AGENTS // 2)
    for kind, text in (
        ("name, few", f"-{time_of:03}-00"),
        ("name, many", f"n-0{time_of % 10}"),
        ("name, all", "session"),
        ("name, letter by letter", f"sess{'ion-0'[: time_of % 5]}"),
        ("class", "class=Cart"),
        ("status", "status=idle"),
        ("supervisor", f"supervisor=group-{time_of:03}"),
        ("column > value", f"handled>{time_of}"),
        ("several", f"class=Session handled>{time_of} name~-{time_of:03}- -status=waiting"),
    ):
        yield f"filter: {kind}", Query(filter=text)
        yield f"filter and sort by name: {kind}", Query(filter=text, sort="name", descending=False)


async def ask() -> dict[str, Any]:
    """Times of all questions, in milliseconds by kind, and of a watch's pushes."""
    from observe.probe.client import connect

    times: dict[str, list[float]] = {}
    first: dict[str, float] = {}
    async with connect(NAME, timeout_s=30.0) as node:
        for time_of in range(TIMES):
            for kind, query in questions(time_of):
                began = time.perf_counter()
                await node.agents(query)
                took_ms = 1000 * (time.perf_counter() - began)
                first.setdefault(kind, took_ms)
                times.setdefault(kind, []).append(took_ms)
        began, pushes = time.perf_counter(), 0
        async for _ in await node.watch_agents(Query(sort="handled", filter="class=Cart"), interval_s=0.5):
            pushes += 1
            if time.perf_counter() - began > 10:
                break
        return {"times": times, "first": first, "pushes_s": pushes / (time.perf_counter() - began)}


async def wait_for_all() -> float:
    """Until the probe's table holds every agent; seconds."""
    from observe.probe.client import connect

    began = time.perf_counter()
    async with connect(NAME, timeout_s=60.0) as node:
        async for push in await node.watch_vitals(interval_s=0.1):
            if push.data.agents >= AGENTS:
                break
    return time.perf_counter() - began


async def watch() -> None:
    """The console's part: fifty rows and the vital signs, twice a second."""
    from observe.probe.client import connect

    async with connect(NAME, timeout_s=30.0) as node:
        agents = await node.watch_agents(Query(sort="reductions", limit=50), interval_s=0.5)
        vitals = await node.watch_vitals(interval_s=0.5)
        print("watching", flush=True)

        async def follow(pushes: Any) -> None:
            async for _ in pushes:
                pass

        await asyncio.gather(follow(agents), follow(vitals))


def first_row_s() -> float:
    """Seconds from starting the command to the first row on its screen."""
    import pexpect

    began = time.perf_counter()
    console = pexpect.spawn(
        str(Path(sys.executable).with_name("observe")),
        ["attach", NAME, "--screen", "agents"],
        dimensions=(50, 200),
        encoding="utf-8",
    )
    try:
        console.expect("Session|Cart", timeout=60)
        return time.perf_counter() - began
    finally:
        console.close(force=True)


def cpu_of(pid: int) -> float:
    import psutil

    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


def compare(service: Service) -> list[Result]:
    """What observation costs, in turns."""
    costs, probe_use, idle = [], [], []
    for _ in range(PAIRS):
        plain = service.do("round")
        resting = service.do("idle")["cpu"]
        pid = service.do("probe")["probe_pid"]
        asyncio.run(wait_for_all())
        time.sleep(5)  # the sweep, and what it leaves to be cleared up, is a matter of once
        before = cpu_of(pid)
        quiet = service.do("idle")["cpu"]
        idle.append((quiet - resting, (cpu_of(pid) - before) / ROUND_S))
        watcher = subprocess.Popen(child_argv("benchmarks.table", "watch"), stdout=subprocess.PIPE, text=True)
        assert watcher.stdout is not None
        watcher.stdout.readline()
        began, before = time.perf_counter(), cpu_of(pid)
        observed = service.do("round")
        probe_use.append((cpu_of(pid) - before) / (time.perf_counter() - began))
        costs.append(1 - observed["cpu_rate"] / plain["cpu_rate"])
        watcher.kill()
        watcher.wait()
        service.do("stop")
    return [
        at_most("the service, watched twice a second", 100 * median(costs), "% of processor time", 5),
        Result("the probe meanwhile, on another core", 100 * median(probe_use), "% of a core"),
        at_most("the service, idle and unwatched", 100 * median([one for one, _ in idle]), "% of a core", 1),
        Result("the probe meanwhile", 100 * median([one for _, one in idle]), "% of a core"),
    ]


def run() -> list[Result]:
    """Entry point for `python -m benchmarks table`."""
    service = Service()
    try:
        results = compare(service)
        began = time.perf_counter()
        service.do("probe")
        asyncio.run(wait_for_all())
        results.append(Result("start a probe until it has all", time.perf_counter() - began, "s"))
        service.do("load")
        painted = [first_row_s() for _ in range(ATTACHES)]
        results.append(at_most("attach until a row is painted", median(painted), "s", 1))
        asked = asyncio.run(ask())
        every = sorted(took for kind in asked["times"].values() for took in kind)
        p99 = every[int(0.99 * len(every))]
        results += [
            at_most(f"a page, of {len(every):,} questions of all kinds, p99", p99, "ms", 100),
            Result("the same, the middle one", median(every), "ms"),
        ]
        worst = sorted(asked["times"], key=lambda kind: -max(asked["times"][kind]))
        for kind in worst[:6]:
            results.append(
                Result(
                    f"slowest: {kind}",
                    max(asked["times"][kind]),
                    "ms",
                    note=f"first {asked['first'][kind]:,.0f}",
                )
            )
        results.append(Result("a watch of twice a second gets", asked["pushes_s"], "pushes/s"))
        turn_ms = service.do("statistics")["longest_turn_us"] / 1000
        results.append(Result("longest turn of telemetry on the service's loop", turn_ms, "ms"))
        return results
    finally:
        service.process.kill()
        service.process.wait()


if __name__ == "__main__":
    asyncio.run(serve() if sys.argv[1] == "serve" else watch())
