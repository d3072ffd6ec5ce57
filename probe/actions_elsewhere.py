"""Actions on agents of worker processes: carried out there, on the loop that runs the agent.

    control link --> Actions (node's process) --link--> act_there (worker): the same Actions, on the agent itself

An action that the worker does not get to in time is refused, and never carried out later.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import Future
from collections.abc import Callable
from typing import Any, Final

from observe.runtime.agent import Agent
from observe.runtime.away import Away
from observe.runtime.errors import NoSuchAgent, RuntimeFault
from observe.runtime.node import Node

FORWARDED: Final = frozenset({"suspend", "resume", "cancel_activity", "reset_budget", "edit", "mailbox"})
"""Actions on what only the agent's own process has. The others are the node's business: supervision, new messages."""

EVERYWHERE: Final = frozenset({"log_level", "collect_garbage"})
"""Actions on the node that its worker processes carry out as well."""

ANSWER_S: Final = 1.0
"""How long the worker may take to begin. The probe itself waits 2 s for all of it."""

PATIENCE_S: Final = 0.5
"""And how much longer its answer may be on its way."""

Tell = Callable[[dict[str, Any]], None]
Fail = Callable[[str, str, str], None]


async def act_elsewhere(
    op: str, request: dict[str, Any], agent: Agent, away: Away, tell: Tell, fail: Fail
) -> None:
    """Have one action carried out in the agent's process. Exactly one of `tell` and `fail` is called."""
    until_ns = time.monotonic_ns() + int(ANSWER_S * 1e9)
    try:
        asking = away.ask(act_there, op, request, until_ns)
        async with asyncio.timeout(ANSWER_S + PATIENCE_S):
            kind, *parts = await asking
    except TimeoutError:
        fail(
            "node_timeout",
            f"the worker process of {agent._o_text()} did not get to it within {ANSWER_S:g} s; it will not be done",
            "look at the agent's stack; `kill` works meanwhile",
        )
    except RuntimeFault as fault:
        fail("refused", str(fault), "")
    except Exception as error:  # noqa: BLE001  # what fails there is an answer, never a fault of the node
        fail("internal", f"the worker process could not do it: {type(error).__name__}", "")
    else:
        (tell if kind == "told" else fail)(*parts)


def act_there(node: Node, op: str, request: dict[str, Any], until_ns: int) -> Future[tuple[Any, ...]]:
    """In the worker: carry the action out, unless whoever asked has given up."""
    from observe.probe.answers_actions import Actions  # in a worker: not before somebody acts

    answer: Future[tuple[Any, ...]] = node.loop.create_future()

    def settle(kind: str, *parts: Any) -> None:
        if not answer.done():
            answer.set_result((kind, *parts))

    if time.monotonic_ns() > until_ns:
        settle("failed", "node_timeout", "too late", "")
        return answer
    try:
        _actions_of(node, Actions).take(
            op, request, lambda acted: settle("told", acted), lambda *why: settle("failed", *why)
        )
    except NoSuchAgent as error:
        settle("failed", "no_such_agent", str(error), "")
    return answer


_actions: dict[Node, Any] = {}
"""Of a worker: kept, because it holds the tasks of what is under way."""


def _actions_of(node: Node, make: Callable[[Node], Any]) -> Any:
    if node not in _actions:
        _actions[node] = make(node)
    return _actions[node]


def also_in_workers(node: Node, op: str, request: dict[str, Any]) -> int:
    """Have all worker processes do it as well, without waiting for them. Tells how many there are."""
    workers = node.lifecycle.workers
    if workers is None:
        return 0
    until_ns = time.monotonic_ns() + int(30e9)
    processes = [process for process in workers.processes.values() if not process.is_closed]
    for process in processes:
        asked = process.ask(act_there, op, request, until_ns)
        asked.add_done_callback(lambda done: done.cancelled() or done.exception())
    return len(processes)
