"""A service to be killed at any moment: `python -m tests.runtime.kill_me STORE AGENTS`.

Its agents count up for as long as it runs, each with a checkpoint per message, some by hand and some by policy. It prints a line
for each reply that says how far the agent has come, and so claims that this much is on record.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from observe.runtime import Agent, ChildSpec, DynamicSupervisor, Node, SQLiteStore, Supervisor


class ByPolicy(Agent):
    def init(self) -> None:
        self.count = 0
        self.check = ""

    async def handle(self, message: str) -> int:
        if message == "up":
            self.count += 1
            await asyncio.sleep(0)
            self.check = "x" * (self.count % 1000) + str(self.count)  # a torn state would not fit its count
        elif self.check != ("x" * (self.count % 1000) + str(self.count) if self.count else ""):
            raise AssertionError(f"torn: {self.count} with {self.check!r}")
        return self.count


class ByHand(ByPolicy):
    async def handle(self, message: str) -> int:
        count = await super().handle(message)
        if message == "up":
            await self.checkpoint()
        return count


async def count_up(name: str, ref: Any) -> None:
    while True:
        # One write of a few bytes to a pipe is whole or not there.
        os.write(1, f"{name} {await ref.call('up', timeout=60)}\n".encode())


async def main(path: str, agents: int) -> None:
    async with Node("doomed", store=SQLiteStore(path, durability="process"), intensity=0) as node:
        static = [
            ChildSpec(ByHand, name=f"hand-{n}", restore=True)
            if n % 2
            else ChildSpec(ByPolicy, name=f"policy-{n}", restore=True, checkpoint="each_message")
            for n in range(agents)
        ]
        await node.spawn(Supervisor, static, name="static", intensity=0)
        template = ChildSpec(ByPolicy, restore=True, checkpoint="each_message")
        dynamic = await node.spawn(DynamicSupervisor, template, name="dynamic", intensity=0)
        for number in range(agents):
            if node.whereis(f"dynamic-{number}") is None:
                await dynamic.start_child(name=f"dynamic-{number}")
                os.write(1, f"dynamic-{number} 0\n".encode())
        names = [name for name in node.registry if "-" in name]
        for name in names:
            os.write(1, f"back {name} {await node.ref(name).call('count')}\n".encode())
        os.write(1, b"ready\n")
        await asyncio.gather(*(count_up(name, node.ref(name)) for name in names))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
