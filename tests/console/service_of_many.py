"""A service with groups of alike agents, for actions on many. Says its name on stdout, ends when stdin closes."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from observe.probe import Probe, askers
from observe.runtime import Agent, ChildSpec, Node, Supervisor


class Member(Agent):
    """Keeps what it is sent."""

    limit: int

    def init(self) -> None:
        self.limit = 10
        self.kept: list[Any] = []

    def handle(self, message: Any) -> None:
        self.kept.append(message)


def group(name: str) -> list[ChildSpec]:
    return [ChildSpec(Member, name=f"{name}-{number}") for number in range(4)]


async def main() -> None:
    askers.FRESH_S = 30.0  # on a busy machine, too, whoever attaches sees the agents that are started below
    async with Node(sys.argv[1]) as node, Probe(node):
        members = [spec for name in ("kept", "ended", "told", "typed", "slow") for spec in group(name)]
        await node.spawn(Supervisor, members, name="members", intensity=1000)
        await node.spawn(Supervisor, group("frail"), name="strict", intensity=1)
        sys.stdout.write(f"{node.name}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
