"""Preemption of agents between whom and the scheduler something stands: a plan (checkpoints, a budget), or a listener."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from observe.runtime import Agent, Budget, ChildSpec, MemoryStore, Node, Ref
from observe.runtime.ref import is_tapped
from observe.runtime.taps import Tap, tap
from observe.runtime.testing import eventually
from tests.runtime.loops import SHAPES, AsyncLoops, Loops

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal


class Echo(Agent):
    def handle(self, message: Any) -> Any:
        return message


class Stubborn(Agent):
    def handle(self, message: Any) -> None:
        while True:
            try:
                while True:
                    pass
            except BaseException:  # noqa: BLE001, S112  # the shape under test
                continue


async def with_a_plan(node: Node, kind: type[Agent]) -> Ref:
    spec = ChildSpec(kind, restart="temporary", checkpoint="each_message", restore=True, name="loops")
    return await node.supervisor.start_child(spec)


async def with_a_budget(node: Node, kind: type[Agent]) -> Ref:
    return await node.supervisor.start_child(
        ChildSpec(kind, restart="temporary", budget=Budget(tool_calls=100))
    )


async def with_a_listener(node: Node, kind: type[Agent]) -> Ref:
    ref = await node.spawn(kind, restart="temporary")
    tap(node.agents[ref.pid], Tap())
    return ref


async def with_all(node: Node, kind: type[Agent]) -> Ref:
    ref = await with_a_plan(node, kind)
    tap(node.agents[ref.pid], Tap())
    return ref


@pytest.mark.parametrize("kind", [Loops, AsyncLoops])
@pytest.mark.parametrize("start", [with_a_plan, with_a_budget, with_a_listener, with_all])
async def test_siblings_go_on_beside_an_endless_loop(
    start: Callable[[Node, type[Agent]], Any], kind: type[Agent]
) -> None:
    Loops.cleaned, Loops.lock = [], threading.Lock()
    Loops.entered.clear()
    async with Node("test", preempt=True, watchdog_s=None, store=MemoryStore()) as node:
        loops = await start(node, kind)
        echo = await node.spawn(Echo)
        loops.cast(next(iter(SHAPES)))
        preempter = node.scheduler.preempter
        assert preempter is not None
        agent = node.agents[loops.pid]
        await eventually(lambda: preempter.holds(agent))
        for number in range(5):
            assert await echo.call(number) == number
        loops.exit()
        assert (await loops.wait_exit()).kind == "killed"
        assert await echo.call("after") == "after"


async def test_a_listener_to_a_step_that_never_ends_costs_others_nothing_afterwards() -> None:
    """A frozen step of a buried agent is never resumed; what was watched for its sake must not be watched for ever."""
    async with Node("test", preempt=True, watchdog_s=None) as node:
        stubborn = await with_a_listener(node, Stubborn)
        echo = await node.spawn(Echo)
        stubborn.cast("begin")
        preempter = node.scheduler.preempter
        assert preempter is not None
        agent = node.agents[stubborn.pid]
        await eventually(lambda: preempter.holds(agent))
        assert is_tapped()
        stubborn.exit()
        await stubborn.wait_exit()
        echo.cast("one more")
        await eventually(lambda: not is_tapped())
