"""The audit log: its newest records, the chosen one in full below, and whether it is proven."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final

from observe.audit.notes import BadNote, Verifier, read_note
from observe.audit.record import Record
from observe.audit.verify import Report
from observe.console.audit_filter import AuditFilter, parse
from observe.console.audit_tail import Entry, Tail
from observe.console.audit_view import detail_lines, headings, proof_pieces, record_lines, record_of, saved
from observe.console.bindings import bindings_of
from observe.console.columns import Piece
from observe.console.format import clock, plural
from observe.console.keys import find, key_name
from observe.console.lines import Folds, Line
from observe.console.pages.list_page import ListPage
from observe.console.widgets.export_dialog import ExportDialog
from observe.console.widgets.filter_bar import FilterBar
from observe.console.widgets.line_view import LineView
from observe.console.widgets.piece_lines import PieceLines
from observe.probe.audit_sources import NodesLog
from observe.probe.client import NodeClient
from observe.probe.wire_audit import MAX_LINES, AuditHead, AuditLines
from observe.probe.witness import read_seen, seen_path

SHOWN: Final = 500
"""Records listed; a filter finds the others."""

PROVEN_UNASKED: Final = 2000
"""A log of so many records is proven when the page is opened, and again while it grows; a longer one when asked for,
as the node has to send all of it."""

AGAIN_S: Final = 10.0
"""Between two proofs that nobody asked for."""

FURTHER_PAGES: Final = 20
"""Pages of the log that one press looks through further back."""

ENOUGH: Final = 100
"""Records found further back after which it stops."""


class AuditPage(ListPage):
    """Who did what to whom, when and why."""

    DEFAULT_CSS = """
    AuditPage #audit-records { height: 3fr; }
    AuditPage #audit-record { height: 2fr; border-top: hkey $panel; }
    """
    BINDINGS: ClassVar = bindings_of("audit")
    page_name = "audit"
    filter_bar: FilterBar
    headline: PieceLines
    below: LineView

    def __init__(self) -> None:
        super().__init__(id="audit")
        self.tail = Tail()
        self.head: AuditHead | None = None
        self.report: Report | None = None
        self.oldest_first = False
        self._wanted = AuditFilter()
        self._proving = False
        self._proven_at = 0.0
        self._looking = False
        self._unread = False
        self._found: list[Entry] = []
        self._shown_below = 0
        self.filter_bar = FilterBar(
            "who=ann what=kill on=session-4 outcome=denied since=2h word -word", agents=False
        )
        self.headline = PieceLines(2)
        self.view = LineView(Folds(), id="audit-records")
        self.below = LineView(Folds(), id="audit-record")

    @property
    def has_picture(self) -> bool:
        """Whether there is anything to freeze."""
        return self.head is not None

    async def fetch(self) -> None:
        """What was added since; of a long log only its end, and of that a reply's worth at a time."""
        head = await self.observer.attachment.ask(lambda node: node.audit_head())
        if head is None:
            return
        self.head = head
        start = self.tail.start(head)
        while start <= head.size:
            found = await self._lines(start, MAX_LINES)
            if found is None or not found.lines:
                break
            self.tail.take(found.lines)
            start = max(found.start + len(found.lines), start + 1)
        grown = self.report is None or head.size > self.report.records
        if head.size <= PROVEN_UNASKED and grown and time.monotonic() - self._proven_at > AGAIN_S:
            self._begin_to_prove()
        self.draw()

    async def _lines(self, start: int, most: int) -> AuditLines | None:
        return await self.observer.attachment.ask(lambda node: node.audit_lines(start, most))

    # -- drawing

    def draw(self) -> None:
        """Make the lines anew."""
        now, width = self.observer.node.clock(), self.view.text_width
        name = self.observer.node.name
        key = key_name(find("audit", "prove").keys[0])
        proof = proof_pieces(self.head, self.report, self._receipt(name, now), proving=self._proving, key=key)
        self.headline.show(proof, headings(width))
        self._found = self.tail.matching(self._wanted)
        lines = record_lines(self._found[:SHOWN], width, now)
        if self.oldest_first:
            lines.reverse()
        if not lines:
            text = (
                self.not_yet
                if self.head is None
                else "no record matches"
                if self.filter
                else "nothing was recorded yet"
            )
            lines = [Line("none", ((text, "dim"),))]
        at_end = self.oldest_first and self.view.cursor >= len(self.view.lines) - 1
        self.view.show(lines)
        if at_end:
            self.view.go_to(len(lines) - 1)
        self.draw_below()
        if self.shown:
            self.observer.show_where()

    @staticmethod
    def _receipt(name: str, now: float) -> tuple[int, float] | None:
        """The newest checkpoint of this log that our consoles keep on this machine, and its age."""
        seen = read_seen(name)
        try:
            return (
                (read_note(seen.note).size, now - seen_path(name).stat().st_mtime)
                if seen is not None
                else None
            )
        except OSError:
            return None

    @property
    def chosen(self) -> Record | None:
        """The record on the line of the cursor."""
        number = record_of(self.view.current)
        return next((one.record for one in self._found if one.record.seq == number), None)

    def draw_below(self) -> None:
        record = self.chosen
        if (record.seq if record is not None else 0) != self._shown_below:
            self._shown_below = record.seq if record is not None else 0
            self.below.reset()
        width = self.below.text_width
        self.below.show([] if record is None else detail_lines(record, self.tail.family(record), width))

    def where(self) -> list[Piece]:
        """How many there are, and how far back they go."""
        pieces: list[Piece] = []
        looked = plural(self.tail.last - self.tail.oldest + 1 if self.tail.last else 0, "record")
        if self.filter:
            pieces += [
                (f"{len(self._found):,} of the newest {looked}", "strong"),
                (f" match {self.filter}  ", "dim"),
            ]
        else:
            pieces.append((f"the newest {looked}  ", "strong"))
        if len(self._found) > SHOWN:
            pieces.append((f"{SHOWN:,} shown  ", "dim"))
        first = self.head.first if self.head is not None else 0
        if self._looking:
            pieces.append((f"looking further back, at {self.tail.oldest:,} …", "info"))
        elif first and self.tail.oldest > first:
            key = key_name(find("audit", "further").keys[0])
            pieces.append((f"of {self.head.size if self.head else 0:,}: {key} looks further back", "dim"))
        return pieces

    # -- the filter and the order

    def narrow(self, text: str) -> None:
        """Show records that match, as soon as it can be read."""
        try:
            self._wanted = parse(text, self.observer.node.clock())
        except ValueError as error:
            self._unread = True
            self.observer.say(str(error), "warn")  # it may be half typed: what was wanted before stays
            return
        if self._unread:
            self._unread = False
            self.observer.say("")
        self.filter = text
        self.workers.cancel_group(self, "further")
        self.tail.forget_further()
        self.view.reset()
        self.draw()

    def action_order(self) -> None:
        """The newest at the top or at the bottom."""
        self.oldest_first = not self.oldest_first
        self.view.reset()
        self.draw()
        self.view.go_to(len(self.view.lines) - 1 if self.oldest_first else 0)

    def action_further(self) -> None:
        """Look for records that pass the filter, before those that were looked at."""
        first = self.head.first if self.head is not None else 0
        if not first or self.tail.oldest <= first:
            self.observer.say("there are no records before these")
        elif not self._looking:
            self.run_worker(self._look_further(first), group="further", exclusive=True)

    async def _look_further(self, first: int) -> None:
        self._looking, before = True, len(self.tail.further)
        try:
            for _ in range(FURTHER_PAGES):
                if self.tail.oldest <= first or len(self.tail.further) - before >= ENOUGH:
                    break
                self.observer.show_where()
                if not await self._look_at_page(first):
                    break
        finally:
            self._looking = False
        self.draw()
        self.observer.say(
            f"{plural(len(self.tail.further) - before, 'record')} found, back to record {self.tail.oldest:,}"
        )

    async def _look_at_page(self, first: int) -> bool:
        """One page of the log. Whether there was one."""
        until = self.tail.oldest
        start = max(first, until - MAX_LINES)
        lines: list[str] = []
        at = start
        while at < until:
            page = await self._lines(at, until - at)
            if page is None or not page.lines:
                return False
            lines += page.lines
            at = page.start + len(page.lines)
        self.tail.take_further(start, lines, self._wanted)
        return True

    # -- proving

    def action_prove(self) -> None:
        """Prove the whole log, as far as the node's answers go."""
        self._begin_to_prove()
        self.draw()

    def _begin_to_prove(self) -> None:
        if not self._proving:
            self._proving = True
            self.run_worker(self._prove(), group="prove", exclusive=True)

    async def _prove(self) -> None:
        async def request(node: NodeClient) -> Report:
            seen = read_seen(node.info.name)
            key = Verifier.parse(seen.key) if seen is not None else None
            return await NodesLog(node).verify(key, [seen.note] if seen is not None else [])

        try:
            report = await self.observer.attachment.ask(request)
            self.report = report or self.report
        except BadNote as error:
            self.observer.say(str(error), "bad")
        except (ValueError, KeyError) as error:
            self.observer.say(f"the node sent what is no record: {str(error)[:120]}", "bad")
        finally:
            self._proving, self._proven_at = False, time.monotonic()
        self.draw()

    # -- the lines

    def action_open(self) -> None:
        """To the record in full; there, to the other record of the command, or the whole line."""
        if not self.below.has_focus:
            self.below.focus()
            return
        number = record_of(self.below.current)
        place = next((at for at, line in enumerate(self.view.lines) if record_of(line) == number), None)
        if place is not None:
            self.view.focus()
            self.view.go_to(place)

    def action_agent(self) -> None:
        """Open the agent that it is about."""
        pid = self.chosen.target.get("pid") if self.chosen is not None else None
        if isinstance(pid, int):
            self.observer.visit_pid(pid)
        else:
            self.observer.say("this record is about no agent", "warn")

    def action_save(self) -> None:
        """Write the records that pass the filter into a file, as they stand in the log."""
        node, observer, entries = self.observer.node, self.observer, self._found[::-1]
        if not entries:
            observer.say("there is no record to save", "warn")
            return
        name = f"audit-{node.name.partition('@')[0]}-{clock(node.clock()).replace(':', '')}.jsonl"
        write: Callable[[Path], int] = lambda path: saved(path, entries)
        title = f"Write {plural(len(entries), 'record')} into a file"
        hint = "its end says what: .jsonl as they stand in the log, .otlp for a log backend"
        dialog = ExportDialog(name, write, title, hint)
        observer.push_screen(dialog, lambda text: observer.say(text, "good") if text else None)

    def listed(self) -> tuple[list[str], list[list[object]]]:
        """The records that pass the filter, for a file."""
        columns = ["record", "at", "outcome", "who", "role", "what", "reason", "command_id", "line"]
        rows: list[list[object]] = [
            [
                one.seq,
                one.wall,
                one.phase,
                one.who.name,
                one.who.role,
                one.what,
                one.reason,
                one.command_id,
                entry.line,
            ]
            for entry in self._found
            for one in (entry.record,)
        ]
        return columns, rows
