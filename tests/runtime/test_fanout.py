"""Structured fan-out: every item has an outcome of its own, and nothing outlives the caller."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from observe.runtime import (
    Agent,
    AgentExited,
    Budget,
    ChildSpec,
    Node,
    Outcome,
    current_agent,
    supervised_map,
)
from observe.runtime.testing import eventually, settled

Body = Callable[[], Awaitable[Any]]
Here = Callable[[Body], Awaitable[Any]]


class Runner(Agent):
    """Runs what it is sent in its step."""

    async def handle(self, body: Body) -> Any:
        return await body()


@pytest.fixture(params=["plain", "agent"])
def here(request: pytest.FixtureRequest, node: Node) -> Here:
    """Run a body in plain asyncio code, or in an agent's step."""

    async def run(body: Body) -> Any:
        if request.param == "plain":
            return await asyncio.create_task(body())  # type: ignore[arg-type]  # a coroutine function's result
        if node.whereis("runner") is None:
            await node.spawn(Runner, name="runner")
        return await node.ref("runner").call(body, timeout=30)

    return run


async def nothing_left(node: Node) -> None:
    """No task and no agent of a fan-out is there any more."""
    await eventually(lambda: not [a for a in node.agents.values() if type(a).__name__.startswith("FanOut")])
    await eventually(lambda: not [t for t in asyncio.all_tasks() if "[" in t.get_name()])


async def all_of(iterator: AsyncIterator[Outcome[Any, Any]]) -> list[Outcome[Any, Any]]:
    return [outcome async for outcome in iterator]


async def test_outcomes_come_as_they_come_or_in_order(here: Here, node: Node) -> None:
    gates = [asyncio.Event() for _ in range(3)]

    async def wait(n: int) -> int:
        await gates[n].wait()
        if n:
            gates[n - 1].set()
        return n * 10

    async def body(ordered: bool) -> list[int]:
        for gate in gates:
            gate.clear()
        gates[-1].set()
        return [one.unwrap() async for one in supervised_map(wait, range(3), ordered=ordered)]

    assert await here(lambda: body(False)) == [20, 10, 0]
    assert await here(lambda: body(True)) == [0, 10, 20]
    await nothing_left(node)


async def test_a_failure_is_the_outcome_of_its_item_alone(here: Here, node: Node) -> None:
    """One page of garbage must not cost the other ninety-nine."""

    async def work(n: int) -> int:
        if n == 1:
            raise ValueError("garbage")
        if n == 2:
            await asyncio.Event().wait()
        return n

    async def body() -> list[Outcome[int, int]]:
        return await all_of(supervised_map(work, range(4), timeout=0.05, ordered=True))

    good, bad, slow, last = await here(body)
    assert (good.index, good.item, good.value, good.is_ok) == (0, 0, 0, True)
    assert (str(bad.error), bad.timed_out, bad.is_ok) == ("garbage", False, False)
    assert (type(slow.error), slow.timed_out) == (TimeoutError, True)
    assert last.unwrap() == 3
    with pytest.raises(ValueError, match="garbage"):
        bad.unwrap()
    await nothing_left(node)


async def test_a_time_out_of_its_own_is_not_the_maps(here: Here) -> None:
    async def work(n: int) -> None:
        raise TimeoutError("mine")

    (outcome,) = await here(lambda: all_of(supervised_map(work, [1])))
    assert not outcome.timed_out


async def test_plain_functions_and_async_items_will_do(here: Here, node: Node) -> None:
    async def numbers() -> AsyncIterator[int]:
        for n in range(3):
            await asyncio.sleep(0)
            yield n

    outcomes = await here(lambda: all_of(supervised_map(lambda n: n + 1, numbers(), ordered=True)))
    assert [one.value for one in outcomes] == [1, 2, 3]
    assert await here(lambda: all_of(supervised_map(str, []))) == []


@pytest.mark.parametrize("ordered", [False, True])
async def test_no_more_are_under_way_than_allowed_and_items_are_taken_as_needed(
    here: Here, ordered: bool
) -> None:
    """A million items are not a million tasks, and a slow reader is not overrun."""
    now, most, taken = 0, 0, 0

    def items() -> Iterator[int]:
        nonlocal taken
        for n in range(100):
            taken += 1
            yield n

    async def work(n: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    async def body() -> int:
        seen = 0
        async for _ in supervised_map(work, items(), max_concurrency=4, ordered=ordered):
            seen += 1
            assert taken <= seen + 8
        return seen

    assert await here(body) == 100
    assert most == 4


@pytest.mark.parametrize("how", ["in the loop's head", "in its body"])
async def test_cancelling_the_caller_cancels_all_below_it(here: Here, node: Node, how: str) -> None:
    """And their clean-up runs."""
    cleaned: list[int] = []
    started = asyncio.Event()

    async def work(n: int) -> int:
        if n == 0 and how == "in its body":
            return n
        try:
            if n == 5:
                started.set()
            await asyncio.Event().wait()
        finally:
            cleaned.append(n)
        return n

    async def body() -> None:
        async for _ in supervised_map(work, itertools.count(), max_concurrency=6):
            await asyncio.Event().wait()

    caller: asyncio.Task[None] = asyncio.create_task(here(body))  # type: ignore[arg-type]  # it is a coroutine
    await started.wait()
    await settled(node)
    if (runner := node.whereis("runner")) is not None:
        runner.exit("killed")
        with pytest.raises(AgentExited):
            await caller
    else:
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
    await nothing_left(node)
    assert len(cleaned) >= 5
    assert len(set(cleaned)) == len(cleaned)


async def test_leaving_the_loop_ends_what_is_under_way(here: Here, node: Node) -> None:
    ended: list[int] = []

    async def work(n: int) -> int:
        try:
            if n:
                await asyncio.Event().wait()
        finally:
            ended.append(n)
        return n

    async def by_break() -> None:
        async for _ in supervised_map(work, range(5)):
            break

    async def by_context() -> list[int]:
        async with supervised_map(work, range(5)) as outcomes:
            async for _ in outcomes:
                break
        return list(ended)

    await here(by_break)
    gc.collect()
    await nothing_left(node)
    assert sorted(ended) == [0, 1, 2, 3, 4]
    ended.clear()
    assert sorted(await here(by_context)) == [0, 1, 2, 3, 4]


async def test_items_that_cannot_be_made_end_the_map(here: Here, node: Node) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    async def work(n: int) -> None:
        await asyncio.Event().wait()

    async def body() -> str:
        try:
            await all_of(supervised_map(work, items()))
        except LookupError as error:
            return str(error)
        return "?"

    assert await here(body) == "no more"
    await nothing_left(node)


async def test_one_that_ignores_its_cancellation_does_not_hold_up_the_rest(
    here: Here, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """It is given up after a second, and said so."""
    release = asyncio.Event()

    async def stubborn(n: int) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                pass

    async def body() -> None:
        async with supervised_map(stubborn, [1]) as outcomes:
            waiting = asyncio.ensure_future(anext(outcomes))
            await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.wait([waiting])

    with caplog.at_level(logging.CRITICAL):
        await here(body)
    release.set()
    await nothing_left(node)


# -- On a node


async def test_items_are_agents_when_an_agent_asks(node: Node) -> None:
    """They are seen in the tree, have activities, and crash on record."""
    seen: list[str] = []

    async def fetch(page: str) -> str:
        agent = current_agent()
        assert agent is not None
        with agent.activity("tool:fetch", page=page):
            seen.append(str(agent._o_child.id))
            assert type(agent).__name__ == "FanOutItem"
            await asyncio.sleep(0)
        if page == "b":
            raise ValueError("b")
        return page.upper()

    async def body() -> list[Any]:
        return [one.value async for one in supervised_map(fetch, "abc", ordered=True)]

    assert await (await node.spawn(Runner)).call(body) == ["A", None, "C"]
    assert seen == ["fetch[0]", "fetch[1]", "fetch[2]"]
    assert [(crash.class_name, crash.reason) for crash in node.lifecycle.crashes] == [
        ("FanOutItem", "ValueError: b")
    ]
    await settled(node)
    assert {type(agent).__name__ for agent in node.agents.values()} == {"Supervisor", "Runner"}


async def test_an_operator_can_end_one_item_or_all(node: Node) -> None:
    """One item's end is its outcome; the end of their supervisor is a cancellation of the map."""

    async def hang(n: int) -> None:
        await asyncio.Event().wait()

    async def body() -> list[Any]:
        return await all_of(supervised_map(hang, range(3)))

    runner = await node.spawn(Runner)
    call = asyncio.create_task(runner.call(body))
    items = await eventually(
        lambda: [a for a in node.agents.values() if type(a).__name__ == "FanOutItem"][2:] and node
    )
    first = next(a for a in items.agents.values() if type(a).__name__ == "FanOutItem")
    node.control.kill(first._o_pid, "by hand")
    await settled(node)
    assert not call.done()
    supervisor = next(a for a in node.agents.values() if type(a).__name__ == "FanOut")
    node.control.kill(supervisor._o_pid)
    with pytest.raises(AgentExited):
        await call
    await settled(node)


async def test_a_killed_item_has_the_reason_in_its_outcome(node: Node) -> None:
    async def body() -> Any:
        async def end_myself(n: int) -> None:
            agent = current_agent()
            assert agent is not None
            agent.ref.exit("killed")
            await asyncio.sleep(0)

        return [one async for one in supervised_map(end_myself, [1])]

    (outcome,) = await (await node.spawn(Runner)).call(body)
    assert isinstance(outcome.error, AgentExited)
    assert outcome.error.reason.kind == "killed"


@pytest.mark.parametrize("options", [{"max_concurrency": 0}, {"timeout": 0}])
def test_limits_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        supervised_map(str, [], **options)


async def test_what_items_spend_is_their_callers(node: Node) -> None:
    """An agent does not get round its budget by asking others to do the work."""

    async def ask(n: int) -> None:
        agent = current_agent()
        assert agent is not None
        async with agent.activity("model:chat") as chat:
            chat.usage(input_tokens=10)

    async def body() -> int:
        return len(await all_of(supervised_map(ask, range(100), max_concurrency=1)))

    spec = ChildSpec(Runner, name="r", restart="temporary", budget=Budget(tokens=35))
    await node.supervisor.start_child(spec)
    with pytest.raises(AgentExited, match=r"tokens 40, allowed 35"):
        await node.ref("r").call(body)
    await nothing_left(node)
