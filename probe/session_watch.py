"""A watch that is a session: it ends by itself with the event `end`, and with its reader before that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self, TypeVar

from observe.probe import wire_watches
from observe.probe.watching import Watch, WatchPush
from observe.probe.wire_code import FunctionCalls, ProfileEvents
from observe.probe.wire_traces import TraceEvents

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from observe.probe.client import NodeClient

E = TypeVar("E", bound=TraceEvents | FunctionCalls | ProfileEvents)

CREDIT: Final = 8
"""Pushes that may be under way."""


class SessionWatch(Watch[E]):
    """Listens to a session; a context manager that ends it.

    It is not renewed after a reconnection: a restarted node has other agents, and whoever listens wants to know that there
    was a gap.
    """

    is_renewed = False

    def __init__(self, client: NodeClient, read: Callable[[object], E]) -> None:
        super().__init__(client, wire_watches.WatchArgs(what="events"), read)
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

    async def __anext__(self) -> WatchPush[E]:
        if self.ended:
            raise StopAsyncIteration
        push = await super().__anext__()
        if push.data.events and push.data.events[-1].kind == "end":
            self.ended = push.data.events.pop().text
        return push
