"""A task that computes on and on is frozen, others run, and nothing of theirs is mixed up."""

from __future__ import annotations

import asyncio
import decimal
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from observe.runtime import Node, current_agent
from observe.runtime.testing import eventually
from tests.runtime.loops import SHAPES, AsyncLoops, Loops
from tests.runtime.preempt_tasks.looking import cancelled, is_frozen, variable
from tests.runtime.preempting import spin

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal


@pytest.mark.parametrize("shape", [*SHAPES, "sleeps"])
def test_siblings_go_on_beside_an_endless_loop_and_it_can_be_cancelled(on: Any, shape: str) -> None:
    """The point of it all. Its clean-up runs, and nobody else noticed."""
    if shape == "in_lock":
        return  # it is never frozen: see the test of locks

    async def body(node: Node) -> None:
        task = asyncio.create_task(AsyncLoops.handle(AsyncLoops.__new__(AsyncLoops), shape))
        await eventually(Loops.entered.is_set)
        for number in range(20):
            assert await asyncio.create_task(asyncio.sleep(0.002, number)) == number
        await is_frozen(node, task)
        facts = node.tasks.facts_of(task)
        assert facts.state == "frozen"
        stack = node.tasks.stack_of(facts.id)
        assert stack.note.startswith("frozen: ")
        assert any("loops.py" in frame.file for frame in stack.frames)
        outcome = await cancelled(node, task)
        assert outcome.done
        assert task.cancelled()
        assert Loops.cleaned[-1] == shape
        assert "cut short" not in Loops.cleaned
        assert node.scheduler.preempter is not None
        assert node.scheduler.preempter.frozen == []

    on(body)


def test_long_steps_take_turns_and_come_to_their_ends(on: Any) -> None:
    async def long(number: int) -> int:
        spin(2)
        await asyncio.sleep(0)
        spin(2)
        return number

    async def body(node: Node) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(long(number)) for number in range(6)]
        assert [task.result() for task in tasks] == list(range(6))

    on(body)


def test_current_task_context_variables_and_decimal_contexts_do_not_mix(on: Any) -> None:
    """`asyncio.timeout`, anyio and tracing look at them, and what a step has set is there in the next one."""

    async def work(name: str, digits: int) -> set[tuple[str, int, bool]]:
        mine = asyncio.current_task()
        variable.set(name)
        decimal.setcontext(decimal.Context(prec=digits))
        seen = set()
        for _ in range(4):
            spin()
            seen.add((variable.get(), decimal.getcontext().prec, asyncio.current_task() is mine))
            await asyncio.sleep(0)
        return seen

    async def body(node: Node) -> None:
        mine = asyncio.current_task()
        tasks = [asyncio.create_task(work(f"task {n}", 10 + n)) for n in range(3)]
        while not all(task.done() for task in tasks):
            assert asyncio.current_task() is mine
            assert (variable.get(), decimal.getcontext().prec, current_agent()) == ("unset", 28, None)
            await asyncio.sleep(0.001)
        assert [task.result() for task in tasks] == [{(f"task {n}", 10 + n, True)} for n in range(3)]

    on(body)


def test_a_task_created_by_a_frozen_step_inherits_its_context(on: Any) -> None:
    async def child() -> str:
        return variable.get()

    async def parent() -> str:
        variable.set("parent's")
        spin()
        return await asyncio.create_task(child())

    async def body(node: Node) -> None:
        assert await asyncio.create_task(parent()) == "parent's"
        assert variable.get() == "unset"

    on(body)


def test_the_exception_in_hand_stays_with_its_step(on: Any) -> None:
    async def work(text: str) -> str:
        try:
            raise ValueError(text)
        except ValueError:
            for _ in range(3):
                spin()
                assert str(sys.exc_info()[1]) == text
            try:
                raise
            except ValueError as error:
                return str(error)

    async def body(node: Node) -> None:
        tasks = [asyncio.create_task(work(str(n))) for n in range(3)]
        while not all(task.done() for task in tasks):
            assert sys.exc_info() == (None, None, None)
            with pytest.raises(KeyError) as mine:
                raise KeyError("mine")
            assert mine.value.__context__ is None
            await asyncio.sleep(0.001)
        assert [task.result() for task in tasks] == ["0", "1", "2"]

    on(body)


def test_generators_deep_stacks_and_async_generators_are_frozen_whole(on: Any) -> None:
    def numbers() -> Iterator[int]:
        for number in range(3):
            spin()
            yield number

    async def later() -> AsyncIterator[int]:
        for number in range(3):
            spin()
            await asyncio.sleep(0)
            yield number

    def deep(left: int) -> int:
        return deep(left - 1) + 1 if left else spin() and 0

    async def works() -> Any:
        return list(numbers()), [number async for number in later()], deep(300)

    async def body(node: Node) -> None:
        results = await asyncio.gather(*(works() for _ in range(3)))
        assert results == [([0, 1, 2], [0, 1, 2], 300)] * 3

    on(body)


def test_an_error_after_a_freeze_is_the_tasks_error(on: Any) -> None:
    async def fails() -> None:
        spin()
        raise ValueError("after the freeze")

    async def body(node: Node) -> None:
        with pytest.raises(ValueError, match="after the freeze"):
            await asyncio.create_task(fails())

    on(body)
