"""How a worker tells the node's process what its agents have done: which messages are handled, and their counters."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.agent import IDLE, RUNNING, Agent

if TYPE_CHECKING:
    from observe.runtime.workers.inside import Inside

TICK_S: Final = 0.1
"""Seconds between two tellings of counters: well within a tick of the node's own telemetry."""

ROWS_A_TICK: Final = 2000
"""Agents told of in one frame; further ones follow in the next tick."""


class Progress:
    """Counts the messages that came over the link, and tells when they are handled."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._order: dict[int, deque[int]] = {}
        """Of each agent: at which of its messages in all those stand that came over the link and are not handled."""
        self._finished: dict[int, int] = {}
        self._changed: dict[int, None] = {}
        self._is_touched = False
        self._has_timer = False
        self.untold: dict[int, None] | None = None
        """For telemetry of the worker's own: the agents that have changed; None while there is none."""

    def begin(self, pid: int) -> None:
        """An agent is about to start under this pid."""
        self._order[pid] = deque()
        self._finished[pid] = 0

    def forget(self, pid: int) -> None:
        """It is gone, or did not start."""
        self._order.pop(pid, None)
        self._finished.pop(pid, None)
        self._changed.pop(pid, None)

    def knows(self, pid: int) -> bool:
        """Whether the node's process has put an agent here under this pid."""
        return pid in self._order

    def came(self, agent: Agent) -> None:
        """A message for the agent has come over the link, and is about to enter its mailbox."""
        order = self._order.get(agent._o_pid)
        if order is not None:
            order.append(_entered(agent))

    def touch(self) -> None:
        """Agents have done something: tell it when they have had their turn."""
        if not self._is_touched:
            self._is_touched = True
            self._inside.loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._is_touched = False
        scheduler = self._inside.node.scheduler
        done = []
        for agent in scheduler.take_dirty(scheduler.dirty):
            self._changed[agent._o_pid] = None
            if self.untold is not None:
                self.untold[agent._o_pid] = None
            told = self.of(agent)
            if told is not None:
                done.append(told)
        if done:
            self._inside.link.send(("done", done))
        if self._changed and not self._has_timer:
            self._has_timer = True
            self._inside.loop.call_later(TICK_S, self._tick)

    def of(self, agent: Agent, in_hand: bool = False) -> tuple[int, int, bool] | None:
        """The agent's pid, how many messages are handled of those that came over the link, and whether the one in hand is
        one of those; None when it has none of them left.

        Args:
            in_hand: a message is in hand, whatever the agent's status says: it has ended with it.
        """
        pid = agent._o_pid
        order = self._order.get(pid)
        if not order:
            return None
        is_counted = in_hand or agent._o_step is not None
        busy = (
            is_counted or agent._o_status == RUNNING
        )  # a message counts when its slice is over, or it waits
        handled = agent._o_handled - is_counted + _dropped(agent)
        finished = 0
        while order and order[0] < handled:
            order.popleft()
            finished += 1
        if agent._o_status == IDLE and not agent._o_queued():
            finished += len(order)
            order.clear()
        total = self._finished[pid] = self._finished[pid] + finished
        return pid, total, bool(busy and order and order[0] == handled)

    def saved(self, agent: Agent, is_whole: bool) -> int:
        """How many of the messages that came over the link a checkpoint taken now has behind it: with the one in hand, if it
        `is_whole`, the state after that one."""
        told = self.of(agent)
        if told is None:
            return self._finished.get(agent._o_pid, 0)
        self._inside.link.send(("done", [told]))
        return told[1] + (is_whole and told[2])

    def taken_out(self, agent: Agent, places: list[int], taken: list[Any], to: Agent | None) -> list[Any]:
        """The messages at these places of the mailbox, 0 for the oldest, are out of it. Those that came over the link are dealt
        with by the node's process, which has the originals; the others are returned."""
        order = self._order.get(agent._o_pid)
        if not order:
            return taken
        base = agent._o_handled + _dropped(agent)
        last = {
            entry: number for number, entry in enumerate(order)
        }  # the last: others before could not be read
        numbers, ours = [], []
        for place, message in zip(places, taken, strict=False):
            number = last.get(base + place)
            if number is None:
                ours.append(message)
            else:
                numbers.append(number)
        if numbers:
            finished = self._finished[agent._o_pid]
            told = [finished + number for number in numbers]
            self._inside.link.send(("taken", agent._o_pid, told, to._o_pid if to is not None else 0))
        gone = set(numbers)
        self._order[agent._o_pid] = deque(
            entry - bisect_left(places, entry - base)
            for number, entry in enumerate(order)
            if number not in gone
        )
        return ours

    def lost(self, agent: Agent) -> None:
        """The message that has just come found no room, and was dropped as the newest."""
        order = self._order.get(agent._o_pid)
        if order:
            order.pop()
            self._inside.link.send(("lost", agent._o_pid, self._finished[agent._o_pid] + len(order)))

    def shift(self, agent: Agent) -> None:
        """The agent has started, perhaps with a message of an earlier process before all that have come meanwhile."""
        order = self._order.get(agent._o_pid)
        if order:
            first = agent._o_queued() - len(order)
            if first > 0:
                self._order[agent._o_pid] = deque(place + first for place in order)

    def _tick(self) -> None:
        self._has_timer = False
        pids = list(self._changed)[:ROWS_A_TICK]
        rows = []
        for pid in pids:
            del self._changed[pid]
            agent = self._inside.node.agents.get(pid)
            if agent is not None:
                rows.append(row_of(agent))
                if agent._o_queued():
                    self._changed[pid] = None  # it changes without having a slice
        if rows:
            self._inside.link.send(("rows", rows))
        if self._changed:
            self._has_timer = True
            self._inside.loop.call_later(TICK_S, self._tick)


def _entered(agent: Agent) -> int:
    """How many messages have come into the agent's mailbox since its start."""
    return agent._o_handled + agent._o_queued() + _dropped(agent)


def _dropped(agent: Agent) -> int:
    """How many messages have left its mailbox from the front without being handled."""
    found = agent._o_bonds
    if found is None or found.overfull is None or type(agent).overflow == "drop_newest":
        return 0
    return found.overfull.dropped


def row_of(agent: Agent) -> tuple[Any, ...]:
    doing = agent._o_activities[-1] if agent._o_activities else None
    return (
        agent._o_pid,
        agent._o_status,
        agent._o_queued(),
        agent._o_mailbox_max,
        agent._o_handled,
        agent._o_busy_ns,
        agent._o_since_ns // 1000,
        doing.name if doing is not None else "",
        doing.since_us if doing is not None else 0,
    )
