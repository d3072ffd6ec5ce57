"""The pages of the console on several nodes: the nodes with their findings, and the agents of all."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from observe.console.attachment import Poller
from observe.console.bindings import bindings_of
from observe.console.columns import Piece
from observe.console.fleet_view import (
    FleetView,
    Opening,
    agent_heading,
    agent_lines,
    agents_where,
    finding_lines,
    node_heading,
    node_lines,
    row_at,
)
from observe.console.keys import Page
from observe.console.lines import Line
from observe.console.state import Identity
from observe.console.widgets.filter_bar import FilterBar
from observe.console.widgets.line_view import LineView
from observe.console.widgets.piece_lines import PieceLines
from observe.console.widgets.sort_menu import SortMenu
from observe.probe.errors import AttachError
from observe.probe.fleet import Fleet

if TYPE_CHECKING:
    from observe.console.fleet_app import FleetApp


class LinesPage(Vertical):
    """Headings that stay, and lines below them."""

    DEFAULT_CSS = "LinesPage { height: 1fr; }"
    page_name: Page

    def __init__(self, view: FleetView) -> None:
        super().__init__(id=self.page_name)
        self.view = view
        self.headings = PieceLines()
        self.lines = LineView()

    def compose(self) -> ComposeResult:
        yield self.headings
        yield self.lines

    @property
    def observer(self) -> FleetApp:
        """The app, as what it is."""
        return cast("FleetApp", self.app)

    def enter(self) -> None:
        """The page comes to the screen."""
        self.lines.focus()
        self.draw()

    def leave(self) -> None:
        """The page leaves the screen."""

    def close_inner(self) -> bool:
        """Escape: close whatever is open within the page. Returns False when nothing is."""
        return False

    def where(self) -> list[Piece]:
        """What the status bar says."""
        return []

    def draw(self) -> None:
        """Make the lines anew."""

    def show(self, lines: list[Line]) -> None:
        """Show lines; the first time, with the cursor where it was before a node was visited."""
        begins = not self.lines.lines
        self.lines.show(lines)
        if begins and lines:
            wanted = self.view.cursors.get(self.page_name)
            place = next((index for index, line in enumerate(lines) if line.key == wanted), None)
            if place is not None:
                self.lines.go_to(place)

    @on(LineView.Moved)
    def _moved(self, event: LineView.Moved) -> None:
        self.view.cursors[self.page_name] = event.line.key

    @on(LineView.Refolded)
    def _refolded(self, event: LineView.Refolded) -> None:
        event.stop()
        self.draw()

    @on(LineView.Activated)
    def _activated(self, event: LineView.Activated) -> None:
        event.stop()
        self.action_open()

    def action_open(self) -> None:
        """Go where the line leads."""

    def action_copy(self) -> None:
        """Put the line on the clipboard."""
        line = self.lines.current
        if line is not None:
            self.observer.copy_to_clipboard(line.full or line.text.rstrip())
            self.observer.say("copied the line")


class NodesPage(LinesPage):
    """A line a node, and below them the findings of all."""

    BINDINGS: ClassVar = bindings_of("nodes")
    page_name = "nodes"

    def draw(self) -> None:
        """Make the lines anew."""
        width, watch = self.lines.text_width, self.view.watch
        self.headings.show(node_heading(width))
        found = watch.findings()
        self.show(
            [*node_lines(watch, width), Line("gap", ()), *finding_lines(found, width, self.view.clock())]
        )

    def where(self) -> list[Piece]:
        """Which node the line is about."""
        opening = self._opening()
        return [("nodes  ", "strong"), (f"Enter opens {opening.node}" if opening else "", "dim")]

    def _opening(self) -> Opening | None:
        line = self.lines.current
        if line is None:
            return None
        section, _, rest = line.key.partition("/")
        if section == "node":
            return Opening(rest)
        if section == "finding":
            for node, one in self.view.watch.findings():
                if line.key == f"finding/{node}/{one.check}":
                    return Opening(node, 0 if one.filter else one.pid, one.filter)
        return None

    def action_open(self) -> None:
        """The console on this node, or on the agents of a finding."""
        opening = self._opening()
        if opening is not None:
            self.observer.open(opening)


class FleetAgentsPage(LinesPage):
    """The first agents of all nodes together, in one order."""

    BINDINGS: ClassVar = bindings_of("fleet_agents")
    page_name = "fleet_agents"

    def __init__(self, view: FleetView, fleet: Fleet) -> None:
        super().__init__(view)
        self.filter_bar = FilterBar()
        self._fleet = fleet
        self._poller = Poller(self._fetch, 1.0)

    def compose(self) -> ComposeResult:
        yield self.filter_bar
        yield from super().compose()

    def enter(self) -> None:
        """Ask for rows while the page is on the screen."""
        super().enter()
        self.run_worker(self._poller.run(), group="poll", exclusive=True)

    def leave(self) -> None:
        """Ask for nothing more."""
        self.workers.cancel_group(self, "poll")

    async def _fetch(self) -> None:
        query = self.view.query()
        try:
            page = await self._fleet.agents(query)
        except AttachError as error:
            self.observer.say(str(error), "bad")
            return
        if query == self.view.query():  # else it answers what is not asked any more
            self.view.page = page
            self.draw()
            self.observer.show_where()

    def draw(self) -> None:
        """Make the lines anew."""
        width = self.lines.text_width
        self.headings.show(agent_heading(self.view, width))
        self.show(agent_lines(self.view, width))

    def where(self) -> list[Piece]:
        """Which rows these are."""
        return agents_where(self.view)

    def close_inner(self) -> bool:
        """Escape clears the filter."""
        if self.filter_bar.has_focus_within or self.view.filter:
            self.filter_bar.close()
            self.lines.focus()
            self._ask_anew("")
            return True
        return False

    def _ask_anew(self, text: str) -> None:
        self.view.filter = text
        self._poller.wake()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if self.filter_bar.is_open:
            self.filter_bar.offer()
            self._ask_anew(event.value)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.lines.focus()
        self.filter_bar.remove_class("offering")
        if not self.view.filter:
            self.filter_bar.close()

    def action_filter(self) -> None:
        """Open the line in which the filter is typed."""
        self.filter_bar.open(self.view.filter)

    def action_sort_menu(self) -> None:
        """Choose the column to sort by."""
        self.observer.push_screen(SortMenu(self.view.sort, self.view.descending), self._sort_chosen)

    def _sort_chosen(self, column: str | None) -> None:
        if column is not None:
            self.sort_by(column)

    def sort_by(self, column: str) -> None:
        """Sort by a column; by the same again the other way round."""
        self.view.order_by(column)
        self._poller.wake()
        self.draw()

    def action_reverse(self) -> None:
        """Largest first or smallest first."""
        self.sort_by(self.view.sort)

    def action_open(self) -> None:
        """The console on the agent's node, at this agent."""
        found = self._chosen()
        if found is not None:
            self.observer.open(Opening(found[0], found[1].pid))

    def action_kill(self) -> None:
        """End this agent on its node, after a question."""
        found = self._chosen()
        if found is not None:
            self.observer.ask_to_kill(*found)

    def _chosen(self) -> tuple[str, Identity] | None:
        line = self.lines.current
        found = row_at(self.view, line.key) if line is not None else None
        return (found[0], Identity.of(found[1])) if found is not None else None
