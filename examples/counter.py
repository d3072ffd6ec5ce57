"""Supervision in one page: a counter that crashes on bad input, comes back, and reads what it had saved.

python -m observe.examples.counter
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from observe.runtime import Agent, AgentExited, Node


class Counter(Agent):
    """Adds numbers up and saves the sum after each."""

    def init(self, path: Path) -> None:
        self.path = path
        self.sum = int(path.read_text()) if path.exists() else 0

    def handle(self, number: int) -> int:
        self.sum += int(number)
        self.path.write_text(str(self.sum))
        return self.sum


async def main() -> None:
    with TemporaryDirectory() as directory:
        async with Node("counting") as node:
            await node.spawn(Counter, Path(directory, "sum"), name="counter", restart="permanent")
            counter = node.ref("counter")  # by name: reaches whoever is the counter at that moment

            print("2 and 3 are", await counter.call(2), "and then", await counter.call(3))
            before = counter.pid
            try:
                await counter.call("four")
            except AgentExited as error:
                print("four:", error.reason)
            while not counter.is_alive:  # noqa: ASYNC110 - the supervisor acts in the next turn of the loop
                await asyncio.sleep(0)
            print("a new counter:", counter.pid != before)
            print("with 4 it is", await counter.call(4))


if __name__ == "__main__":
    asyncio.run(main())
