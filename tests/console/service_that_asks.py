"""A service whose agents ask people before they act. Says its name on stdout, ends when stdin closes."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from observe.probe import Probe, askers
from observe.runtime import Agent, Approval, ApprovalRefused, ChildSpec, Node, Supervisor


class Teller(Agent):
    """Refunds what it is told, once somebody agrees."""

    def init(self) -> None:
        self.done: list[str] = []

    async def handle(self, message: Any) -> None:
        asked = Approval(
            f"{message} to ann", 600, two_person=message == "much", escalate=((0.01, "shift lead"),)
        )
        try:
            async with self.activity(
                "tool:refund", approval=asked, amount=message, api_key="sk-secret-000000"
            ):
                self.done.append(f"refunded {message}")
        except ApprovalRefused as error:
            self.done.append(str(error))


async def main() -> None:
    askers.FRESH_S = 30.0  # on a busy machine, too, whoever attaches sees the agents that are started below
    async with Node(sys.argv[1]) as node, Probe(node):
        tellers = [ChildSpec(Teller, name=f"teller-{number}") for number in range(4)]
        await node.spawn(Supervisor, tellers, name="tellers")
        sys.stdout.write(f"{node.name}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
