"""The client's methods that look into the running code: calls of a function, and where time goes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from observe.probe.profiles import Profile
from observe.probe.session_watch import SessionWatch
from observe.probe.watching import Watch
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


class FunctionTrace(SessionWatch[FunctionCalls]):
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
        watch: SessionWatch[ProfileEvents] = SessionWatch(cast("NodeClient", self), ProfileEvents.from_wire)
        events: list[ProfileEvent] = []
        async with watch:
            await self._ask("profile", args, CodeStarted, lambda result: self._adopt(watch, result))
            async for push in watch:
                events.extend(push.data.events)
        return Profile.of(events, watch.ended, watch.dropped)
