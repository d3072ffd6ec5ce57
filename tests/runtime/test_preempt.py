"""Preemption: a step that overruns is frozen, others run, and nothing of what they see is mixed up."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import decimal
import gc
import json
import logging
import queue
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from observe.runtime import (
    Agent,
    AgentExited,
    Node,
    Preemption,
    PreemptionUnavailable,
    Ref,
    Supervisor,
    current_agent,
    no_preempt,
)
from observe.runtime.frozen import Frozen
from observe.runtime.testing import Recorder, eventually
from tests.runtime.loops import SHAPES, AsyncLoops, Loops

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    Loops.cleaned = []
    Loops.lock = threading.Lock()
    Loops.entered.clear()
    async with Node("test", intensity=1000, preempt=True, watchdog_s=None) as node:
        yield node
        assert sys.gettrace() is None


class Echo(Agent):
    def handle(self, message: Any) -> Any:
        return message


class Runs(Agent):
    """Runs the function it is given."""

    def handle(self, function: Callable[[], Any]) -> Any:
        return function()


class AwaitsFirst(Agent):
    """The same, after a wait: its step is hosted by an asyncio task."""

    async def handle(self, function: Callable[[], Any]) -> Any:
        await asyncio.sleep(0)
        return function()


KINDS: tuple[type[Agent], ...] = (Runs, AwaitsFirst)


async def frozen(node: Node, ref: Ref) -> Frozen:
    """Wait until the agent's step is frozen."""
    preempter = node.scheduler.preempter
    assert preempter is not None
    agent = node.agents[ref.pid]
    found = await eventually(lambda: preempter.holds(agent))
    assert isinstance(found, Frozen)
    return found


def spin(times: int = 1) -> int:
    """Compute for long enough to be frozen several times."""
    count = 0
    end = time.thread_time() + 0.02 * times
    while time.thread_time() < end:
        count += 1
    return count


@pytest.mark.parametrize("shape", [*SHAPES, "sleeps"])
@pytest.mark.parametrize("kind", ["plain", "coroutine", "hosted"])
async def test_siblings_go_on_beside_an_endless_loop_and_it_can_be_killed(
    node: Node, shape: str, kind: str
) -> None:
    """The point of it all. Its clean-up runs, its lock is given back, and nobody else noticed."""
    ref = await node.spawn(Loops if kind == "plain" else AsyncLoops)
    sibling = await node.spawn(Echo)
    if shape == "in_lock":
        return  # it is never frozen: see the test of locks
    ref.cast(f"hosted {shape}" if kind == "hosted" else shape)
    await eventually(Loops.entered.is_set)
    for number in range(20):
        assert await sibling.call(number) == number
        await asyncio.sleep(0.002)
    await frozen(node, ref)
    assert node.control.stack(node.agents[ref.pid]).note.startswith("frozen: ")
    node.control.kill(ref.pid)
    assert (await ref.wait_exit()).kind == "killed"
    assert Loops.cleaned[-1] == shape
    assert "cut short" not in Loops.cleaned
    assert not Loops.lock.locked()
    assert node.scheduler.preempter is not None
    assert node.scheduler.preempter.frozen == []
    assert await sibling.call("still here") == "still here"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_long_step_comes_to_its_end_and_its_agent_goes_on(node: Node, kind: type[Agent]) -> None:
    """Frozen is not stopped: the reply comes, then the next message is handled, in order."""
    ref = await node.spawn(kind)
    calls = [asyncio.ensure_future(ref.call(lambda: spin(5), timeout=50))]
    await frozen(node, ref)
    calls += [asyncio.ensure_future(ref.call(lambda n=n: n, timeout=50)) for n in range(5)]
    results = await asyncio.gather(*calls)
    assert results[0] > 0
    assert results[1:] == list(range(5))


async def test_several_long_steps_take_turns(node: Node) -> None:
    refs = [await node.spawn(kind) for kind in KINDS for _ in range(5)]
    results = await asyncio.gather(*(ref.call(lambda: spin(3), timeout=50) for ref in refs))
    assert all(results)


async def test_many_frozen_steps_can_be_killed_at_once(node: Node) -> None:
    refs = [await node.spawn(Loops) for _ in range(60)]
    for ref in refs:
        ref.cast("condition")
    preempter = node.scheduler.preempter
    assert preempter is not None
    await eventually(lambda: len(preempter.frozen) == 60, timeout_s=50)
    for ref in refs:
        ref.exit("killed")
    assert {(await ref.wait_exit()).kind for ref in refs} == {"killed"}
    assert len(Loops.cleaned) == 60


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


async def test_a_crash_after_a_freeze_is_an_ordinary_crash(node: Node) -> None:
    def work() -> None:
        spin()
        raise ValueError("after the freeze")

    for kind in KINDS:
        ref = await node.spawn(kind)
        with pytest.raises(AgentExited, match="after the freeze"):
            await ref.call(work, timeout=50)


async def test_an_orderly_shutdown_ends_a_frozen_step_as_well(node: Node) -> None:
    """A supervisor that stops must not wait for an endless loop."""
    for kind in ("condition", "hosted condition"):
        ref = await node.spawn(AsyncLoops)
        ref.cast(kind)
        await frozen(node, ref)
        ref.exit("shutdown")
        assert (await ref.wait_exit()).kind == "shutdown"
    assert Loops.cleaned == ["condition", "condition"]


async def test_a_restarted_agent_takes_over_while_its_predecessor_is_gone(node: Node) -> None:
    recorder = Recorder.on(node)
    ref = await node.spawn(Loops, name="loops", restart="permanent")
    ref.cast("condition")
    await frozen(node, ref)
    ref.exit("killed")
    await ref.wait_exit()
    await eventually(lambda: node.whereis("loops") is not None)
    assert await node.ref("loops").call("ping") == "pong"
    assert "crash" not in recorder.kinds


async def test_a_step_that_catches_everything_is_given_up_and_never_runs_again(node: Node) -> None:
    turns = [0]

    def stubborn() -> None:
        while True:
            try:
                while True:
                    turns[0] += 1
            except BaseException:  # noqa: BLE001, S112  # the shape under test
                continue

    for kind in KINDS:
        ref = await node.spawn(kind)
        ref.cast(stubborn)
        await frozen(node, ref)
        ref.exit("killed")
        assert (await ref.wait_exit()).kind == "killed"
        stands_at = turns[0]
        await asyncio.sleep(0.05)
        assert turns[0] == stands_at
    assert node.scheduler.preempter is not None
    assert len(node.scheduler.preempter.abandoned) == 2


# -- Moments at which a step must not be frozen


async def never_frozen_in(node: Node, function: Callable[[], Any], *names: str) -> None:
    """Run `function`, and see that it is never frozen while a frame of these modules or functions is on its stack."""
    ref = await node.spawn(Runs)
    preempter = node.scheduler.preempter
    assert preempter is not None
    call = asyncio.ensure_future(ref.call(function, timeout=50))
    freezes = 0
    while not call.done():
        for one in preempter.frozen:
            if one.is_parked:
                freezes += 1
                for frame in preempter.frames_of(one):
                    assert str(frame.f_globals["__name__"]).partition(".")[0] not in names
                    assert frame.f_code.co_name not in names
        await asyncio.sleep(0)
    await call
    assert freezes


def until(seconds: float, function: Callable[[], Any]) -> None:
    """Call `function` again and again for a while."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        function()


async def test_never_inside_logging(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    """Another agent that logs would find the handler's lock taken by its own thread, and the record half-written."""
    logger = logging.getLogger("test.preempt")
    with caplog.at_level(logging.INFO, "test.preempt"):
        await never_frozen_in(node, lambda: until(0.2, lambda: logger.info("line")), "logging")


async def test_never_inside_asyncio_threading_queue_or_contextlib(node: Node) -> None:
    loop = asyncio.get_running_loop()
    condition = threading.Condition()
    items: queue.Queue[int] = queue.Queue()

    @contextmanager
    def manager() -> Iterator[None]:
        yield

    def work() -> None:
        loop.call_later(100, print).cancel()
        with condition:
            condition.notify_all()
        items.put(1)
        items.get()
        with manager():
            pass

    await never_frozen_in(node, lambda: until(0.2, work), "asyncio", "threading", "queue", "contextlib")


async def test_never_inside_an_import(node: Node, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports hold locks per module, and a module half-executed would be seen by the next importer."""
    (tmp_path / "slow_module_for_preempt.py").write_text(
        "import time\nend = time.thread_time() + 0.05\nwhile time.thread_time() < end:\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def work() -> None:
        import slow_module_for_preempt  # type: ignore[import-not-found]  # written above

        del sys.modules["slow_module_for_preempt"], slow_module_for_preempt
        spin()

    await never_frozen_in(node, work, "importlib", "slow_module_for_preempt")


async def test_never_inside_with_lock(node: Node) -> None:
    """An RLock belongs to the thread, so that two agents would be inside at once; a Lock would stop the sibling."""
    inside = [0]
    most = [0]
    for lock in (threading.RLock(), threading.Lock(), threading.Condition()):

        def work(lock: Any = lock) -> None:
            for _ in range(5):
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    spin()
                    inside[0] -= 1
                spin()

        refs = [await node.spawn(kind) for kind in (*KINDS, *KINDS)]
        await asyncio.gather(*(ref.call(work, timeout=50) for ref in refs))
    assert most == [1]


async def test_never_inside_a_lock_class_of_ones_own(node: Node) -> None:
    class Own:
        def __enter__(self) -> None:
            spin()

        def __exit__(self, *error: object) -> None:
            spin()

    def work() -> None:
        for _ in range(3):
            with Own():
                pass
            spin()

    await never_frozen_in(node, work, "__enter__", "__exit__")


async def test_inside_an_activity_it_may_be_frozen(node: Node) -> None:
    """A tool call that computes is what preemption is for."""

    class Acts(Agent):
        def handle(self, message: Any) -> None:
            with self.activity("tool:compute"):
                while True:
                    pass

    ref = await node.spawn(Acts)
    ref.cast(1)
    await frozen(node, ref)
    stack = node.control.stack(node.agents[ref.pid])
    assert stack.frames[-1].function == "handle"
    ref.exit("killed")
    await ref.wait_exit()


async def test_never_inside_no_preempt_and_never_a_class_that_opts_out(node: Node) -> None:
    order: list[str] = []

    class OptsOut(Runs):
        preemptible = False

    def guarded() -> None:
        with no_preempt():
            spin(3)
            order.append("guarded")

    def plain() -> None:
        spin(3)
        order.append("opted out")

    echo = await node.spawn(Runs)
    for cls, work in ((Runs, guarded), (AwaitsFirst, guarded), (OptsOut, plain)):
        order.clear()
        ref = await node.spawn(cls)
        ref.cast(work)
        await eventually(lambda: node.scheduler.current is None)
        echo.cast(lambda: order.append("echo"))
        await eventually(lambda: len(order) == 2)
        assert order[0] != "echo" or cls is AwaitsFirst
    assert node.scheduler.preempter is not None
    assert node.scheduler.preempter.frozen == []


async def test_an_init_is_not_frozen_but_watched(node: Node) -> None:
    """It runs in the middle of its supervisor's work. Documented; it can be killed from another thread."""

    class Starts(Agent):
        def init(self) -> None:
            spin(2)

    supervisor = await node.spawn(Supervisor)
    await supervisor.start_child(_spec(Starts))
    assert node.scheduler.preempter is not None
    assert node.scheduler.preempter.frozen == []


def _spec(cls: type[Agent]) -> Any:
    from observe.runtime import ChildSpec

    return ChildSpec(cls)


# -- Blocking calls and C code


async def test_a_blocking_call_is_frozen_and_resumed_where_it_waits(node: Node) -> None:
    event = threading.Event()
    works: list[Callable[[], Any]] = [
        lambda: time.sleep(0.1) or "slept",  # type: ignore[func-returns-value]  # for the `or`
        lambda: re.match(r"(a+)+$", "a" * 24 + "b") or "matched",
        lambda: len(json.loads(json.dumps(list(range(300_000))))),
        lambda: subprocess.run([sys.executable, "-c", "pass"], check=True).returncode,
    ]
    expected = ["slept", "matched", 300_000, 0]
    echo = await node.spawn(Echo)
    refs = [await node.spawn(Runs) for _ in works]
    calls = [asyncio.ensure_future(ref.call(work, timeout=50)) for ref, work in zip(refs, works, strict=True)]
    while not all(call.done() for call in calls):
        assert await echo.call(1) == 1
        await asyncio.sleep(0.002)
    assert [call.result() for call in calls] == expected
    event.set()


async def test_a_catastrophic_pattern_can_be_killed(node: Node) -> None:
    """It keeps the interpreter lock for hours, so that no thread could end it."""
    ref = await node.spawn(Runs)
    ref.cast(lambda: re.match(r"(a+)+$", "a" * 60 + "b"))
    await frozen(node, ref)
    ref.exit("killed")
    assert (await ref.wait_exit()).kind == "killed"


async def test_callbacks_from_c_are_frozen_and_resumed(node: Node) -> None:
    """sqlite, sort and ctypes call Python from the middle of C code: the C stack is put aside as well."""

    def database() -> int:
        connection = sqlite3.connect(":memory:")
        connection.create_function("slow", 1, lambda number: (spin(), number)[1])
        total = connection.execute("select slow(1) + slow(2) + slow(3)").fetchone()[0]
        connection.close()
        return int(total)

    def sort() -> list[int]:
        return sorted([3, 1, 2], key=lambda number: (spin(), number)[1])

    def quick_sort() -> list[int]:
        compare_type = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int)
        )

        def compare(a: Any, b: Any) -> int:
            spin()
            return int(a[0] - b[0])

        values = (ctypes.c_int * 3)(3, 1, 2)
        ctypes.CDLL(None).qsort(values, 3, ctypes.sizeof(ctypes.c_int), compare_type(compare))
        return list(values)

    works: list[Callable[[], Any]] = [database, sort, quick_sort] * 2
    refs = [await node.spawn(Runs) for _ in works]
    results = await asyncio.gather(
        *(ref.call(work, timeout=50) for ref, work in zip(refs, works, strict=True))
    )
    assert results == [6, [1, 2, 3], [1, 2, 3]] * 2


async def test_garbage_is_collected_while_steps_are_frozen(node: Node) -> None:
    def work() -> int:
        kept = [object() for _ in range(100)]
        spin(3)
        return len(kept)

    refs = [await node.spawn(kind) for kind in KINDS]
    calls = [asyncio.ensure_future(ref.call(work, timeout=50)) for ref in refs]
    while not all(call.done() for call in calls):
        gc.collect()
        await asyncio.sleep(0)
    assert [call.result() for call in calls] == [100, 100]


# -- Hazards that stay (docs/preemption.md)


async def test_hazard_thread_locals_are_shared_between_agents(node: Node) -> None:
    """As documented: what is per thread is not per agent. Use context variables."""
    local = threading.local()

    def work(name: str) -> bool:
        local.name = name
        for _ in range(5):
            spin()
            if local.name != name:
                return False
        return True

    refs = [await node.spawn(Runs) for _ in range(2)]
    results = await asyncio.gather(
        *(ref.call(lambda n=n: work(str(n)), timeout=50) for n, ref in enumerate(refs))
    )
    assert False in results


async def test_hazard_an_rlock_taken_by_acquire_keeps_no_agent_out(node: Node) -> None:
    """As documented: only `with` is seen."""
    lock = threading.RLock()
    inside = [0]
    most = [0]

    def work() -> None:
        lock.acquire()
        try:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            spin(3)
            inside[0] -= 1
        finally:
            lock.release()

    refs = [await node.spawn(Runs) for _ in range(3)]
    await asyncio.gather(*(ref.call(work, timeout=50) for ref in refs))
    assert most[0] > 1


async def test_hazard_a_lock_taken_by_acquire_makes_the_sibling_wait_frozen(node: Node) -> None:
    """As documented: it costs time, and nobody waits for ever."""
    lock = threading.Lock()
    inside = [0]
    most = [0]

    def work() -> None:
        lock.acquire()
        try:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            spin(2)
            inside[0] -= 1
        finally:
            lock.release()

    refs = [await node.spawn(Runs) for _ in range(3)]
    await asyncio.gather(*(ref.call(work, timeout=50) for ref in refs))
    assert most == [1]


# -- Turning it on


async def test_the_signal_and_the_timer_are_given_back() -> None:
    async with Node("first", preempt=True) as node:
        ref = await node.spawn(Runs)
        await ref.call(spin)
        assert signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


async def test_the_timer_stands_still_while_nothing_runs(node: Node) -> None:
    """An idle service is not woken 500 times a second."""
    ref = await node.spawn(Echo)
    await ref.call(1)
    await eventually(lambda: signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0))


async def test_a_signal_that_somebody_uses_is_not_taken(node: Node) -> None:
    with pytest.raises(PreemptionUnavailable, match="in this process uses them already"):
        await Node("second", preempt=True).start()


async def test_a_loop_in_another_thread_is_refused() -> None:
    def work() -> None:
        with pytest.raises(PreemptionUnavailable, match="in the main thread"):
            asyncio.run(_start())

    async def _start() -> None:
        await Node("elsewhere", preempt=True).start()

    await asyncio.to_thread(work)


@pytest.mark.parametrize("wrong", [Preemption(quantum_s=0), Preemption(share=0), Preemption(share=2)])
async def test_wrong_options_are_refused(wrong: Preemption) -> None:
    with pytest.raises(ValueError, match="quantum_s must be"):
        await Node("wrong", preempt=wrong).start()


def test_without_greenlet_the_error_says_what_to_install() -> None:
    code = (
        "import sys, asyncio; sys.modules['greenlet'] = None\n"
        "from observe.runtime import Node, PreemptionUnavailable\n"
        "async def main():\n"
        "    async with Node('plain'): pass\n"
        "    try: await Node('n', preempt=True).start()\n"
        "    except PreemptionUnavailable as error: print(error)\n"
        "asyncio.run(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install greenlet" in done.stdout


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_process_with_frozen_steps_ends_cleanly(loop: str) -> None:
    """On uvloop too; and what was given up does not keep the process from ending, nor run again in its end."""
    script = textwrap.dedent(
        f"""
        import asyncio, sys
        from observe.runtime import Node
        from observe.runtime.testing import eventually
        from tests.runtime.loops import AsyncLoops, Loops
        from tests.runtime.test_preempt import Echo, Runs

        def stubborn():
            while True:
                try:
                    while True: pass
                except BaseException: pass

        async def main():
            async with Node("ends", preempt=True, watchdog_s=None) as node:
                refs = [await node.spawn(AsyncLoops) for _ in range(4)]
                for ref in refs[:2]: ref.cast("condition")
                for ref in refs[2:]: ref.cast("hosted condition")
                stuck = await node.spawn(Runs, shutdown_s=0.1)
                stuck.cast(stubborn)
                echo = await node.spawn(Echo)
                preempter = node.scheduler.preempter
                await eventually(lambda: len(preempter.frozen) == 5)
                print(await echo.call("echo"))
            print(len(Loops.cleaned), len(preempter.abandoned))

        if {loop!r} == "uvloop":
            import uvloop
            uvloop.run(main())
        else:
            asyncio.run(main())
        """
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, ["echo", "4", "1"]), done.stderr
