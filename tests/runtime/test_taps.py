"""Taps: what is told of a tapped agent, and that it behaves as if nobody listened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest

from observe.runtime import Agent, ChildSpec, MailboxFull, MemoryStore, Node, Ref
from observe.runtime.calls import Call
from observe.runtime.errors import ActionRefused
from observe.runtime.stacks import stack_of
from observe.runtime.taps import Handled, Kind, Tap, tap, untap
from tests.probe.live import until


class Notes(Tap):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def on_receive(self, agent: Agent, message: Any, kind: Kind, sender: Agent | None) -> None:
        self.heard.append(("receive", message, kind, sender.ref.pid if sender is not None else 0))

    def on_send(self, agent: Agent, target: Agent, message: Any, is_call: bool) -> None:
        self.heard.append(("call" if is_call else "send", target.ref.pid, message))

    def on_begin(self, agent: Agent, message: Any) -> None:
        self.heard.append(("begin", message))

    def on_end(self, agent: Agent, handled: Handled) -> None:
        assert handled.took_ns > 0
        what = type(handled.error).__name__ if handled.error is not None else handled.value
        self.heard.append(("end", handled.message, handled.kind, what))

    def on_reply(self, agent: Agent, call: Call, took_ns: int) -> None:
        self.heard.append(("reply", call.target._o_pid, call.value))

    def of(self, *kinds: str) -> list[tuple[Any, ...]]:
        return [one for one in self.heard if one[0] in kinds]


class Echo(Agent):
    """Answers what it is asked."""

    def handle(self, message: Any) -> Any:
        if message == "fail":
            raise ValueError("as asked")
        return message


class Relay(Agent):
    """Passes on what it gets, in each way there is."""

    def init(self, to: Ref) -> None:
        self.to = to

    async def handle(self, message: Any) -> Any:
        self.to.cast(("cast", message))
        self.node.groups.publish("echoes", ("published", message))
        answer = await self.to.call(("call", message))
        await asyncio.sleep(0)
        self.to.cast(("later", message))
        return answer


@asynccontextmanager
async def relayed() -> AsyncIterator[tuple[Node, Ref, Ref, Notes]]:
    """A relay that is listened to, and the agent to which it passes things on."""
    async with Node("taps") as node:
        echo = await node.spawn(Echo, name="echo")
        node.groups.join("echoes", echo)
        relay = await node.spawn(Relay, echo, name="relay")
        notes = Notes()
        tap(relay._agent, notes)
        yield node, relay, echo, notes


async def test_all_that_comes_goes_and_is_answered_is_told_in_its_order() -> None:
    async with relayed() as (_, relay, echo, notes):
        assert await relay.call("hello") == ("call", "hello")
        assert notes.heard == [
            ("receive", "hello", "call", 0),
            ("begin", "hello"),
            ("send", echo.pid, ("cast", "hello")),
            ("send", echo.pid, ("published", "hello")),
            ("call", echo.pid, ("call", "hello")),
            ("reply", echo.pid, ("call", "hello")),
            ("send", echo.pid, ("later", "hello")),
            ("end", "hello", "call", ("call", "hello")),
        ]


async def test_the_sender_is_named_and_others_are_not_told_of() -> None:
    async with relayed() as (node, relay, echo, notes):
        heard = Notes()
        tap(echo._agent, heard)
        other = await node.spawn(Relay, echo, name="other")
        await other.call("x")
        assert {one[3] for one in heard.of("receive")} == {other.pid}
        assert [one[1:3] for one in heard.of("receive")] == [
            (("cast", "x"), "cast"), (("published", "x"), "cast"), (("call", "x"), "call"), (("later", "x"), "cast"),
        ]  # fmt: skip
        assert notes.heard == []
        assert relay.is_alive


async def test_messages_that_come_while_it_works_are_told_when_they_come() -> None:
    async with relayed() as (_, relay, _echo, notes):
        for number in range(5):
            relay.cast(number)
        await relay.call(5)
        assert [one[1] for one in notes.of("receive")] == [0, 1, 2, 3, 4, 5]
        assert [one[1] for one in notes.of("begin")] == [0, 1, 2, 3, 4, 5]


async def test_timers_and_signals_wake_an_idle_agent_that_is_listened_to() -> None:
    class Watcher(Agent):
        def handle(self, message: Any) -> None:
            if isinstance(message, Ref):
                self.monitor(message)
                self.send_after(0.0, "tick")

    async with Node("taps") as node:
        echo = await node.spawn(Echo)
        watcher = await node.spawn(Watcher)
        notes = Notes()
        tap(watcher._agent, notes)
        watcher.cast(echo)
        await watcher.call("sync")
        echo.exit()
        await until(lambda: len(notes.of("end")) == 4)
        kinds = [(type(one[1]).__name__, one[2]) for one in notes.of("receive")]
        assert sorted(kinds) == [("Down", "signal"), ("Ref", "cast"), ("str", "call"), ("str", "timer")]


async def test_a_crash_is_told_and_stays_a_crash() -> None:
    async with Node("taps") as node:
        echo = await node.spawn(Echo, name="echo", restart="permanent")
        notes = Notes()
        tap(echo._agent, notes)
        with pytest.raises(Exception, match="as asked"):
            await echo.call("fail")
        assert notes.of("end") == [("end", "fail", "call", "ValueError")]
        assert (await echo.wait_exit()).kind == "crash"
        assert await node.ref("echo").call("again") == "again"
        assert ("begin", "again") not in notes.heard, "the successor is another agent"


async def test_a_limit_holds_and_a_full_mailbox_refuses() -> None:
    class Small(Agent):
        mailbox_limit: ClassVar[int | None] = 2
        overflow = "reject"

        async def handle(self, message: Any) -> Any:
            return await message if isinstance(message, asyncio.Future) else message

    async with Node("taps") as node:
        small = await node.spawn(Small)
        notes = Notes()
        tap(small._agent, notes)
        gate = asyncio.get_running_loop().create_future()
        small.cast(gate)
        await asyncio.sleep(0)
        small.cast(1)
        small.cast(2)
        with pytest.raises(MailboxFull):
            small.cast(3)
        untap(small._agent, notes)
        with pytest.raises(MailboxFull):
            small.cast(4)
        gate.set_result(None)
        await until(lambda: small._agent._o_queued() == 0)
        assert await small.call(5) == 5
        assert [one[1] for one in notes.of("receive")] == [gate, 1, 2]


async def test_what_waited_before_and_what_waits_after_is_neither_lost_nor_doubled() -> None:
    class Collects(Agent):
        def init(self) -> None:
            self.got: list[Any] = []

        async def handle(self, message: Any) -> Any:
            self.got.append(message)
            await asyncio.sleep(0)
            return list(self.got)

    async with Node("taps") as node:
        agent = await node.spawn(Collects)
        notes = Notes()
        for number in range(100):
            agent.cast(number)
            if number % 7 == 3:
                tap(agent._agent, notes)
            if number % 11 == 5:
                untap(agent._agent, notes)
            if number % 13 == 0:
                await asyncio.sleep(0)
        assert await agent.call(100) == list(range(101))
        untap(agent._agent, notes)
        assert await agent.call(101) == list(range(102))
        assert agent._agent._o_mailbox is None


async def test_an_agent_with_a_plan_is_checkpointed_as_ever() -> None:
    class Counter(Agent):
        def init(self) -> None:
            self.count = 0

        def handle(self, message: Any) -> int:
            if message == "fail":
                raise ValueError
            self.count += 1
            return self.count

    async with Node("taps", store=MemoryStore()) as node:
        spec = ChildSpec(Counter, name="counter", restore=True, checkpoint="each_message", in_hand="drop")
        counter = await node.supervisor.start_child(spec)
        notes = Notes()
        tap(counter._agent, notes)
        assert await counter.call("one") == 1
        assert await counter.call("two") == 2
        counter.cast("fail")
        await counter.wait_exit()
        assert await node.ref("counter").call("three") == 3
        assert [one[1] for one in notes.of("end")] == ["one", "two", "fail"]


async def test_its_stack_is_seen_as_ever() -> None:
    class Waits(Agent):
        async def handle(self, message: Any) -> None:
            await self.wait_for(message)

        async def wait_for(self, gate: asyncio.Future[None]) -> None:
            await gate

    async with Node("taps") as node:
        agent = await node.spawn(Waits)
        tap(agent._agent, Notes())
        gate = asyncio.get_running_loop().create_future()
        agent.cast(gate)
        await asyncio.sleep(0)
        assert [frame.function for frame in stack_of(agent._agent).frames] == ["handle", "wait_for"]
        gate.set_result(None)
        assert await agent.call(gate) is None


async def test_a_listener_that_fails_is_removed_and_nobody_is_hurt(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Tap):
        def on_begin(self, agent: Agent, message: Any) -> None:
            raise RuntimeError("a fault of the listener's")

    async with Node("taps") as node:
        echo = await node.spawn(Echo)
        tap(echo._agent, Broken())
        assert await echo.call(1) == 1
        assert "a fault of the listener's" in caplog.text
        assert await echo.call(2) == 2
        assert echo._agent._o_bonds is not None
        assert echo._agent._o_bonds.handle is None


async def test_supervisors_and_the_dead_are_not_listened_to() -> None:
    async with Node("taps") as node:
        echo = await node.spawn(Echo)
        with pytest.raises(ActionRefused, match="supervisor"):
            tap(node.supervisor._agent, Notes())
        echo.exit()
        await echo.wait_exit()
        with pytest.raises(ActionRefused, match="ended"):
            tap(echo._agent, Notes())
