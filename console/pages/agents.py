"""The main page: the table of agents, its filter, and what can be done to the chosen one."""

from __future__ import annotations

from time import monotonic
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.widgets import Input

from observe.console.bindings import bindings_of
from observe.console.columns import BY_NAME, COLUMNS, NAMES, Piece
from observe.console.findings import concerning
from observe.console.format import count, duration, plural
from observe.console.messages import PageArrived
from observe.console.navigation import Place
from observe.console.pages.base import ConsolePage
from observe.console.state import MOST_MARKED, MOST_PINNED, AgentsView, Identity
from observe.console.widgets.agents_table import AgentsTable
from observe.console.widgets.columns_menu import ColumnsMenu
from observe.console.widgets.filter_bar import FilterBar
from observe.console.widgets.pinned_rows import EndedRows, PinnedRows
from observe.console.widgets.sort_menu import SortMenu


class AgentsPage(ConsolePage):
    """All agents, a screenful at a time."""

    BINDINGS: ClassVar = bindings_of("agents")
    page_name = "agents"

    def __init__(self, view: AgentsView) -> None:
        super().__init__(id="agents")
        self.view = view
        self.table = AgentsTable(view)
        self.filter_bar = FilterBar()
        self.pinned = PinnedRows(self.table)
        self.ended = EndedRows(self.table)

    def compose(self) -> ComposeResult:
        yield self.filter_bar
        yield self.pinned
        yield self.table
        yield self.ended

    # -- coming and going

    def enter(self, place: Place) -> None:
        """Rows are asked for by the attachment, which waits for us to be seen."""
        self.shown = True
        attachment = self.observer.attachment
        attachment.table_shown = True
        attachment.rows.wake()
        self.table.focus()

    def leave(self) -> None:
        """Nobody sees the table: its rows are not asked for."""
        self.shown = False
        self.observer.attachment.table_shown = False

    def close_inner(self) -> bool:
        """Escape clears the filter; the chosen agent stays the chosen one."""
        if self.filter_bar.has_focus_within or self.view.filter:
            self.clear_filter()
            return True
        return False

    # -- what has come

    def took(self, arrived: PageArrived) -> None:
        """A page of rows; an answer to an older question is passed over."""
        page = arrived.page
        change = self.view.fold(
            arrived.ask, page.columns, page.rows, matched=page.matched, total=page.total, at=page.at, now=monotonic()
        )  # fmt: skip
        if change is None:
            return
        self.table.show(change)
        self.pinned.show(arrived.pinned)
        self.ended.show(arrived.ended)
        self.filter_bar.seen(
            {
                name: [row[NAMES.index(name)] for row in self.view.rows]
                for name in ("class", "activity", "name")
            }
        )
        if change.successor is not None and self.view.chosen is not None:
            before, after = change.successor
            name = self.view.chosen.name or self.view.chosen.child or "it"
            self.observer.say(f"{name} came back: #{before} is #{after} now", "warn")
        if self.view.follow and self.view.index is None and not self.view.gone:
            self._reveal()
        self.observer.show_where()

    def pause(self) -> list[Piece]:
        """For how long it has stood still."""
        since = self.view.paused_at
        return [(f"PAUSED {duration(monotonic() - since)}  ", "warn")] if since is not None else []

    def where(self) -> list[Piece]:
        """Which rows are in sight, of how many; who is chosen; what is unusual about this view."""
        view = self.view
        if not view.loaded:
            return [("waiting for the first rows …", "dim")]
        pieces: list[Piece] = []
        if view.filter:
            pieces.append((f"{count(view.matched)} of {plural(view.total, 'agent')}", "strong"))
            pieces.append((f" match {view.filter}  ", "dim"))
        else:
            pieces.append((f"{plural(view.total, 'agent')}  ", "strong"))
        arrow = "▼" if view.descending else "▲"
        pieces.append((f"by {view.sort} {arrow}  ", "dim"))
        pieces += self._chosen()
        if view.marked:
            pieces.append((f"◆ {len(view.marked):,} marked  ", "accent"))
        if view.follow:
            pieces.append(("following  ", "info"))
        return pieces

    def _chosen(self) -> list[Piece]:
        view = self.view
        if view.chosen is None:
            return []
        if view.gone:
            return [(f"{view.chosen.label} is gone  ", "bad")]
        pieces: list[Piece] = []
        row = view.row(view.index) if view.index is not None else None
        for finding in concerning(row, self.table.findings)[:1] if row is not None else ():
            pieces.append((f"▲ {finding.check}  ", finding.level))
        if view.index is not None:
            pieces.append((f"row {count(view.index + 1)}  ", "dim"))
        if view.index is None or not view.in_sight(view.index):
            pieces.append((f"{view.chosen.label} is out of sight: . goes there  ", "warn"))
        return pieces

    # -- the filter

    def action_filter(self) -> None:
        """Open the line in which the filter is typed."""
        self.filter_bar.open(self.view.filter)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if self.filter_bar.is_open:
            self.filter_bar.offer()
            self.show_only(event.value)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.table.focus()
        self.filter_bar.remove_class("offering")
        if not self.view.filter:
            self.filter_bar.close()

    def show_only(self, text: str, sort: str | None = None) -> None:
        """Filter the table, and perhaps sort it by another column."""
        self.view.narrow(text)
        if sort is not None and sort in BY_NAME:
            self.view.order_by(sort)
        self._asked_anew()

    def clear_filter(self) -> None:
        """Show all agents again, and go to the one that was chosen."""
        self.filter_bar.close()
        self.view.narrow("")
        self._asked_anew()
        self.table.focus()
        self._reveal()

    def _asked_anew(self) -> None:
        self.table.sync()
        self.observer.attachment.rows.wake()
        self.observer.show_where()

    # -- the order

    @on(AgentsTable.SortAsked)
    def _heading_clicked(self, event: AgentsTable.SortAsked) -> None:
        if event.column == self.view.sort:
            self.action_reverse()
        else:
            self.sort_by(event.column)

    def sort_by(self, column: str) -> None:
        """Sort by a column, in its natural direction."""
        self.view.order_by(column)
        self._asked_anew()

    def _sort_beside(self, step: int) -> None:
        names = [column.name for column in self.table.columns_shown()] or [column.name for column in COLUMNS]
        place = names.index(self.view.sort) if self.view.sort in names else 0
        self.sort_by(names[(place + step) % len(names)])

    def action_sort_left(self) -> None:
        """Sort by the column to the left of the one that is sorted by."""
        self._sort_beside(-1)

    def action_sort_right(self) -> None:
        """Sort by the column to its right."""
        self._sort_beside(1)

    def action_reverse(self) -> None:
        """The same order from the other end."""
        self.view.reverse()
        self._asked_anew()

    def action_sort_menu(self) -> None:
        """Choose the column to sort by from a list of all."""

        def chosen(column: str | None) -> None:
            if column == self.view.sort:
                self.action_reverse()
            elif column is not None:
                self.sort_by(column)

        self.app.push_screen(SortMenu(self.view.sort, self.view.descending), chosen)

    def action_columns(self) -> None:
        """Choose columns and their order."""

        def chosen(columns: tuple[str, ...] | None) -> None:
            if columns is not None:
                self.view.columns = columns
                self.table.refresh()
                self.pinned.refresh()

        shown = [column.name for column in self.table.columns_shown()]
        self.app.push_screen(ColumnsMenu(self.view.columns, shown), chosen)

    # -- moving: the status bar is told at once and not by way of a message, so that it is painted in the same frame

    def action_row_down(self) -> None:
        """One row down."""
        self.table.move(1)
        self.observer.show_where()

    def action_row_up(self) -> None:
        """One row up."""
        self.table.move(-1)
        self.observer.show_where()

    def action_page_down(self) -> None:
        """One screen down."""
        self.table.move(max(1, self.view.height - 1), scroll=True)
        self.observer.show_where()

    def action_page_up(self) -> None:
        """One screen up."""
        self.table.move(-max(1, self.view.height - 1), scroll=True)
        self.observer.show_where()

    def action_first(self) -> None:
        """The first row."""
        self.table.choose(0)
        self.observer.show_where()

    def action_last(self) -> None:
        """The last row."""
        self.table.choose(self.view.matched - 1)
        self.observer.show_where()

    def action_follow(self) -> None:
        """Scroll along with the chosen agent, or stop doing so."""
        self.view.follow = not self.view.follow
        if self.view.follow:
            self._reveal()
        self.observer.show_where()

    def action_reveal(self) -> None:
        """Scroll to where the chosen agent is, wherever in the table that may be."""
        self._reveal(tell=True)

    def _reveal(self, *, tell: bool = False) -> None:
        view = self.view
        if view.chosen is None:
            return
        if view.index is not None:
            self.table.reveal()
            self.observer.show_where()
            return
        self.run_worker(self._find_and_reveal(tell), group="reveal", exclusive=True)

    async def _find_and_reveal(self, tell: bool) -> None:
        view, agent = self.view, self.view.chosen
        generation = view.generation
        if agent is None:
            return
        index = await self.observer.attachment.place_of(agent)
        if view.generation != generation or view.chosen != agent:
            return
        if index is None:
            if tell:
                self.observer.say(f"{agent.label} is not among the agents shown", "warn")
            return
        view.top = max(0, index - view.height // 2)
        view.index = index
        self.table.sync()
        self.observer.attachment.rows.wake()

    # -- acting on the chosen agent

    @on(AgentsTable.Opened)
    def action_open(self) -> None:
        """See everything about the chosen agent."""
        if self.view.chosen is not None:
            self.observer.visit(Place("detail", self.view.chosen))

    def listed(self) -> tuple[list[str], list[list[object]]]:
        """The rows that are held: those in sight and a screen before and after."""
        return list(NAMES), [list(row) for row in self.view.rows]

    def targets(self) -> list[Identity]:
        """All marked agents, else the chosen one."""
        if self.view.marked:
            return list(self.view.marked.values())
        return [self.view.chosen] if self.view.chosen is not None else []

    def action_mark(self) -> None:
        """Mark the chosen agent or unmark it, and go one down."""
        if self.view.toggle_mark():
            self.table.move(1)
        else:
            self.observer.say(f"no more than {MOST_MARKED} agents can be marked at once", "warn")
        self.observer.show_where()

    def action_pin(self) -> None:
        """Keep the chosen agent in sight above the table, or let it go."""
        if not self.view.toggle_pin():
            self.observer.say(f"no more than {MOST_PINNED} agents can be pinned at once", "warn")
        self.observer.attachment.rows.wake()

    @on(PinnedRows.Picked)
    def _pinned_picked(self, event: PinnedRows.Picked) -> None:
        event.stop()
        self.view.chosen, self.view.index, self.view.gone = event.agent, None, False
        self._reveal(tell=True)

    def action_times(self) -> None:
        """Ages as the time at which they began, or the other way round."""
        self.view.as_clock = not self.view.as_clock
        self.table.refresh()
        self.pinned.refresh()

    def action_unmark(self) -> None:
        """Take all marks away."""
        self.view.marked.clear()
        self.table.refresh()
        self.observer.show_where()

    def action_copy(self) -> None:
        """Put the chosen agent's name and pid on the clipboard."""
        if self.view.chosen is not None:
            self.observer.copy(self.view.chosen.label)

    @on(AgentsTable.RowsWanted)
    def _rows_wanted(self, event: AgentsTable.RowsWanted) -> None:
        event.stop()
        self.observer.attachment.rows.wake()

    @on(AgentsTable.Chosen)
    def _row_chosen(self, event: AgentsTable.Chosen) -> None:
        event.stop()
        self.observer.show_where()
