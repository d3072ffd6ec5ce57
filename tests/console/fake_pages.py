"""What the node in memory says to the console's later pages: trace sessions and others. See `tests.console.fake_node`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self

from observe.probe.watching import WatchPush
from observe.probe.wire_approvals import DecidedApproval, WaitingApproval, WaitingApprovals
from observe.probe.wire_traces import TraceEvent, TraceEvents
from tests.console.fake_audit import FakeAudit
from tests.console.fake_code import FakeCode


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


class FakePages(FakeAudit, FakeCode):
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

    @property
    def asks(self) -> WaitingApprovals:
        """What waits for a person, and what was decided."""
        none = WaitingApprovals(approvals=[], total=0)
        return self.__dict__.setdefault("_asks", none)  # type: ignore[no-any-return]

    async def approvals(self) -> WaitingApprovals:
        self._asked("approvals")
        return self.asks.model_copy(deep=True)

    def decided(self, number: int, outcome: str, by: str, reason: str = "") -> None:
        """Somebody has decided one that waits."""
        [one] = [one for one in self.asks.approvals if one.number == number]
        self.asks.approvals.remove(one)
        self.set(one.pid, activity=None, activity_s=0.0, status="idle")
        self.asks.total -= 1
        self.asks.decided_total += 1
        kept = one.model_dump(
            include={"number", "pid", "name", "class_name", "activity", "said", "ask", "policy", "waited_s"}
        )
        self.asks.decided.insert(
            0,
            DecidedApproval.model_construct(
                **kept,
                outcome=outcome,
                allowed=outcome == "granted",
                by=by,
                reason=reason,
                at=1_700_000_000.0 - 9,
            ),
        )

    def ask(
        self, number: int, pid: int, ask: str, waited_s: float, left_s: float, **more: Any
    ) -> WaitingApproval:
        """An agent waits for a person, as its row says as well."""
        facts = {
            "number": number, "pid": pid, "name": f"session-{pid - 3}", "class": "Session", "activity": "tool:refund",
            "said": f"{{'order': {10_000 + number}, 'amount': 128.0, 'card': '••••'}}", "ask": ask, "waited_s": waited_s,
            "left_s": left_s, "on_timeout": "deny", "since": 1_700_000_000.0 - waited_s,
        } | more  # fmt: skip
        one = WaitingApproval.from_wire(facts)
        self.asks.approvals.append(one)
        self.asks.total += 1
        self.set(pid, activity=f"approval:{one.activity}", activity_s=waited_s, status="waiting")
        return one

    def set(self, pid: int, **values: Any) -> None: ...


def asked_things(node: FakePages) -> None:
    """Three agents wait for people; three others have been answered."""
    node.ask(4, 24, "a kettle back to ada", 90, 210)
    node.ask(5, 25, "an apron back to eve", 3, 297)
    node.ask(9, 26, "everything to everybody", 200, 100)
    node.decided(4, "granted", "operator ann", "a known customer")
    node.decided(5, "refused", "operator bob", "twice the price")
    node.decided(9, "expired", "")
    node.ask(
        12,
        21,
        "refund 128.00 for the kettle of order 10042 to Ada",
        161,
        19,
        policy="refunds",
        told=["shift lead"],
    )
    node.ask(
        13, 22, "refund 940.00 for 19 storage jars", 64, 236, approvers=["admin", "ann"], needed=1,
        granted_by=["operator ann"],
    )  # fmt: skip
    node.ask(14, 23, "mail to all customers", 5, 55, activity="tool:mail", on_timeout="allow", needed=2)


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
