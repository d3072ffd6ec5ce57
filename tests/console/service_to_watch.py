"""A small service that the tests of the command line attach to. Says its name on stdout, ends when stdin closes."""

from __future__ import annotations

import asyncio
import sys

from observe.probe import Probe, askers
from observe.runtime import Agent, ChildSpec, Node, Supervisor


class Session(Agent):
    """Waits in a tool for as long as it is told to."""

    def init(self, number: int) -> None:
        self.number = number
        self.note = "[red]no markup[/red]\x1b[31m"
        self.ref.cast("work")

    async def handle(self, message: str) -> None:
        async with self.activity("tool:search", query="mug"):
            await asyncio.Event().wait()


class Fragile(Agent):
    """Breaks when it is told to."""

    def handle(self, message: str) -> None:
        raise ValueError(f"cannot {message}")


async def main() -> None:
    askers.FRESH_S = 30.0  # on a busy machine, too, whoever attaches sees the agents that are started below
    async with Node(sys.argv[1]) as node, Probe(node):
        sessions = [ChildSpec(Session, (number,), name=f"session-{number}") for number in range(5)]
        await node.spawn(Supervisor, sessions, name="sessions", intensity=100, restart="permanent")
        fragile = await node.spawn(Fragile, name="fragile", restart="permanent")
        fragile.cast("be broken")
        sys.stdout.write(f"{node.name}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
