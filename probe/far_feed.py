"""Applies what worker processes tell of their agents themselves. Bytes have been read; no sockets.

The node's own process tells who there is: spawns, exits, names, crashes. A worker tells how its agents are. Either may be ahead
of the other: rows of agents that are not there yet wait for their spawn, and counters never go back.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from observe.probe.frames import ROWS_WIDTH, FarRowsFrame
from observe.probe.strings import Ints
from observe.probe.table import Malformed, Table

EARLY: Final = 10_000
"""Rows that wait for the spawn of their agents; the oldest go when more come."""


class FarFeed:
    """The receiving end of all workers' feeds."""

    def __init__(self) -> None:
        self._early: dict[int, Ints] = {}
        self.frames = 0
        self.dropped = 0
        """Rows that waited in vain for their agents: of those that ended at once, as a rule."""

    def rows(self, frame: FarRowsFrame, table: Table) -> None:
        """How agents of a worker are.

        Raises:
            Malformed: the data does not have the size of so many rows, or names texts that are not there.
        """
        self.frames += 1
        rows = _read(frame)
        own = np.array([0, *(table.strings.intern(text) for text in frame.texts)], dtype=np.int64)
        rows[:, 7] = own[rows[:, 7]]
        for row in rows[table.update_far(rows, frame.mono_us)]:
            self._early[int(row[0])] = row
        while len(self._early) > EARLY:
            del self._early[next(iter(self._early))]
            self.dropped += 1

    def spawned(self, pids: Ints, table: Table, mono_us: int) -> None:
        """The node has told of these agents: what their workers have told before holds now."""
        if self._early:
            found = [row for pid in pids.tolist() if (row := self._early.pop(pid, None)) is not None]
            if found:
                table.update_far(np.array(found), mono_us)

    def forget(self) -> None:
        """The table begins anew, and its strings: the node tells everything that it knows."""
        self._early.clear()


def _read(frame: FarRowsFrame) -> Ints:
    if len(frame.data) != frame.n * ROWS_WIDTH * 8:
        raise Malformed(f"{len(frame.data)} bytes are not {frame.n} rows")
    rows = np.frombuffer(frame.data, dtype="<i8").reshape(frame.n, ROWS_WIDTH).astype(np.int64)
    if frame.n and not 0 <= int(rows[:, 7].min()) <= int(rows[:, 7].max()) <= len(frame.texts):
        raise Malformed("a text that was not sent")
    return rows
