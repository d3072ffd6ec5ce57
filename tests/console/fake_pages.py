"""What the node in memory says to the console's later pages: trace sessions and others. See `tests.console.fake_node`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self

from observe.probe.watching import WatchPush
from observe.probe.wire_traces import TraceEvent, TraceEvents


class FakeTrace:
    """A session into which a test puts events."""

    def __init__(self, agents: int) -> None:
        self.agents = agents
        self.ended = ""
        self.dropped = 0
        self.is_closed = False
        self.told = False
        self._pushes: asyncio.Queue[list[TraceEvent] | None] = asyncio.Queue()
        self._seq = 0

    def push(self, *events: TraceEvent, dropped: int = 0) -> None:
        """The node tells."""
        self.dropped += dropped
        self._pushes.put_nowait(list(events))

    def end(self, why: str) -> None:
        """The bounds are reached."""
        self.ended = why
        self._pushes.put_nowait(None)

    async def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._pushes.put_nowait(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[WatchPush[TraceEvents]]:
        while (events := await self._pushes.get()) is not None:
            self._seq += 1
            yield WatchPush(self._seq, 0, TraceEvents(events=events))


class FakePages:
    """Mixed into the node."""

    def _asked(self, verb: str, argument: Any = None) -> None: ...

    @property
    def traces(self) -> list[FakeTrace]:
        """Sessions begun so far."""
        return self.__dict__.setdefault("_traces", [])  # type: ignore[no-any-return]

    async def trace(self, selector: str, **bounds: Any) -> FakeTrace:
        self._asked("trace", (selector, bounds))
        self.traces.append(FakeTrace(agents=3))
        return self.traces[-1]


def event(
    n: int,
    kind: str,
    pid: int,
    peer: int = 0,
    text: str = "",
    said: str = "",
    at: float = 1_700_000_000.0,
    **more: Any,
) -> TraceEvent:
    """A trace event of an agent."""
    facts: dict[str, Any] = {
        "n": n,
        "at": at + n * 0.013,
        "kind": kind,
        "pid": pid,
        "name": f"session-{pid - 3}",
        "class": "Session",
    }
    if said:
        facts["text"] = said
    if peer:
        facts |= {"peer": peer, "peer_name": f"session-{peer - 3}"}
    if text:
        facts["message"] = {"type": "str", "text": text}
    return TraceEvent.from_wire(facts | more)


def talk(rounds: int = 4) -> list[TraceEvent]:
    """Agents that ask each other for prices; the last one crashes."""
    events: list[TraceEvent] = []
    for number in range(rounds):
        n = len(events)
        a, b = 5 + number % 2, 7 + number % 3
        events += [
            event(n + 1, "call", a, b, f"'price of lamp {number}'"),
            event(
                n + 2, "reply", b, a, way="out", value={"type": "int", "text": str(number * 7)}, took_s=0.0123
            ),
            event(n + 3, "activity", a, way="end", activity="model:chat", took_s=1.7),
        ]
    events.append(event(len(events) + 1, "crash", 9, said="ValueError: no lamp"))
    return events
