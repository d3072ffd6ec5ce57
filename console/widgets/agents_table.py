"""The agents table: paints rows from an `AgentsView` straight into the terminal's lines.

No row is a widget or a Python object per cell that outlives a paint: a table of a million agents costs the sixty
rows in sight. Rows that have not come yet are painted as placeholders, and keys never wait for them.
"""

from itertools import accumulate
from time import monotonic

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.filter import ANSIToTruecolor
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from observe.console.columns import GAP, PID, SINCE, Column, Piece, Row, fit
from observe.console.findings import Finding, concerning
from observe.console.format import pad, since
from observe.console.state import AgentsView, Change
from observe.console.tones import Ground, Tones, tones_of

CELLS_KEPT = 400
"""Rows whose cells are kept as they were painted last: more than any screen has."""

MARGIN = 3
"""Cells to the left of the first column: the choice, a mark, and whether there is a finding about the agent."""


class AgentsTable(ScrollView, can_focus=True, inherit_bindings=False):
    """One view on the agents, with a header line that stays."""

    DEFAULT_CSS = """
    AgentsTable { height: 1fr; overflow-x: hidden; overflow-y: scroll; scrollbar-size-vertical: 1; }
    """

    class RowsWanted(Message):
        """Rows came into sight, or near it, that are not held."""

    class Chosen(Message):
        """A person chose another row."""

    class Opened(Message):
        """A person wants to see the chosen agent."""

    class Painted(Message):
        """The first rows are on the screen."""

    class SortAsked(Message):
        """A person clicked on the heading of a column."""

        def __init__(self, column: str) -> None:
            super().__init__()
            self.column = column

    def __init__(self, view: AgentsView, *, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self.view = view
        self._layout_of: tuple[int, str, tuple[str, ...], bool] = (0, "", (), False)
        self._columns: list[tuple[Column, int]] = []
        self.stale = False
        """Whether the rows are those of a node that is gone: they are dimmed."""

        self.findings: list[Finding] = []
        """About whose agents the rows are marked."""

        self._flash_timer_runs = False
        self._painted = False
        self._cells: dict[int, tuple[Row, list[list[Piece]]]] = {}
        """Of rows by their index: what is in their cells, made once for each row that comes."""

        self._strips: dict[int, tuple[list[list[Piece]], tuple[Tones, str, Ground, bool], Strip]] = {}
        """Of rows by their index: what they were painted from, and the line that came of it."""

    # -- size and scrolling

    def on_resize(self) -> None:
        """Tell the view how much is in sight."""
        self.view.height = max(1, self.scrollable_content_region.height - 1)
        self.sync()

    def sync(self) -> None:
        """Bring the widget's scrolling and size in line with the view, and paint everything."""
        if not self.is_mounted:
            return  # it will be called when there is a size
        size = Size(self.scrollable_content_region.width, self.view.matched + 1)
        if size != self.virtual_size:
            self.virtual_size = size
        self._scroll_to_top_row()
        self.refresh()
        self._ask_for_rows()

    def _scroll_to_top_row(self) -> None:
        if round(self.scroll_offset.y) != self.view.top:
            self.scroll_to(0, self.view.top, animate=False, force=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Scrolled by wheel, bar or key: other rows are in sight."""
        super().watch_scroll_y(old_value, new_value)
        self.view.top = max(0, round(new_value))
        self._ask_for_rows()

    def _ask_for_rows(self) -> None:
        if self.view.needs_rows():
            self.post_message(self.RowsWanted())

    def show(self, change: Change) -> None:
        """Paint what a page of rows has changed, and no more."""
        if change.everything or self.virtual_size.height != self.view.matched + 1:
            self.sync()
        else:
            for index in change.rows:
                self._paint_changes(index)
        if self.view.follow:
            self.reveal()
        if not self._flash_timer_runs and self._any_flash():
            self._flash_timer_runs = True
            self.set_timer(0.5, self._end_flashes)

    def mark_findings(self, findings: list[Finding]) -> None:
        """Mark the rows of the agents that these are about."""
        if findings != self.findings:
            self.findings = list(findings)
            self._cells.clear()
            self.refresh()

    def _any_flash(self) -> bool:
        now = monotonic()
        return any(self.view.flashing(row, now) for row in self.view.rows)

    def _end_flashes(self) -> None:
        self._flash_timer_runs = False
        if self.view.end_flashes(monotonic()):
            self.refresh()
        if self._any_flash():
            self._flash_timer_runs = True
            self.set_timer(0.5, self._end_flashes)

    def paint_row(self, index: int | None) -> None:
        """Paint one row again, if it is in sight."""
        if index is not None and self.view.in_sight(index):
            self.refresh(Region(0, index - self.view.top + 1, self.size.width, 1))

    def _paint_changes(self, index: int) -> None:
        """Paint a row again from the first to the last of its cells that differ: the rest need not go to the terminal."""
        if not self.view.in_sight(index):
            return
        before, row = self._cells.get(index), self.view.row(index)
        self._fit()
        if (
            before is None
            or row is None
            or before[0][PID] != row[PID]
            or self.view.flashing(row, monotonic())
        ):
            self.paint_row(index)
            return
        after = self._cells_of(index, row)
        if len(after) != len(before[1]):  # other columns, or a table grouped otherwise
            self.paint_row(index)
            return
        differ = [place for place, (old, new) in enumerate(zip(before[1], after, strict=True)) if old != new]
        if differ:
            ends = list(accumulate((cells + GAP for _, cells in self._columns), initial=MARGIN))
            left = 0 if differ[0] == 0 else ends[differ[0] - 1]
            self.refresh(Region(left, index - self.view.top + 1, ends[differ[-1]] - left, 1))

    def _cells_of(self, index: int, row: Row) -> list[list[Piece]]:
        """What is in each cell of a row, in front of them whether there is a finding about it."""
        known = self._cells.get(index)
        if known is not None and known[0] is row:
            return known[1]
        made = self._filled(row)
        if len(self._cells) >= CELLS_KEPT:
            self._cells.clear()
        self._cells[index] = (row, made)
        return made

    def _filled(self, row: Row) -> list[list[Piece]]:
        about = concerning(row, self.findings) if self.findings else []
        sign = ("▲", about[0].level) if about else (" ", "text")
        return [[sign], *(self._cell(column, row, cells) for column, cells in self._columns)]

    def _cell(self, column: Column, row: Row, cells: int) -> list[Piece]:
        age = SINCE.get(column.name) if self.view.as_clock else None
        if age is None or not row[age]:
            return column.cell(row, cells)
        return [(pad(since(self.view.at - row[age], self.view.at, cells), cells, right=True), "dim")]

    # -- choosing

    def move(self, rows: int, *, scroll: bool = False) -> None:
        """Move the choice; with `scroll`, the rows move along, so that the choice keeps its line."""
        view = self.view
        before = view.index
        if scroll:
            line = view.line
            view.move(rows)
            view.top = max(0, min((view.index or 0) - line, max(0, view.matched - view.height)))
        else:
            view.move(rows)
        self._chosen_from(before)

    def choose(self, index: int) -> None:
        """Choose the row at an index and bring it into sight."""
        before = self.view.index
        self.view.choose(index)
        self._chosen_from(before)

    def _chosen_from(self, before: int | None) -> None:
        self.paint_row(before)
        self.paint_row(self.view.index)
        self.reveal()
        self.post_message(self.Chosen())

    def reveal(self) -> None:
        """Scroll just as far as it takes to have the chosen row in sight."""
        view = self.view
        if view.index is None:
            return
        if view.index < view.top:
            view.top = view.index
        elif view.index >= view.top + view.height:
            view.top = view.index - view.height + 1
        self._scroll_to_top_row()
        view.line = max(0, min(view.index - view.top, view.height - 1))

    # -- mouse

    def on_click(self, event: events.Click) -> None:
        """A heading sorts, a row is chosen, a second click on it opens it."""
        if event.y == 0:
            column = self._column_at(event.x)
            if column is not None:
                self.post_message(self.SortAsked(column.name))
            return
        index = self.view.top + event.y - 1
        if index >= self.view.matched:
            return
        self.choose(index)
        if event.chain == 2:
            self.post_message(self.Opened())

    def _column_at(self, x: int) -> Column | None:
        left = MARGIN
        for column, width in self._columns:
            if left - GAP <= x < left + width:
                return column
            left += width + GAP
        return None

    # -- painting

    def columns_shown(self) -> list[Column]:
        """The columns that fit at present, from left to right."""
        return [column for column, _ in self._columns]

    def _fit(self) -> None:
        wanted = (self.scrollable_content_region.width, self.view.sort, self.view.columns, self.view.as_clock)
        if wanted != self._layout_of:
            self._layout_of = wanted
            self._cells.clear()
            self._columns = fit(wanted[0] - MARGIN, self.view.sort, self.view.columns)

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines in sight, without Textual's dressing, as there is no border.

        A row is made once for as long as nothing in it changes, and keeps its line when it is scrolled; Textual asks for all
        lines whenever one of them is to be painted.
        """
        strips = [self.render_line(y) for y in crop.line_range]
        for one in self.get_line_filters():
            if isinstance(one, ANSIToTruecolor):
                continue  # our tones are neither the terminal's own colours nor dim ones
            strips = [strip.apply_filter(one, self.background_colors[1]) for strip in strips]
        if crop.column_span != (0, self.region.width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def render_line(self, y: int) -> Strip:
        """Line 0 is the header; below it one row a line."""
        self._fit()
        tones = tones_of(self.app)
        width = self.scrollable_content_region.width
        if y == 0:
            return self._header(tones, width)
        index = self.view.top + y - 1
        if index >= self.view.matched:
            return Strip.blank(width, tones.style("text"))
        row = self.view.row(index)
        if row is None:
            dots = pad("  " + "·  " * (width // 6), width)
            return Strip([Segment(dots, tones.style("faint"))], width)
        return self._row(tones, row, index, width)

    def _header(self, tones: Tones, width: int) -> Strip:
        segments = [Segment(" " * MARGIN, tones.style("dim", "panel"))]
        used = MARGIN
        for column, cells in self._columns:
            is_sorted = column.name == self.view.sort
            title = column.heading(cells - 1 if is_sorted else cells)
            if self.view.as_clock and column.name in SINCE:
                title = "since"
            if is_sorted:
                arrow = "▼" if self.view.descending else "▲"
                title = f"{arrow}{title}" if column.right else f"{title}{arrow}"
            if len(title) > cells:
                title = title[-cells:] if not column.right else title[:cells]
            text = pad(title, cells, right=column.right)
            segments.append(Segment(text, tones.style("hotkey" if is_sorted else "dim", "panel")))
            segments.append(Segment(" " * GAP, tones.style("dim", "panel")))
            used += cells + GAP
        segments.append(Segment(" " * max(0, width - used), tones.style("dim", "panel")))
        return Strip(segments, max(width, used)).crop(0, width)

    def _row(self, tones: Tones, row: Row, index: int, width: int) -> Strip:
        ground: Ground = "base"
        mark = " "
        if index == self.view.index:
            ground = "cursor" if self.has_focus else "rest"
            mark = "▌"
        elif self.view.flashing(row, monotonic()):
            ground = "flash"
            mark = "↻"
        mark += "◆" if row[PID] in self.view.marked else " "
        if not self._painted:
            self._painted = True
            # Read after the picture that is being made now has been shown. Without a sender of our own it would pass
            # for the screen's, and bubbling ends at the sender.
            self.post_message(self.Painted().set_sender(self))
        cells, how = self._cells_of(index, row), (tones, mark, ground, self.stale)
        known = self._strips.get(index)
        if known is not None and known[0] is cells and known[1] == how:
            return known[2]
        if len(self._strips) >= CELLS_KEPT:
            self._strips.clear()
        strip = self.painted(tones, row, mark, ground, width, cells)
        self._strips[index] = (cells, how, strip)
        return strip

    def painted(
        self,
        tones: Tones,
        row: Row,
        mark: str,
        ground: Ground,
        width: int,
        filled: list[list[Piece]] | None = None,
    ) -> Strip:
        """A row in the columns of this table, behind a mark of two cells. `filled` is what is in its cells, if that is known."""
        self._fit()
        if filled is None:
            filled = self._filled(row)
        runs: list[tuple[str, Style]] = [(mark, tones.style("title", ground))]

        def add(text: str, tone: str) -> None:
            # Each change of style is forty bytes to the terminal, at every refresh of every row: blanks have no colour
            # of their own on a row of one ground, and what looks the same is one run.
            style = tones.style(tone, ground)
            last, last_style = runs[-1]
            if style is last_style or text.isspace():
                runs[-1] = (last + text, last_style)
            else:
                runs.append((text, style))

        add(*filled[0][0])
        used = MARGIN
        for (_, cells), pieces in zip(self._columns, filled[1:], strict=True):
            for text, tone in pieces:
                if text:
                    add(text, "dim" if self.stale else tone)
            add(" " * GAP, "text")
            used += cells + GAP
        if used < width:
            add(" " * (width - used), "text")
        return Strip([Segment(text, style) for text, style in runs], max(width, used)).crop(0, width)

    def on_focus(self) -> None:
        """The chosen row is brighter in the view that has the keys."""
        self.paint_row(self.view.index)

    def on_blur(self) -> None:
        """See `on_focus`."""
        self.paint_row(self.view.index)
