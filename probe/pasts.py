"""Activities that have ended, of the agents that somebody looks at.

The first look at an agent begins a ring for its place in the tree, so that it goes on when the agent is restarted. While no
one has looked for a while, nothing listens and nothing is paid.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from observe.probe.describe_names import line
from observe.runtime.activity import Activity
from observe.runtime.agent import Agent
from observe.runtime.children import Child
from observe.runtime.clock import now_us
from observe.runtime.exits import crash_reason
from observe.runtime.instrument import Instrument
from observe.runtime.node import Node

KEPT: Final = 50
"""Ended activities kept of one agent: what a page shows."""

AGENTS: Final = 100
"""Agents of which some are kept; whoever was not looked at for the longest time makes room."""

FORGET_S: Final = 300.0
"""An agent that nobody has looked at for so long is no longer listened to."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """One of them. It holds nothing of the agent or the error, which may be gone by then."""

    pid: int
    name: str
    since_us: int
    until_us: int
    error: str | None
    tokens: int
    cost: float


class _Ring:
    __slots__ = ("began_us", "ended", "looked_us")

    def __init__(self, now: int) -> None:
        self.began_us = now
        self.looked_us = now
        self.ended: deque[_Ended] = deque(maxlen=KEPT)


class Pasts(Instrument):
    """The rings of one node. On the scheduler's thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._rings: OrderedDict[Child, _Ring] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def on_activity_end(self, agent: Agent, activity: Activity, error: BaseException | None) -> None:
        ring = self._rings.get(agent._o_child)
        if ring is not None:
            ring.ended.append(
                _Ended(
                    agent._o_pid,
                    activity.name,
                    activity.since_us,
                    now_us(),
                    None if error is None else crash_reason(error).text,
                    activity.input_tokens + activity.output_tokens,
                    activity.cost,
                )
            )

    def look(self, agent: Agent) -> dict[str, Any]:
        """`past` and `past_for_s` of **detail**. What ends from now on is noted."""
        now = now_us()
        child = agent._o_child
        ring = self._rings.get(child)
        if ring is None:
            ring = self._rings[child] = _Ring(now)
            if len(self._rings) > AGENTS:
                self._rings.popitem(last=False)
            self._node.instruments.add(self)
        ring.looked_us = now
        self._rings.move_to_end(child)
        if self._timer is None:
            self._timer = self._node.loop.call_later(FORGET_S, self._forget)
        return {
            "past": [_line(ended, now) for ended in reversed(ring.ended)],
            "past_for_s": (now - ring.began_us) / 1e6,
        }

    def _forget(self) -> None:
        """Let go of those that nobody has looked at; with the last one, stop listening."""
        now = now_us()
        self._timer = None
        while self._rings:
            child, ring = next(iter(self._rings.items()))
            left_s = FORGET_S - (now - ring.looked_us) / 1e6
            if left_s > 0:
                self._timer = self._node.loop.call_later(left_s, self._forget)
                return
            del self._rings[child]
        self._node.instruments.remove(self)


def _line(ended: _Ended, now: int) -> dict[str, Any]:
    return {
        "name": line(ended.name),
        "pid": ended.pid,
        "ended_s": max(0.0, (now - ended.until_us) / 1e6),
        "took_s": max(0.0, (ended.until_us - ended.since_us) / 1e6),
        "error": None if ended.error is None else line(ended.error),
        "tokens": ended.tokens,
        "cost": float(ended.cost),
    }


_of_nodes: WeakKeyDictionary[Node, Pasts] = WeakKeyDictionary()


def pasts_of(node: Node) -> Pasts:
    """The rings of this node, or of this worker's part of one."""
    found = _of_nodes.get(node)
    if found is None:
        found = _of_nodes[node] = Pasts(node)
    return found
