"""Who has used models, told to the probe: tokens and cost of each agent since its start. On the scheduler's thread.

    an activity has ended --> Spenders: who has spent --> once a second their totals, `MOST_TOLD` at most: `spent` frame

Of agents of the node's own process the totals are the runtime's, by which budgets are enforced. Those of worker processes are added up
here from what their activities have used.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from observe.probe.far_doings import Done
from observe.runtime.node import Node

MOST_TOLD: Final = 5000
"""In one frame, which takes about a millisecond to make; the others a second later."""


class Spenders:
    """Of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._known: set[int] = set()
        """All live agents that have ever spent."""
        self._changed: dict[int, None] = {}
        """Those of which there is something to tell, the longest waiting first."""
        self._far: dict[int, tuple[int, float]] = {}
        """Of agents in worker processes: tokens and cost."""

    def __len__(self) -> int:
        return len(self._known)

    def done(self, one: Done) -> None:
        """An activity has ended, here or in a worker process."""
        tokens = one.input_tokens + one.output_tokens
        if not tokens and not one.cost:
            return
        agent = self._node.agents.get(one.pid)
        if agent is None:
            return  # an item of a worker's own, or one that has ended
        self._known.add(one.pid)
        self._changed[one.pid] = None
        if agent._o_away is not None:
            before = self._far.get(one.pid, (0, 0.0))
            self._far[one.pid] = before[0] + tokens, before[1] + one.cost

    def ended(self, pid: int) -> None:
        """An agent is gone."""
        if pid in self._known:
            self._known.discard(pid)
            self._changed.pop(pid, None)
            self._far.pop(pid, None)

    def begin_anew(self) -> None:
        """A probe knows nothing yet."""
        self._changed = dict.fromkeys(self._known)

    def due(self) -> dict[str, Any] | None:
        """What is to be told now."""
        if not self._changed:
            return None
        pids = list(islice(self._changed, MOST_TOLD))
        told = []
        for pid in pids:
            del self._changed[pid]
            agent = self._node.agents.get(pid)
            if agent is None:
                continue
            spending = agent._o_bonds.spending if agent._o_bonds is not None else None
            if pid in self._far:
                told.append((pid, *self._far[pid]))
            elif spending is not None:
                told.append((pid, int(spending.tokens), float(spending.cost)))
        columns = ("pids", "tokens", "costs")
        return {name: [one[place] for one in told] for place, name in enumerate(columns)}
