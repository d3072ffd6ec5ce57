"""The service's side of `names`: process groups and registered names, read as they stand. Needs no event loop."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, Final, TypeVar

from observe.probe.describe_names import line, named
from observe.runtime.agent import Agent
from observe.runtime.node import Node
from observe.runtime.snapshot import STATUS_NAMES

MOST_MEMBERS: Final = 100

T = TypeVar("T")


class NameAnswers:
    """Answers `names`. May be asked by several threads."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def page(self, request: dict[str, Any]) -> dict[str, Any]:
        """The groups and names that are asked for."""
        text, limit = request["text"].casefold(), request["limit"]
        registry = _steady(lambda: list(self._node.registry.items()))
        # What is shown of a name is masked, and what is masked is not found.
        names = [
            (shown, agent)
            for name, agent in registry
            if text in (shown := line(name)).casefold() or text in type(agent).__name__.casefold()
        ]
        every = _steady(lambda: self._node.groups.counted())
        groups = [(shown, members) for name, members in every if text in (shown := line(name)).casefold()]
        groups.sort(key=lambda one: (-sum(one[1].values()), one[0]))
        return {
            "groups": [_group(name, members) for name, members in groups[:limit]],
            "groups_matched": len(groups),
            "groups_total": len(every),
            "names": [
                {
                    "name": name,
                    "pid": agent._o_pid,
                    "class": line(type(agent).__name__),
                    "status": _status(agent),
                }
                for name, agent in heapq.nsmallest(limit, names, key=lambda one: one[0])
            ],
            "names_matched": len(names),
            "names_total": len(registry),
        }


def _group(name: str, members: dict[Agent, int]) -> dict[str, Any]:
    return {
        "name": name,
        "memberships": sum(members.values()),
        "members": [named(agent) | {"times": times} for agent, times in list(members.items())[:MOST_MEMBERS]],
        "members_total": len(members),
    }


def _status(agent: Agent) -> str:
    return "" if agent._o_away is not None else STATUS_NAMES[agent._o_status]


def _steady(look: Callable[[], T]) -> T:
    """What `look` returns, once nobody has changed it meanwhile."""
    while True:
        try:
            return look()
        except RuntimeError:
            continue
