"""A real service with a real probe, in a process of its own. Started by `live.LiveService`; does what it reads on stdin."""

from __future__ import annotations

import asyncio
import atexit
import gc
import json
import os
import socket
import sys
import threading
import time
from typing import Any

from observe.probe import Probe, askers
from observe.runtime import Agent, ChildSpec, Node, Supervisor


class Raises:
    def __repr__(self) -> str:
        raise RuntimeError("no repr today")


class TenMegabytes:
    def __repr__(self) -> str:
        return "m" * 10_000_000


class Nasty(Agent):
    """Holds what cannot be encoded. The second line of this docstring is not shown."""

    def init(self) -> None:
        self.connection = socket.socket()
        self.lock = threading.Lock()
        self.cycle: dict[str, Any] = {}
        self.cycle["self"] = self.cycle
        self.raises = Raises()
        self.huge = TenMegabytes()
        self.api_key = "sk-hunter22hunter22hunter22"
        self.numbers = list(range(1_000_000))
        self.text = "x" * 10_000_000

    def terminate(self, reason: object) -> None:
        self.connection.close()


class Waiter(Agent):
    """Waits in a named activity."""

    def init(self, number: int = 0) -> None:
        self.number = number
        self.done = 0

    async def handle(self, message: Any) -> Any:
        if message == "crash":
            raise ValueError("asked to")
        if message == "count":
            self.done += 1
            return self.done
        async with self.activity("tool:search", query="mug"):
            await wait_inside(float(message))
        return None


async def wait_inside(seconds: float) -> None:
    """Stands in the stack of a waiting agent."""
    await asyncio.sleep(seconds)


class Holder(Agent):
    """Holds the scheduler, in Python or in C."""

    def handle(self, message: Any) -> None:
        kind, amount = message
        if kind == "python":
            spin_in_python(amount)
        else:
            spin_in_c(int(amount))


def spin_in_python(seconds: float) -> None:
    """An endless loop, or nearly."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def spin_in_c(amount: int) -> int:
    """One C call that keeps the interpreter lock: 10**9 take some ten seconds."""
    return sum(range(amount))


async def main(name: str, waiters: int, settings: dict[str, Any]) -> None:
    """Serve until told to end."""
    askers.FRESH_S = 30.0  # on a busy machine, too, whoever attaches sees the agents that are started below
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with Node(name) as node, Probe(node, **settings) as probe:
        children = [ChildSpec(Waiter, (n,), id=f"w{n}", name=f"waiter-{n}") for n in range(waiters)]
        await node.spawn(Supervisor, children, name="waiters", intensity=1000, period_s=1.0)
        await node.spawn(Nasty, name="nasty")
        await node.spawn(Holder, name="holder")
        say(pid=os.getpid(), incarnation=node.incarnation)
        while line := await reader.readline():
            command, *args = json.loads(line)
            if command == "cast":
                node.ref(args[0]).cast(args[1])
                say(cast=args[0])
            elif command == "flood":
                for _ in range(int(args[1])):
                    node.ref(args[0]).cast("count")
                say(answer=await node.ref(args[0]).call("count", timeout=30.0))
            elif command == "call":
                say(answer=await node.ref(args[0]).call(args[1]))
            elif command == "statistics":
                say(**probe.statistics())
            elif command == "fork":
                say(child=fork(float(args[0])))
            elif command == "raise":
                raise RuntimeError("the service fails")
            elif command == "sys.exit":
                sys.exit(7)
            elif command == "exit at once":
                os._exit(int(args[0]))
            elif command == "return":
                break


def fork(seconds: float) -> int:
    """A child that goes on for a while, and runs what it has inherited to be run at the end."""
    child = os.fork()
    if child == 0:
        for descriptor in (0, 1):
            os.close(descriptor)
        time.sleep(seconds)
        gc.collect()
        atexit._run_exitfuncs()
        os._exit(
            0
        )  # not `sys.exit`: it would unwind the parent's event loop, which shares its epoll with the parent
    return child


def say(**facts: Any) -> None:
    """One line for the test."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])))
