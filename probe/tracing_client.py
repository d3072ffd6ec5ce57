"""A trace session as its client sees it: an asynchronous iterator over events that ends with the session."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from observe.probe.session_watch import SessionWatch
from observe.probe.wire_traces import TraceEvent, TraceEvents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from observe.probe.client import NodeClient


class Trace(SessionWatch[TraceEvents]):
    """Made by `NodeClient.trace`; a context manager that ends the session.

    async with await node.trace("cart-*") as trace:
        async for event in trace.events():
            print(event.kind, event.peer_name)
    """

    def __init__(self, client: NodeClient) -> None:
        super().__init__(client, TraceEvents.from_wire)
        self.agents = 0
        """How many agents are listened to."""

    async def events(self) -> AsyncIterator[TraceEvent]:
        """One by one. `dropped` tells how many were left out so far."""
        waiting: deque[TraceEvent] = deque()
        async for push in self:
            waiting.extend(push.data.events)
            while waiting:
                yield waiting.popleft()
