"""The supervision tree: who supervises whom, what is unhealthy first, folded where it is large."""

from __future__ import annotations

from time import monotonic
from typing import ClassVar

from textual import on
from textual.app import ComposeResult

from observe.console.bindings import bindings_of
from observe.console.columns import Piece
from observe.console.format import count
from observe.console.lines import Folds, Line
from observe.console.navigation import Place
from observe.console.pages.base import ConsolePage
from observe.console.tree_lines import Restarts, tree_lines, unfetched
from observe.console.widgets.line_view import LineView
from observe.probe.wire import Branch

DEPTH = 3
"""Levels asked for at once; deeper ones are asked for when they are unfolded."""

CHILDREN = 100
"""Children asked for of each supervisor; the table shows the rest."""

MOST_GRAFTS = 50
"""Branches asked for on their own in one go."""


class TreePage(ConsolePage):
    """All supervisors and their children."""

    BINDINGS: ClassVar = bindings_of("tree")
    page_name = "tree"

    def __init__(self) -> None:
        super().__init__(id="tree")
        self.folds = Folds()
        self.root: Branch | None = None
        self.grafts: dict[int, Branch] = {}
        self.view = LineView(self.folds)
        self.restarts = Restarts()

    def compose(self) -> ComposeResult:
        yield self.view

    def enter(self, place: Place) -> None:
        """Show the tree."""
        self.view.focus()
        super().enter(place)

    @property
    def has_picture(self) -> bool:
        """Whether there is anything to freeze."""
        return self.root is not None

    async def fetch(self) -> None:
        """The tree, and those branches below it that are unfolded and did not come along."""
        ask = self.observer.attachment.ask
        root = await ask(lambda node: node.tree(None, DEPTH, CHILDREN))
        if root is None:
            return
        grafts: dict[int, Branch] = {}
        self.root = root
        for pid in unfetched(root, self.grafts, self.folds)[:MOST_GRAFTS]:
            branch = await ask(lambda node, pid=pid: node.tree(pid, 1, CHILDREN))  # type: ignore[misc]  # bound now
            if branch is not None:
                grafts[pid] = branch
        self.grafts = grafts
        self.restarts.look(root, grafts, monotonic())
        self.draw()

    def draw(self) -> None:
        """Make the lines anew."""
        if self.root is not None:
            wide, fresh = self.size.width >= 120, self.restarts.fresh
            self.view.show(tree_lines(self.root, self.grafts, self.folds, wide=wide, fresh=fresh))
        self.observer.show_where()

    def where(self) -> list[Piece]:
        """How many lines there are."""
        pieces: list[Piece] = [("PAUSED  ", "warn")] if self.observer.paused else []
        if self.root is None:
            return [*pieces, ("asking for the tree …", "dim")]
        return [*pieces, ("supervision tree  ", "strong"), (f"{count(len(self.view.lines))} lines", "dim")]

    @on(LineView.Refolded)
    def _refolded(self, event: LineView.Refolded) -> None:
        event.stop()
        self.draw()
        self.poller.wake()

    @on(LineView.Activated)
    def _activated(self, event: LineView.Activated) -> None:
        event.stop()
        self.action_open()

    def _agent_line(self) -> Line | None:
        line = self.view.current
        return line if line is not None and line.pid is not None else None

    def action_open(self) -> None:
        """Open the agent; on a line that stands for many, show them in the table."""
        line = self._agent_line()
        if line is None or line.pid is None:
            return
        if line.pid < 0:
            self.observer.show_children(-line.pid)
        else:
            self.observer.visit_pid(line.pid)

    def action_children(self) -> None:
        """The children of this supervisor in the table."""
        line = self._agent_line()
        if line is not None and line.pid is not None:
            self.observer.show_children(abs(line.pid))

    def targets(self) -> list[int]:
        """The agent on the line."""
        line = self._agent_line()
        return [line.pid] if line is not None and line.pid is not None and line.pid > 0 else []

    def action_copy(self) -> None:
        """Put the agent's name and pid on the clipboard."""
        line = self.view.current
        if line is not None:
            self.observer.copy(line.pieces[1][0].strip() if len(line.pieces) > 1 else line.text)
