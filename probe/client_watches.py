"""The client's methods that listen: what the node tells again and again, until it is told to stop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from observe.probe import wire, wire_base, wire_table, wire_traces, wire_watches
from observe.probe.exchange import Result
from observe.probe.tracing_client import Trace
from observe.probe.watching import Watch

if TYPE_CHECKING:
    from observe.probe.client import NodeClient

T = TypeVar("T", bound=wire_base.Told)


class WatchesClient:
    """Mixed into `NodeClient`."""

    if TYPE_CHECKING:

        async def _ask(
            self, verb: str, args: Any, result: type[T], adopt: Callable[[Result], None] | None = None
        ) -> T: ...
        async def _watch(self, watch: Watch[T]) -> Watch[T]: ...
        def _command_fields(self) -> dict[str, Any]: ...
        def _adopt(self, watch: Watch[Any], result: Result) -> None: ...

    async def watch_agents(
        self, query: wire_table.Query | None = None, interval_s: float = 0.5
    ) -> Watch[wire_table.Page]:
        """The window of the agents table again and again; a slow reader gets the newest and skips the rest."""
        args = wire_watches.WatchArgs(what="agents", query=query or wire_table.Query(), interval_s=interval_s)
        return await self._watch(Watch(cast("NodeClient", self), args, wire_table.Page.from_wire))

    async def watch_vitals(self, interval_s: float = 1.0) -> Watch[wire.Vitals]:
        """The vital signs again and again."""
        args = wire_watches.WatchArgs(what="vitals", interval_s=interval_s)
        return await self._watch(Watch(cast("NodeClient", self), args, wire.Vitals.from_wire))

    async def watch_events(self, interval_s: float = 0.25) -> Watch[wire_watches.Events]:
        """What happens on the node from here on, in batches; `dropped` counts what a slow reader missed."""
        args = wire_watches.WatchArgs(what="events", interval_s=interval_s, credit=8)
        return await self._watch(Watch(cast("NodeClient", self), args, wire_watches.Events.from_wire))

    async def watch_tape(self) -> Watch[wire_watches.TapePiece]:
        """The node's recording from here on, piece by piece: `observe.probe.taping.record` puts it into a file."""
        args = wire_watches.WatchArgs(what="tape", interval_s=0.05, credit=16)
        return await self._watch(Watch(cast("NodeClient", self), args, wire_watches.TapePiece.from_wire))

    async def events(self) -> AsyncIterator[wire_watches.Event]:
        """What happens on the node from here on, one by one. `watch_events` tells how many a slow reader missed."""
        watch = await self.watch_events()
        try:
            async for push in watch:
                for event in push.data.events:
                    yield event
        finally:
            await watch.close()

    async def trace(
        self,
        selector: str,
        *,
        events: list[wire_traces.Kind] | None = None,
        where: str = "",
        count: int = 1000,
        for_s: float = 10.0,
        rate: float = 1000.0,
        reason: str = "",
    ) -> Trace:
        """Listen to chosen agents, within bounds. The session ends with the node's last event, or when it is closed.

        Args:
            selector: `cart-*`, `42`, `class:Session`, `under:carts`, `group:prices`, `finding:stuck`, ...
            events: kinds of event; None for all but `state` and `schedule`.
            where: a condition, such as `message.kind == "refund" and took_ms > 50`.
        """
        args = wire_traces.TraceArgs(
            selector=selector, events=events, where=where, max=count, for_s=for_s, rate=rate, reason=reason,
            **self._command_fields(),
        )  # fmt: skip
        trace = Trace(cast("NodeClient", self))
        started = await self._ask(
            "trace", args, wire_traces.TraceStarted, lambda result: self._adopt(trace, result)
        )
        trace.agents = started.agents
        return trace
