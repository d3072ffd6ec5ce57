"""Preemption: nothing of what a step sees is mixed up with another's."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from observe.runtime import (
    Agent,
    Node,
    current_agent,
)
from tests.runtime.preempting import KINDS, Runs, frozen, preempting_node, spin

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with preempting_node() as node:
        yield node


@pytest.mark.parametrize("kind", KINDS)
async def test_the_current_task_and_agent_are_right_on_both_sides(node: Node, kind: type[Agent]) -> None:
    """`asyncio.timeout`, anyio and tracing look at them."""
    seen: list[bool] = []

    def work() -> None:
        task, agent = asyncio.current_task(), current_agent()
        for _ in range(20):
            spin()
            seen.append(asyncio.current_task() is task and current_agent() is agent)

    ref = await node.spawn(kind)
    mine = asyncio.current_task()
    call = asyncio.ensure_future(ref.call(work, timeout=50))
    await frozen(node, ref)
    while not call.done():
        assert asyncio.current_task() is mine
        assert current_agent() is None
        await asyncio.sleep(0.001)
    await call
    assert seen == [True] * 20


async def test_a_timeout_spans_a_freeze(node: Node) -> None:
    """A step that holds on to its task before it is frozen has the same task when it waits afterwards."""

    class Times(Agent):
        async def handle(self, message: Any) -> str:
            try:
                async with asyncio.timeout(0.3):
                    spin()
                    await asyncio.sleep(3600)
            except TimeoutError:
                return "timed out"
            return "not"

    ref = await node.spawn(Times)
    assert await ref.call(1, timeout=50) == "timed out"


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.mark.parametrize("kind", KINDS)
async def test_context_variables_and_decimal_contexts_do_not_mix(node: Node, kind: type[Agent]) -> None:
    def work(name: str, digits: int) -> list[tuple[str, int]]:
        variable.set(name)
        decimal.setcontext(decimal.Context(prec=digits))
        seen = set()
        for _ in range(4):
            spin()
            seen.add((variable.get(), decimal.getcontext().prec))
        return sorted(seen)

    refs = [await node.spawn(kind) for _ in range(3)]
    results = await asyncio.gather(
        *(ref.call(lambda n=n: work(f"agent {n}", 10 + n), timeout=50) for n, ref in enumerate(refs))
    )
    assert results == [[(f"agent {n}", 10 + n)] for n in range(3)]
    assert variable.get() == "unset"
    assert decimal.getcontext().prec == 28


@pytest.mark.parametrize("kind", KINDS)
async def test_the_exception_in_hand_stays_with_its_step(node: Node, kind: type[Agent]) -> None:
    """`raise` without an argument raises the step's own; nobody's `__context__` is a stranger's."""

    def work(text: str) -> str:
        try:
            raise ValueError(text)
        except ValueError:
            for _ in range(4):
                spin()
                assert str(sys.exc_info()[1]) == text
            try:
                raise
            except ValueError as error:
                return str(error)

    refs = [await node.spawn(kind) for _ in range(3)]
    calls = [
        asyncio.ensure_future(ref.call(lambda n=n: work(str(n)), timeout=50)) for n, ref in enumerate(refs)
    ]
    while not all(call.done() for call in calls):
        assert sys.exc_info() == (None, None, None)
        with pytest.raises(KeyError) as mine:
            raise KeyError("mine")
        assert mine.value.__context__ is None
        await asyncio.sleep(0.001)
    assert [call.result() for call in calls] == ["0", "1", "2"]


async def test_generators_and_deep_stacks_are_frozen_whole(node: Node) -> None:
    def numbers() -> Iterator[int]:
        for number in range(5):
            spin()
            yield number

    def deep(left: int) -> int:
        return deep(left - 1) + 1 if left else spin() and 0

    refs = [await node.spawn(Runs) for _ in range(4)]
    works: list[Callable[[], Any]] = [lambda: list(numbers()), lambda: deep(300)] * 2
    results = await asyncio.gather(
        *(ref.call(work, timeout=50) for ref, work in zip(refs, works, strict=True))
    )
    assert results == [[0, 1, 2, 3, 4], 300] * 2
