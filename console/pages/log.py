"""The log of the service: its newest records, followed, filtered, with the agents that wrote them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import ClassVar, Final

from observe.console.bindings import bindings_of
from observe.console.columns import Piece
from observe.console.format import count, plural
from observe.console.lines import Folds, Line
from observe.console.log_lines import COLUMNS, record_lines, row, wanted
from observe.console.pages.list_page import ListPage
from observe.console.state import Identity
from observe.console.widgets.filter_bar import FilterBar
from observe.console.widgets.line_view import LineView
from observe.probe.wire_log import LEVELS, MAX_RECORDS, LogLevel, LogLine, LogPage

SHOWN: Final = 1000
"""Records kept here. The service keeps its own; a filter asks it again."""

AT_ONCE: Final = 4
"""Answers read in one go; a service that logs faster is caught up with by and by, or says what was missed."""


class LogScreen(ListPage):
    """The newest records at the bottom, as a terminal has them."""

    BINDINGS: ClassVar = bindings_of("log")
    page_name = "log"
    found: LogPage | None
    filter_bar: FilterBar

    def __init__(self) -> None:
        super().__init__(id="log")
        self.records: deque[LogLine] = deque(maxlen=SHOWN)
        self.level: LogLevel = "debug"
        self.missed = 0
        """Records that were pushed out before we could ask for them."""
        self._incarnation = ""
        self._follows = True
        self._folds: dict[str, bool] = {}
        self._lines: dict[int, list[Line]] = {}
        self._width = 0
        self.filter_bar = FilterBar("words;  agent=session-7  logger=shop.tools  level=warning", agents=False)
        self.view = LineView(Folds())

    # -- what the node tells

    async def fetch(self) -> None:
        """What has come since."""
        for _ in range(AT_ONCE):
            if not await self._fetch_more():
                return

    async def _fetch_more(self) -> bool:
        """Ask once. Returns whether there is more."""
        typed, level = self.filter, self.level
        asked = wanted(typed, level)
        after = self.found.next if self.found is not None else None
        found = await self.observer.attachment.ask(
            lambda node: node.log(
                level=asked.level, logger=asked.logger, agent=asked.agent, text=asked.text, after=after, limit=MAX_RECORDS
            )
        )  # fmt: skip
        if found is None or (typed, level) != (self.filter, self.level):
            return False
        info = self.observer.node.info
        incarnation = info.incarnation if info is not None else ""
        if after is not None and (incarnation != self._incarnation or found.next < after):
            self._forget()  # another start of the service counts anew
            return True
        self._incarnation, first = incarnation, self.found is None
        self.found = found
        self.missed += found.missed
        self.records.extend(found.records)
        if first or found.records:
            self.draw()
        self.observer.show_where()
        return after is not None and found.more

    def _forget(self) -> None:
        self.found, self.missed = None, 0
        self.records.clear()
        self._lines.clear()
        self._follows = True

    # -- the lines

    def draw(self) -> None:
        """Make the lines anew; those of records that were there are kept."""
        width = self.view.text_width
        if width != self._width:
            self._width = width
            self._lines.clear()
        kept: dict[int, list[Line]] = {}
        lines: list[Line] = []
        for record in self.records:
            made = self._lines.get(record.number)
            if made is None:
                made = list(record_lines(record, self.view.folds, width))
            kept[record.number] = made
            lines += made
        self._lines = kept
        follows = self._follows
        self.view.show(lines or [Line("none", ((self._nothing(), "dim"),))])
        if follows:
            self._to_the_end()
        self.observer.show_where()

    def _nothing(self) -> str:
        if self.found is None:
            return self.not_yet
        if not self.found.keep:
            return "the service keeps no log: Probe(node, log_keep=2000) does"
        if self.filter or self.level != "debug":
            return f"none of {plural(self.found.kept, 'record')} matches"
        return "nothing was logged yet; `observe log-level NODE INFO` lets more through"

    def _to_the_end(self) -> None:
        self._follows = True
        self.view.go_to(len(self.view.lines) - 1)

    def where(self) -> list[Piece]:
        """What is shown, of how many, and what was missed."""
        found = self.found
        if found is None:
            return [("asking for the log …", "dim")]
        pieces: list[Piece] = []
        if self._follows:
            pieces.append(("following  ", "good"))
        pieces.append((f"{plural(len(self.records), 'record')}  ", "strong"))
        pieces.append((f"of {count(found.total)}  ", "dim"))
        if self.level != "debug":
            pieces.append((f"from {self.level}  ", "info"))
        if self.filter:
            pieces.append((f"match {self.filter}  ", "dim"))
        if self.missed:
            pieces.append((f"{count(self.missed)} missed  ", "warn"))
        if found.lost:
            pieces.append((f"{count(found.lost)} unreadable  ", "warn"))
        return pieces

    def listed(self) -> tuple[list[str], list[list[object]]]:
        """The records in full."""
        return list(COLUMNS), [row(record) for record in self.records]

    @property
    def chosen(self) -> LogLine | None:
        """The record that the cursor is on, or below."""
        line = self.view.current
        number = line.key.split("/")[1] if line is not None and line.key.startswith("log/") else ""
        return next((record for record in self.records if str(record.number) == number), None)

    def targets(self) -> Sequence[Identity | int]:
        """The agent that has logged the record."""
        chosen = self.chosen
        return (chosen.pid,) if chosen is not None and chosen.pid else ()

    def nobody(self) -> str:
        """Why there is none."""
        return "this was not logged by an agent"

    # -- the filter

    def narrow(self, text: str) -> None:
        """Show only records that match; the service is asked anew."""
        if text != self.filter:
            self.filter = text
            self._asked_anew()

    def action_level(self) -> None:
        """The next least level."""
        self.level = LEVELS[(LEVELS.index(self.level) + 1) % (len(LEVELS) - 1)]
        self._asked_anew()

    def _asked_anew(self) -> None:
        self._forget()
        self.draw()
        self.poller.wake()

    # -- on a line

    def moved(self, line: Line) -> None:
        """On the newest record, those that come are followed."""
        follows = self.view.cursor >= len(self.view.lines) - 1
        if follows != self._follows:
            self._follows = follows
            self.observer.show_where()

    def refolded(self, view: LineView) -> None:
        """Whoever unfolds a record wants to read it."""
        self._lines.clear()
        folds = dict(view.folds.chosen)
        if folds != self._folds:
            self._folds, self._follows = folds, False
        self.draw()

    def action_open(self) -> None:
        """Unfold the record, or fold it."""
        line = self.view.current
        if line is None or self.view.toggle():
            return
        self.view.action_fold()

    def action_agent(self) -> None:
        """Open the agent that has logged the record."""
        targets = self.targets()
        if targets:
            self.observer.visit_pid(int(str(targets[0])))
        else:
            self.observer.say(self.nobody(), "warn")

    def action_follow(self) -> None:
        """To the newest record, and along with those that come."""
        self._to_the_end()
        self.observer.show_where()
