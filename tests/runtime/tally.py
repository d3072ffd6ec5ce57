"""An agent that counts, for the tests of what is saved of it."""

from __future__ import annotations

from typing import Any

from observe.runtime import (
    Agent,
    ChildSpec,
    Node,
    Ref,
)


class Tally(Agent):
    """Counts what it is told, and does as it is told."""

    unsaved = ("conn",)

    def init(self, start: int = 0) -> None:
        self.count = start
        self.conn = object()
        self.how = "init"

    def restored(self, start: int = 0) -> None:
        self.conn = object()
        self.how = "restored"

    async def handle(self, message: Any) -> Any:
        match message:
            case int():
                self.count += message
            case "save":
                await self.checkpoint()
            case "crash":
                raise ValueError("crash")
            case ("save and crash once", amount):
                self.count += amount
                if self.how == "init":
                    await self.checkpoint()
                    raise ValueError("once")
            case ("wait", event):
                await event.wait()
            case "unsavable":
                self.lamp = object()
            case "stop":
                self.stop()
            case _:
                pass
        return self.count, self.how


def tally(name: str = "t", **options: Any) -> ChildSpec:
    return ChildSpec(Tally, name=name, **({"restore": True} | options))


async def start(node: Node, **options: Any) -> Ref:
    await node.supervisor.start_child(tally(**options))
    return node.ref("t")
