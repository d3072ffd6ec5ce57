"""Preempted tasks beside agents, threads, servers and greenlets."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
from collections.abc import Callable
from typing import Any

import greenlet
import pytest

from observe.runtime import ActionRefused, Agent, Node
from observe.runtime.actions_tasks import cancel_task
from observe.runtime.testing import eventually
from tests.runtime.loops import AsyncLoops
from tests.runtime.preempt_tasks.looking import variable
from tests.runtime.preempting import frozen, spin

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal


def test_agents_and_tasks_call_each_other_across_freezes(on: Any) -> None:
    """A call that is answered on the spot runs an agent's step inside a task's."""

    class Adds(Agent):
        def init(self) -> None:
            self.sum = 0

        def handle(self, number: int) -> int:
            spin()
            self.sum += number
            return self.sum

    async def calls(ref: Any, count: int) -> list[int]:
        results = []
        for _ in range(count):
            spin()
            results.append(await ref.call(1, timeout=50))
        return results

    async def body(node: Node) -> None:
        ref = await node.spawn(Adds)
        results = await asyncio.gather(*(calls(ref, 4) for _ in range(3)))
        assert sorted(itertools.chain(*results)) == list(range(1, 13))
        assert all(one == sorted(one) for one in results)

    on(body)


def test_threads_and_child_tasks_of_a_frozen_task_go_on(on: Any) -> None:
    async def parent() -> tuple[int, str]:
        child = asyncio.create_task(asyncio.to_thread(spin))
        spin(2)
        return await child, threading.current_thread().name

    async def body(node: Node) -> None:
        count, thread = await asyncio.create_task(parent())
        assert count > 0
        assert thread == "MainThread"

    on(body)


def test_a_server_answers_beside_a_handler_in_an_endless_loop(on: Any) -> None:
    """What a team wants it for."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            while line == b"spin\n":
                pass
            writer.write(line)
            await writer.drain()
        except asyncio.CancelledError:
            pass  # 3.11 complains of handlers that are cancelled
        finally:
            writer.close()

    async def body(node: Node) -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def ask(line: bytes) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(line)
            try:
                return await reader.readline()
            finally:
                writer.close()

        spins = asyncio.create_task(ask(b"spin\n"))
        await eventually(lambda: [one for one in node.tasks.look()[0] if one.state == "frozen"])
        for _ in range(5):
            assert await ask(b"hello\n") == b"hello\n"
        (handler,) = [one for one in node.tasks.look()[0] if one.state == "frozen"]
        assert handler.coroutine.endswith("serve")
        result: Any = cancel_task(node, handler.id)
        assert (await result).done
        assert await spins == b""
        server.close()
        await server.wait_closed()

    on(body)


def test_a_frozen_step_of_an_agent_is_a_frozen_task(on: Any) -> None:
    """Seen where it stands in the agent's code, under the agent's name; and left to those who act on agents."""

    async def body(node: Node) -> None:
        ref = await node.spawn(AsyncLoops, name="loops")
        ref.cast("hosted condition")
        await frozen(node, ref)
        (step,) = [one for one in node.tasks.look()[0] if one.agent == ref.pid]
        assert (step.state, step.name) == ("frozen", f"step of AsyncLoops {ref.pid} (loops)")
        assert step.place.startswith("loops.py:")
        stack = node.tasks.stack_of(step.id)
        assert stack.note.startswith("frozen: ")
        assert stack.frames[-1].function.endswith("condition")
        with pytest.raises(ActionRefused, match="kill that agent"):
            cancel_task(node, step.id)
        ref.exit("killed")
        await ref.wait_exit()

    on(body)


class _Spawned(greenlet.greenlet):  # type: ignore[misc]  # it ships no types
    def __init__(self, function: Callable[..., Any], driver: Any) -> None:
        greenlet.greenlet.__init__(self, function, driver)
        self.gr_context = driver.gr_context


def await_only(awaitable: Any) -> Any:
    """Awaits from within a function that is no coroutine."""
    return greenlet.getcurrent().parent.switch(awaitable)


async def greenlet_spawn(function: Callable[..., Any], *args: Any) -> Any:
    """As SQLAlchemy's asyncio extension runs its ORM."""
    context = _Spawned(function, greenlet.getcurrent())
    result = context.switch(*args)
    while not context.dead:
        try:
            value = await result
        except BaseException:  # noqa: BLE001  # it is for the function
            result = context.throw(*sys.exc_info())
        else:
            result = context.switch(value)
    return result


def test_greenlets_of_a_steps_own_come_back_to_it_and_are_left_alone(on: Any) -> None:
    """They outlive the worker in which they began, and their parent may be another's by then."""
    preempters: list[Any] = []
    seen: list[bool] = []

    def query(number: int) -> int:
        for _ in range(5):
            spin()
            seen.append(preempters[0].running() is None)
            assert await_only(asyncio.sleep(0.001, number)) == number
            assert variable.get() == str(number)
            with pytest.raises(ZeroDivisionError):
                await_only(fails())
        if number % 2:
            raise KeyError(number)
        return number

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async def works(number: int) -> int:
        variable.set(str(number))
        spin()
        try:
            return int(await greenlet_spawn(query, number))
        except KeyError as error:
            return int(error.args[0])
        finally:
            spin()

    class Works(Agent):
        async def handle(self, number: int) -> int:
            return await works(number)

    async def body(node: Node) -> None:
        preempters.append(node.scheduler.preempter)
        refs = [await node.spawn(Works) for _ in range(4)]
        calls = [ref.call(10 + number, timeout=50) for number, ref in enumerate(refs)]
        results = await asyncio.gather(*(works(number) for number in range(4)), *calls)
        assert results == [0, 1, 2, 3, 10, 11, 12, 13]

    on(body)
    assert seen == [True] * 40
