"""A small service that the tests of actions act on. Says its name on stdout, ends when stdin closes."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from observe.probe import Probe, askers
from observe.runtime import Agent, Budget, ChildSpec, Ladder, MemoryStore, Node, Retry, Supervisor


class Session(Agent):
    """Keeps what it is sent; `hang` waits in a tool until that is cancelled."""

    limit: int

    def init(self) -> None:
        self.limit = 10
        self.kept: list[Any] = []

    async def handle(self, message: Any) -> None:
        if message == "hang":
            async with self.activity("tool:search"):
                await asyncio.Event().wait()
        self.kept.append(message)


async def main() -> None:
    askers.FRESH_S = 30.0  # on a busy machine, too, whoever attaches sees the agents that are started below
    async with Node(sys.argv[1], store=MemoryStore()) as node, Probe(node):
        plain = [ChildSpec(Session, name=f"session-{number}") for number in range(4)]
        careful = ChildSpec(
            Session,
            name="careful",
            checkpoint="each_message",
            restore=True,
            ladder=Ladder(Retry(times=100)),
            budget=Budget(tokens=1000),
        )
        await node.spawn(Supervisor, [*plain, careful], name="sessions", intensity=100)
        sys.stdout.write(f"{node.name}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
