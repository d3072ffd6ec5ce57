"""Activities of agents in worker processes, told to the node's: there they count with those of all others, also for drift.

    worker: on_activity_end --> [ a second's worth ] ==link==> node's process: Concerns

One baseline for a class wherever its agents run. What a worker that is killed had not told yet, of its last second, is lost.
"""

from __future__ import annotations

import weakref
from asyncio import TimerHandle
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from observe.probe.describe_names import line
from observe.runtime.clock import now_us
from observe.runtime.instrument import Instrument
from observe.runtime.node import Node

if TYPE_CHECKING:
    from observe.runtime.activity import Activity
    from observe.runtime.agent import Agent
    from observe.runtime.workers.worker_node import WorkerNode

EVERY_S: Final = 1.0

MOST: Final = 2000
"""Told of one second of one worker. Further ones are counted: the link is the agents' as well."""

GOAL_CHARACTERS: Final = 64


class Done(NamedTuple):
    """An activity that has ended."""

    pid: int
    class_name: str
    goal: str
    name: str
    failed: bool
    took_us: int
    input_tokens: int
    output_tokens: int
    cost: float


Take = Callable[[Done], None]

_OF: Final[weakref.WeakKeyDictionary[Node, tuple[Take, Callable[[int], None]]]] = weakref.WeakKeyDictionary()
"""In the node's process: who takes in what has been done, and how much was left out."""


def done_by(agent: Agent, activity: Activity, error: BaseException | None) -> Done:
    """What is told of an activity."""
    return Done(
        agent._o_pid,
        type(agent).__name__,
        _goal(agent),
        activity.name,
        error is not None,
        max(now_us() - activity.since_us, 0),
        activity.input_tokens,
        activity.output_tokens,
        activity.cost,
    )


def _goal(agent: Agent) -> str:
    """What the agent says that it is at."""
    try:
        goal: object = agent.goal
    except Exception:  # noqa: BLE001  # a property of a stranger
        return ""
    if not isinstance(goal, str):
        return ""
    return goal if len(goal) <= GOAL_CHARACTERS and goal.isprintable() else line(goal, GOAL_CHARACTERS)


def register(node: Node, take: Take, left_out: Callable[[int], None]) -> None:
    """In the node's process: tell this one. The newest counts."""
    _OF[node] = take, left_out


def take_far(
    node: Node, done: list[tuple[int, str, str, str, bool, int, int, int, float]], left_out: int
) -> None:
    """In the node's process: what a worker sends."""
    registered = _OF.get(node)
    if registered is not None:
        take, count = registered
        for one in done:
            take(Done(*one))
        count(left_out)


class FarDoings(Instrument):
    """In a worker. Belongs to its loop."""

    def __init__(self, node: WorkerNode) -> None:
        self._node = node
        self._done: list[Done] = []
        self._left_out = 0
        self._timer: TimerHandle | None = None
        node.instruments.add(self)

    def end(self) -> None:
        """Tell nothing more."""
        self._node.instruments.remove(self)
        if self._timer is not None:
            self._timer.cancel()

    def on_activity_end(self, agent: Agent, activity: Activity, error: BaseException | None) -> None:
        if len(self._done) >= MOST:
            self._left_out += 1
            return
        self._done.append(done_by(agent, activity, error))
        if self._timer is None:
            self._timer = self._node.loop.call_later(EVERY_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        done, self._done = self._done, []
        left_out, self._left_out = self._left_out, 0
        # Plain tuples: they take half the bytes, and the node makes them what they were.
        self._node.inside.tell(take_far, [tuple(one) for one in done], left_out)
