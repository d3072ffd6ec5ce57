"""The process table: one column for each fact, one row for each agent, rows in the order of their pids.

Pids only grow, so agents that start are appended, and a frame's rows are found by binary search, all at once. Agents
that exit are marked dead; when a quarter of the rows is dead the columns are compacted. Nothing here loops over
agents in Python. No I/O, no clock: times come in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from observe.probe.chains import RestartChains
from observe.probe.frames import OLD_SPAWN_WIDTH, ROWS_WIDTH, SPAWN_WIDTH
from observe.probe.risks import ClassRisks
from observe.probe.strings import Ints, Strings
from observe.probe.wire_table import LEVELS, STATUS_NAMES

INTS: Final = (
    "pid", "class", "name", "supervisor", "child", "restarts", "crashes", "process", "status", "mailbox", "mailbox_max", "handled",
    "reductions", "since_us", "activity", "activity_since_us", "started_us", "handled_then", "reductions_then",
    "tokens",
)  # fmt: skip
"""Columns of integers. `class`, `name`, `child` and `activity` are numbers of strings; `…_us` are the service's
monotonic microseconds; `…_then` are the counters at the last `rotate`, from which rates are made."""

FLOATS: Final = ("rate", "load", "cost")

SPAWN_COLUMNS: Final = INTS[:SPAWN_WIDTH]
ROWS_COLUMNS: Final = INTS[SPAWN_WIDTH : SPAWN_WIDTH + ROWS_WIDTH - 1]

CHILD: Final = 4
"""Place in a spawn row of the child id, which below 0 is a number itself."""

COUNTERS: Final = (3, 4, 5)
"""Places in a row of what only grows: mailbox_max, handled, reductions."""

COMPACT_AT: Final = 4096
"""Dead rows below which compaction is not worth its copy."""

FEW: Final = 2000
"""Rows that are looked up one by one where few agents have a value: a page has fewer."""

UNSEEN: Final = -1
"""`handled_then` of an agent of which no row has come yet."""


class Malformed(ValueError):
    """A frame of the feed says something impossible; the table is as it was before."""


class Table:
    """All agents of a node."""

    def __init__(self) -> None:
        self.strings = Strings()
        self.newest_us = 0
        """Monotonic microseconds of the newest telemetry."""
        self.version = 0
        """Changes whenever an agent comes or goes."""
        self.strays = 0
        """Rows and exits for agents that the table does not have. A few are normal: agents that exit within a tick."""
        self._size = 0
        self._dead = 0
        self._rotated_us = 0
        self._still = 0
        """Rotations since the last row: after two of them all rates are 0, and stay so."""
        self._ints: dict[str, Ints] = {name: np.zeros(1024, dtype=np.int64) for name in INTS}
        self._floats: dict[str, NDArray[np.float64]] = {name: np.zeros(1024) for name in FLOATS}
        self._alive = np.zeros(1024, dtype=np.bool_)
        self._contained: dict[int, int] = {}
        """Level by pid, of those that are contained: few, so no column of the table's own."""
        self.chains = RestartChains()
        """Who was restarted lately: few as well."""
        self.risks = ClassRisks()
        """How much agents could do, by their classes."""

    def __len__(self) -> int:
        """Live agents."""
        return self._size - self._dead

    # -- reading --------------------------------------------------------------------------------------------------------

    def ints(self, name: str) -> Ints:
        """The column `name` of all rows, dead ones too. A view: good until the table changes."""
        return self._ints[name][: self._size]

    def floats(self, name: str) -> NDArray[np.float64]:
        """`rate` (messages a second) or `load` (share of a core), as of the last `rotate`; or `cost`. A view."""
        return self._floats[name][: self._size]

    def alive(self) -> NDArray[np.intp]:
        """The rows of live agents, in the order of their pids."""
        return np.flatnonzero(self._alive[: self._size])

    def alive_mask(self) -> NDArray[np.bool_]:
        """For each row whether its agent lives. A view."""
        return self._alive[: self._size]

    def row_of(self, pid: int) -> int | None:
        """The row of a live agent, or None."""
        pids = self.ints("pid")
        row = int(np.searchsorted(pids, pid))
        if row < self._size and pids[row] == pid and self._alive[row]:
            return row
        return None

    def row_named(self, name: str) -> int | None:
        """The row of the live agent registered as `name`, or None. The youngest, should two have it."""
        numbers = self.strings.numbers(name)
        if not numbers:
            return None
        named = self.ints("name")
        mask = named == numbers[0] if len(numbers) == 1 else np.isin(named, numbers)
        rows = np.flatnonzero(mask & self._alive[: self._size])
        return int(rows[-1]) if len(rows) else None

    def contain(self, pid: int, level: str) -> None:
        """So far is this agent contained. What is no level is one that a later version has: shown as the highest."""
        if level == LEVELS[0]:
            self._contained.pop(pid, None)
        else:
            self._contained[pid] = LEVELS.index(level) if level in LEVELS else len(LEVELS) - 1

    def contained(self) -> dict[str, list[int]]:
        """Who is contained how far: pids by level."""
        found: dict[str, list[int]] = {}
        for pid, level in self._contained.items():
            found.setdefault(LEVELS[level], []).append(pid)
        return found

    def containment(self, rows: NDArray[np.intp] | None = None) -> Ints:
        """The number of the level of these rows, or of all."""
        levels = np.zeros(self._size if rows is None else len(rows), dtype=np.int64)
        if not self._contained:
            return levels
        if rows is not None and len(rows) < len(self._contained):
            pids = self.ints("pid")[rows].tolist()
            return np.array([self._contained.get(pid, 0) for pid in pids], dtype=np.int64)
        whole = np.zeros(self._size, dtype=np.int64)
        for pid, level in self._contained.items():
            row = self.row_of(pid)
            if row is not None:
                whole[row] = level
        return whole if rows is None else whole[rows]

    def lately(self, rows: NDArray[np.intp] | None, now_us: int, *, crashes: bool) -> Ints:
        """Restarts of these rows in the last minute, or of all rows; or those restarts alone that followed a crash."""
        now = now_us / 1e6
        if rows is not None and len(rows) < FEW:
            pids = self.ints("pid")[rows].tolist()
            return np.array(self.chains.rates(pids, now, crashes=crashes), dtype=np.int64)
        whole = np.zeros(self._size, dtype=np.int64)
        pids = self.chains.pids()
        for pid, times in zip(pids, self.chains.rates(pids, now, crashes=crashes), strict=True):
            row = self.row_of(pid) if times else None
            if row is not None:
                whole[row] = times
        return whole if rows is None else whole[rows]

    def text(self, column: str, row: int) -> str | None:
        """The text of a column that holds numbers of strings."""
        return self.strings.text(int(self._ints[column][row]))

    def status(self, row: int) -> str:
        """The name of a row's status."""
        return STATUS_NAMES[int(self._ints["status"][row])]

    def note_running(self, pid: int, since_us: int) -> None:
        """Show an agent as running: no row of its own says so while it holds the scheduler that would send it."""
        row = self.row_of(pid)
        if row is not None:
            self._ints["status"][row] = STATUS_NAMES.index("running")
            self._ints["since_us"][row] = since_us

    # -- frames ---------------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Begin anew, with no agents and no strings: what the feed's `hello` asks for."""
        self.strings = Strings()
        self._size = self._dead = 0
        self.version += 1

    def spawn(self, count: int, data: bytes, at_us: int) -> Ints:
        """Add `count` agents that were seen to have started by `at_us`. Returns their pids in ascending order.

        Raises:
            Malformed: the data does not have the size of `count` rows, or names strings that were not sent.
        """
        if len(data) == count * OLD_SPAWN_WIDTH * 8:
            rows = np.pad(
                self._read(count, data, OLD_SPAWN_WIDTH), ((0, 0), (0, SPAWN_WIDTH - OLD_SPAWN_WIDTH))
            )
        else:
            rows = self._read(count, data, SPAWN_WIDTH)
        rows = self._translated(rows, (1, 2, 4))
        if not count:
            return rows[:, 0]
        pids = rows[:, 0]
        if int(pids.min()) < 1:
            raise Malformed("a pid below 1")
        if bool((np.diff(pids) <= 0).any()):
            pids, first = np.unique(
                pids[::-1], return_index=True
            )  # sorted; of two rows for one pid the later counts
            rows = rows[::-1][first]
        last = int(self._ints["pid"][self._size - 1]) if self._size else 0
        if pids[0] <= last:
            self._drop_rows(pids)
        start = self._size
        self._reserve(start + len(rows))
        stop = self._size = start + len(rows)
        for position, name in enumerate(SPAWN_COLUMNS):
            self._ints[name][start:stop] = rows[:, position]
        for name in INTS[SPAWN_WIDTH:]:
            self._ints[name][start:stop] = 0
        self._ints["since_us"][start:stop] = at_us
        self._ints["started_us"][start:stop] = at_us
        self._ints["handled_then"][start:stop] = UNSEEN
        for column in self._floats.values():
            column[start:stop] = 0.0
        self._alive[start:stop] = True
        if pids[0] <= last:
            self._sort()
        self.version += 1
        return pids

    def update(self, count: int, data: bytes, at_us: int) -> None:
        """Take the rows of agents whose counters changed, as they were at `at_us`.

        Raises:
            Malformed: wrong size, a status that does not exist, or strings that were not sent.
        """
        rows = self._read(count, data, ROWS_WIDTH)
        if count and (int(rows[:, 1].min()) < 0 or int(rows[:, 1].max()) >= len(STATUS_NAMES)):
            raise Malformed("a status that does not exist")
        if count and int(rows[:, 2:7].min()) < 0:
            raise Malformed("a counter below 0")
        rows = self._translated(rows, (7,))
        self._apply(rows, at_us)

    def update_far(self, rows: Ints, at_us: int) -> NDArray[np.bool_]:
        """Take rows that a worker process tells itself; their strings are numbers of ours. Returns which of them are of agents
        that the table does not have.

        Raises:
            Malformed: a status that does not exist, or a counter below 0.
        """
        if len(rows) and (
            int(rows[:, 1].min()) < 0
            or int(rows[:, 1].max()) >= len(STATUS_NAMES)
            or int(rows[:, 2:7].min()) < 0
        ):
            raise Malformed("a row that is impossible")
        strays = self.strays
        missing = ~self._apply(rows, at_us)
        self.strays = strays
        return missing

    def _apply(self, rows: Ints, at_us: int) -> NDArray[np.bool_]:
        """Put rows into the columns. Returns which of them are of live agents."""
        self.newest_us = max(self.newest_us, at_us)
        self._still = 0
        known, where = self._find(rows[:, 0])
        rows = rows[known]
        far = self._ints["process"][where] != 0
        if far.any():
            # Told by two, the worker and the node's process, of which either may be ahead: counters never go back.
            rows = rows.copy()
            for position in COUNTERS:
                column = self._ints[ROWS_COLUMNS[position - 1]][where]
                rows[:, position] = np.where(far, np.maximum(rows[:, position], column), rows[:, position])
        for position, name in enumerate(ROWS_COLUMNS, start=1):
            self._ints[name][where] = rows[:, position]
        unseen = self._ints["handled_then"][where] == UNSEEN
        if unseen.any():
            first = where[unseen]
            self._ints["handled_then"][first] = self._ints["handled"][first]
            self._ints["reductions_then"][first] = self._ints["reductions"][first]
            # The feed does not say when an agent started. It cannot be later than its status.
            since = self._ints["since_us"][first]
            started = self._ints["started_us"][first]
            self._ints["started_us"][first] = np.where(since > 0, np.minimum(since, started), started)
        return known

    def spent(self, pids: Sequence[int], tokens: Sequence[int], costs: Sequence[float]) -> None:
        """What these agents have used of models so far. Who is not known, or not any more, is passed over."""
        given = np.array(pids, dtype=np.int64)
        strays = self.strays
        known, where = self._find(given)
        self.strays = strays
        self._ints["tokens"][where] = np.array(tokens, dtype=np.int64)[known]
        self._floats["cost"][where] = np.array(costs, dtype=np.float64)[known]

    def exit(self, count: int, data: bytes) -> NDArray[np.intp]:
        """Mark agents as gone. Returns their rows, which can be read until `tidy`.

        Raises:
            Malformed: the data does not have the size of `count` pids.
        """
        pids = np.unique(self._read(count, data, 1)[:, 0])
        _, where = self._find(pids)
        if self._contained:
            for pid in pids.tolist():
                self._contained.pop(pid, None)
        self._alive[where] = False
        self._dead += len(where)
        self.version += 1
        return where

    def load(self, ints: dict[str, Ints], floats: dict[str, NDArray[np.float64]], newest_us: int) -> None:
        """Take whole columns of live agents, in the order of their pids, into an empty table.

        Raises:
            Malformed: a column is missing or of another length.
        """
        size = len(ints["pid"])
        if any(len(ints.get(name, ())) != size for name in INTS) or any(
            len(floats.get(name, ())) != size for name in FLOATS
        ):
            raise Malformed("columns of different lengths")
        self._reserve(size)
        for name in INTS:
            self._ints[name][:size] = ints[name]
        for name in FLOATS:
            self._floats[name][:size] = floats[name]
        self._alive[:size] = True
        self._size, self._dead, self.newest_us = size, 0, newest_us
        self._rotated_us = newest_us
        self.version += 1

    def tidy(self) -> None:
        """Give back the room of dead rows when it is worth it. Call it after reading what `exit` returned."""
        if self._dead > COMPACT_AT and self._dead * 4 > self._size:
            self._keep(self.alive())

    def rotate(self, now_us: int) -> None:
        """Make the rates anew, from what was counted since the last time. Call it about once a second."""
        passed_s = (now_us - self._rotated_us) / 1e6
        self._rotated_us = now_us
        if passed_s <= 0 or not self._size or self._still > 1:
            return
        self._still += 1
        seen = self.ints("handled_then") != UNSEEN
        for counter, rate, scale in (("handled", "rate", 1.0), ("reductions", "load", 1e-6)):
            current, then = self.ints(counter), self.ints(counter + "_then")
            self.floats(rate)[:] = np.where(seen, np.maximum(current - then, 0) * (scale / passed_s), 0.0)
            then[seen] = current[seen]

    def inherit(self, before: Table) -> None:
        """Take over what the feed does not tell from the table that this one replaces: start times and rates."""
        where = np.searchsorted(before.ints("pid"), self.ints("pid"))
        known = where < before._size
        where = np.where(known, where, 0)
        if before._size:
            known &= before.ints("pid")[where] == self.ints("pid")
        where = where[known]
        for name in ("started_us", "handled_then", "reductions_then", "tokens"):
            self.ints(name)[known] = before.ints(name)[where]
        for name in FLOATS:
            self.floats(name)[known] = before.floats(name)[where]
        self._rotated_us = before._rotated_us
        self.strays += before.strays

    # -- inside ---------------------------------------------------------------------------------------------------------

    def _read(self, count: int, data: bytes, width: int) -> Ints:
        if len(data) != count * width * 8:
            raise Malformed(f"{len(data)} bytes are not {count} rows of {width} numbers")
        return np.frombuffer(data, dtype="<i8").reshape(count, width).astype(np.int64, copy=False)

    def _translated(self, rows: Ints, positions: tuple[int, ...]) -> Ints:
        """These rows with our numbers of strings at these positions."""
        for position in positions:
            numbers = rows[:, position]
            if position != CHILD and len(numbers) and int(numbers.min()) < 0:
                raise Malformed("a string that was not sent")
            try:
                own = self.strings.own(numbers)
            except IndexError as error:
                raise Malformed(str(error)) from None
            if own is not numbers:
                rows = rows if rows.flags.writeable else rows.copy()
                rows[:, position] = own
        return rows

    def _find(self, pids: Ints) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        """Which of these pids are live agents, and the rows of those."""
        where = np.searchsorted(self.ints("pid"), pids)
        known = where < self._size
        where = np.where(known, where, 0)
        if self._size:
            known &= (self.ints("pid")[where] == pids) & self._alive[where]
        self.strays += int(len(pids) - np.count_nonzero(known))
        return known, where[known]

    def _reserve(self, size: int) -> None:
        if size <= len(self._alive):
            return
        room = max(size, len(self._alive) * 2)
        for name in INTS:
            self._ints[name] = _grown(self._ints[name], room)
        for name in FLOATS:
            self._floats[name] = _grown(self._floats[name], room)
        self._alive = _grown(self._alive, room)

    def _drop_rows(self, pids: Ints) -> None:
        """Make room for agents that are announced again."""
        again = np.isin(self.ints("pid"), pids)
        if again.any():
            self._keep(np.flatnonzero(~again & self._alive[: self._size]))

    def _sort(self) -> None:
        self._keep(np.argsort(self.ints("pid"), kind="stable"))

    def _keep(self, rows: NDArray[np.intp]) -> None:
        """Let the table consist of these rows in this order."""
        for column in (*self._ints.values(), *self._floats.values()):
            column[: len(rows)] = column[rows]
        self._alive[: len(rows)] = self._alive[rows]
        self._size = len(rows)
        self._dead = self._size - int(np.count_nonzero(self._alive[: self._size]))


Item = TypeVar("Item", bound=np.generic)


def _grown(column: NDArray[Item], room: int) -> NDArray[Item]:
    grown = np.zeros(room, dtype=column.dtype)
    grown[: len(column)] = column
    return grown
