"""Preemption: a step that is frozen on its way out, with what it waits for in its hands, is woken all the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from observe.runtime import Agent, Node
from observe.runtime.decisions import ALLOW, Attempt, Decision
from tests.runtime.preempting import Echo, preempting_node, spin

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with preempting_node() as node:
        yield node


class SlowJudge:
    """Looks at a message for so long that the step which sends it overruns: it is frozen as soon as it is back in its own code,
    which is when it hands the scheduler what it waits for."""

    sees_sends = True
    depends_on_time = False

    def judge(self, attempt: Attempt) -> Decision:
        spin()
        return ALLOW


class Asker(Agent):
    """Asks another agent, with and without having waited before."""

    async def handle(self, message: Any) -> Any:
        ref, waits = message
        if waits:
            await asyncio.sleep(0)
        return [await ref.call(number, timeout=20) for number in range(3)]


@pytest.mark.parametrize("waits", [False, True])
async def test_a_reply_that_comes_while_the_caller_is_frozen_on_its_way_to_wait_for_it_is_not_lost(
    node: Node, waits: bool
) -> None:
    """Or it would wait for ever: neither the reply nor the time-out would find anybody."""
    echo = await node.spawn(Echo)
    asker = await node.spawn(Asker)
    node.govern().set_judges((SlowJudge(),))
    assert await asker.call((echo, waits), timeout=20) == [0, 1, 2]


class Patient(Agent):
    """Computes until its time is up, and only then waits for something that does not come."""

    async def handle(self, message: tuple[float, bool]) -> str:
        seconds, waits = message
        until = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                if waits:
                    await asyncio.sleep(0)
                while time.monotonic() < until:
                    pass
                await asyncio.sleep(60)
        except TimeoutError:
            return "in time"
        return "too late"


@pytest.mark.parametrize("waits", [False, True])
async def test_a_time_out_in_the_moment_in_which_a_frozen_step_begins_to_wait_is_not_lost(
    node: Node, waits: bool
) -> None:
    """Each moment of the event loop at which it can come, by many steps whose times end within some milliseconds."""
    patients = [await node.spawn(Patient) for _ in range(40)]

    async def block() -> None:
        while True:
            time.sleep(0.004)  # noqa: ASYNC251 - a service whose loop is busy
            await asyncio.sleep(0)

    blocking = asyncio.create_task(block())
    try:
        calls = [
            patient.call((0.05 + 0.003 * number, waits), timeout=30)
            for number, patient in enumerate(patients)
        ]
        assert await asyncio.gather(*calls) == ["in time"] * len(patients)
    finally:
        blocking.cancel()
