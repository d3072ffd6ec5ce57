"""How tests of preempted tasks look at them, and end them."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

from observe.runtime import Node
from observe.runtime.actions_tasks import cancel_task
from observe.runtime.testing import eventually

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
"""Something that each step has a value of its own of."""


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
