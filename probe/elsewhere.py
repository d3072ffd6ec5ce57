"""Pictures of agents that run in a worker process: half is known here, the other half is asked for there.

A worker that is stuck does not keep the picture: then its control thread still says where the agent is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from observe.probe.describe import ELSEWHERE, HERE, detail_map, stack_map
from observe.probe.describe_names import line
from observe.runtime.agent import Agent
from observe.runtime.away import Away
from observe.runtime.node import Node

ANSWER_S: Final = 1.0
"""How long the worker may take. The probe itself waits 2 s for all of it."""


def inspect_elsewhere(
    node: Node, agent: Agent, away: Away, max_items: int, done: Callable[[dict[str, Any]], None]
) -> None:
    """Hand `done` the picture of an agent of a worker, or as much of it as there is. On the scheduler's thread."""
    task = node.loop.create_task(_picture(node, agent, away, max_items))
    _tasks.add(task)

    def finished(task: asyncio.Task[dict[str, Any]]) -> None:
        _tasks.discard(task)
        if not task.cancelled():
            done(task.result())

    task.add_done_callback(finished)


_tasks: set[asyncio.Task[dict[str, Any]]] = set()
"""Held until they are done: the event loop itself holds no task."""


async def _picture(node: Node, agent: Agent, away: Away, max_items: int) -> dict[str, Any]:
    here = detail_map(node, agent, max_items, HERE)
    notes = [here["note"]]
    try:
        async with asyncio.timeout(ANSWER_S):
            there: dict[str, Any] = await away.ask(_there, agent.ref.pid, max_items)
    except TimeoutError:
        stack = await node.loop.run_in_executor(None, away.stack)
        there = {"stack": stack_map(agent, stack)}
        notes.append("its process does not answer in time: state and activities cannot be shown")
    except Exception as error:  # noqa: BLE001  # half a picture helps: it may have ended this very moment
        there = {}
        notes.append(f"its process could not tell its half: {type(error).__name__}")
    notes.append(there.pop("note", ""))
    if isinstance(here.get("spec"), dict):
        here["spec"] |= there.pop("standing", {})
    here |= there
    here["note"] = "; ".join(note for note in notes if note)
    return here


def _there(node: Node, pid: int, max_items: int) -> dict[str, Any]:
    """In the worker."""
    agent = node.control.find(pid)
    spec = node.control.relations(agent).spec
    standing = {name: line(str(spec[name])) for name in ("budget", "checkpoint_fault") if name in spec}
    return detail_map(node, agent, max_items, ELSEWHERE) | {"standing": standing}
