"""What runs each of these tests: asyncio's loop and uvloop's, with a node that preempts all tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from observe.runtime import Node
from tests.runtime.preempting import preempting_node

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
