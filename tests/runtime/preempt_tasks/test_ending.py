"""Cancellation and time-outs of tasks that are frozen, and the end of the node."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from observe.runtime import Agent, Node, actions_tasks, preempt
from observe.runtime.testing import eventually
from tests.runtime.preempt_tasks.looking import cancelled, is_frozen
from tests.runtime.preempting import spin

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal


def test_a_timeout_that_is_over_during_a_freeze_comes_at_the_next_wait(on: Any) -> None:
    async def times() -> str:
        try:
            async with asyncio.timeout(0.005):
                spin(2)
                await asyncio.sleep(3600)
        except TimeoutError:
            await asyncio.sleep(0)
            return "timed out"
        return "not"

    async def body(node: Node) -> None:
        assert await asyncio.create_task(times()) == "timed out"

    on(body)


def test_a_block_that_is_left_without_another_wait_was_in_time(on: Any) -> None:
    """The timer fires while the step is frozen; asyncio takes its cancellation back when the block ends, and none may be
    left over for whatever the task waits for next."""

    async def times() -> str:
        async with asyncio.timeout(0.005):  # noqa: ASYNC100  # the case under test
            spin(2)
        await asyncio.sleep(0.001)
        return "in time"

    async def body(node: Node) -> None:
        assert await asyncio.create_task(times()) == "in time"

        class Times(Agent):
            async def handle(self, message: Any) -> str:
                await asyncio.sleep(0)
                return await times()

        assert await (await node.spawn(Times)).call(1, timeout=50) == "in time"

    on(body)


def test_a_cancellation_during_a_freeze_comes_at_the_next_wait_and_cancels_what_is_awaited(on: Any) -> None:
    children: list[asyncio.Task[Any]] = []

    async def works() -> None:
        child = asyncio.create_task(asyncio.sleep(3600))
        children.append(child)
        spin(3)
        await child

    async def body(node: Node) -> None:
        task = asyncio.create_task(works())
        await is_frozen(node, task)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        await eventually(lambda: children[0].cancelled())

    on(body)


def test_a_cancellation_in_the_last_step_cancels_the_task(on: Any) -> None:
    """As asyncio does with one that was asked while it ran."""

    async def works() -> int:
        spin(3)
        return 1

    async def body(node: Node) -> None:
        task = asyncio.create_task(works())
        await is_frozen(node, task)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    on(body)


def test_a_wait_that_is_over_by_the_time_is_cancelled_all_the_same(on: Any) -> None:
    async def works(event: asyncio.Event, seen: list[str]) -> None:
        spin(3)
        try:
            await asyncio.sleep(0)
            seen.append("went on")
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def body(node: Node) -> None:
        seen: list[str] = []
        task = asyncio.create_task(works(asyncio.Event(), seen))
        await is_frozen(node, task)
        task.cancel()
        await asyncio.wait([task])
        assert seen == ["cancelled"]

    on(body)


def test_a_group_whose_child_fails_ends_a_frozen_sibling_at_its_next_wait(on: Any) -> None:
    async def fails() -> None:
        await asyncio.sleep(0.005)
        raise ValueError("child")

    async def computes(ended: list[int]) -> None:
        try:
            while True:
                spin()
                await asyncio.sleep(0)
        finally:
            ended.append(1)

    async def body(node: Node) -> None:
        ended: list[int] = []
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(computes(ended))
                group.create_task(fails())
        assert ended == [1]

    on(body)


def test_timeouts_of_libraries_work_on_what_is_frozen(on: Any) -> None:
    async def computes() -> str:
        spin(2)
        await asyncio.sleep(0)
        return "done"

    async def hangs() -> None:
        spin()
        await asyncio.sleep(3600)

    async def body(node: Node) -> None:
        async def waits() -> str:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(hangs(), 0.01)
            with anyio.move_on_after(0.01) as scope:
                await hangs()
            assert scope.cancelled_caught
            return await asyncio.wait_for(computes(), 40)

        assert await asyncio.create_task(waits()) == "done"

    on(body)


def test_one_that_catches_everything_is_told_as_it_is_and_given_up_when_the_node_stops(
    on: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions_tasks, "PATIENCE_S", 0.2)
    monkeypatch.setattr(preempt, "TASKS_FINISH_S", 0.05)
    monkeypatch.setattr(preempt, "TASKS_END_S", 0.2)
    turns = [0]
    tasks: list[asyncio.Task[Any]] = []

    async def stubborn() -> None:
        while True:
            try:
                while True:
                    turns[0] += 1
            except BaseException:  # noqa: BLE001, S112  # the shape under test
                continue

    async def body(node: Node) -> None:
        task = asyncio.create_task(stubborn())
        tasks.append(task)
        await is_frozen(node, task)
        outcome = await cancelled(node, task)
        assert not outcome.done
        assert "has not ended yet" in outcome.what

    on(body)
    stands_at = turns[0]
    assert tasks[0].cancelled()
    assert turns[0] == stands_at


def test_what_computes_when_the_node_stops_has_a_while_to_come_to_its_end(on: Any) -> None:
    done: list[str] = []

    async def computes() -> None:
        spin(3)
        done.append("computed")

    async def endless() -> None:
        try:
            while True:
                pass
        finally:
            done.append("cleaned up")

    async def body(node: Node) -> None:
        tasks = [asyncio.create_task(computes()), asyncio.create_task(endless())]
        for task in tasks:
            await is_frozen(node, task)

    on(body)
    assert done == ["computed", "cleaned up"]
