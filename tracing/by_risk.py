"""How much of an agent's messages is traced, by its risk: the riskier, the more.

    an activity begins --> noted --every 2 s--> the agent's risk (`Node.risks`) --> its tier's share --> MessageSpans

What is traced for that is sampled whatever the sampler says, as for agents that somebody looks at: the message and all that is done
for it. Agents without activities reach nothing, and are not looked at. Belongs to the scheduler's thread.
"""

from __future__ import annotations

import weakref
from asyncio import TimerHandle
from typing import TYPE_CHECKING, Final

from observe.runtime.instrument import Instrument

if TYPE_CHECKING:
    from observe.runtime import Agent, ExitReason, Node
    from observe.runtime.activity import Activity
    from observe.tracing.message_spans import MessageSpans

Shares = tuple[float, float, float, float]

SHARES: Final[Shares] = (0.0, 0.0, 0.1, 1.0)
"""Of messages, by tier from 1 to 4."""

EVERY_S: Final = 2.0
"""From an activity to the look at its agent's risk, which grows over minutes."""

MOST: Final = 10_000
"""Agents that are followed. Further ones are traced as without this, and counted (`unfollowed`)."""


class ByRisk(Instrument):
    """Of one node."""

    def __init__(self, node: Node, spans: MessageSpans, shares: Shares) -> None:
        self._node = node
        self._spans = spans
        self._shares = shares
        self._since: dict[int, float] = {}
        """Since when each agent is followed, on the loop's clock: the runtime does not keep its age."""
        self._active: dict[int, Agent] = {}
        self._given: dict[int, float] = {}
        self._timer: TimerHandle | None = None
        self.unfollowed = 0
        """Activities of agents that are not followed, because too many are."""

    def start(self) -> None:
        """Plug in."""
        self._node.instruments.add(self)
        _OF[self._node] = self

    def stop(self) -> None:
        """Unplug. `MessageSpans.stop` lets the agents go."""
        self._node.instruments.remove(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if _OF.get(self._node) is self:
            del _OF[self._node]

    def share_of(self, pid: int) -> float:
        """Of the agent's messages so many are traced for its risk."""
        return self._given.get(pid, 0.0)

    def on_activity_start(self, agent: Agent, activity: Activity) -> None:
        pid = agent._o_pid
        if pid not in self._since:
            if len(self._since) >= MOST:
                self.unfollowed += 1
                return
            self._since[pid] = self._node.loop.time()
        self._active[pid] = agent
        if self._timer is None:
            self._node.risks  # noqa: B018  # from here on it is noted what agents do
            self._timer = self._node.loop.call_later(EVERY_S, self._look)

    def on_exit(self, agent: Agent, reason: ExitReason) -> None:
        for kept in (self._since, self._active, self._given):
            kept.pop(agent._o_pid, None)

    def _look(self) -> None:
        """At those that have done something since the last look."""
        self._timer = None
        active, self._active = self._active, {}
        now = self._node.loop.time()
        for pid, agent in active.items():
            risk = self._node.risks.of(agent, now - self._since[pid])
            share = self._shares[risk.tier - 1] if risk is not None else 0.0
            if share != self._given.get(pid, 0.0):
                self._given[pid] = share
                self._spans.sample(agent, share)


_OF: Final[weakref.WeakKeyDictionary[Node, ByRisk]] = weakref.WeakKeyDictionary()


def share_traced(node: Node, pid: int) -> float | None:
    """Of an agent's messages, so many are traced for its risk; None of a node that does not trace by it."""
    found = _OF.get(node)
    return None if found is None else found.share_of(pid)
