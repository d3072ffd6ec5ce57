"""The supervision tree, drawn from the process table alone, so that it can be had while the node cannot answer."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from observe.probe.errors import Refusal
from observe.probe.table import Table
from observe.probe.wire_agent import Branch
from observe.probe.wire_table import LEVELS, STATUS_NAMES

MAX_BRANCHES: Final = 5000
"""Agents in one tree: about 1 MB. Upper levels come first; `children_total` tells of those left out."""

Strategies = dict[int, tuple[str, int, float, int | None]]
"""Of each supervisor's pid: strategy, intensity, period in seconds, restarts within the last period."""


class Trees:
    """Finds the children of any agent. Its index is built when asked for after the table has changed."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._version = -1
        self._rows: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._supervisors: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def children(self, pid: int) -> NDArray[np.intp]:
        """The rows of its live children, in the order of their pids."""
        if self._version != self.table.version:
            rows = self.table.alive()
            supervisors = self.table.ints("supervisor")[rows]
            order = np.argsort(supervisors, kind="stable")
            self._rows, self._supervisors = rows[order], supervisors[order]
            self._version = self.table.version
        start, stop = np.searchsorted(self._supervisors, [pid, pid + 1])
        return self._rows[start:stop]

    def root(self) -> int:
        """The row of the root supervisor.

        Raises:
            Refusal: `no_such_agent`, when the table is empty.
        """
        roots = self.children(0)
        if not len(roots):
            raise Refusal("no_such_agent", "the node has no agents yet", "try again in a moment")
        return int(roots[0])

    def branch(self, row: int, depth: int, max_children: int, strategies: Strategies) -> Branch:
        """The agent of `row` and `depth` levels below it, at most `max_children` of each and `MAX_BRANCHES` in all."""
        top = self._node(row, strategies)
        waiting = deque([(top, depth)])
        room = MAX_BRANCHES - 1
        while waiting:
            branch, levels = waiting.popleft()
            rows = self.children(branch.pid)
            branch.children_total = len(rows)
            counts = np.bincount(self.table.ints("status")[rows], minlength=len(STATUS_NAMES))
            branch.by_status = {
                name: count for name, count in zip(STATUS_NAMES, counts.tolist(), strict=False) if count
            }
            shown = self._worst_first(rows, min(max_children, room) if levels > 0 else 0)
            room -= len(shown)
            branch.children = [self._node(int(child), strategies) for child in shown]
            waiting.extend((child, levels - 1) for child in branch.children)
        return top

    def _worst_first(self, rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
        """Those to be shown: in the order of their pids if all are, else who has crashed or was restarted most before the rest."""
        if len(rows) <= most:
            return rows
        crashes, restarts = self.table.ints("crashes")[rows], self.table.ints("restarts")[rows]
        troubled = (crashes > 0) | (restarts > 0)
        worst = rows[troubled]
        order = np.lexsort((self.table.ints("pid")[worst], -restarts[troubled], -crashes[troubled]))
        return np.concatenate([worst[order], rows[~troubled][:most]])[:most]

    def _node(self, row: int, strategies: Strategies) -> Branch:
        table = self.table
        pid = int(table.ints("pid")[row])
        strategy, intensity, period_s, within = strategies.get(pid, (None, None, None, None))
        return Branch(
            pid=pid,
            name=table.text("name", row),
            class_name=table.text("class", row) or "",
            status=table.status(row),
            child=table.text("child", row) or "",
            restarts=int(table.ints("restarts")[row]),
            crashes=int(table.ints("crashes")[row]),
            mailbox=int(table.ints("mailbox")[row]),
            strategy=strategy,
            intensity=intensity,
            period_s=period_s,
            restarts_within=within,
            containment=LEVELS[int(table.containment(np.array([row]))[0])],
        )


def strategies_of(result: dict[str, Any] | None) -> Strategies:
    """Read the service's list of supervisors; what is no line of such a list is left out."""
    found: Strategies = {}
    lines = result.get("supervisors") if result else None
    for line in lines if isinstance(lines, list) else ():
        match line:
            case [int(pid), str(strategy), int(intensity), int() | float() as period_s, *more]:
                within = more[0] if more and type(more[0]) is int else None
                found[pid] = (strategy, intensity, float(period_s), within)
    return found
