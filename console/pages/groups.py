"""The agents in groups, with totals: which class, supervisor, status, activity or process has how much of what."""

from __future__ import annotations

from typing import ClassVar

from observe.console.bindings import bindings_of
from observe.console.columns import Piece
from observe.console.format import count, plural
from observe.console.group_lines import BY, SORTS, group_lines, heading_pieces
from observe.console.lines import Folds, Line
from observe.console.pages.list_page import ListPage
from observe.console.widgets.line_view import LineView
from observe.console.widgets.piece_lines import PieceLines
from observe.probe.wire_console import GroupBy, GroupList, GroupSort

LIMIT = 200
"""Groups asked for; nobody reads more."""


class GroupsPage(ListPage):
    """One line a group; the filter of the agents table holds here as well."""

    BINDINGS: ClassVar = bindings_of("groups")
    page_name = "groups"
    found: GroupList | None
    headline: PieceLines

    def __init__(self) -> None:
        super().__init__(id="groups")
        self.by: GroupBy = "class"
        self.sort: GroupSort = "agents"
        self.headline = PieceLines()
        self.view = LineView(Folds())

    async def fetch(self) -> None:
        """The groups as they are now; an answer to an older question is passed over."""
        by, sort, text = self.by, self.sort, self.observer.table_view.filter
        found = await self.observer.attachment.ask(lambda node: node.groups(by, text, sort=sort, limit=LIMIT))
        if found is not None and (by, sort) == (self.by, self.sort):
            self.found = found
            self.draw()

    def draw(self) -> None:
        """Make the lines anew."""
        width = self.view.text_width
        self.headline.show(heading_pieces(self.by, self.sort, width))
        found = self.found
        lines = group_lines(found.lines, self.by, self.sort, width) if found is not None else []
        if not lines:
            lines = [Line("none", (("no agents" if found is not None else self.not_yet, "faint"),))]
        self.view.show(lines)
        self.observer.show_where()

    def where(self) -> list[Piece]:
        """How many groups of how many agents."""
        found = self.found
        if found is None:
            return [("asking for the groups …", "dim")]
        pieces: list[Piece] = []
        pieces.append((f"{plural(found.groups, 'group')} by {self.by}  ", "strong"))
        if found.matched < found.total:
            pieces.append((f"{count(found.matched)} of ", "text"))
        pieces.append((f"{plural(found.total, 'agent')}  ", "dim"))
        if self.observer.table_view.filter:
            pieces.append((f"match {self.observer.table_view.filter}  ", "dim"))
        return pieces

    def _asked_anew(self) -> None:
        self.found = None
        self.draw()
        self.poller.wake()

    def action_next_by(self) -> None:
        """By the next thing that they have in common."""
        self.by = BY[(BY.index(self.by) + 1) % len(BY)]
        self._asked_anew()

    def action_next_sort(self) -> None:
        """By the next column."""
        self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
        self._asked_anew()

    def action_copy(self) -> None:
        """Put the line on the clipboard, and not the filter that it stands for."""
        line = self.view.current
        if line is not None:
            self.observer.copy(line.text)

    def action_open(self) -> None:
        """The agents of the group in the table."""
        line = self.view.current
        if line is None or not line.full:
            return
        text = f"{self.observer.table_view.filter} {line.full}".strip()
        self.observer.show_filtered(text)
