"""The asyncio tasks of a service: seen with all that is known of them, and cancelled, whoever made them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import types
from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import Any

import pytest
import uvloop

from observe.runtime import ActionRefused, Agent, Node, NoSuchTask
from observe.runtime.actions_tasks import cancel_task
from observe.runtime.task_facts import TaskFacts, name_of_task
from observe.runtime.testing import eventually


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("test", tasks=True, watchdog_s=None) as node:
        yield node


@contextlib.asynccontextmanager
async def running(*coroutines: Coroutine[Any, Any, Any]) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Tasks that have come to their first wait, and are gone afterwards."""
    tasks = [asyncio.create_task(coroutine, name=f"task {n}") for n, coroutine in enumerate(coroutines)]
    await asyncio.sleep(0)
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def named(node: Node, name: str) -> TaskFacts:
    (found,) = [facts for facts in node.tasks.look()[0] if facts.name == name]
    return found


async def reads(queue: asyncio.Queue[Any]) -> None:
    while True:
        await takes_one(queue)


async def takes_one(queue: asyncio.Queue[Any]) -> Any:
    return await queue.get()


async def waits_for(task: Awaitable[Any]) -> None:
    await task


async def test_a_task_is_seen_with_its_wait_its_place_and_its_creator(node: Node) -> None:
    """What a person asks of a service that stands still."""
    async with running(reads(asyncio.Queue())):
        facts = named(node, "task 0")
        assert (facts.coroutine, facts.module, facts.state) == ("reads", __name__, "waiting")
        assert facts.waiting_on == "Queue.get"
        assert facts.place.startswith("test_tasks.py:")
        assert facts.place.endswith(" in takes_one")
        assert facts.created_at.startswith("test_tasks.py:")
        assert " in running" in facts.created_at
        current = asyncio.current_task()
        assert current is not None
        assert facts.creator_name == name_of_task(current)
        assert named(node, facts.creator_name).id == facts.creator
        assert facts.age_s is not None
        assert facts.protected == ""
        functions = [frame.function for frame in node.tasks.stack_of(facts.id).frames]
        assert functions == ["reads", "takes_one", "Queue.get"]


async def test_whatever_creates_tasks_for_others_is_not_their_creator(node: Node) -> None:
    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(100), name="in a group")

    async def gather() -> None:
        await asyncio.gather(asyncio.sleep(100), asyncio.sleep(100))

    async with running(group(), gather()):
        await asyncio.sleep(0)
        assert named(node, "in a group").created_at.endswith(".group")
        assert named(node, "in a group").creator_name == "task 0"
        assert named(node, "task 0").waiting_on == "TaskGroup: 1 running"
        assert named(node, "task 0").waits_for == (named(node, "in a group").id,)
        assert named(node, "task 1").waiting_on == "gather: 2 running"
        created = [one.created_at for one in node.tasks.look()[0] if one.creator_name == "task 1"]
        assert [place.rpartition(".")[2] for place in created] == ["gather", "gather"]


async def test_without_recording_tasks_are_seen_all_the_same() -> None:
    """Off costs nothing: nothing is installed, and asyncio's own set tells who there is."""
    loop = asyncio.get_running_loop()
    async with Node("test", watchdog_s=None) as node, running(reads(asyncio.Queue())) as (task,):
        assert loop.get_task_factory() is None
        facts = named(node, "task 0")
        assert (facts.state, facts.waiting_on, facts.age_s, facts.created_at) == (
            "waiting",
            "Queue.get",
            None,
            "",
        )
        assert node.tasks.find(facts.id) is task


async def test_a_task_keeps_its_number_and_no_other_gets_it(node: Node) -> None:
    async with running(asyncio.sleep(100), asyncio.sleep(100)):
        first = [named(node, f"task {n}").id for n in range(2)]
        assert first == [named(node, f"task {n}").id for n in range(2)]
        assert first[0] < first[1]
    async with running(asyncio.sleep(100)):
        assert named(node, "task 0").id > first[1]
        with pytest.raises(NoSuchTask, match=str(first[0])):
            node.tasks.find(first[0])


async def test_states_are_running_ready_and_waiting(node: Node) -> None:
    current = asyncio.current_task()
    assert current is not None
    task = asyncio.create_task(asyncio.sleep(100), name="new")
    assert named(node, "new").state == "ready"
    assert named(node, name_of_task(current)).state == "running"
    await asyncio.sleep(0)
    assert named(node, "new").state == "waiting"
    task.cancel()
    assert named(node, "new").cancelling == 1
    await asyncio.wait([task])
    assert [facts.name for facts in node.tasks.look()[0] if facts.name == "new"] == []


async def test_another_thread_sees_the_live_stack_of_a_task_that_holds_the_loop(node: Node) -> None:
    """Which is when somebody looks."""
    entered, leave = threading.Event(), threading.Event()

    async def holds() -> None:
        hold()

    def hold() -> None:
        entered.set()
        leave.wait(20)

    found: list[Any] = []

    def look() -> None:
        entered.wait(20)
        facts = named(node, "task 0")
        found.extend([facts, node.tasks.stack_of(facts.id)])
        leave.set()

    thread = threading.Thread(target=look)
    thread.start()
    async with running(holds()):
        pass
    thread.join()
    facts, stack = found
    assert facts.state == "running"
    functions = [frame.function.rpartition(".")[2] for frame in stack.frames]
    assert functions[:2] == ["holds", "hold"]
    assert stack.note.startswith("the live stack")


async def test_tasks_that_wait_for_each_other_in_a_ring_are_told(node: Node) -> None:
    """None of them will ever go on, and nothing else says so."""
    gate = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []

    async def link(number: int) -> None:
        await gate.wait()
        await tasks[(number + 1) % 3]

    tasks += [asyncio.create_task(link(number), name=f"link {number}") for number in range(3)]
    outside = asyncio.create_task(waits_for(tasks[0]), name="outside")
    gate.set()
    await eventually(lambda: all(named(node, f"link {n}").waits_for for n in range(3)))
    ids = [named(node, f"link {number}").id for number in range(3)]
    assert sorted(named(node, "link 1").ring) == ids
    assert named(node, "outside").ring == ()
    for name in ("link 0", "outside"):
        # asyncio's own `cancel` would pass it on around the ring until the stack is full.
        with pytest.raises(ActionRefused, match="in a ring"):
            cancel_task(node, named(node, name).id)
    _break(tasks, outside)


def _break(tasks: list[asyncio.Task[Any]], outside: asyncio.Task[Any]) -> None:
    """Let go of tasks that can neither end nor be cancelled."""
    for task in (*tasks, outside):
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio's own way to say so
        task.get_coro().close()
        with contextlib.suppress(KeyError):
            asyncio.tasks._unregister_task(task)
    tasks.clear()


async def test_a_cancelled_task_ends_and_its_clean_up_runs(node: Node) -> None:
    cleaned = []

    async def works() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            cleaned.append(1)

    async with running(works()) as (task,):
        outcome = await _acted(cancel_task(node, named(node, "task 0").id, "a test"))
        assert outcome.done
        assert outcome.what.endswith("was cancelled")
        assert task.cancelled()
    assert cleaned == [1]


async def _acted(result: Any) -> Any:
    return await result


@pytest.mark.parametrize(
    ("ends", "told"), [(ValueError("no"), "ended with ValueError"), (None, "has returned a result")]
)
async def test_a_task_that_answers_cancellation_in_its_own_way_is_told_as_it_is(
    node: Node, ends: Exception | None, told: str
) -> None:
    async def stubborn() -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            if ends is not None:
                raise ends from None

    async with running(stubborn()):
        assert (await _acted(cancel_task(node, named(node, "task 0").id))).what.endswith(told)


async def test_one_that_goes_on_all_the_same_is_told_after_a_second(node: Node) -> None:
    async def deaf() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(100)
        await asyncio.sleep(100)

    async with running(deaf()):
        outcome = await _acted(cancel_task(node, named(node, "task 0").id))
        assert not outcome.done
        assert "has not ended yet" in outcome.what
        assert " in test_one_that_goes_on" in outcome.what


async def test_the_nodes_own_tasks_and_steps_of_agents_are_protected(node: Node) -> None:
    """An operator who cancels a task must not take the node or a supervised agent apart."""

    class Waits(Agent):
        async def handle(self, message: Any) -> None:
            await asyncio.sleep(100)

    ref = await node.spawn(Waits, name="waits")
    ref.cast(1)
    (step,) = await eventually(lambda: [one for one in node.tasks.look()[0] if one.agent == ref.pid])
    assert step.coroutine.endswith("Waits.handle")
    with pytest.raises(ActionRefused, match="a step of Waits"):
        cancel_task(node, step.id)
    main = asyncio.create_task(_main())
    refused = await main
    assert "the node was started in it" in refused


async def _main() -> str:
    async with Node("other", watchdog_s=None) as node:
        current = asyncio.current_task()
        assert current is not None
        try:
            cancel_task(node, named(node, name_of_task(current)).id)
        except ActionRefused as refusal:
            return str(refusal)
    return ""


async def test_a_task_that_an_agent_created_says_so(node: Node) -> None:
    class Creates(Agent):
        async def handle(self, message: Any) -> None:
            self.task = asyncio.create_task(asyncio.sleep(100), name="of an agent")

    ref = await node.spawn(Creates, name="creates")
    await ref.call(1)
    assert named(node, "of an agent").creator_name.startswith("Creates")
    assert named(node, "of an agent").agent == 0


async def test_the_task_factory_that_was_there_goes_on_and_comes_back() -> None:
    """A framework's own factory must not notice."""
    loop = asyncio.get_running_loop()
    made = []

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        made.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **options)

    loop.set_task_factory(factory)
    try:
        async with Node("test", tasks=True, watchdog_s=None) as node, running(reads(asyncio.Queue())):
            assert made[-1] == "reads"
            assert named(node, "task 0").created_at
        assert loop.get_task_factory() is factory
    finally:
        loop.set_task_factory(None)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
async def test_eager_tasks_are_recorded_unless_they_have_ended_at_once() -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]  # from 3.12
    try:
        async with Node("test", tasks=True, watchdog_s=None) as node:

            async def parent() -> None:
                child = asyncio.create_task(asyncio.sleep(100), name="child")
                await child

            task = asyncio.create_task(parent(), name="parent")
            assert named(node, "child").creator == named(node, "parent").id
            assert named(node, "parent").created_at
            assert asyncio.create_task(asyncio.sleep(0, "at once")).done() is False
            task.cancel()
            await asyncio.wait([task])
    finally:
        loop.set_task_factory(None)


def test_it_is_the_same_on_uvloop() -> None:
    async def main() -> None:
        async with Node("test", tasks=True, watchdog_s=None) as node, running(reads(asyncio.Queue())):
            facts = named(node, "task 0")
            assert (facts.state, facts.waiting_on) == ("waiting", "Queue.get")
            assert " in running" in facts.created_at
            assert (await _acted(cancel_task(node, facts.id))).done

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def test_coroutines_of_the_older_kind_are_followed(node: Node) -> None:
    """Generators, as older libraries have them."""

    @types.coroutine
    def generator() -> Any:
        yield from asyncio.sleep(100)

    async def works() -> None:
        await generator()

    async with running(works()):
        functions = [frame.function for frame in node.tasks.stack_of(named(node, "task 0").id).frames]
        assert [one.rpartition(".")[2] for one in functions] == ["works", "generator", "sleep"]
