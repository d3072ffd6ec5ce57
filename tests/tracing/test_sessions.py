"""Live trace sessions on a node: which events, in which bounds, and how they end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, get_args

import pytest

from observe.probe.wire_traces import Kind
from observe.runtime import Agent, ChildSpec, Node, Supervisor
from observe.tracing.errors import BadSelector
from observe.tracing.selecting import parse
from observe.tracing.sessions import KINDS, USUAL, Bounds, Session
from observe.tracing.where import Condition
from tests.probe.live import until


class Counter(Agent):
    """Counts, with an activity."""

    def init(self) -> None:
        self.count = 0
        self.last: Any = None
        self.api_key = "sk-hunter22hunter22hunter22"
        self.conversation_id = f"c-{self.ref.pid}"

    async def handle(self, message: Any) -> Any:
        if message == "crash":
            raise ValueError("asked to")
        async with self.activity("tool:count"):
            self.count += 1
        self.last = message
        if isinstance(message, dict) and "to" in message:
            return await self.node.ref(message["to"]).call("passed on")
        return self.count


class Heard:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.left_out = 0

    def __call__(self, events: list[dict[str, Any]], left_out: int) -> bool:
        self.events += events
        self.left_out += left_out
        return True

    @property
    def ended(self) -> str:
        return str(self.events[-1]["text"]) if self.events and self.events[-1]["kind"] == "end" else ""

    def kinds(self, name: str) -> list[str]:
        return [event["kind"] for event in self.events if event.get("name") == name]


@asynccontextmanager
async def traced(selector: str, **bounds: Any) -> AsyncIterator[tuple[Node, Session, Heard]]:
    """A node with two counters, and a session on some of them."""
    async with Node("traced", intensity=1000) as node:
        await node.spawn(Counter, name="one", restart="permanent")
        await node.spawn(Counter, name="two", restart="permanent")
        heard = Heard()
        bounds.setdefault("for_s", 60.0)
        session = Session(node, parse(selector), Bounds(**bounds), heard)
        session.start()
        yield node, session, heard
        session.stop()
        assert heard.ended
        for agent in node.agents.values():
            assert agent._o_bonds is None or agent._o_bonds.tapped is None, "it is still listened to"


def test_the_kinds_on_the_wire_are_those_that_there_are() -> None:
    assert set(get_args(Kind)) == set(KINDS)


async def test_a_call_is_seen_from_its_coming_to_its_answer() -> None:
    async with traced("one") as (node, session, heard):
        assert await node.ref("one").call({"to": "two"}) == 1
        session.stop()
        assert [event["kind"] for event in heard.events] == [
            "receive", "activity", "activity", "call", "reply", "reply", "end",
        ]  # fmt: skip
        receive, _, activity, call, inner, outer, _ = heard.events
        assert (receive["how"], receive["message"]["text"]) == ("call", "{'to': 'two'}")
        assert (activity["way"], activity["activity"]) == ("end", "tool:count")
        assert (call["peer_name"], call["message"]["text"]) == ("two", "'passed on'")
        assert (inner["way"], inner["peer_name"], inner["value"]["text"]) == ("in", "two", "1")
        assert (outer["way"], outer["value"]["text"]) == ("out", "1")
        assert 0 < inner["took_s"] < outer["took_s"]
        assert [event["n"] for event in heard.events[:-1]] == [1, 2, 3, 4, 5, 6]


async def test_a_crash_and_the_restart_after_it_and_the_successor_are_seen() -> None:
    async with traced("on*") as (node, session, heard):
        old = node.ref("one").pid
        node.ref("one").cast("crash")
        await until(lambda: node.whereis("one") is not None and node.ref("one").pid != old)
        await node.ref("one").call("again")
        session.stop()
        kinds = heard.kinds("one")
        for kind in ("receive", "handled", "crash", "exit", "spawn", "restart", "reply"):
            assert kind in kinds, kind
        crash = next(event for event in heard.events if event["kind"] == "crash")
        assert "ValueError" in crash["text"]
        assert crash["message"]["text"] == "'crash'"


async def test_by_pid_the_successor_is_followed() -> None:
    async with Node("traced", intensity=1000) as node:
        ref = await node.spawn(Counter, name="one", restart="permanent")
        heard = Heard()
        session = Session(node, parse(str(ref.pid)), Bounds(), heard)
        assert session.start() == 1
        ref.cast("crash")
        await until(lambda: node.whereis("one") is not None and node.ref("one").pid != ref.pid)
        await node.ref("one").call("again")
        session.stop()
        assert heard.kinds("one")[-1] == "reply"


async def test_the_state_is_compared_and_secrets_stay_masked() -> None:
    async with traced("one", kinds=frozenset({"state"})) as (node, session, heard):
        await node.ref("one").call("x")
        session.stop()
        assert heard.events[0]["changes"] == [["count", "0", "1"], ["last", "None", "'x'"]]
        assert "hunter22" not in repr(heard.events)


async def test_a_condition_chooses() -> None:
    condition = Condition('kind == "receive" and message.amount > 10')
    async with traced("class:Counter", condition=condition) as (node, session, heard):
        for amount in (5, 15, 25):
            node.ref("one").cast({"amount": amount})
        node.ref("two").cast("no fields at all")
        await node.ref("two").call("sync")
        session.stop()
        assert [event["message"]["text"] for event in heard.events[:-1]] == [
            "{'amount': 15}",
            "{'amount': 25}",
        ]


async def test_it_ends_after_so_many_events() -> None:
    async with traced("one", count=10) as (node, _, heard):
        for number in range(100):
            node.ref("one").cast(number)
        await until(lambda: heard.ended)
        assert heard.ended == "after 10 events"
        assert len(heard.events) == 11
        assert await node.ref("one").call("still there") == 101


async def test_it_ends_after_its_time_and_when_nobody_listens() -> None:
    async with traced("one", for_s=0.01) as (_, session, heard):
        await until(lambda: heard.ended)
        assert heard.ended == "after 0.01 s"
        assert session.agents == 0


async def test_beyond_its_rate_events_are_counted_and_left_out() -> None:
    async with traced("one", kinds=frozenset({"receive"}), rate=5.0, count=1000) as (node, session, heard):
        for number in range(200):
            node.ref("one").cast(number)
        await node.ref("one").call("sync")
        session.stop()
        received = len(heard.events) - 1
        assert 5 <= received < 100
        assert received + heard.left_out == 201


async def test_selectors_find_whom_they_name() -> None:
    async with Node("traced") as node:
        await node.spawn(Supervisor, [ChildSpec(Counter, name="below")], name="carts")
        one = await node.spawn(Counter, name="cart-1")
        two = await node.spawn(Counter)
        inner = node.ref("below")
        node.groups.join("prices", one)
        for selector, expected in {
            "cart-*": {one.pid}, "name:cart-?": {one.pid}, str(two.pid): {two.pid}, f"pid:{two.pid}": {two.pid},
            "class:Counter": {one.pid, two.pid, inner.pid}, "class:C*r": {one.pid, two.pid, inner.pid},
            "under:carts": {inner.pid}, "group:prices": {one.pid}, f"conversation:c-{two.pid}": {two.pid},
            "name:nobody": set(), "carts": set(), "class=Counter": {one.pid, two.pid, inner.pid}, "under=carts": {inner.pid},
        }.items():  # fmt: skip
            assert {agent._o_pid for agent in parse(selector).find(node)} == expected, selector


@pytest.mark.parametrize(
    ("selector", "says"),
    [("", "1 to 256"), ("clas:X", "did you mean class:X"), ("pid:x", "name:x"), ("class:", "names nothing"), ("x" * 300, "256")],
)  # fmt: skip
def test_a_selector_that_makes_no_sense_is_refused_with_a_hint(selector: str, says: str) -> None:
    with pytest.raises(BadSelector, match=says):
        parse(selector)


async def test_nobody_to_trace_is_said_at_once() -> None:
    async with Node("traced") as node:
        with pytest.raises(BadSelector, match="means no agent"):
            Session(node, parse("99"), Bounds(), Heard()).start()


async def test_two_sessions_on_one_agent_do_not_know_each_other() -> None:
    async with traced("one") as (node, first, heard):
        also = Heard()
        second = Session(node, parse("one"), Bounds(kinds=frozenset({"receive"})), also)
        second.start()
        await node.ref("one").call(1)
        first.stop()
        await node.ref("one").call(2)
        second.stop()
        assert [event["kind"] for event in also.events] == ["receive", "receive", "end"]
        assert len([event for event in heard.events if event["kind"] == "receive"]) == 1


async def test_usual_is_without_what_comes_with_each_message() -> None:
    assert set(KINDS) - set(USUAL) == {"state", "schedule"}
    async with traced("one", kinds=frozenset({"schedule"})) as (node, session, heard):
        await node.ref("one").call(1)
        session.stop()
        assert heard.events[0]["kind"] == "schedule"
        assert heard.events[0]["took_s"] > 0


async def test_its_end_is_told_again_until_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed that is full for a moment must not leave a reader waiting for ever."""
    monkeypatch.setattr("observe.tracing.sessions.END_RETRY_S", 0.001)
    refused: list[dict[str, Any]] = []
    heard = Heard()

    def full_at_first(events: list[dict[str, Any]], left_out: int) -> bool:
        if len(refused) < 3:
            refused.extend(events)
            return False
        return heard(events, left_out)

    async with Node("traced") as node:
        await node.spawn(Counter, name="one")
        session = Session(node, parse("one"), Bounds(kinds=frozenset({"receive"})), full_at_first)
        session.start()
        await node.ref("one").call(1)
        session.stop("stopped")
        await until(lambda: heard.ended)
        assert [event["kind"] for event in heard.events] == ["end"]
        assert heard.left_out == 1
