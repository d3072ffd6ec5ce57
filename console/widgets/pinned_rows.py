"""Agents that stay in sight above the table, in its columns."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from observe.console.columns import Row
from observe.console.state import Identity
from observe.console.tones import tones_of
from observe.console.widgets.agents_table import AgentsTable


class PinnedRows(Widget):
    """One line an agent; none, and so no lines, at first."""

    DEFAULT_CSS = "PinnedRows { height: 0; }"

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
            return Strip.blank(self.size.width, tones.style("text", "header"))
        strip = self._table.painted(tones, self._rows[y], "↑ ", "header", width)
        return strip.adjust_cell_length(self.size.width, tones.style("text", "header"))

    def on_click(self, event: events.Click) -> None:
        """Choose it in the table."""
        if event.y < len(self._rows):
            self.post_message(self.Picked(Identity.of(self._rows[event.y])))
