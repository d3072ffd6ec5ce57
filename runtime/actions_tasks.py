"""What an operator may do to an asyncio task: cancel it. On the loop's thread, as the actions on agents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from observe.runtime.actions import Acted, Result
from observe.runtime.control import killed
from observe.runtime.errors import ActionRefused
from observe.runtime.node import Node
from observe.runtime.task_view import AnyTask, waits_in_a_ring

PATIENCE_S: Final = 1.0
"""How long a cancelled task may take to end before whoever asked is told that it has not. Shorter than the wait for an
answer, so that they learn of it."""


def cancel_task(node: Node, task: int, reason: str = "") -> Result:
    """Ask a task to cancel, as `task.cancel()` does, and see what comes of it. One that computes on and on, and is frozen, is
    ended where it is.

    Raises:
        NoSuchTask: it has ended, or never was.
        ActionRefused: it is a step of an agent, or the node's own, or waits in a ring.
    """
    found = node.tasks.find(task)
    facts = node.tasks.facts_of(found)
    label = f"the task {facts.name} ({facts.coroutine}, number {facts.id})"
    if facts.protected:
        raise ActionRefused(f"{label} is not cancelled: {facts.protected}")
    if waits_in_a_ring(found):
        raise ActionRefused(
            f"{label} is not cancelled: tasks wait for each other in a ring there, and asyncio would pass the cancellation "
            "on around it without end"
        )
    if not node.tasks.end_frozen(found, killed(reason)):
        found.cancel(reason or None)

    async def ended() -> Acted:
        await asyncio.wait([found], timeout=PATIENCE_S)
        if not found.done():
            now = node.tasks.facts_of(found)
            what = f"{label} was asked to cancel and has not ended yet: it cleans up, or goes on all the same, at {now.place}"
            return Acted(False, what, 0, {"task": facts.id, "name": facts.name})
        return Acted(True, f"{label} {_how(found)}", 0, {"task": facts.id, "name": facts.name})

    return ended()


def _how(task: AnyTask) -> str:
    if task.cancelled():
        return "was cancelled"
    # Not `exception()`: it is the service's to ask for, and asyncio complains when nobody has.
    error = getattr(task, "_exception", None)
    if error is not None:
        return f"was asked to cancel and ended with {type(error).__name__}"
    return "was asked to cancel and has returned a result"


ON_TASKS: Final[dict[str, Callable[..., Result]]] = {"cancel_task": cancel_task}
"""Actions that take the node and keywords, as those on the node do."""
