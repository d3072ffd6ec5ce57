"""The canary: a made-up agent by which `observe doctor` sees that the whole pipe works, from the runtime to the eye.

    doctor --canary-> service: a Canary           and looks for its row
           --send---> it handles a message        and looks for the count
           --send---> it begins an activity       and looks for that
           --kill---> it dies                     and looks for its exit among the events, and for its row to be gone

Health signs tell what each part thinks of itself. This tells whether somebody who looks sees what happens.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from observe.runtime.actions import Acted
from observe.runtime.agent import Agent
from observe.runtime.errors import ActionRefused
from observe.runtime.node import Node
from observe.runtime.ref import Ref

LIFE_S: Final = 60.0
"""A canary whose doctor has gone away ends by itself after so long."""

MOST_CANARIES: Final = 8
"""At one time on a node."""

SING: Final = "sing"
"""The message on which it begins an activity; it passes over all others."""

ACTIVITY: Final = "canary:sing"


class Canary(Agent):
    """Made up by `observe doctor` to be seen: handles messages, has an activity, and is killed. Ends by itself."""

    def init(self) -> None:
        self.send_after(LIFE_S, None)

    async def handle(self, message: Any) -> None:
        if message is None:
            self.stop()
        elif message == SING:
            async with self.activity(ACTIVITY):
                await asyncio.sleep(LIFE_S)


class Canaries:
    """Those of one node. On the scheduler's thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._refs: list[Ref] = []

    def release(self) -> Any:
        """Spawn one: temporary, so that nothing is restarted, and in the node's own process.

        Raises:
            ActionRefused: there are enough.
        """
        self._refs = [ref for ref in self._refs if ref.is_alive]
        if len(self._refs) >= MOST_CANARIES:
            raise ActionRefused(f"{MOST_CANARIES} canaries are alive already; each ends within {LIFE_S:g} s")
        return self._spawn()

    async def _spawn(self) -> Acted:
        ref = await self._node.spawn(Canary, shutdown_s=0.1, isolation="none")
        self._refs.append(ref)
        return Acted(True, f"canary {ref.pid} was spawned; it ends within {LIFE_S:g} s", ref.pid)
