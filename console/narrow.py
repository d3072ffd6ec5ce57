"""Of a line that has changed in part, only that part goes to the terminal.

Textual begins each line at its left edge, wherever in it the first cell that has changed may be: in the table of agents names
and classes were written again five times a second, a third of all that was written.
"""

from __future__ import annotations

from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate


class NarrowUpdate(ChopsUpdate):
    """What Textual has made, written from the first to the last cell that has changed."""

    @classmethod
    def of(cls, update: ChopsUpdate) -> NarrowUpdate:
        """The same change of the screen."""
        return cls(update.chops, update.spans, update.chop_ends)

    def render_segments(self, console: Console) -> str:
        """As the terminal takes it."""
        written: list[str] = []
        for y, left, right in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x >= right or end <= left:
                    continue
                first, last = max(x, left), min(end, right)
                if (first, last) != (x, end):
                    strip = strip.crop(first - x, last - x)
                written.append(Control.move_to(first, y).segment.text)
                written.append(strip.render(console))
        return "".join(written)
