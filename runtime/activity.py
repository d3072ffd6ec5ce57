"""Activities: the slow things that an agent does inside a step, by name.

``async with self.activity("tool:search", query="mug"):`` lets the console say "in tool:search for 41 s".
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from observe.runtime.clock import now_us

if TYPE_CHECKING:
    from observe.runtime.agent import Agent


class Activity:
    """A named slow thing, open between entering and leaving the context manager. Works with and without `async`."""

    __slots__ = ("_agent", "attributes", "name", "since_us")

    def __init__(self, agent: Agent, name: str, attributes: dict[str, Any]) -> None:
        self._agent = agent
        self.name = name
        """What it is: `tool:search`, `model:chat`, `wait:approval`. The part before the colon groups it."""
        self.attributes = attributes
        """What the caller said about it, for people and spans."""
        self.since_us = 0
        """When it was entered, in monotonic microseconds."""

    def __enter__(self) -> Self:
        agent = self._agent
        self.since_us = now_us()
        if agent._o_activities is None:
            agent._o_activities = []
        agent._o_activities.append(self)
        node = agent._o_node
        node.scheduler.mark_dirty(agent)
        for hook in node.instruments.on_activity_start:
            hook(agent, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        agent = self._agent
        if agent._o_activities is not None:
            # Not always the last one: the tasks of a TaskGroup may leave theirs in any order.
            agent._o_activities = [a for a in agent._o_activities if a is not self] or None
        node = agent._o_node
        node.scheduler.mark_dirty(agent)
        for hook in node.instruments.on_activity_end:
            hook(agent, self, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)
