"""Preemption of plain asyncio tasks: one that computes on and on is frozen, others run, nothing of theirs is mixed up.

Each test runs on asyncio's loop and on uvloop's.
"""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import importlib
import inspect
import itertools
import logging
import queue
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import greenlet
import pytest
import uvloop

from observe.runtime import (
    ActionRefused,
    Agent,
    Node,
    actions_tasks,
    current_agent,
    no_preempt,
    preempt,
    preemptible,
)
from observe.runtime.actions_tasks import cancel_task
from observe.runtime.testing import eventually
from tests.runtime.loops import SHAPES, AsyncLoops, Loops
from tests.runtime.preempting import frozen, preempting_node, spin

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal

Body = Callable[[Node], Coroutine[Any, Any, None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def on(request: pytest.FixtureRequest) -> Callable[[Body], None]:
    """Runs a test's body on a loop of this kind, on a node that preempts all of its tasks."""

    def run(body: Body, **options: Any) -> None:
        async def main() -> None:
            async with preempting_node(**({"preempt_tasks": True, "tasks": True} | options)) as node:
                await body(node)

        factory = uvloop.new_event_loop if request.param == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(main(), 50))

    return run


async def is_frozen(node: Node, task: asyncio.Task[Any]) -> None:
    """Wait until a step of the task is frozen."""
    preempter = node.scheduler.preempter
    assert preempter is not None
    await eventually(lambda: preempter.holds_task(task) is not None)


def number_of(node: Node, task: asyncio.Task[Any]) -> int:
    return node.tasks.facts_of(task).id


async def cancelled(node: Node, task: asyncio.Task[Any]) -> Any:
    result: Any = cancel_task(node, number_of(node, task))
    return await result


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


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


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


# -- Cancellation and time-outs


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


LIBRARY = """
async def awaits(function):
    return await function()

def calls(function):
    return function()
"""


@pytest.fixture
def library(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An installed package."""
    place = tmp_path / "site-packages"
    place.mkdir()
    (place / "library_for_tasks.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(str(place))
    yield importlib.import_module("library_for_tasks")
    del sys.modules["library_for_tasks"]


def test_what_a_library_awaits_may_be_frozen_and_what_it_calls_may_not(on: Any, library: Any) -> None:
    """A web framework that awaits a handler is at an await: nothing of its own is half-done. One that calls a function
    may be in the middle of anything."""
    functions: list[str] = []

    async def endless() -> None:
        spin(4)

    async def body(node: Node) -> None:
        task = asyncio.create_task(library.awaits(endless))
        await is_frozen(node, task)
        await task
        task = asyncio.create_task(around())
        preempter = node.scheduler.preempter
        assert preempter is not None
        while not task.done():
            one = preempter.holds_task(task)
            if one is not None and one.is_parked:
                functions.extend(frame.f_code.co_name for frame in preempter.frames_of(one))
            await asyncio.sleep(0)

    async def around() -> None:
        library.calls(lambda: spin(4))

    on(body)
    assert "calls" not in functions


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


# -- Moments at which a step must not be frozen


def never_frozen_in(on: Any, work: Callable[[], Any], *names: str) -> None:
    """Run `work` in a task, and see that it is never frozen inside these modules and functions, and is elsewhere."""

    async def runs() -> None:
        for _ in range(6):
            for _ in range(200):
                work()
            spin()

    async def body(node: Node) -> None:
        preempter = node.scheduler.preempter
        assert preempter is not None
        task = asyncio.create_task(runs())
        freezes = 0
        while not task.done():
            one = preempter.holds_task(task)
            if one is not None and one.is_parked:
                freezes += 1
                for frame in preempter.frames_of(one):
                    assert str(frame.f_globals["__name__"]).partition(".")[0] not in names
                    assert frame.f_code.co_name not in names
            await asyncio.sleep(0)
        await task
        assert freezes

    on(body)


def test_never_inside_logging_queue_threading_asyncio_or_contextlib(on: Any, caplog: Any) -> None:
    logger = logging.getLogger("test.preempt")
    condition = threading.Condition()
    items: queue.Queue[int] = queue.Queue()

    @contextmanager
    def manager() -> Iterator[None]:
        yield

    def work() -> None:
        logger.debug("line")
        asyncio.get_running_loop().call_later(100, print).cancel()
        with condition:
            condition.notify_all()
        items.put(1)
        items.get()
        with manager():
            pass

    with caplog.at_level(logging.DEBUG, "test.preempt"):
        never_frozen_in(on, work, "logging", "asyncio", "threading", "queue", "contextlib")


def test_never_inside_an_import(on: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_module_for_tasks.py").write_text(
        "import time\nend = time.thread_time() + 0.01\nwhile time.thread_time() < end:\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    times = [0]

    def work() -> None:
        times[0] += 1
        if times[0] % 200 == 1:
            import slow_module_for_tasks  # type: ignore[import-not-found]  # written above

            del sys.modules["slow_module_for_tasks"], slow_module_for_tasks

    never_frozen_in(on, work, "importlib", "slow_module_for_tasks")


def test_never_inside_with_lock_and_never_in_no_preempt(on: Any) -> None:
    """An RLock belongs to the thread, so that two tasks would be inside at once; a Lock would stop the loop."""
    inside, most = [0], [0]

    async def work(guard: Any) -> None:
        for _ in range(2):
            with guard:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                spin()
                inside[0] -= 1
            spin()
            await asyncio.sleep(0)

    async def body(node: Node) -> None:
        for guard in (threading.RLock(), threading.Lock(), threading.Condition(), no_preempt()):
            await asyncio.gather(work(guard), work(guard))

    on(body)
    assert most == [1]


def test_asyncios_own_locks_keep_others_out_over_a_freeze(on: Any) -> None:
    """Whoever waits for them waits in turn, so their holders may be frozen."""
    inside, most = [0], [0]

    async def work(lock: asyncio.Lock) -> None:
        for _ in range(2):
            async with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                spin()
                inside[0] -= 1

    async def body(node: Node) -> None:
        lock = asyncio.Lock()
        tasks = [asyncio.create_task(work(lock)) for _ in range(4)]
        await is_frozen(node, tasks[0])
        await asyncio.gather(*tasks)

    on(body)
    assert most == [1]


# -- Beside agents, threads and servers


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


# -- The wrapper


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
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
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
