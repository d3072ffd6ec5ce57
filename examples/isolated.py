"""An agent in a process of its own: it may crash as hard as it likes, and only it.

python -m observe.examples.isolated
"""

from __future__ import annotations

import asyncio
import ctypes
import os

from observe.runtime import Agent, AgentExited, ChildSpec, Limits, Node, Supervisor
from observe.runtime.testing import eventually


class Renderer(Agent):
    """Stands for code that one would not have in one's service: native, greedy, somebody else's."""

    def handle(self, message: str) -> int:
        if message == "bad picture":
            ctypes.string_at(0)  # a segmentation fault
        if message == "huge picture":
            bytearray(4 * 2**30)
        return os.getpid()


async def main() -> None:
    async with Node("pictures") as node:
        renderer = ChildSpec(
            Renderer, name="renderer", isolation="process", limits=Limits(memory_bytes=2**30)
        )
        await node.spawn(Supervisor, [renderer], intensity=5)
        for message in ("picture", "bad picture", "picture", "huge picture", "picture"):
            await eventually(lambda: node.whereis("renderer"))  # it may be being restarted
            try:
                where = await node.ref("renderer").call(message, timeout=30.0)
                print(f"{message}: done, {'elsewhere' if where != os.getpid() else 'here'}")
            except AgentExited as ended:
                print(f"{message}: {ended.reason}")


if __name__ == "__main__":
    asyncio.run(main())
