"""Agents that stay in sight above and below the table, in its columns: those who were pinned, and those who have just ended."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from observe.console.columns import STATUS, Row
from observe.console.state import Identity
from observe.console.tones import Ground, tones_of
from observe.console.widgets.agents_table import AgentsTable


class PinnedRows(Widget):
    """One line an agent; none, and so no lines, at first."""

    DEFAULT_CSS = "PinnedRows { height: 0; }"
    MARK = "↑ "
    GROUND: Ground = "header"

    class Picked(Message):
        """A person clicked on one."""

        def __init__(self, agent: Identity) -> None:
            super().__init__()
            self.agent = agent

    def __init__(self, table: AgentsTable) -> None:
        super().__init__()
        self._table = table
        self._rows: list[Row] = []

    def show(self, rows: Sequence[Row]) -> None:
        """Show these."""
        if list(rows) != self._rows:
            if len(rows) != len(self._rows):
                self.styles.height = len(rows)
            self._rows = list(rows)
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """One of them."""
        tones, width = tones_of(self.app), self._table.scrollable_content_region.width
        if y >= len(self._rows):
            return Strip.blank(self.size.width, tones.style("text", self.GROUND))
        strip = self._table.painted(tones, self._rows[y], self.MARK, self.GROUND, width)
        return strip.adjust_cell_length(self.size.width, tones.style("text", self.GROUND))

    def on_click(self, event: events.Click) -> None:
        """Choose it in the table."""
        if event.y < len(self._rows):
            self.post_message(self.Picked(Identity.of(self._rows[event.y])))


class EndedRows(PinnedRows):
    """Those who ended in sight within the last seconds, as they were seen last: nobody is gone without a trace."""

    DEFAULT_CSS = "EndedRows { height: 0; }"
    MARK = "✕ "
    GROUND: Ground = "bad"

    def show(self, rows: Sequence[Row]) -> None:
        """Show these, as ended."""
        super().show([(*row[:STATUS], "exited", *row[STATUS + 1 :]) for row in rows])

    def on_click(self, event: events.Click) -> None:
        """There is nobody to go to."""
