"""A service that is traced, in a process of its own, for those who kill it. Does what it reads on stdin."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from observe import tracing
from observe.probe import Probe, askers
from observe.runtime import Agent, Node


class Asker(Agent):
    """Asks a model, which does not answer; before that it looks something up."""

    def init(self) -> None:
        self.conversation_id = "c-17"

    async def handle(self, message: Any) -> None:
        async with self.activity("tool:look-up"):
            await asyncio.sleep(0.6)  # long enough to be told
        async with self.activity("model:chat", model="m", provider="p"):
            await asyncio.sleep(3600)


class Bystander(Agent):
    """What it has done is told after what was told before."""

    def handle(self, message: Any) -> None: ...


async def main(name: str, settings: dict[str, Any]) -> None:
    """Serve until told to end."""
    askers.FRESH_S = 30.0  # on a busy machine, too, whoever attaches sees the agents that are started below
    endpoint, delay_s = settings.pop("endpoint"), settings.pop("delay_s", 0.1)
    workers = settings.pop("workers", 0)
    sys.path.insert(0, str(Path(__file__).parents[2]))
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with Node(name, workers=workers) as node:
        with tracing.setup(node, endpoint=endpoint, delay_s=delay_s, headers={"x-key": "k"}) as traced:
            async with Probe(node, **settings):
                await node.spawn(Asker, name="asker")
                await node.spawn(Bystander, name="bystander")
                if workers:
                    from tests.tracing.traced_agents import Sleeper  # which a worker can import

                    await node.spawn(Sleeper, name="sleeper", isolation="worker")
                say(pid=os.getpid(), incarnation=node.incarnation)
                while line := await reader.readline():
                    command, *args = json.loads(line)
                    if command == "cast":
                        node.ref(args[0]).cast(args[1])
                        say(cast=args[0])
                    elif command == "open":
                        spans = traced.open_spans
                        far = (
                            spans.far._workers.values()
                            if spans.far is not None and not spans.far._opened
                            else ()
                        )
                        say(
                            told=[span.name for span in spans._told.values()],
                            far=[span["name"] for one in far for span in one.open.values()],
                        )
                    elif command == "return":
                        break


def say(**facts: Any) -> None:
    """One line for the test."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[3])))
