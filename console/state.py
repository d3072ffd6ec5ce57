"""What the console shows, folded from what the node tells. No Textual, no clock, no wire: times are passed in.

`AgentsView` is one window on the agents table: which rows are held, which are in sight, which agent is chosen.
Only the rows around the sight are ever held; an index may point to a row that has not come yet.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from observe.console.columns import CHILD, CLASS, NAME, PID, SUPERVISOR, TEXT_COLUMNS, Row, row_of

FLASH_S: Final = 2.5
"""Seconds for which a row stands out after its agent came back with another pid."""

MAX_WINDOW: Final = 1000
"""The most rows in one page of the protocol."""

MOST_MARKED: Final = 100
"""Agents marked at once: more is not a choice any more but a filter."""

MOST_PINNED: Final = 5
"""Agents pinned at once: they take their lines from the table."""

ENDED_S: Final = 10.0
"""Seconds for which an agent that ended in sight is still told of: long enough to look up from the log."""

MOST_ENDED: Final = 3
"""So many at once: they take their lines from the table."""

NO_PID: Final = -1
"""No agent has it: stands for a pid that is not known any more."""

FIRST_SORT: Final = "crashes"
"""What the table is sorted by at first: the sick on top, and no row moves while nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an agent is, over restarts: a supervisor's child keeps its id when it gets another pid."""

    pid: int
    name: str | None
    class_name: str
    supervisor: int
    child: str

    @classmethod
    def of(cls, row: Row) -> "Identity":
        """The identity of the agent in a row of the table."""
        return cls(row[PID], row[NAME], row[CLASS], row[SUPERVISOR], row[CHILD] or "")

    @property
    def key(self) -> tuple[int, str]:
        """The same for an agent and its successors; an agent without a child id is only itself."""
        return (self.supervisor, self.child) if self.child else (-1, str(self.pid))

    @property
    def label(self) -> str:
        """`session-17 #1234`, or what there is of it."""
        name = self.name or self.child
        return f"{name} #{self.pid}" if name else f"#{self.pid}"

    def find(self, rows: Sequence[Row]) -> int | None:
        """Where this agent or its successor is in `rows`: by pid, by place in its supervisor, by name."""
        same_place = same_name = None
        for index, row in enumerate(rows):
            if row[PID] == self.pid:
                return index
            if self.child and row[SUPERVISOR] == self.supervisor and row[CHILD] == self.child:
                same_place = index
            elif self.name and row[NAME] == self.name:
                same_name = index
        return same_place if same_place is not None else same_name


@dataclass(frozen=True, slots=True)
class Ask:
    """What to ask the node for, and for which state of the view: an answer to an older one is not shown."""

    generation: int
    sort: str
    descending: bool
    filter: str
    offset: int
    limit: int


@dataclass(slots=True)
class Change:
    """What a page changed on the screen."""

    everything: bool = False
    """Rows were added, taken away, or their number is another: paint all."""

    rows: set[int] = field(default_factory=set)
    """Otherwise the indexes of the rows that differ."""

    successor: tuple[int, int] | None = None
    """The chosen agent came back: its pid before and after."""


@dataclass(slots=True)
class AgentsView:
    """One window on the agents table. See the module's docstring."""

    sort: str = FIRST_SORT
    descending: bool = True
    filter: str = ""

    columns: tuple[str, ...] = ()
    """Those that a person has chosen, in their order; empty: those that fit."""

    pinned: dict[tuple[int, str], Identity] = field(default_factory=dict)
    """Agents that stay in sight, by the key that their successors have as well."""

    height: int = 20
    """Rows in sight."""

    top: int = 0
    """Index of the first row in sight."""

    offset: int = 0
    """Index of the first row held."""

    rows: list[Row] = field(default_factory=list)
    """The rows held; those in sight and a screen before and after."""

    matched: int = 0
    """Rows that pass the filter, on the node."""

    total: int = 0
    """Agents on the node."""

    at: float = 0.0
    """When the newest telemetry in the rows was gathered, by the node's clock."""

    loaded: bool = False
    """Whether any page has come."""

    chosen: Identity | None = None
    """The agent that keys act on. None until its row has come."""

    index: int | None = None
    """Where the chosen agent is; None when it is not among the rows held."""

    provisional: bool = False
    """The choice was made by the filter and not by a person."""

    gone: bool = False
    """The chosen agent is not on the node, nor has it a successor there."""

    marked: dict[int, Identity] = field(default_factory=dict)
    """By pid: a successor was never marked by anybody."""

    as_clock: bool = False
    """Ages are shown as the time at which they began."""

    follow: bool = False
    """Scroll along with the chosen agent."""

    paused_at: float | None = None
    """Since when this view is frozen; None: it is live."""

    generation: int = 0
    """Counts changes of order and filter."""

    line: int = 0
    """Line of the screen on which the chosen agent was last seen."""

    _before_filter: Identity | None = None
    _fresh_filter: bool = False
    """No answer to this filter has come yet."""

    _flashes: dict[tuple[int, str], float] = field(default_factory=dict)
    _ended: dict[int, tuple[Row, float]] = field(default_factory=dict)
    """By pid what was last seen of agents that ended in sight, and when."""

    # -- what to ask for

    def ask(self) -> Ask:
        """The rows in sight and a screen before and after, so that scrolling finds them there already."""
        limit = min(MAX_WINDOW, max(1, self.height) * 3)
        offset = max(0, min(self.top - self.height, max(0, self.matched - 1)) if self.loaded else 0)
        return Ask(self.generation, self.sort, self.descending, self.filter, offset, limit)

    def needs_rows(self) -> bool:
        """Whether rows in sight, or soon in sight, are not held."""
        if not self.loaded:
            return True
        margin = self.height // 2
        first = max(0, self.top - margin)
        last = min(self.matched, self.top + self.height + margin)
        return first < self.offset or last > self.offset + len(self.rows)

    # -- what has come

    def fold(
        self, ask: Ask, columns: Sequence[str], rows: Sequence[Sequence[Any]], *,
        matched: int, total: int, at: float, now: float,
    ) -> Change | None:  # fmt: skip
        """Take the answer to `ask`. Returns what to paint, or None when the view has moved on meanwhile."""
        if ask.generation != self.generation:
            return None
        change = Change(everything=not self.loaded or matched != self.matched)
        before = {Identity.of(row).key: row[PID] for row in self.rows}
        fresh = [row_of(columns, row) for row in rows]
        for position, row in enumerate(fresh, start=ask.offset):
            held = self.row(position)
            if held != row:
                change.rows.add(position)
            elif held is not None:
                fresh[position - ask.offset] = held  # what was made of it is still good
            key = Identity.of(row).key
            if before.get(key, row[PID]) != row[PID]:
                self._flashes[key] = now + FLASH_S
        if len(fresh) != len(self.rows) or not self._covered(ask.offset, len(fresh), matched):
            change.everything = True
        self.offset, self.rows = ask.offset, fresh
        self.matched, self.total, self.at, self.loaded = matched, total, at, True
        self.top = max(0, min(self.top, matched - self.height))
        self._choose_again(change, now)
        return change

    def _covered(self, offset: int, held: int, matched: int) -> bool:
        """Whether all rows in sight are among so many from an index on."""
        return offset <= self.top and min(self.top + self.height, matched) <= offset + held

    def _choose_again(self, change: Change, now: float) -> None:
        """Find the chosen agent in the rows that have come; it may have moved, or have a successor."""
        old_index = self.index
        if self.chosen is None:
            wanted = 0 if self.index is None else min(self.index, self.matched - 1)
            row = self.row(wanted)
            if row is not None:
                self.chosen, self.index = Identity.of(row), wanted
        else:
            found = self.chosen.find(self.rows)
            if found is not None:
                self._found(self.rows[found], self.offset + found, change, now)
            else:
                self._missed()
        self._fresh_filter = False
        if self.index != old_index:
            change.rows.update(index for index in (old_index, self.index) if index is not None)
        if self.index is not None and self.in_sight(self.index):
            self.line = self.index - self.top

    def _found(self, row: Row, index: int, change: Change, now: float) -> None:
        assert self.chosen is not None
        if row[PID] != self.chosen.pid != NO_PID:
            change.successor = (self.chosen.pid, row[PID])
            self._flashes[Identity.of(row).key] = now + FLASH_S
        self.chosen, self.index, self.gone = Identity.of(row), index, False

    def _missed(self) -> None:
        complete = self.offset == 0 and len(self.rows) == self.matched
        if self.filter and self.rows and (self.provisional or complete or self._fresh_filter):
            first = self.row(self.top) or self.rows[0]
            self.chosen, self.provisional = Identity.of(first), True
            self.index = self.top if self.row(self.top) else self.offset
            return
        self.index = None
        if complete and not self.filter:
            self.gone = True

    # -- those who have ended

    def ended(self, pids: Iterable[int], now: float) -> None:
        """These have ended; those in sight are remembered for a while."""
        over = set(pids)
        for row in self.rows[max(0, self.top - self.offset) : self.top - self.offset + self.height]:
            if row[PID] in over:
                self._ended[row[PID]] = (row, now)
        for pid in list(self._ended)[: -10 * MOST_ENDED]:
            del self._ended[pid]

    def lately_ended(self, now: float) -> list[Row]:
        """The newest of those who ended in sight and have no successor that is held."""
        self._ended = {pid: told for pid, told in self._ended.items() if now - told[1] < ENDED_S}
        rows = [row for row, _ in self._ended.values() if Identity.of(row).find(self.rows) is None]
        return rows[-MOST_ENDED:]

    def came_back(self, pid: int) -> None:
        """Somebody has taken this one's place."""
        self._ended.pop(pid, None)

    # -- rows

    def row(self, index: int) -> Row | None:
        """The row at an index; None when it is not held."""
        position = index - self.offset
        return self.rows[position] if 0 <= position < len(self.rows) else None

    def in_sight(self, index: int) -> bool:
        """Whether the row at this index is on the screen."""
        return self.top <= index < self.top + self.height

    def flashing(self, row: Row, now: float) -> bool:
        """Whether this row's agent has just come back."""
        if not self._flashes:
            return False
        return self._flashes.get(Identity.of(row).key, 0.0) > now

    def end_flashes(self, now: float) -> bool:
        """Forget flashes that are over. Returns whether there were any, so that their rows are painted again."""
        over = [key for key, until in self._flashes.items() if until <= now]
        for key in over:
            del self._flashes[key]
        return bool(over)

    # -- what a person does

    def choose(self, index: int) -> None:
        """Choose the row at an index, whether it has come or not."""
        if not self.matched:
            return
        index = max(0, min(index, self.matched - 1))
        row = self.row(index)
        self.chosen = None if row is None else Identity.of(row)
        self.index, self.provisional, self.gone = index, False, False
        self.line = max(0, min(index - self.top, self.height - 1))

    def move(self, rows: int) -> None:
        """Move the choice by so many rows, from where it is seen; if it is out of sight, from where it was."""
        base = self.index
        if base is None or not self.in_sight(base):
            base = self.top + self.line
        self.choose(base + rows)

    def toggle_mark(self) -> bool:
        """Mark the chosen agent, or take its mark away. Returns False when there are marks enough."""
        agent = self.chosen
        if agent is None or self.gone:
            return True
        if agent.pid in self.marked:
            del self.marked[agent.pid]
        elif len(self.marked) >= MOST_MARKED:
            return False
        else:
            self.marked[agent.pid] = agent
        return True

    def toggle_pin(self) -> bool:
        """Pin the chosen agent, or let it go. Returns False when there are pins enough."""
        agent = self.chosen
        if agent is None or self.gone:
            return True
        if agent.key in self.pinned:
            del self.pinned[agent.key]
        elif len(self.pinned) >= MOST_PINNED:
            return False
        else:
            self.pinned[agent.key] = agent
        return True

    def order_by(self, column: str, *, descending: bool | None = None) -> None:
        """Sort by a column: text from a to z and numbers from the largest, unless told otherwise."""
        self.sort = column
        self.descending = column not in TEXT_COLUMNS if descending is None else descending
        self._moved_on()

    def reverse(self) -> None:
        """The same order, from the other end."""
        self.descending = not self.descending
        self._moved_on()

    def narrow(self, text: str) -> None:
        """Show only agents that match. Clearing the filter brings back the choice that was there before it."""
        text = text.strip()
        if text == self.filter:
            return
        if text and not self.filter:
            self._before_filter = self.chosen
        if not text:
            if self.provisional and self._before_filter is not None:
                self.chosen = self._before_filter
            self.provisional, self._before_filter = False, None
        self.filter, self.gone, self._fresh_filter = text, False, bool(text)
        self._moved_on()

    def _moved_on(self) -> None:
        self.generation += 1
        self.top = 0
        if self.chosen is not None:
            self.index = None

    def clear(self) -> None:
        """Forget all rows, as those of another incarnation of the node; the choice stays, by name and place."""
        self.rows, self.matched, self.offset, self.loaded = [], 0, 0, False
        self.generation += 1
        self.marked.clear()
        self.pinned.clear()
        self._ended.clear()
        if self.chosen is not None:
            # Its pid may be somebody else's in the other process.
            self.chosen, self.index = replace(self.chosen, pid=NO_PID), None
