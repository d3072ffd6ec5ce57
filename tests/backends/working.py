"""What the backends are shown: a desk that asks a model and a tool, over two agents, with a crash and its successor."""

from __future__ import annotations

import asyncio
from typing import Any

from observe.runtime import Agent, ChildSpec, Node
from observe.runtime.children import Isolation
from observe.runtime.testing import eventually, settled

SPANS_OF_WORK = 5
"""Of one message `work`: two runs, a model call and two activities of the desk and the shelf."""


class Shelf(Agent):
    async def handle(self, message: Any) -> str:
        async with self.activity("tool:search", call_id="c1", query="lamps"):
            if message == "crash":
                raise ValueError("the shelf fell down")
            return "three lamps"


class Desk(Agent):
    def init(self) -> None:
        self.conversation_id = "customer-17"

    async def handle(self, message: Any) -> Any:
        async with self.activity("model:chat", model="night-1", provider="openai") as chat:
            await asyncio.sleep(0)
            chat.usage(input_tokens=100, output_tokens=20)
        async with self.activity("tool:shelf"):
            return await self.node.ref("shelf").call(message)


async def staff(node: Node, shelf: Isolation = "none") -> None:
    """Hire both; the shelf may be in a worker process."""
    await node.supervisor.start_child(ChildSpec(Shelf, name="shelf", isolation=shelf))
    await node.supervisor.start_child(ChildSpec(Desk, name="desk", isolation="none"))


async def work(node: Node, times: int = 1) -> None:
    """Let messages be answered, all spans of which have ended then."""
    for _ in range(times):
        await node.ref("desk").call("work", timeout=30)
    await settled(node)


async def crash(node: Node) -> None:
    """Let the shelf crash under a question, and its successor answer one."""
    node.ref("shelf").cast("crash")
    await eventually(lambda: node.snapshot_vitals().restarts == 1, timeout_s=30)
    await work(node)
