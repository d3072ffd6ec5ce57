"""The client's methods that look into the running code: calls of a function, and where time goes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

from observe.probe import wire
from observe.probe.profiles import Profile
from observe.probe.watching import Watch, WatchPush
from observe.probe.wire_base import Told
from observe.probe.wire_code import (
    CodeStarted,
    FunctionCall,
    FunctionCalls,
    ProfileArgs,
    ProfileEvent,
    ProfileEvents,
    TraceFunctionArgs,
)

if TYPE_CHECKING:
    from observe.probe.client import NodeClient

T = TypeVar("T", bound=Told)
P = TypeVar("P", bound=FunctionCalls | ProfileEvents)

CREDIT: Final = 8
"""Pushes that may be under way."""


class _CodeWatch(Watch[P]):
    """A session that ends with the event `end`; a context manager that ends it before."""

    is_renewed = False

    def __init__(self, client: NodeClient, read: Callable[[object], P]) -> None:
        super().__init__(client, wire.WatchArgs(what="events"), read)
        self.ended = ""
        """Why it has ended; empty while it goes on."""

    def _begin(self, sub: int) -> None:
        super()._begin(sub)
        self._allow(CREDIT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __anext__(self) -> WatchPush[P]:
        if self.ended:
            raise StopAsyncIteration
        push = await super().__anext__()
        if push.data.events and push.data.events[-1].kind == "end":
            self.ended = push.data.events.pop().text
        return push


class FunctionTrace(_CodeWatch[FunctionCalls]):
    """Made by `NodeClient.trace_function`.

    async with await node.trace_function("app.tools:search") as trace:
        async for call in trace.calls():
            print(call.caller, call.arguments, call.value, call.took_s)
    """

    def __init__(self, client: NodeClient) -> None:
        super().__init__(client, FunctionCalls.from_wire)
        self.place = ""
        """The function and where it stands, as the service found it."""

    async def calls(self) -> AsyncIterator[FunctionCall]:
        """One by one, when they have ended. `dropped` tells how many were left out so far."""
        async for push in self:
            for call in push.data.events:
                yield call


class CodeClient:
    """Mixed into `NodeClient`."""

    if TYPE_CHECKING:

        async def _ask(
            self, verb: str, args: Any, result: type[T], adopt: Callable[[Any], None] | None = None
        ) -> T: ...
        def _command_fields(self) -> dict[str, Any]: ...
        def _adopt(self, watch: Watch[Any], result: Any) -> None: ...

    async def trace_function(
        self, function: str, *, count: int = 100, for_s: float = 10.0, rate: float = 100.0, reason: str = ""
    ) -> FunctionTrace:
        """Listen to the calls of one function of the service, such as `app.tools:search` or `app.desk:Desk.find`.

        The session ends after `count` calls or `for_s` seconds, or when it is closed; the function is as it was then.
        """
        args = TraceFunctionArgs(
            function=function, max=count, for_s=for_s, rate=rate, reason=reason, **self._command_fields()
        )
        trace = FunctionTrace(cast("NodeClient", self))
        started = await self._ask(
            "trace_function", args, CodeStarted, lambda result: self._adopt(trace, result)
        )
        trace.place = started.place
        return trace

    async def profile(
        self, agent: int | str | None = None, *, for_s: float = 5.0, rate: float = 100.0, reason: str = ""
    ) -> Profile:
        """Where the time of the service goes, by agent and by function; of one agent, also where it waits. Takes `for_s`."""
        args = ProfileArgs(agent=agent, for_s=for_s, rate=rate, reason=reason, **self._command_fields())
        watch: _CodeWatch[ProfileEvents] = _CodeWatch(cast("NodeClient", self), ProfileEvents.from_wire)
        events: list[ProfileEvent] = []
        async with watch:
            await self._ask("profile", args, CodeStarted, lambda result: self._adopt(watch, result))
            async for push in watch:
                events.extend(push.data.events)
        return Profile.of(events, watch.ended, watch.dropped)
