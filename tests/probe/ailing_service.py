"""A real service whose agents fall ill when they are told to. Started by `live.LiveService`; answers on stdout."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from observe.probe import Probe, askers
from observe.runtime import Agent, Budget, ChildSpec, MemoryStore, Node, Supervisor


class Caller(Agent):
    """Calls whom it is told to call, without a time-out."""

    async def handle(self, message: Any) -> Any:
        return await self.node.ref(message[0]).call(message[1:] or ["back"], timeout=None)


class Repeater(Agent):
    """Makes the same tool call so often."""

    async def handle(self, message: Any) -> None:
        for _ in range(message):
            async with self.activity("tool:search", query="mug", page=[1]):
                pass


class Spender(Agent):
    """Spends tokens."""

    def handle(self, message: Any) -> None:
        with self.activity("model:chat") as chat:
            chat.usage(input_tokens=message)


class Keeper(Agent):
    """Has a state of so many bytes."""

    def init(self) -> None:
        self.kept = ""

    def handle(self, message: Any) -> None:
        self.kept = "x" * message


class Quick(Agent):
    """Is quick, but for once."""

    async def handle(self, message: Any) -> None:
        async with self.activity("tool:lookup"):
            await asyncio.sleep(message)


async def main(name: str, settings: dict[str, Any]) -> None:
    """Serve until told to end."""
    askers.FRESH_S = 30.0  # on a busy machine, too, whoever attaches sees the agents that are started below
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with Node(name, store=MemoryStore()) as node, Probe(node, **settings):
        children = [
            ChildSpec(Caller, name="left", id="left"),
            ChildSpec(Caller, name="right", id="right"),
            ChildSpec(Repeater, name="repeater", id="repeater"),
            ChildSpec(Spender, name="spender", id="spender", budget=Budget(tokens=1000)),
            ChildSpec(Keeper, name="keeper", id="keeper", checkpoint="each_message", restore=True),
            ChildSpec(Quick, name="quick", id="quick"),
        ]
        await node.spawn(Supervisor, children, name="ward")
        say(ready=True)
        while line := await reader.readline():
            command, *args = json.loads(line)
            if command == "cast":
                node.ref(args[0]).cast(args[1])
            elif command == "letters":
                for _ in range(args[0]):
                    node.ref("nobody").cast("anyone there?")
            elif command == "kill":
                node.control.kill(node.registry[args[0]].ref.pid)
            say(done=command)


def say(**facts: Any) -> None:
    """One line for the test."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[3])))
