"""What the node in memory says to the console's later pages: trace sessions and others. See `tests.console.fake_node`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, Self

from observe.probe.watching import WatchPush
from observe.probe.wire_actions import Acted
from observe.probe.wire_approvals import DecidedApproval, WaitingApproval, WaitingApprovals
from observe.probe.wire_budgets import BudgetPage, SpentLine
from observe.probe.wire_letters import DeadLetterLine, DeadLetterPage, LetterCount
from observe.probe.wire_log import LogLine, LogPage
from observe.probe.wire_names import NamesPage
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
        return self.__dict__.setdefault("_traces", [])  # type: ignore[no-any-return]  # its own, made when first asked for

    @property
    def log_records(self) -> list[LogLine]:
        """What was logged so far."""
        return self.__dict__.setdefault("_log_records", logged())  # type: ignore[no-any-return]  # its own, made when first asked for

    async def log(self, *, after: int | None = None, limit: int = 100, **wanted: Any) -> LogPage:
        """Filters by level, agent and text alone."""
        self._asked("log", wanted | {"after": after})
        least = logging.getLevelNamesMapping()[wanted["level"].upper()]
        found = [
            one for one in self.log_records
            if one.severity >= least and one.number > (after or 0) and wanted["text"] in one.text
            and wanted["agent"] in (None, one.pid, one.name)
        ]  # fmt: skip
        kept = len(self.log_records)
        return LogPage(records=found[-limit:], next=kept, kept=kept, keep=2000, total=kept)

    @property
    def letters(self) -> list[DeadLetterLine]:
        """Messages that reached nobody, the newest first."""
        return self.__dict__.setdefault("_letters", dead_letters())  # type: ignore[no-any-return]  # its own, made when first asked for

    async def dead_letters(
        self, *, text: str = "", why: str = "", letter: int | None = None, limit: int = 100
    ) -> DeadLetterPage:
        self._asked("dead_letters", (text, letter))
        found = [one for one in self.letters if text in f"{one.target} {one.sender} {one.text}"]
        if letter is not None:
            message = {
                "type": "dict",
                "text": "{'kind': 'refund', …}",
                "items": [["kind", {"type": "str", "text": "refund"}]],
            }
            found = [one.model_copy(update={"message": message}) for one in found if one.number == letter]
        whys = [
            LetterCount(key=why, count=sum(one.why == why for one in self.letters), newest=1.7e9)
            for why in ("ended", "mailbox full")
        ]
        return DeadLetterPage(
            letters=found[:limit], matched=len(found), kept=len(self.letters), total=1204, in_a_minute=3, by_why=whys
        )  # fmt: skip

    async def resend(self, letter: int, to: int | str | None = None, reason: str = "") -> Acted:
        self._asked("resend", (letter, to, reason))
        place = next(number for number, one in enumerate(self.letters) if one.number == letter)
        self.letters[place] = self.letters[place].model_copy(update={"sent_to": "Session 8 (session-5)"})
        return Acted(done=True, what=f"dead letter {letter} is in the mailbox of Session 8 (session-5)")

    async def budgets(
        self, *, by: str = "owner", sort: str = "share", text: str = "", limit: int = 100
    ) -> BudgetPage:
        self._asked("budgets", (by, sort, text))
        lines = [
            one
            for one in spent()
            if {"class": "class", "cap": "policy"}.get(one.kind, "owner") == by
            and text in f"{one.name} {one.class_name}"
        ]
        return BudgetPage(
            lines=lines[:limit], matched=len(lines), total=4, nearly=2, tokens=91_000, cost=3.2, tokens_min=5120.0, cost_min=0.31,
            over_s=40.0, elsewhere=12,
        )  # fmt: skip

    async def names(self, *, text: str = "", limit: int = 100) -> NamesPage:
        self._asked("names", text)
        member = [
            {"pid": pid, "name": f"session-{pid - 3}", "class": "Session", "times": 1 + pid % 2}
            for pid in (5, 6)
        ]
        groups = [
            one for one in (
                {"name": "prices", "memberships": 3, "members": member}, {"name": "night", "memberships": 1, "members": member[1:]},
            ) if text in str(one["name"])
        ]  # fmt: skip
        names = [
            {"name": f"session-{n}", "pid": n + 3, "class": "Session", "status": "idle"} for n in range(9) if text in f"session-{n}"
        ]  # fmt: skip
        return NamesPage.from_wire(
            {"groups": groups, "groups_matched": len(groups), "groups_total": 2, "names": names[:limit], "names_matched": len(names),
             "names_total": 402}
        )  # fmt: skip

    async def trace(self, selector: str, **bounds: Any) -> FakeTrace:
        self._asked("trace", (selector, bounds))
        self.traces.append(FakeTrace(agents=3))
        return self.traces[-1]

    @property
    def asks(self) -> WaitingApprovals:
        """What waits for a person, and what was decided."""
        none = WaitingApprovals(approvals=[], total=0)
        return self.__dict__.setdefault("_asks", none)  # type: ignore[no-any-return]  # its own, made when first asked for

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


def log_line(number: int, level: str, text: str, pid: int = 0, **more: Any) -> LogLine:
    """A log record, of an agent when it has a pid."""
    facts: dict[str, Any] = {
        "number": number, "at": 1_700_000_000.0 + number * 0.37, "level": level,
        "severity": logging.getLevelNamesMapping()[level], "logger": "shop.sessions", "text": text, "pid": pid,
    }  # fmt: skip
    if pid:
        facts |= {"name": f"session-{pid - 3}", "class": "Session", "place": "sessions.py:54 in handle"}
    return LogLine.from_wire(facts | more)


def logged() -> list[LogLine]:
    """A night at the shop."""
    traceback = (
        'Traceback (most recent call last):\n  File "/srv/shop/tools.py", line 31, in search\n'
        "    return json.loads(text)\nValueError: no lamp"
    )
    return [
        log_line(1, "INFO", "the shop is open", logger="shop", task="Task-1"),
        log_line(2, "DEBUG", "greets", 5),
        log_line(3, "INFO", "sold", 5, fields={"order": "17", "lamp": "green"}),
        log_line(4, "WARNING", "the search took 4.2 s", 9, logger="shop.tools"),
        log_line(
            5, "ERROR", "no answer", 9, logger="shop.tools", error="ValueError: no lamp", traceback=traceback
        ),
        log_line(6, "CRITICAL", "the till is on fire", thread="till", logger="shop.till"),
    ]


def dead_letters() -> list[DeadLetterLine]:
    """Of a session that was killed, of one that is full, and of a name that nobody has."""
    at = 1_700_000_000.0
    ended = {
        "target": "Session 31 (session-28)",
        "target_pid": 31,
        "why": "ended",
        "detail": "killed: hangs",
        "type": "dict",
    }
    facts: list[dict[str, Any]] = [
        ended | {"number": 1204 - n, "at": at - n, "text": f"{{'kind': 'refund', 'amount': {n}}}", "sender": "Desk 4 (desk)",
                 "sender_pid": 4, "heir": "Session 33 (session-28)", "heir_pid": 33}
        for n in range(3)
    ]  # fmt: skip
    facts += [
        {"number": 1200, "at": at - 60, "target": "Session 43 (session-40)", "target_pid": 43, "why": "mailbox full", "type": "str",
         "text": "'step'", "heir": "Session 43 (session-40)", "heir_pid": 43},
        {"number": 1199, "at": at - 70, "target": "archive", "why": "no such name", "type": "str", "text": "'keep this'",
         "sender": "Session 9 (session-6)", "sender_pid": 9},
    ]  # fmt: skip
    return [DeadLetterLine.from_wire(one) for one in facts]


def spent() -> list[SpentLine]:
    """One that is over its limit, one that is near it, a tree, and one without a limit; their classes; and a tenant near a cap."""

    def limit(
        name: str, used: float, allowed: float, rate: float | None, left_s: float | None
    ) -> dict[str, Any]:
        return {"name": name, "used": used, "allowed": allowed, "rate": rate, "left_s": left_s}

    facts: list[dict[str, Any]] = [
        {"kind": "agent", "pid": 9, "name": "session-6", "class": "Session", "share": 1.02, "left_s": 0.0, "tokens": 10_200, "cost": 0.41,
         "limits": [limit("tokens", 10_200, 10_000, 12.0, 0.0), limit("wall_s", 300, 3600, 1.0, 3300)], "on_limit": "suspended",
         "tokens_min": 720.0, "cost_min": 0.03},
        {"kind": "subtree", "pid": 2, "name": "sessions", "class": "Supervisor", "share": 0.86, "left_s": 187.0, "tokens": 81_000,
         "cost": 4.3, "limits": [limit("cost", 4.3, 5.0, 0.0037, 187.0)], "on_limit": "killed", "tokens_min": 4400.0, "cost_min": 0.22},
        {"kind": "agent", "pid": 12, "name": "session-9", "class": "Session", "share": 0.2, "tool_calls": 8, "tokens": 410, "cost": 0.012,
         "limits": [limit("tool_calls", 8, 40, 0.0, None)], "on_limit": "exit", "tokens_min": 0.0, "cost_min": 0.0},
        {"kind": "agent", "pid": 31, "class": "Session", "tokens": 2200, "cost": 0.09},
        {"kind": "class", "class": "Session", "members": 3, "share": 1.02, "left_s": 400.0, "tokens": 12_810, "cost": 0.512,
         "limits": [limit("tokens", 10_200, 10_000, 12.0, 0.0)], "tokens_min": 720.0, "cost_min": 0.03},
        {"kind": "cap", "name": "acme", "class": "tenants", "share": 0.96, "left_s": 90.0, "tokens": 9_100, "cost": 19.2,
         "limits": [limit("cost", 19.2, 20.0, 0.0089, 90.0)], "on_limit": "deny", "tokens_min": 512.0, "cost_min": 0.53},
    ]  # fmt: skip
    return [SpentLine.from_wire(one) for one in facts]
