"""The supervision tree: who supervises whom, what is unhealthy first, folded where it is large."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic
from typing import ClassVar

from observe.console.bindings import bindings_of
from observe.console.columns import Piece
from observe.console.format import count
from observe.console.lines import Folds, Line
from observe.console.pages.list_page import ListPage
from observe.console.tree_lines import CALM, Restarts, tree_lines, unfetched, with_room
from observe.console.tree_paths import DEEPEST, MOST_MATCHES, Paths, matching
from observe.console.widgets.filter_bar import FilterBar
from observe.console.widgets.line_view import LineView
from observe.probe.errors import Refusal
from observe.probe.filters import parse
from observe.probe.wire_agent import Branch

DEPTH = 3
"""Levels asked for at once; deeper ones are asked for when they are unfolded."""

CHILDREN = 100
"""Children asked for of each supervisor; the table shows the rest."""

MOST_GRAFTS = 50
"""Branches asked for on their own in one go."""


class TreePage(ListPage):
    """All supervisors and their children."""

    BINDINGS: ClassVar = bindings_of("tree")
    page_name = "tree"
    filter_bar: FilterBar

    def __init__(self) -> None:
        super().__init__(id="tree")
        self.folds = Folds()
        self.root: Branch | None = None
        self.grafts: dict[int, Branch] = {}
        self.view = LineView(self.folds)
        self.restarts = Restarts()
        self.paths = Paths()
        self.trouble = CALM
        self.filter_folds = Folds()
        self.filter_bar = FilterBar()
        self.found: Branch | None = None
        """Those who match the filter, and all above them."""
        self._matched: int | None = None
        self._sought = ""
        """Key of the line that is chosen, also while the filter leaves it out; empty: the one under the cursor."""

    @property
    def has_picture(self) -> bool:
        """Whether there is anything to freeze."""
        return self.root is not None

    async def fetch(self) -> None:
        """The tree, who in it is in trouble, and those branches below it that are unfolded and did not come along."""
        attachment = self.observer.attachment
        ask, text = attachment.ask, self.filter
        root = await ask(lambda node: node.tree(None, DEPTH, CHILDREN))
        if root is None:
            return
        if text:
            found, matched = await matching(attachment, text, root)
            if text == self.filter:
                self.root, self.found, self._matched = root, found, matched
                self.draw()
            return
        trouble = await self.paths.trouble(attachment, self.observer.node.findings) or CALM
        kept = frozenset(pid for pid in self.trouble.fitting if trouble.below.get(pid))
        trouble = replace(trouble, fitting=kept)
        room = self.view.line_count_in_sight
        self.trouble = replace(trouble, fitting=with_room(root, self.grafts, self.folds, trouble, room))
        grafts: dict[int, Branch] = {}
        self.root = root
        for pid in unfetched(root, self.grafts, self.folds, self.trouble)[:MOST_GRAFTS]:
            branch = await ask(lambda node, pid=pid: node.tree(pid, 1, CHILDREN))  # type: ignore[misc]  # bound now
            if branch is not None:
                grafts[pid] = branch
        self.grafts = grafts
        self.restarts.look(root, grafts, monotonic())
        self.draw()

    def draw(self) -> None:
        """Make the lines anew."""
        wide = self.size.width >= 120
        if self.filter and self._matched is not None:
            lines: list[Line] = []
            if self.found is not None:
                lines = tree_lines(self.found, {}, self.filter_folds, wide=wide, open_depth=DEEPEST)
            self.view.show(lines or [Line("none", (("no agent matches", "dim"),))])
            self._seek()
        elif self.filter:
            pass  # until the answer has come, what was there before
        elif self.root is not None:
            fresh, trouble = self.restarts.fresh, self.trouble
            self.view.show(
                tree_lines(self.root, self.grafts, self.folds, wide=wide, fresh=fresh, trouble=trouble)
            )
            self._seek()
        self.observer.show_where()

    def _seek(self) -> None:
        place = next(
            (n for n, line in enumerate(self.view.lines) if line.key == self._sought), self.view.cursor
        )
        if place != self.view.cursor:
            self.view.go_to(place)

    def where(self) -> list[Piece]:
        """How many lines there are."""
        if self.root is None:
            return [("asking for the tree …", "dim")]
        pieces: list[Piece] = [("supervision tree  ", "strong")]
        if not self.filter:
            return [*pieces, (f"{count(len(self.view.lines))} lines", "dim")]
        if self._matched is None:
            return [*pieces, ("asking …", "dim")]
        pieces.append((f"{count(self._matched)} match {self.filter}, with all above them  ", "dim"))
        if self._matched > MOST_MATCHES:
            pieces.append((f"the first {MOST_MATCHES} are shown: a has all", "warn"))
        return pieces

    # -- the filter

    def narrow(self, text: str) -> None:
        """Show those who match; while half a word is no filter yet, what was shown before."""
        text = text.strip()
        try:
            parse(text)
        except Refusal:
            return
        if text == self.filter:
            return
        line = self.view.current
        if line is not None and line.pid is not None and not self._sought:
            self._sought = line.key
        if not text:  # the choice stays: all above it are unfolded
            for end in (n for n, letter in enumerate(self._sought) if letter == "/"):
                self.folds.set(self._sought[:end], True)
        self.filter, self._matched = text, None
        self.poller.wake()
        self.draw()

    def refolded(self, view: LineView) -> None:
        """What is unfolded is asked for."""
        super().refolded(view)
        self.poller.wake()

    def moved(self, line: Line) -> None:
        """The choice is another."""
        if line.key != self._sought:
            self._sought = ""

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
