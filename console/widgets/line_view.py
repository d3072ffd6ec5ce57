"""A view of `Line`s that fold: painted line by line, with a cursor that stays on its line over refreshes."""

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from observe.console.keys import LINE_KEYS
from observe.console.lines import Folds, Line
from observe.console.tones import Ground, tones_of

INDENT = 2


class LineView(ScrollView, can_focus=True, inherit_bindings=False):
    """Lines, one under another; whoever owns the view makes them and is told when a fold changes."""

    DEFAULT_CSS = """
    LineView { height: 1fr; width: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    """

    BINDINGS: ClassVar = [
        Binding(key, f"{action}", meaning, show=False) for keys, action, meaning in LINE_KEYS for key in keys
    ]

    class Refolded(Message):
        """A fold or the width has changed: the lines have to be made again."""

        def __init__(self, view: "LineView") -> None:
            super().__init__()
            self.view = view

    class Moved(Message):
        """The cursor went to another line."""

        def __init__(self, view: "LineView", line: Line) -> None:
            super().__init__()
            self.view = view
            self.line = line

    class Activated(Message):
        """A person pressed Enter on a line, or clicked on it twice."""

        def __init__(self, view: "LineView", line: Line) -> None:
            super().__init__()
            self.view = view
            self.line = line

    def __init__(self, folds: Folds | None = None, *, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self.folds = folds or Folds()
        self.lines: list[Line] = []
        self.cursor = 0
        self._unfolding = ""
        """Key of the line that was unfolded last, until what it holds has come and is in sight."""

    @property
    def text_width(self) -> int:
        """Cells for text on a line, for whoever wraps."""
        return max(20, self.scrollable_content_region.width - 2)

    @property
    def line_count_in_sight(self) -> int:
        """Lines that fit."""
        return max(1, self.scrollable_content_region.height)

    @property
    def current(self) -> Line | None:
        """The line under the cursor."""
        return self.lines[self.cursor] if 0 <= self.cursor < len(self.lines) else None

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines. The cursor stays on the line with the same key, at the same height of the screen; whoever has
        not moved from the first line sees what comes above it."""
        if not self.is_mounted:
            return
        old, current = self.lines, self.current
        top = round(self.scroll_offset.y)
        anchor = (
            current if current is not None and top <= self.cursor < top + self.line_count_in_sight else None
        )
        if top == 0 and self.cursor == 0:
            current = anchor = None
        elif anchor is None and 0 <= top < len(old):
            anchor = old[top]  # the cursor is out of sight: keep what is read in its place
        self.lines = list(lines)
        places = {line.key: index for index, line in enumerate(self.lines)}
        old_places = {line.key: index for index, line in enumerate(old)} if anchor else {}
        if current is not None:
            self.cursor = places.get(current.key, min(self.cursor, max(0, len(self.lines) - 1)))
        size = Size(self.scrollable_content_region.width, len(self.lines))
        if size != self.virtual_size:
            self.virtual_size = size
        wanted = top
        if anchor is not None and anchor.key in places:
            wanted = max(0, top + places[anchor.key] - old_places[anchor.key])
        if self._unfolding in places:
            wanted = self._with_what_it_holds(places[self._unfolding], wanted)
        if wanted != top:
            self.scroll_to(0, wanted, animate=False, force=True)
        if len(old) != len(self.lines):
            self.refresh()
            return
        for index in range(top, min(len(old), top + self.line_count_in_sight)):
            if old[index] != self.lines[index]:
                self.refresh_line(index)

    def _with_what_it_holds(self, index: int, top: int) -> int:
        """Where to scroll to, so that what the line at `index` holds is in sight, as far as it fits below the line itself."""
        depth, last = self.lines[index].depth, index
        while last + 1 < len(self.lines) and self.lines[last + 1].depth > depth:
            last += 1
        if last == index:
            return top  # it has not come yet
        self._unfolding = ""
        return max(top, min(index, last - self.line_count_in_sight + 1))

    def reset(self) -> None:
        """To the top, for lines about something else."""
        self.lines, self.cursor = [], 0
        self.virtual_size = Size(0, 0)
        self.scroll_to(0, 0, animate=False, force=True)

    def on_resize(self) -> None:
        """Lines are wrapped for a width."""
        self.post_message(self.Refolded(self))

    # -- moving

    def go_to(self, index: int) -> None:
        """Put the cursor on a line and bring it into sight."""
        if not self.lines:
            return
        index = max(0, min(index, len(self.lines) - 1))
        before, self.cursor = self.cursor, index
        if before != index:
            self._unfolding = ""
        self.refresh_line(before)
        self.refresh_line(index)
        top, height = round(self.scroll_offset.y), self.line_count_in_sight
        if index < top:
            self.scroll_to(0, index, animate=False, force=True)
        elif index >= top + height:
            self.scroll_to(0, index - height + 1, animate=False, force=True)
        if before != index:
            self.post_message(self.Moved(self, self.lines[index]))

    def action_line_down(self) -> None:
        """One line down."""
        self.go_to(self.cursor + 1)

    def action_line_up(self) -> None:
        """One line up."""
        self.go_to(self.cursor - 1)

    def action_view_down(self) -> None:
        """One screen down."""
        self.go_to(self.cursor + self.line_count_in_sight - 1)

    def action_view_up(self) -> None:
        """One screen up."""
        self.go_to(self.cursor - self.line_count_in_sight + 1)

    def action_first(self) -> None:
        """To the first line."""
        self.go_to(0)

    def action_last(self) -> None:
        """To the last line."""
        self.go_to(len(self.lines) - 1)

    # -- folding

    def _fold(self, line: Line, is_open: bool) -> None:
        self.folds.set(line.key, is_open)
        self._unfolding = line.key if is_open else ""
        self.post_message(self.Refolded(self))

    def toggle(self) -> bool:
        """Fold or unfold the line under the cursor. Returns whether it can be."""
        line = self.current
        if line is None or line.open is None:
            return False
        self._fold(line, not line.open)
        return True

    def action_unfold(self) -> None:
        """Unfold; on a line that is open, go to the first that it holds."""
        line = self.current
        if line is not None and line.open is False:
            self._fold(line, True)
        else:
            self.go_to(self.cursor + 1)

    def action_fold(self) -> None:
        """Fold; on a line that holds nothing or is folded, go to the one that holds it."""
        line = self.current
        if line is None:
            return
        if line.open:
            self._fold(line, False)
            return
        for index in range(self.cursor - 1, -1, -1):
            candidate = self.lines[index]
            if candidate.depth < line.depth and candidate.open is not None:
                self.go_to(index)
                return

    def action_unfold_all(self) -> None:
        """Unfold all that is known below this line; if it all is, fold it."""
        line = self.current
        if line is None or line.open is None:
            return
        below = [other for other in self.lines if other.key.startswith(line.key) and other.open is not None]
        is_open = any(other.open is False for other in below)
        self.folds.set_below(below, line.key, is_open)
        self.post_message(self.Refolded(self))

    def action_other_view(self) -> None:
        """To the other half of the screen."""
        self.screen.focus_next("LineView")

    def on_click(self, event: events.Click) -> None:
        """Choose a line; a click on its mark folds it, a second click activates it."""
        index = round(self.scroll_offset.y) + event.y
        if index >= len(self.lines):
            return
        self.go_to(index)
        line = self.lines[index]
        mark = line.depth * INDENT
        if line.open is not None and mark <= event.x <= mark + 2:
            self.toggle()
        elif event.chain == 2:
            self.post_message(self.Activated(self, line))

    # -- painting

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        tones = tones_of(self.app)
        width = self.scrollable_content_region.width
        index = round(self.scroll_offset.y) + y
        if index >= len(self.lines):
            return Strip.blank(width, tones.style("text"))
        line = self.lines[index]
        ground: Ground = "base"
        if index == self.cursor:
            ground = "cursor" if self.has_focus else "base"
        mark = "  " if line.open is None else "▾ " if line.open else "▸ "
        segments = [
            Segment(" " * (line.depth * INDENT), tones.style("text", ground)),
            Segment(mark, tones.style("heading" if line.heading else "dim", ground)),
        ]
        used = line.depth * INDENT + 2
        for text, tone in line.pieces:
            segments.append(Segment(text, tones.style(tone, ground)))
            used += len(text) if text.isascii() else cell_len(text)
        if used < width:
            segments.append(Segment(" " * (width - used), tones.style("text", ground)))
            return Strip(segments, width)
        if used == width:
            return Strip(segments, width)
        cut = Strip(segments, used).crop(0, width - 1)
        return Strip([*cut, Segment("…", tones.style("faint", ground))], width)

    def on_focus(self) -> None:
        """The cursor is seen in the view that has the keys."""
        self.refresh_line(self.cursor)

    def on_blur(self) -> None:
        """See `on_focus`."""
        self.refresh_line(self.cursor)
