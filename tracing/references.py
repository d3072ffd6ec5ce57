"""In which trace an agent is now, for whoever keeps a record of what becomes of it. Loads no OpenTelemetry.

A node that makes no spans costs one look-up; nothing is kept for it.
"""

from __future__ import annotations

import weakref
from asyncio import Future
from collections.abc import Callable
from typing import Any, Final, Protocol

from observe.runtime.node import Node

Fill = Callable[[str, str], None]
"""Takes a trace id and a span id in hexadecimal digits."""


class References(Protocol):
    """What makes the spans of a node's agents."""

    def reference(self, pid: int) -> tuple[str, str] | None:
        """Trace and span of what the agent does now; None when it has no open span that is kept."""

    def refer(self, pid: int, fill: Fill) -> None:
        """Call `fill` now, or when the agent's next span begins; never, when it has none for long."""

    def note(self, pid: int, name: str, facts: dict[str, Any], keep: bool) -> None:
        """An event on its span, or on its next one."""


_OF: Final[weakref.WeakKeyDictionary[Node, References]] = weakref.WeakKeyDictionary()

_FAR: Final[weakref.WeakKeyDictionary[Node, Callable[[int], tuple[str, str] | None]]] = (
    weakref.WeakKeyDictionary()
)


def register(node: Node, spans: References) -> None:
    """This one makes the spans of the node's agents; the newest counts."""
    _OF[node] = spans


def forget(node: Node, spans: References) -> None:
    """It makes no more."""
    if _OF.get(node) is spans:
        del _OF[node]


def refer(node: Node, pid: int, fill: Fill) -> None:
    """Have `fill` called with where the agent is, or will be in a moment; not at all where nothing is traced."""
    spans = _OF.get(node)
    if spans is not None:
        spans.refer(pid, fill)


def reference(node: Node, pid: int) -> dict[str, str]:
    """`trace` and `span` of what the agent does now; empty when it has no open span."""
    spans = _OF.get(node)
    found = spans.reference(pid) if spans is not None else None
    return {} if found is None else {"trace": found[0], "span": found[1]}


def register_far(node: Node, of_agent: Callable[[int], tuple[str, str] | None]) -> None:
    """What the node's process knows of spans in its workers: those that have been open for a while."""
    _FAR[node] = of_agent


def mention(node: Node, request: dict[str, Any], pid: int) -> dict[str, str] | Future[dict[str, str]]:
    """An operator's command reaches an agent: its span gets an event that names the command's records, by their `command_id`; what is
    returned is for these records. Of an agent in a worker process that is what comes of asking there."""
    command = request.get("command")
    if node not in _OF or not isinstance(command, str):
        return {}
    agent = node.agents.get(pid)
    if agent is not None and agent._o_away is not None:
        return agent._o_away.ask(mention_here, command, str(request.get("op") or ""), pid)
    return mention_here(node, command, str(request.get("op") or ""), pid)


def mention_here(node: Node, command: str, op: str, pid: int) -> dict[str, str]:
    """In the agent's own process."""
    spans = _OF.get(node)
    if spans is None:
        return {}
    who, _, number = command.partition(":")
    facts = {
        "observe.audit.command_id": number,
        "observe.audit.action": op,
        "observe.audit.who": who,
    }
    spans.note(pid, "observe.command", facts, True)
    return reference(node, pid)


def is_far(node: Node, pid: int) -> bool:
    """Whether it is an agent of another process, which has its spans."""
    agent = node.agents.get(pid)
    return agent is not None and agent._o_away is not None


def far_reference(node: Node, pid: int) -> dict[str, str]:
    """Of an agent in a worker that does not answer: what is known here, which is what it does for long already."""
    of_agent = _FAR.get(node)
    found = of_agent(pid) if of_agent is not None else None
    return {} if found is None else {"trace": found[0], "span": found[1]}
