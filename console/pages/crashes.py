"""Recent crashes, grouped by where they happened, with the traceback of the chosen one below."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult

from observe.console.bindings import bindings_of
from observe.console.columns import Piece
from observe.console.crash_groups import Group, crash_at, group, group_lines
from observe.console.detail_lines import crash_lines
from observe.console.format import plural
from observe.console.lines import Folds, Line
from observe.console.navigation import Place
from observe.console.pages.base import ConsolePage
from observe.console.widgets.line_view import LineView
from observe.probe.wire_agent import Crash

LIMIT = 500
"""Crashes asked for: the probe keeps about as many."""


class CrashesPage(ConsolePage):
    """What crashed, how often, where, and since when."""

    DEFAULT_CSS = """
    CrashesPage #groups { height: 2fr; }
    CrashesPage #traceback { height: 3fr; border-top: hkey $panel; }
    """
    BINDINGS: ClassVar = bindings_of("crashes")
    page_name = "crashes"

    def __init__(self) -> None:
        super().__init__(id="crashes")
        self.folds = Folds()
        self.groups: list[Group] | None = None
        self.total = 0
        self._wanted = ""
        self.overview = LineView(self.folds, id="groups")
        self.traceback = LineView(Folds(), id="traceback")

    def compose(self) -> ComposeResult:
        yield self.overview
        yield self.traceback

    def enter(self, place: Place) -> None:
        """Show the crashes."""
        self.overview.focus()
        super().enter(place)

    def close_inner(self) -> bool:
        """From the traceback back to the list."""
        if self.traceback.has_focus:
            self.overview.focus()
            return True
        return False

    @property
    def has_picture(self) -> bool:
        """Whether there is anything to freeze."""
        return self.groups is not None

    async def fetch(self) -> None:
        """The newest crashes."""
        crashes = await self.observer.attachment.ask(lambda node: node.crashes(LIMIT))
        if crashes is not None:
            self.groups, self.total = group(crashes.crashes), crashes.total
            self.draw()

    def go_to(self, fingerprint: str) -> None:
        """Put the cursor on a group, now or when it has come."""
        self._wanted = f"group/{fingerprint}" if fingerprint else ""
        self.draw()

    def draw(self) -> None:
        """Make the lines anew."""
        groups = self.groups or []
        now = self.observer.node.node_now(self.observer.node.clock())
        lines = group_lines(groups, self.folds, now)
        if not lines:
            text = "no crash since the probe began to watch" if self.groups is not None else self.not_yet
            lines = [Line("none", ((text, "good"),))]
        self.overview.show(lines)
        for index, line in enumerate(lines):
            if line.key == self._wanted:
                self._wanted = ""
                self.overview.go_to(index)
        self._draw_traceback()
        self.observer.show_where()

    def _draw_traceback(self) -> None:
        crash = self.crash
        view = self.traceback
        lines = crash_lines("crash", crash, view.folds, 0, view.text_width) if crash is not None else []
        if crash is None or not view.lines or view.lines[0] != lines[0]:
            view.reset()
        view.show(lines)

    @property
    def crash(self) -> Crash | None:
        """The chosen crash; of a group the newest that has a traceback."""
        line = self.overview.current
        return crash_at(self.groups or [], line.key) if line is not None else None

    def where(self) -> list[Piece]:
        """How many crashes there were."""
        pieces: list[Piece] = []
        kept = sum(len(item.crashes) for item in self.groups or [])
        pieces.append((f"{plural(self.total, 'crash', 'crashes')} since the start  ", "strong"))
        if kept < self.total:
            pieces.append((f"the newest {kept:,} shown  ", "dim"))
        pieces.append((f"{plural(len(self.groups or []), 'place')}  ", "dim"))
        return pieces

    @on(LineView.Refolded)
    def _refolded(self, event: LineView.Refolded) -> None:
        event.stop()
        self.draw()

    @on(LineView.Moved)
    def _moved(self, event: LineView.Moved) -> None:
        event.stop()
        if event.view is self.overview:
            self._draw_traceback()

    @on(LineView.Activated)
    def _activated(self, event: LineView.Activated) -> None:
        event.stop()
        self.action_open()

    def action_open(self) -> None:
        """To the traceback; there, go to the agent on the line or unfold the value."""
        if not self.traceback.has_focus:
            self.traceback.focus()
            return
        line = self.traceback.current
        if line is not None and line.pid is not None:
            self.observer.visit_pid(line.pid)
        else:
            self.traceback.toggle()

    def action_agent(self) -> None:
        """Open the agent that crashed, or the one that took its place."""
        crash = self.crash
        if crash is not None:
            self.observer.visit_crashed(crash)

    def action_copy(self) -> None:
        """Put the traceback on the clipboard."""
        crash = self.crash
        if crash is not None:
            self.observer.copy(crash.traceback or crash.reason)
