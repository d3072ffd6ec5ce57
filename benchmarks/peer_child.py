"""One Python runtime's figures, in a process of its own: `python -m benchmarks.peer_child NAME`.

Prints one line of JSON: casts and calls a second, one to one; or, of a million agents started under one supervisor of which
each handles one message, the spawns a second, the bytes each, and the seconds that all of it took.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.agents import Idle
from benchmarks.measure import best_rate, resident_bytes
from benchmarks.messages import Async, Sync, calls, calls_between_agents, one_to_one
from observe.runtime import ChildSpec, DynamicSupervisor, Node, Supervisor
from observe.runtime.testing import settled

REPEAT = 7
MILLION = 1_000_000


async def ours() -> dict[str, float]:
    """This runtime. A `def` handler is the counterpart of a gen_server's callback, which cannot wait either."""
    async with Node("bench") as node:
        return {
            "cast": await one_to_one(node, Sync),
            "call": await calls_between_agents(node, Sync),
            "call_from_asyncio": await calls(node, Sync),
            "cast_async": await one_to_one(node, Async),
            "call_async": await calls_between_agents(node, Async),
            "call_from_asyncio_async": await calls(node, Async),
        }


async def ours_agents(kind: str, rare_full_gc: bool | None) -> dict[str, float]:
    """A million agents under one supervisor, and one message to each."""
    async with Node("bench", rare_full_gc=rare_full_gc) as node:
        gc.collect()
        before = resident_bytes()
        began = time.process_time()
        if kind == "one_for_one":
            supervisor = await node.spawn(Supervisor, [])
            spec = ChildSpec(Counts)
            refs = [await supervisor.start_child(spec) for _ in range(MILLION)]
        else:
            supervisor = await node.spawn(DynamicSupervisor, ChildSpec(Counts))
            refs = [await supervisor.start_child() for _ in range(MILLION)]
        spawned = time.process_time()
        for ref in refs:
            ref.cast(1)
        await settled(node)
        handled = time.process_time()
        if node.snapshot_vitals().handled < MILLION:
            raise RuntimeError("not every agent has handled its message")
        del refs
        gc.collect()
        figures = {
            "spawn": MILLION / (spawned - began),
            "all": handled - began,
            "bytes": (resident_bytes() - before) / MILLION,
        }
        supervisor.exit("killed")
        return figures


class Counts(Idle):
    """An idle agent that counts what it handles, as the peers' do."""

    def handle(self, message: Any) -> Any:
        self.count += 1
        return message


async def plain_asyncio() -> dict[str, float]:
    """A task and an `asyncio.Queue` each; a call takes a future along. What one writes without a library."""
    queue: asyncio.Queue[tuple[int, asyncio.Future[int] | None]] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    count = 0

    async def agent() -> None:
        nonlocal count
        while True:
            message, reply = await queue.get()
            count += 1
            if reply is not None:
                reply.set_result(message)

    async def call(message: int) -> int:
        reply = loop.create_future()
        queue.put_nowait((message, reply))
        return int(await reply)

    async def casts() -> None:
        for number in range(50_000):
            queue.put_nowait((number, None))
        await call(0)

    async def round_trips() -> None:
        for number in range(10_000):
            await call(number)

    task = asyncio.create_task(agent())
    try:
        return {
            "cast": await best_rate(50_000, casts, REPEAT),
            "call": await best_rate(10_000, round_trips, REPEAT),
        }
    finally:
        task.cancel()


async def pykka() -> dict[str, float]:
    """An actor in a thread."""
    library = importlib.import_module("pykka")

    class Actor(library.ThreadingActor):  # type: ignore[misc, name-defined]  # a peer that may be missing
        count = 0

        def on_receive(self, message: int) -> int:
            self.count += 1
            return message

    ref = Actor.start()

    async def casts() -> None:
        for number in range(20_000):
            ref.tell(number)
        ref.ask(0)

    async def round_trips() -> None:
        for number in range(2_000):
            ref.ask(number)

    try:
        return {
            "cast": await best_rate(20_000, casts, REPEAT),
            "call": await best_rate(2_000, round_trips, REPEAT),
        }
    finally:
        ref.stop()


async def xoscar() -> dict[str, float]:
    """An actor in the main pool, so in this process."""
    library = importlib.import_module("xoscar")

    class Actor(library.Actor):  # type: ignore[misc, name-defined]  # a peer that may be missing
        def __init__(self) -> None:
            super().__init__()
            self.count = 0

        async def tell(self, message: int) -> int:
            self.count += 1
            return message

    pool = await library.create_actor_pool("127.0.0.1:0", n_process=0)
    try:
        ref = await library.create_actor(Actor, address=pool.external_address, uid="bench")

        async def casts() -> None:
            for number in range(2_000):
                await ref.tell.send(number)
            await ref.tell(0)

        async def round_trips() -> None:
            for number in range(2_000):
                await ref.tell(number)

        return {
            "cast": await best_rate(2_000, casts, REPEAT),
            "call": await best_rate(2_000, round_trips, REPEAT),
        }
    finally:
        await pool.stop()


async def thespian() -> dict[str, float]:
    """Its synchronous system, in this process: the quickest it has."""
    library = importlib.import_module("thespian.actors")

    class Counter(library.Actor):  # type: ignore[misc, name-defined]  # a peer that may be missing
        count = 0

        def receiveMessage(self, message: Any, sender: Any) -> None:  # its name
            self.count += 1
            if message is None or type(message) is tuple:
                self.send(sender, message)

    system = library.ActorSystem("simpleSystemBase")
    try:
        ref = system.createActor(Counter)

        async def casts() -> None:
            for number in range(10_000):
                system.tell(ref, number)
            system.ask(ref, (0,))

        async def round_trips() -> None:
            for number in range(5_000):
                system.ask(ref, (number,))

        return {
            "cast": await best_rate(10_000, casts, REPEAT),
            "call": await best_rate(5_000, round_trips, REPEAT),
        }
    finally:
        system.shutdown()


PEERS: dict[str, Callable[[], Awaitable[dict[str, float]]]] = {
    "ours": ours,
    "asyncio": plain_asyncio,
    "pykka": pykka,
    "xoscar": xoscar,
    "thespian": thespian,
    "one_for_one": lambda: ours_agents("one_for_one", None),
    "one_for_one_rare": lambda: ours_agents("one_for_one", True),
    "dynamic": lambda: ours_agents("dynamic", None),
    "dynamic_rare": lambda: ours_agents("dynamic", True),
}


async def _main(name: str) -> None:
    print(json.dumps(await PEERS[name]()), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
