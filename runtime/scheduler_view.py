"""What telemetry sees of a scheduler: which agents have changed, and who runs now, in words of shared memory."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from observe.runtime.clock import now_ns

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.lifecycle import Lifecycle

# The words of shared memory that a drain writes; docs/protocol.md, section 4.
WORD_PID: Final = 1
WORD_SINCE: Final = 2
WORD_SLICES: Final = 4
WORD_BUSY: Final = 6


class SchedulerView:
    """The part of the scheduler that others look at. The drain itself writes here, in place."""

    lifecycle: Lifecycle

    def __init__(self) -> None:
        self.collecting = False
        """Whether somebody takes the agents that changed."""
        self._dirty: deque[Agent] = deque()
        self._words: memoryview | None = None

    def mark_dirty(self, agent: Agent) -> None:
        """Let the next telemetry tick look at `agent`."""
        if not agent._o_dirty:
            agent._o_dirty = True
            self._dirty.append(agent)

    def take_dirty(self, limit: int) -> list[Agent]:
        """Up to `limit` live agents that have changed since they were last taken, in the order in which they did."""
        popleft = self._dirty.popleft
        agents = self.lifecycle.agents
        taken = []
        for _ in range(min(limit, len(self._dirty))):
            agent = popleft()
            agent._o_dirty = False
            if agent._o_pid in agents:
                taken.append(agent)
        return taken

    def collect(self, on: bool = True) -> None:
        """Keep the list of changed agents for `take_dirty`, or stop keeping it.

        While nobody collects, every agent counts as listed already, so that none is put on the list.
        """
        self.collecting = on
        self._dirty.clear()
        for agent in self.lifecycle.agents.values():
            agent._o_dirty = not on

    @property
    def dirty(self) -> int:
        """How many agents `take_dirty` would look at."""
        return len(self._dirty)

    @property
    def running_pid(self) -> int:
        """The pid of the agent that runs now, or 0. From any thread. Known while somebody keeps the words, as a probe does."""
        words = self._words
        return int(words[WORD_PID]) if words is not None else 0

    def attach_words(self, words: memoryview) -> None:
        """Keep `words` (uint64) current: who runs, since when. Read by the probe when nothing here can answer."""
        self._words = words

    def tell_words(self, agent: Agent | None) -> None:
        """Write into them that `agent` runs from now on, or nobody."""
        words = self._words
        if words is not None:
            words[WORD_PID] = agent._o_pid if agent is not None else 0
            words[WORD_SINCE] = now_ns()
            words[WORD_BUSY] = agent is not None

    def detach_words(self) -> None:
        """Stop writing them."""
        self._words = None
