"""Preemption: a step that overruns is frozen, others run, and it goes on in its turn or is ended."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator

import pytest

from observe.runtime import (
    Agent,
    AgentExited,
    Node,
    Preemption,
    PreemptionUnavailable,
)
from observe.runtime.testing import Recorder, eventually
from tests.runtime.loops import SHAPES, AsyncLoops, Loops
from tests.runtime.preempting import KINDS, Echo, Runs, frozen, preempting_node, spin

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with preempting_node() as node:
        yield node


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


@pytest.mark.parametrize("kind", KINDS)
async def test_what_becomes_due_goes_before_the_next_quantum(node: Node, kind: type[Agent]) -> None:
    """A timer, then the future's task, then the cast: three turns of the event loop, and no quantum between them."""
    spins = await node.spawn(kind)
    spins.cast(lambda: spin(10_000))
    busy = (await frozen(node, spins)).agent
    echo = await node.spawn(Runs)
    loop = asyncio.get_running_loop()
    due_ns: list[int] = []
    for _ in range(20):
        timer = loop.create_future()
        timer.add_done_callback(lambda _: due_ns.append(busy._o_busy_ns))
        loop.call_later(0.001, timer.set_result, None)
        await timer
        assert await echo.call(lambda: busy._o_busy_ns) == due_ns[-1]
    spins.exit("killed")


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


async def test_loops_that_begin_together_share_their_first_quantum() -> None:
    """A whole one for each, one after the other, would let everybody else wait for all of them: ten took 30 ms."""
    began: list[float] = []

    def endless() -> None:
        began.append(time.thread_time())
        while True:
            pass

    async with preempting_node(preempt=Preemption(quantum_s=0.05, share=0.001)) as node:
        refs = [await node.spawn(Runs, shutdown_s=0.1) for _ in range(10)]
        for ref in refs:
            ref.cast(endless)
        await eventually(lambda: len(began) == 10)
        # Of the processor's time, so that a busy machine only makes it less: 0.06 s at most, and a turn of one that was
        # frozen. Whole quanta, from one tick to the next but one, would make half a second.
        assert began[9] - began[4] < 0.3
        for ref in refs:
            node.control.kill(ref.pid)


async def test_a_step_that_needs_little_more_does_not_wait_for_loops_that_never_end(node: Node) -> None:
    """Of those that were put aside, the one that had no turn yet has its turn soon, however many others there are."""
    loops = [await node.spawn(Loops) for _ in range(6)]
    for ref in loops:
        ref.cast("condition")
    preempter = node.scheduler.preempter
    assert preempter is not None
    held = [await frozen(node, ref) for ref in loops]
    await eventually(lambda: all(one.turns for one in held))
    ref = await node.spawn(Runs)

    def until_resumed() -> tuple[int, int]:
        before = sum(one.turns for one in held)
        while True:
            for one in preempter.frozen:
                if one.agent._o_pid == ref.pid and one.turns:
                    return one.turns, sum(other.turns for other in held) - before

    own, others = await ref.call(until_resumed)
    assert others <= 2 + len(loops) * (
        own - 1
    )  # more than one of its own only where the machine took the first away


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_process_with_frozen_steps_ends_cleanly(loop: str) -> None:
    """On uvloop too; and what was given up does not keep the process from ending, nor run again in its end."""
    script = textwrap.dedent(
        f"""
        import asyncio, sys
        from observe.runtime import Node
        from observe.runtime.testing import eventually
        from tests.runtime.loops import AsyncLoops, Loops
        from tests.runtime.preempting import Echo, Runs

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
