"""Calls: replies, time-outs, and who is answered when somebody dies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from observe.runtime import Agent, AgentExited, CallingSelf, CallTimeout, Node, Ref
from observe.runtime.testing import eventually, settled


class Echo(Agent):
    async def handle(self, message: Any) -> Any:
        return message


class Forwarder(Agent):
    """Asks another agent and answers with its answer."""

    def init(self, target: Ref, timeout: float | None = 5.0) -> None:
        self.target = target
        self.timeout = timeout

    async def handle(self, message: Any) -> Any:
        return await self.target.call(message, timeout=self.timeout)


class Silent(Agent):
    """Waits until it is released."""

    def init(self) -> None:
        self.release = asyncio.Event()

    async def handle(self, message: Any) -> Any:
        await self.release.wait()
        return message


async def test_a_call_goes_through_a_chain_of_agents_and_back(node: Node) -> None:
    ref = await node.spawn(Echo)
    for _ in range(50):
        ref = await node.spawn(Forwarder, ref)
    assert await ref.call("there and back") == "there and back"


async def test_a_caller_that_waits_shows_whom_it_waits_for(node: Node) -> None:
    """The first question about a stuck agent."""
    silent = await node.spawn(Silent, name="silent")
    forwarder = await node.spawn(Forwarder, silent, None)
    forwarder.cast("go")
    await settled(node)
    stack = node.control.stack(node.control.find(forwarder.pid))
    assert stack.status == "waiting"
    assert stack.waiting_on == f"a reply from Silent {silent.pid} (silent)"
    assert stack.frames[-1].function == "handle"
    assert "await self.target.call" in stack.frames[-1].source


@pytest.mark.parametrize("from_agent", [False, True])
async def test_a_call_times_out_and_its_late_reply_is_dropped(node: Node, from_agent: bool) -> None:
    silent = await node.spawn(Silent)
    if from_agent:
        asker = await node.spawn(Forwarder, silent, 0.01)
        with pytest.raises(AgentExited, match="CallTimeout: Silent"):
            await asker.call("anybody?")
    else:
        with pytest.raises(CallTimeout, match=r"did not reply within 0\.01 s"):
            await silent.call("anybody?", timeout=0.01)
    vars(node.control.find(silent.pid))["release"].set()
    assert await silent.call("still well") == "still well"


async def test_a_time_out_is_also_a_builtin_timeout_error(node: Node) -> None:
    """`except TimeoutError` is what people write."""
    silent = await node.spawn(Silent)
    with pytest.raises(TimeoutError):
        await silent.call(1, timeout=0.005)


async def test_many_calls_with_different_time_outs_expire_each_in_its_time(node: Node) -> None:
    silent = await node.spawn(Silent)
    order: list[float] = []

    async def ask(timeout: float) -> None:
        with pytest.raises(CallTimeout):
            await silent.call(timeout, timeout=timeout)
        order.append(timeout)

    await asyncio.gather(*(ask(timeout) for timeout in (0.09, 0.01, 0.06, 0.03, 0.03)))
    assert order == sorted(order)


async def test_a_call_to_an_agent_that_dies_fails_at_once_with_its_reason(node: Node) -> None:
    """Two of the peers let the caller wait its whole time-out."""
    silent = await node.spawn(Silent)
    asker = await node.spawn(Forwarder, silent, None)
    waiting = [asyncio.ensure_future(ref.call(1, timeout=None)) for ref in (silent, asker)]
    await settled(node)
    silent.exit("killed")
    first, second = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(first, AgentExited)
    assert first.reason.kind == "killed"
    assert isinstance(second, AgentExited)
    assert "AgentExited" in second.reason.text


async def test_a_caller_that_is_killed_while_it_waits_leaves_no_trace(node: Node) -> None:
    """The reply that comes later must not wake its successor or anybody else."""
    silent = await node.spawn(Silent)
    asker = await node.spawn(Forwarder, silent, None)
    asker.cast("go")
    await settled(node)
    asker.exit("killed")
    await eventually(lambda: asker.pid not in node.agents)
    vars(node.control.find(silent.pid))["release"].set()
    assert await silent.call("next") == "next"


async def test_calls_may_be_gathered_wrapped_and_timed_by_asyncio(node: Node) -> None:
    """`call` is an ordinary coroutine: whatever asyncio does with those works."""
    echo = await node.spawn(Echo)

    class Gathers(Agent):
        async def handle(self, message: Any) -> Any:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(echo.call("in a group"))
            together = await asyncio.gather(*(echo.call(number) for number in range(3)))
            async with asyncio.timeout(5):
                timed = await echo.call("timed")
            return [task.result(), *together, timed, await asyncio.wait_for(echo.call("waited"), 5)]

    gathers = await node.spawn(Gathers)
    assert await gathers.call(1) == ["in a group", 0, 1, 2, "timed", "waited"]


async def test_a_timeout_block_around_a_call_cuts_it(node: Node) -> None:
    silent = await node.spawn(Silent)

    class Impatient(Agent):
        async def handle(self, message: Any) -> str:
            try:
                async with asyncio.timeout(0.01):
                    await silent.call(1, timeout=None)
            except TimeoutError:
                return "cut"
            return "not cut"

    impatient = await node.spawn(Impatient)
    assert await impatient.call(1) == "cut"


@pytest.mark.parametrize("by", ["ref", "name"])
async def test_an_agent_that_calls_itself_is_told_at_once(node: Node, by: str) -> None:
    """OTP: calling_self. Nothing is put into its mailbox; through a task of its own it is its time-out that ends it."""

    class Narcissus(Agent):
        async def handle(self, message: Any) -> Any:
            ref = self.ref if by == "ref" else self.node.ref("narcissus")
            with pytest.raises(CallingSelf, match=r"right: await self\.handle"):
                await ref.call(message, timeout=None)
            with pytest.raises(CallTimeout):
                await asyncio.ensure_future(ref.call(message, timeout=0.02))
            return self._o_queued()

    ref = await node.spawn(Narcissus, name="narcissus")
    assert await ref.call(1) == 1  # the one that has timed out


async def test_a_loop_of_calls_leaves_the_event_loop_its_turn(node: Node) -> None:
    """Calls answered on the spot must not starve timers and sockets."""
    echo = await node.spawn(Echo)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticker = asyncio.ensure_future(tick())
    for number in range(5000):
        assert await echo.call(number) == number
    ticker.cancel()
    assert ticks > 5


async def test_a_call_made_while_the_answering_agent_waits_joins_its_mailbox(node: Node) -> None:
    silent = await node.spawn(Silent)
    first = asyncio.ensure_future(silent.call("a"))
    await settled(node)
    second = asyncio.ensure_future(silent.call("b"))
    await settled(node)
    assert node.control.mailbox(node.control.find(silent.pid), 10) == (["b"], 1)
    vars(node.control.find(silent.pid))["release"].set()
    assert [await first, await second] == ["a", "b"]
