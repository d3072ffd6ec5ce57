"""`preemptible`, and what an asyncio program sees of it."""

from __future__ import annotations

import asyncio
import inspect
import sys
from typing import Any

import pytest

from observe.runtime import Node, preemptible
from tests.runtime.preempt_tasks.looking import is_frozen, number_of
from tests.runtime.preempting import preempting_node, spin

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal


def test_one_coroutine_alone_can_be_preempted(on: Any) -> None:
    """`preemptible` in a task of its own, or in the middle of another that is not preempted."""

    async def computes() -> str:
        spin(3)
        await asyncio.sleep(0)
        return "computed"

    async def around() -> str:
        return await preemptible(computes())

    async def body(node: Node) -> None:
        for make in (around, lambda: preemptible(computes())):
            task = asyncio.create_task(make())
            await is_frozen(node, task)
            stack = node.tasks.stack_of(number_of(node, task))
            functions = [frame.function.rpartition(".")[2] for frame in stack.frames]
            assert functions[-1] in ("spin", "computes")
            assert functions.count("computes") == 1
            assert await task == "computed"

    on(body, preempt_tasks=False)


def test_on_a_loop_without_such_a_node_nothing_changes(on: Any) -> None:
    async def computes() -> str:
        spin()
        await asyncio.sleep(0)
        return "computed"

    async def body(node: Node) -> None:
        assert await preemptible(computes()) == "computed"
        assert await asyncio.create_task(preemptible(computes())) == "computed"

    on(body, preempt=False, preempt_tasks=False)


def test_inspection_sees_the_coroutine_inside(on: Any) -> None:
    """Debuggers, `Task.get_stack()` and anyio look at what a task runs."""

    async def waits() -> None:
        await asyncio.sleep(3600)

    async def body(node: Node) -> None:
        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        coroutine: Any = task.get_coro()
        assert asyncio.iscoroutine(coroutine)
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_SUSPENDED
        assert getattr(coroutine, "__qualname__", "").endswith("waits")
        assert task.get_stack()[0].f_code.co_name == "waits"
        assert "waits() running at" in repr(task)
        assert node.tasks.facts_of(task).coroutine.endswith("waits")
        assert node.tasks.facts_of(task).waiting_on == "sleep"
        task.cancel()
        await asyncio.wait([task])

    on(body)


async def test_only_a_coroutine_can_be_preempted() -> None:
    """A forgotten call is told at once."""

    async def computes() -> None:
        pass

    with pytest.raises(TypeError, match=r"right: preemptible\(report"):
        _ = preemptible(computes)  # type: ignore[arg-type]  # the mistake under test
    one = preemptible(computes())
    assert preemptible(one) is one
    await one


def test_tasks_are_preempted_by_a_node_that_preempts() -> None:
    with pytest.raises(ValueError, match="preempt=True, preempt_tasks=True"):
        Node("test", preempt_tasks=True)


async def test_the_loop_is_left_as_it_was() -> None:
    loop = asyncio.get_running_loop()
    async with preempting_node(preempt_tasks=True):
        assert loop.get_task_factory() is not None
    assert loop.get_task_factory() is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
async def test_an_eager_task_is_frozen_in_its_first_step() -> None:
    """Which runs inside its creator's."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]  # from 3.12
    try:
        async with preempting_node(preempt_tasks=True) as node:

            async def computes() -> str:
                spin(3)
                await asyncio.sleep(0)
                return "computed"

            mine = asyncio.current_task()
            tasks = [asyncio.create_task(computes()) for _ in range(3)]
            assert asyncio.current_task() is mine
            await is_frozen(node, tasks[0])
            assert await asyncio.gather(*tasks) == ["computed"] * 3
    finally:
        loop.set_task_factory(None)
