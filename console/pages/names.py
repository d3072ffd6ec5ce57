"""Process groups with their members, and registered names with the agents that have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from observe.console.bindings import bindings_of
from observe.console.columns import Piece
from observe.console.format import plural
from observe.console.lines import Folds, Line
from observe.console.name_lines import name_lines
from observe.console.pages.list_page import ListPage
from observe.console.state import Identity
from observe.console.widgets.filter_bar import FilterBar
from observe.console.widgets.line_view import LineView
from observe.probe.wire_names import MAX_NAMES, NamesPage

LIMIT: Final = MAX_NAMES
"""Groups and names asked for; a filter finds the others."""


class NamesScreen(ListPage):
    """Two sections that fold."""

    BINDINGS: ClassVar = bindings_of("names")
    page_name = "names"
    found: NamesPage | None
    filter_bar: FilterBar
    interval_s = 2.0

    def __init__(self) -> None:
        super().__init__(id="names")
        self.filter_bar = FilterBar("words of a group, a name or a class", agents=False)
        self.view = LineView(Folds())

    async def fetch(self) -> None:
        """Groups and names as they are now."""
        text = self.filter
        found = await self.observer.attachment.ask(lambda node: node.names(text=text, limit=LIMIT))
        if found is not None and text == self.filter:
            self.found = found
            self.draw()

    def draw(self) -> None:
        """Make the lines anew."""
        if self.found is None:
            lines = [Line("none", ((self.not_yet, "dim"),))]
        else:
            lines = list(name_lines(self.found, self.view.folds, self.view.text_width))
        self.view.show(lines)
        if self.shown:
            self.observer.show_where()

    def where(self) -> list[Piece]:
        """How many there are."""
        found = self.found
        if found is None:
            return [("asking for groups and names …", "dim")]
        pieces: list[Piece] = []
        pieces.append(
            (
                f"{plural(found.groups_total, 'process group')}, {plural(found.names_total, 'name')}  ",
                "strong",
            )
        )
        if self.filter:
            pieces.append((f"{found.groups_matched + found.names_matched:,} match {self.filter}  ", "dim"))
        return pieces

    def targets(self) -> Sequence[Identity | int]:
        """The agent of the line."""
        line = self.view.current
        return (line.pid,) if line is not None and line.pid is not None else ()

    def action_open(self) -> None:
        """Open the agent on the line; unfold a group."""
        line = self.view.current
        if line is not None and line.pid is not None:
            self.observer.visit_pid(line.pid)
        else:
            self.view.toggle()
