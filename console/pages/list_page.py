"""What pages made of lines share: a filter above the list where there is one, and below it the chosen line in full."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.widgets import Input

from observe.console.lines import Line
from observe.console.navigation import Place
from observe.console.pages.base import ConsolePage
from observe.console.widgets.filter_bar import FilterBar
from observe.console.widgets.line_view import LineView
from observe.console.widgets.piece_lines import PieceLines

FILTER_LENGTH = 256
"""Characters of a filter that the node is asked with."""


class ListPage(ConsolePage):
    """Keys and messages of the list, the filter and the part below. What they mean is up to the page: `draw`, `draw_below`,
    `narrow`, `moved` and `action_open`."""

    view: LineView
    below: LineView | None = None
    filter_bar: FilterBar | None = None
    headline: PieceLines | None = None
    filter = ""
    found: object | None = None
    """What the node has told last."""

    def compose(self) -> ComposeResult:
        for part in (self.filter_bar, self.headline, self.view, self.below):
            if part is not None:
                yield part

    @property
    def has_picture(self) -> bool:
        """Whether there is anything to freeze."""
        return self.found is not None

    def enter(self, place: Place) -> None:
        """To the list."""
        self.view.focus()
        super().enter(place)

    def close_inner(self) -> bool:
        """From below back to the list; then clear the filter."""
        if self.below is not None and self.below.has_focus:
            self.view.focus()
            return True
        bar = self.filter_bar
        if bar is not None and (bar.has_focus_within or self.is_narrowed):
            bar.close()
            self.widen()
            self.view.focus()
            return True
        return False

    @property
    def is_narrowed(self) -> bool:
        """Whether a part of what there is is left out, because somebody wants it so."""
        return bool(self.filter)

    def widen(self) -> None:
        """Show all again."""
        self.narrow("")

    def narrow(self, text: str) -> None:
        """Show what passes this filter; here, the node is asked with it."""
        self.filter = text[:FILTER_LENGTH]
        self.poller.wake()

    def node_changed(self) -> None:
        """Why an answer does not come may be known by now."""
        if not self.has_picture:
            self.draw()

    def draw(self) -> None:
        """Make the lines anew."""

    def draw_below(self) -> None:
        """Make the lines below anew: the cursor went to another line, or a part was folded."""

    def refolded(self, view: LineView) -> None:
        """A part of this view was folded or unfolded, or has another width."""
        if view is self.below:
            self.draw_below()
        else:
            self.draw()

    def moved(self, line: Line) -> None:
        """The cursor of the list went to this line."""
        self.draw_below()

    def action_open(self) -> None:
        """Enter on a line."""

    def action_filter(self) -> None:
        """Open the line in which the filter is typed."""
        if self.filter_bar is not None:
            self.filter_bar.open(self.filter)

    def action_copy(self) -> None:
        """Put the line on the clipboard."""
        view = self.below if self.below is not None and self.below.has_focus else self.view
        if view.current is not None:
            self.observer.copy(view.current.full or view.current.text.strip())

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        bar = self.filter_bar
        if bar is not None and bar.is_open:
            bar.offer()
            self.narrow(event.value)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.view.focus()
        bar = self.filter_bar
        if bar is not None:
            bar.remove_class("offering")
            if not self.filter:
                bar.close()

    @on(LineView.Refolded)
    def _refolded(self, event: LineView.Refolded) -> None:
        event.stop()
        self.refolded(event.view)

    @on(LineView.Moved)
    def _moved(self, event: LineView.Moved) -> None:
        event.stop()
        if event.view is self.view:
            self.moved(event.line)

    @on(LineView.Activated)
    def _activated(self, event: LineView.Activated) -> None:
        event.stop()
        self.action_open()
