"""What the tests of preemption share: a node that preempts, and agents that run what they are given."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from observe.runtime import (
    Agent,
    Node,
    Ref,
)
from observe.runtime.frozen import Frozen
from observe.runtime.testing import eventually
from tests.runtime.loops import Loops

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method uses the same signal


@asynccontextmanager
async def preempting_node(**options: Any) -> AsyncIterator[Node]:
    """A running node that preempts."""
    Loops.cleaned = []
    Loops.lock = threading.Lock()
    Loops.entered.clear()
    async with Node("test", intensity=1000, watchdog_s=None, **({"preempt": True} | options)) as node:
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
