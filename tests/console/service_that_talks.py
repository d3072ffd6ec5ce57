"""A service of which one agent keeps asking another."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from observe.probe import Probe, askers
from observe.runtime import Agent, Node


class Answerer(Agent):
    def handle(self, message: Any) -> str:
        return "yes"


class Asker(Agent):
    def init(self) -> None:
        self.asked = 0

    async def handle(self, message: Any) -> None:
        self.asked += 1
        await self.node.ref("answerer").call({"question": self.asked})
        self.send_after(0.02, "ask")


async def main(name: str) -> None:
    askers.FRESH_S = 30.0  # on a busy machine, too, whoever attaches sees the agents that are started below
    async with Node(name) as node, Probe(node, tick_s=0.05):
        await node.spawn(Answerer, name="answerer")
        asker = await node.spawn(Asker, name="asker")
        await node.spawn(Answerer, name="silent")
        asker.cast("ask")
        sys.stdout.write(f"{node.name}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main(sys.argv[1]))
