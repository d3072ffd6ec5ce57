"""Ending steps that will not end, from outside, with their clean-up."""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from observe.runtime import Agent, AgentExited, Interrupted, Node, WrongThread
from observe.runtime.control import Outcome
from observe.runtime.testing import Recorder, eventually
from tests.runtime.loops import SHAPES, AsyncLoops, Loops

pytestmark = pytest.mark.timeout(60, method="thread")


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Loops as nobody has run them."""
    Loops.cleaned = []
    Loops.lock = threading.Lock()
    Loops.entered.clear()


class Killer:
    """Interrupts an agent from another thread once it runs."""

    def __init__(self, node: Node, pid: int, when: Callable[[], Any] | None = None) -> None:
        self.outcome: Outcome | None = None
        self._node, self._pid, self._when = node, pid, when
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        agent = self._node.agents[self._pid]
        while self._node.scheduler.current is not agent or (self._when is not None and not self._when()):
            time.sleep(0.001)
        self.outcome = self._node.control.interrupt(self._pid, "by the test")

    async def done(self) -> Outcome:
        await asyncio.to_thread(self._thread.join)
        assert self.outcome is not None
        return self.outcome


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["plain", "coroutine", "hosted"])
async def test_an_endless_loop_is_ended_and_cleans_up(node: Node, shape: str, kind: str) -> None:
    """No `finally` skipped, no lock left behind: the service goes on as if the step had raised by itself."""
    ref = await node.spawn(Loops if kind == "plain" else AsyncLoops)
    sibling = await node.spawn(Loops)
    killer = Killer(node, ref.pid, Loops.entered.is_set)
    with pytest.raises(AgentExited, match="killed"):
        await ref.call(f"hosted {shape}" if kind == "hosted" else shape, timeout=30)
    outcome = await killer.done()
    assert outcome.done, outcome
    assert "was killed" in outcome.what
    assert shape == "in_lock" or Loops.cleaned[-1] == shape
    assert "cut short" not in Loops.cleaned
    assert not Loops.lock.locked()
    assert await sibling.call("ping") == "pong"
    assert sys.gettrace() is None


@pytest.mark.parametrize("round_", range(5))
async def test_a_lock_taken_in_a_loop_is_never_left_taken(node: Node, round_: int) -> None:
    """The moment is another one each time; the clean-up runs each time."""
    for shape in ("takes_lock", "in_lock", "tries_and_cleans"):
        ref = await node.spawn(Loops)
        Loops.entered.clear()
        killer = Killer(node, ref.pid, Loops.entered.is_set)
        ref.cast(shape)
        assert (await killer.done()).done
        assert not Loops.lock.locked()
        assert "cut short" not in Loops.cleaned


async def test_a_blocking_call_is_ended_where_it_waits(node: Node) -> None:
    """`time.sleep` in a handler is what happens in real services."""
    ref = await node.spawn(Loops)
    killer = Killer(node, ref.pid, Loops.entered.is_set)
    began = time.monotonic()
    ref.cast("sleeps")
    assert (await killer.done()).done
    assert time.monotonic() - began < 30
    assert Loops.cleaned == ["sleeps"]


async def test_a_wait_for_a_condition_is_ended(node: Node) -> None:
    class Waits(Agent):
        condition = threading.Condition()

        def handle(self, message: Any) -> None:
            with self.condition:
                self.condition.wait()

    ref = await node.spawn(Waits)
    killer = Killer(node, ref.pid)
    ref.cast(1)
    assert (await killer.done()).done
    assert Waits.condition.acquire(blocking=False)
    Waits.condition.release()


async def test_logging_goes_on_after_a_step_was_ended_in_a_loop_of_it(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """Logging's locks are Python's: a step that is ended inside them silences the whole service."""
    logger = logging.getLogger("test.loop")

    class Logs(Agent):
        def handle(self, message: Any) -> None:
            while True:
                logger.debug("again")

    with caplog.at_level(logging.DEBUG, "test.loop"):
        ref = await node.spawn(Logs)
        killer = Killer(node, ref.pid)
        ref.cast(1)
        assert (await killer.done()).done
        done = threading.Event()

        def elsewhere() -> None:
            logger.warning("from another thread")
            done.set()

        thread = threading.Thread(target=elsewhere)
        thread.start()
        assert await asyncio.to_thread(done.wait, 10)
        thread.join()


async def test_the_exit_reason_and_the_events_are_those_of_a_kill(node: Node) -> None:
    """`killed`, not a crash: a supervisor restarts it, and nobody is told of an exception that was ours."""
    recorder = Recorder.on(node)
    ref = await node.spawn(Loops, name="loops", restart="permanent")
    killer = Killer(node, ref.pid)
    ref.cast("body_first")
    outcome = await killer.done()
    assert outcome.reason == "killed (by the test)"
    await eventually(lambda: node.whereis("loops") is not None)
    assert await node.ref("loops").call("ping") == "pong"
    assert "crash" not in recorder.kinds


async def test_killing_by_ref_from_another_thread_does_the_same(node: Node) -> None:
    ref = await node.spawn(Loops)
    ended = asyncio.ensure_future(ref.wait_exit())
    await asyncio.sleep(0)

    def kill() -> None:
        Loops.entered.wait()
        ref.exit("killed")

    thread = threading.Thread(target=kill)
    thread.start()
    ref.cast("condition")
    assert (await ended).kind == "killed"
    assert Loops.cleaned == ["condition"]
    thread.join()


async def test_control_kill_from_another_thread_does_the_same(node: Node) -> None:
    ref = await node.spawn(Loops)
    outcomes: list[Outcome] = []

    def kill() -> None:
        Loops.entered.wait()
        outcomes.append(node.control.kill(ref.pid))

    thread = threading.Thread(target=kill)
    thread.start()
    ref.cast("condition")
    await ref.wait_exit()
    await asyncio.to_thread(thread.join)
    assert outcomes[0].done


async def test_an_exit_from_another_thread_reaches_an_idle_agent(node: Node) -> None:
    for reason in ("killed", "shutdown"):
        ref = await node.spawn(Loops)
        await asyncio.to_thread(ref.exit, reason)
        assert (await ref.wait_exit()).kind == reason


async def test_a_waiting_agent_is_killed_from_another_thread(node: Node) -> None:
    class Waits(Agent):
        async def handle(self, message: Any) -> None:
            await asyncio.sleep(3600)

    ref = await node.spawn(Waits)
    ref.cast(1)
    outcome = await asyncio.to_thread(node.control.interrupt, ref.pid)
    assert outcome.done


async def test_an_init_that_does_not_end_can_be_ended(node: Node) -> None:
    class Starts(Agent):
        def init(self) -> None:
            while True:
                self.x = 1

    killed: list[Outcome] = []

    def kill() -> None:
        while node.scheduler.current is None or type(node.scheduler.current) is not Starts:
            time.sleep(0.001)
        killed.append(node.control.interrupt(node.scheduler.current.ref.pid))

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(Exception, match="did not start: killed"):
        await node.spawn(Starts)
    await asyncio.to_thread(thread.join)
    assert killed[0].done


async def test_a_step_that_catches_everything_is_reported_as_such(node: Node) -> None:
    """The person who kills is told why nothing happens, instead of trying again and again."""
    stop = threading.Event()

    class Stubborn(Agent):
        def handle(self, message: Any) -> None:
            while not stop.is_set():
                try:
                    while not stop.is_set():
                        pass
                except BaseException:  # noqa: BLE001, S112  # the shape under test
                    continue

    ref = await node.spawn(Stubborn)
    killer = Killer(node, ref.pid)
    killer_outcome = asyncio.ensure_future(killer.done())

    def release() -> None:
        killer._thread.join()
        stop.set()

    threading.Thread(target=release).start()
    ref.cast(1)
    outcome = await killer_outcome
    assert not outcome.done
    assert "caught the exception" in outcome.what
    assert (await ref.wait_exit()).kind == "killed"


async def test_one_call_of_c_code_is_reported_as_such(node: Node) -> None:
    """What cannot be ended is said plainly, and it ends when the call returns."""
    c = ctypes.CDLL(None)
    mutex = ctypes.create_string_buffer(128)
    assert c.pthread_mutex_init(mutex, None) == 0
    entering = threading.Event()

    class Waits(Agent):
        def handle(self, message: Any) -> None:
            entering.set()
            c.pthread_mutex_lock(mutex)  # sees no signals, unlike what Python's own locks wait with

    ref = await node.spawn(Waits)
    obstacles: list[str] = []

    def kill() -> None:
        c.pthread_mutex_lock(mutex)
        ref.cast_threadsafe(1)
        entering.wait(30)
        obstacles.append(node.scheduler.interrupter.kill(node.agents[ref.pid], _killed(), 0.1))
        c.pthread_mutex_unlock(mutex)

    await asyncio.to_thread(kill)
    assert (await ref.wait_exit()).kind == "killed"
    assert "C code" in obstacles[0]


def _killed() -> Any:
    from observe.runtime import KILLED

    return KILLED


async def test_an_agent_behind_another_is_killed_when_its_turn_comes(node: Node) -> None:
    """The wrong pid does not end the wrong agent; the answer names the right one."""
    spinner = await node.spawn(Loops, name="spinner")
    waiting = await node.spawn(Loops)
    outcomes: list[Outcome] = []

    def kill() -> None:
        Loops.entered.wait()
        obstacle = node.scheduler.interrupter.kill(node.agents[waiting.pid], _killed(), 0.05)
        outcomes.append(Outcome(False, obstacle, 0))
        outcomes.append(node.control.interrupt(spinner.pid))

    thread = threading.Thread(target=kill)
    thread.start()
    spinner.cast("body_first")
    waiting.cast("ping")
    await waiting.wait_exit()
    await asyncio.to_thread(thread.join)
    assert "(spinner) holds the scheduler" in outcomes[0].what
    assert outcomes[1].done


async def test_a_step_that_has_just_ended_takes_nobody_with_it(node: Node) -> None:
    """Kills race with the ends of steps. The next agent's step must not get the exception."""

    class Short(Agent):
        def handle(self, message: Any) -> None:
            end = time.perf_counter() + 0.012
            while time.perf_counter() < end:
                pass

    class Counts(Agent):
        def init(self) -> None:
            self.count = 0

        def handle(self, message: Any) -> int:
            for _ in range(2000):
                self.count += 1
            return self.count

    counts = await node.spawn(Counts)
    for _ in range(20):
        ref = await node.spawn(Short)
        ref.cast(1)
        for _ in range(30):
            counts.cast(1)
        killer = threading.Thread(target=ref.exit)
        killer.start()
        await ref.wait_exit()
        await asyncio.to_thread(killer.join)
    assert await counts.call(1) == 2000 * 601
    assert sys.gettrace() is None


async def test_interrupt_is_refused_in_the_schedulers_thread(node: Node) -> None:
    ref = await node.spawn(Loops)
    with pytest.raises(WrongThread, match=r"right: node\.control\.kill"):
        node.control.interrupt(ref.pid)


async def test_the_exception_is_a_cancellation(node: Node) -> None:
    """What a killed step sees does not depend on whether it ran or waited."""
    seen: list[BaseException] = []

    class Sees(Agent):
        def handle(self, message: Any) -> None:
            try:
                while True:
                    x = 1  # noqa: F841  # an instruction to be ended at
            except BaseException as error:
                seen.append(error)
                raise

    ref = await node.spawn(Sees)
    killer = Killer(node, ref.pid)
    ref.cast(1)
    assert (await killer.done()).done
    assert isinstance(seen[0], Interrupted)
    assert isinstance(seen[0], asyncio.CancelledError)


async def test_a_debugger_gets_its_trace_function_back(node: Node) -> None:
    def trace(frame: Any, event: str, arg: Any) -> None:
        return None

    ref = await node.spawn(Loops)
    killer = Killer(node, ref.pid)
    sys.settrace(trace)
    try:
        ref.cast("condition")
        await ref.wait_exit()
        assert sys.gettrace() is trace
    finally:
        sys.settrace(None)
    assert (await killer.done()).done


async def test_the_signal_is_given_back_when_the_node_stops() -> None:
    before = signal.getsignal(signal.SIGURG)
    async with Node("one"), Node("two"):
        assert signal.getsignal(signal.SIGURG) is not before
    assert signal.getsignal(signal.SIGURG) is before


def test_a_scheduler_in_another_thread() -> None:
    """Signals go to the main thread only: 3.12 has another way in; on 3.11 the step ends, perhaps without clean-up."""
    script = textwrap.dedent(
        """
        import asyncio, json, sys, threading, time
        from observe.runtime import Node
        from tests.runtime.loops import SHAPES, Loops
        results = {}

        async def main(shape):
            async with Node("worker") as node:
                ref = await node.spawn(Loops)
                outcomes = []
                def kill():
                    Loops.entered.wait()
                    outcomes.append(node.control.interrupt(ref.pid))
                killer = threading.Thread(target=kill)
                killer.start()
                ref.cast(shape)
                await ref.wait_exit()
                await asyncio.to_thread(killer.join)
                results[shape] = [outcomes[0].done, list(Loops.cleaned), Loops.lock.locked()]

        for shape in SHAPES:
            Loops.cleaned, Loops.lock = [], threading.Lock()
            Loops.entered.clear()
            thread = threading.Thread(target=lambda: asyncio.run(main(shape)))
            thread.start()
            thread.join()
        print(json.dumps(results))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=True
    )
    results = json.loads(done.stdout)
    assert set(results) == set(SHAPES)
    for shape, (ended, cleaned, locked) in results.items():
        assert ended, shape
        if sys.version_info >= (3, 12):
            assert not locked, shape
            assert shape == "in_lock" or cleaned[-1] == shape
