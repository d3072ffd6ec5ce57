"""A service of plain asyncio tasks in a process of its own, for `live.LiveService`; does what it reads on stdin."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from typing import Any

from observe.probe import Probe, askers
from observe.runtime import Node


async def poll(queue: asyncio.Queue[Any]) -> None:
    while True:
        await queue.get()


async def deaf() -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(1000)
    await asyncio.sleep(1000)


async def hold(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def say(**facts: Any) -> None:
    """One line for the test."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


async def main(name: str, number: int, settings: dict[str, Any]) -> None:
    """Serve until told to end."""
    askers.FRESH_S = 30.0  # on a busy machine, too, whoever attaches sees the agents that are started below
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    preempt = settings.pop("preempt", False)
    async with (
        Node(name, tasks=settings.pop("tasks", True), preempt=preempt, preempt_tasks=preempt) as node,
        Probe(node, **settings),
    ):
        queue: asyncio.Queue[Any] = asyncio.Queue()
        tasks = [asyncio.create_task(poll(queue), name=f"poller-{n}") for n in range(number)]
        tasks.append(asyncio.create_task(deaf(), name="deaf"))
        say(pid=os.getpid(), incarnation=node.incarnation)
        while line := await reader.readline():
            command, *args = json.loads(line)
            if command == "hold":
                tasks.append(asyncio.create_task(hold(args[0]), name="holder"))
                say(held=True)
            elif command == "return":
                break


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])))
