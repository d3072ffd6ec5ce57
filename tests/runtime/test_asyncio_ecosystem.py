"""A handler may await anything that asyncio code awaits, from its first line on."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from observe.runtime import Agent, AgentExited, Node, Ref
from observe.runtime.testing import settled

REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("REQUEST", default="none")


class Runs(Agent):
    """Runs the coroutine function that it is sent, inside its step."""

    def init(self) -> None:
        self.kept: Any = None

    async def handle(self, message: Callable[[Runs], Awaitable[Any]]) -> Any:
        return await message(self)


@pytest.fixture
async def runs(node: Node) -> Ref:
    return await node.spawn(Runs)


async def test_asyncio_timeout_cuts_what_takes_too_long(runs: Ref) -> None:
    async def work(_: Runs) -> str:
        try:
            async with asyncio.timeout(0.005):
                await asyncio.sleep(3600)
        except TimeoutError:
            return "cut"
        return "not cut"

    assert await runs.call(work) == "cut"


async def test_a_task_group_runs_and_one_failure_cancels_the_rest(runs: Ref, node: Node) -> None:
    cancelled: list[str] = []

    async def sleeper() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append("sleeper")
            raise

    async def failing() -> None:
        raise ValueError("one failed")

    async def work(_: Runs) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(sleeper())
            group.create_task(failing())

    with pytest.raises(AgentExited, match="ExceptionGroup"):
        await runs.call(work)
    assert cancelled == ["sleeper"]
    assert "one failed" in node.lifecycle.crashes[-1].traceback


async def test_to_thread_returns_with_the_threads_result(runs: Ref) -> None:
    async def work(_: Runs) -> int:
        return await asyncio.to_thread(sum, range(10))

    assert await runs.call(work) == 45


async def test_anyio_scopes_and_groups_work(runs: Ref) -> None:
    async def work(_: Runs) -> tuple[bool, list[int]]:
        results: list[int] = []

        async def add(number: int) -> None:
            await anyio.lowlevel.checkpoint()
            results.append(number)

        with anyio.move_on_after(0.005) as scope:
            await anyio.sleep(3600)
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(add, number)
        await anyio.to_thread.run_sync(lambda: results.append(3))
        return scope.cancelled_caught, sorted(results)

    assert await runs.call(work) == (True, [0, 1, 2, 3])


async def test_httpx_talks_to_a_real_server(runs: Ref) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]

        async def work(_: Runs) -> str:
            async with httpx.AsyncClient(trust_env=False) as client:
                return (await client.get(f"http://127.0.0.1:{port}/")).text

        assert await runs.call(work) == "hello"


async def test_async_generators_and_context_managers_work(runs: Ref) -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            await asyncio.sleep(0)
            yield number

    async def work(_: Runs) -> list[int]:
        return [number async for number in numbers()]

    assert await runs.call(work) == [0, 1, 2]


async def test_locks_events_and_queues_are_shared_among_agents(node: Node) -> None:
    lock = asyncio.Lock()
    inside = most = 0

    async def work(_: Runs) -> None:
        nonlocal inside, most
        async with lock:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    refs = [await node.spawn(Runs) for _ in range(20)]
    await asyncio.gather(*(ref.call(work) for ref in refs))
    assert most == 1


async def test_two_agents_may_await_the_same_future(node: Node) -> None:
    shared: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def work(_: Runs) -> str:
        return await shared

    refs = [await node.spawn(Runs) for _ in range(5)]
    waiting = [asyncio.ensure_future(ref.call(work)) for ref in refs]
    await settled(node)
    shared.set_result("there")
    assert await asyncio.gather(*waiting) == ["there"] * 5


async def test_context_variables_set_for_one_message_are_gone_at_the_next(node: Node, runs: Ref) -> None:
    """Each message is handled in a copy of the node's context: nothing leaks to another message or agent."""

    async def sets(_: Runs) -> str:
        REQUEST.set("mine")
        before = REQUEST.get()
        await asyncio.sleep(0)
        return f"{before} {REQUEST.get()}"

    async def sets_without_waiting(_: Runs) -> None:
        REQUEST.set("leaks?")

    async def reads(_: Runs) -> str:
        return REQUEST.get()

    assert await runs.call(sets) == "mine mine"
    await runs.call(sets_without_waiting)
    assert await runs.call(reads) == "none"
    assert await (await node.spawn(Runs)).call(reads) == "none"


async def test_a_context_token_taken_before_a_wait_can_be_given_back_after_it(runs: Ref) -> None:
    """What OpenTelemetry does around every span."""

    async def work(_: Runs) -> str:
        token = REQUEST.set("inner")
        await asyncio.sleep(0)
        REQUEST.reset(token)
        return REQUEST.get()

    assert await runs.call(work) == "none"


async def test_the_current_task_stays_the_same_through_a_step(runs: Ref) -> None:
    async def work(_: Runs) -> bool:
        before = asyncio.current_task()
        await asyncio.sleep(0)
        return before is asyncio.current_task() is not None

    assert await runs.call(work) is True


async def test_a_task_that_a_message_has_kept_never_stands_for_another(node: Node, runs: Ref) -> None:
    """Cancelling it later must hit nobody."""

    async def keeps(agent: Runs) -> None:
        agent.kept = asyncio.current_task()

    async def cancels(agent: Runs) -> bool:
        agent.kept.cancel()
        await asyncio.sleep(0)
        return agent.kept is not asyncio.current_task()

    await runs.call(keeps)
    assert await runs.call(cancels) is True


async def test_a_task_that_cancelled_itself_without_waiting_harms_no_later_message(runs: Ref) -> None:
    async def cancels_itself(_: Runs) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "answered"

    async def waits(_: Runs) -> str:
        await asyncio.sleep(0)
        return "undisturbed"

    assert await runs.call(cancels_itself) == "answered"
    assert await runs.call(waits) == "undisturbed"


async def test_a_cancellation_that_nobody_asked_for_is_a_crash(node: Node, runs: Ref) -> None:
    """Awaiting a cancelled future raises CancelledError: to the agent that is a failure like others."""
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.cancel()

    async def work(_: Runs) -> None:
        await cancelled

    with pytest.raises(AgentExited, match="CancelledError"):
        await runs.call(work)
    assert node.lifecycle.crashes[-1].kind == "CancelledError"


async def test_no_task_is_left_behind(node: Node, runs: Ref) -> None:
    async def work(_: Runs) -> None:
        await asyncio.sleep(0)

    for _ in range(10):
        await runs.call(work)
    await settled(node)
    own = {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    assert own <= {"observe:step"}
    assert len([task for task in asyncio.all_tasks() if task.get_name() == "observe:step"]) <= 1


def test_a_node_runs_on_uvloop_as_well() -> None:
    """The loop that many services run on; its tasks are asyncio's own."""
    uvloop = pytest.importorskip("uvloop")

    async def main() -> str:
        async with Node("uv") as node:
            ref = await node.spawn(Runs)

            async def work(_: Runs) -> str:
                async with asyncio.timeout(5):
                    await asyncio.sleep(0)
                return "well"

            return str(await ref.call(work))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == "well"
