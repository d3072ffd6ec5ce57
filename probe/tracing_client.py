"""A trace session as its client sees it: an asynchronous iterator over events that ends with the session."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Self

from observe.probe import wire
from observe.probe.watching import Watch, WatchPush
from observe.probe.wire_traces import TraceEvent, TraceEvents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from observe.probe.client import NodeClient


CREDIT: Final = 8
"""Pushes that may be under way."""


class Trace(Watch[TraceEvents]):
    """Made by `NodeClient.trace`; a context manager that ends the session.

    async with await node.trace("cart-*") as trace:
        async for event in trace.events():
            print(event.kind, event.peer_name)
    """

    is_renewed = (
        False  # a restarted node has other agents; and whoever traces wants to know that there was a gap
    )

    def __init__(self, client: NodeClient) -> None:
        super().__init__(client, wire.WatchArgs(what="events"), TraceEvents.from_wire)
        self.agents = 0
        """How many agents are listened to."""
        self.ended = ""
        """Why the session has ended; empty while it goes on."""

    def _begin(self, sub: int) -> None:
        super()._begin(sub)
        self._allow(CREDIT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __anext__(self) -> WatchPush[TraceEvents]:
        if self.ended:
            raise StopAsyncIteration
        push = await super().__anext__()
        if push.data.events and push.data.events[-1].kind == "end":
            self.ended = push.data.events.pop().text
        return push

    async def events(self) -> AsyncIterator[TraceEvent]:
        """One by one. `dropped` tells how many were left out so far."""
        waiting: deque[TraceEvent] = deque()
        async for push in self:
            waiting.extend(push.data.events)
            while waiting:
                yield waiting.popleft()
