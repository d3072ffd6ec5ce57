"""A few lines of pieces: headings that stay above a view, and totals."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from observe.console.columns import Piece
from observe.console.tones import Ground, tones_of


class PieceLines(Widget):
    """As many lines as it was made for."""

    DEFAULT_CSS = "PieceLines { height: 1; }"

    def __init__(self, height: int = 1, ground: Ground = "panel") -> None:
        super().__init__()
        self._ground = ground
        self._lines: list[list[Piece]] = []
        self.styles.height = height

    def show(self, *lines: Sequence[Piece]) -> None:
        """Show these lines."""
        new = [list(line) for line in lines]
        if new != self._lines:
            self._lines = new
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line."""
        tones, width = tones_of(self.app), self.size.width
        pieces = self._lines[y] if y < len(self._lines) else []
        segments = [Segment(text, tones.style(tone, self._ground)) for text, tone in pieces]
        used = sum(cell_len(text) for text, _ in pieces)
        if used > width > 0 and cell_len("".join(text for text, _ in pieces).rstrip()) > width:
            cut = Strip(segments, used).crop(0, width - 1)
            return Strip([*cut, Segment("…", tones.style("faint", self._ground))], width)
        segments.append(Segment(" " * max(0, width - used), tones.style("text", self._ground)))
        return Strip(segments).adjust_cell_length(width, tones.style("text", self._ground))
