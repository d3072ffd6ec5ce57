"""The smallest service that a console can attach to.

python -m observe.examples.hello        and beside it        observe attach hello
"""

from __future__ import annotations

import asyncio
import contextlib

from observe.probe import Probe
from observe.runtime import Agent, Node


class Greeter(Agent):
    """Greets whoever is named, and counts."""

    def init(self) -> None:
        self.greeted = 0

    def handle(self, name: str) -> str:
        self.greeted += 1
        return f"Hello, {name}!"


async def main() -> None:
    async with Node("hello") as node, Probe(node):
        greeter = await node.spawn(Greeter, name="greeter", restart="permanent")
        while True:
            print(await greeter.call("world"), flush=True)
            await asyncio.sleep(1.0)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
