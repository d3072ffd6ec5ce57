"""The first screen: is anything wrong, what, where, since when; and who does most."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal

from observe.console.bindings import bindings_of
from observe.console.columns import Piece, Row, row_of
from observe.console.crash_groups import Group, group
from observe.console.death_lines import death_lines
from observe.console.lines import Folds, Line
from observe.console.loss_lines import loss_lines
from observe.console.navigation import Place
from observe.console.overview_lines import (
    LEAST,
    MOST,
    TOPS,
    crash_group_lines,
    finding_lines,
    top_lines,
    vital_lines,
)
from observe.console.overview_signs import MOST as MOST_OF_A_SIGN
from observe.console.overview_signs import SIGNS, Sign, sign_lines
from observe.console.pages.base import ConsolePage
from observe.console.widgets.line_view import LineView
from observe.console.worker_lines import worker_lines
from observe.probe.client import NodeClient
from observe.probe.deaths import Death
from observe.probe.errors import RemoteError
from observe.probe.wire_table import Page, Query

WIDE = 140
"""Cells from which on the vital signs and crashes stand beside the agents."""

CRASHES = 200


def _seeing(sign: Sign) -> Callable[[NodeClient], Awaitable[Page | None]]:
    return _of(Query(sort=sign.sort, filter=sign.filter, limit=MOST_OF_A_SIGN))


def _of(query: Query) -> Callable[[NodeClient], Awaitable[Page | None]]:
    async def request(node: NodeClient) -> Page | None:
        try:
            return await node.agents(query)
        except RemoteError:
            return None  # a node of a version that does not know the column: then there is no sign

    return request


class OverviewPage(ConsolePage):
    """What somebody woken at night wants to know first."""

    DEFAULT_CSS = """
    OverviewPage #beside { border-left: vkey $panel; }
    """
    BINDINGS: ClassVar = bindings_of("overview")
    page_name = "overview"

    def __init__(self) -> None:
        super().__init__(id="overview")
        self.folds = Folds()
        self.tops: dict[str, list[Row]] = {}
        self.groups: list[Group] | None = None
        self.total = 0
        self.death: Death | None = None
        self.processes: list[dict[str, Any]] = []
        self.signed: dict[str, tuple[list[Row], int]] = {}
        """By sign: the first few agents concerned, and how many there are."""
        self.left = LineView(self.folds)
        self.right = LineView(self.folds, id="beside")

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield self.left
            yield self.right

    def enter(self, place: Place) -> None:
        """Show the overview."""
        self.draw()
        self.left.focus()
        super().enter(place)

    def on_resize(self) -> None:
        """One view or two."""
        self.right.display = self.size.width >= WIDE
        if not self.right.display and self.right.has_focus:
            self.left.focus()
        self.draw()

    @property
    def has_picture(self) -> bool:
        """Whether there is anything to freeze."""
        return len(self.tops) == len(TOPS)

    async def fetch(self) -> None:
        """The first agents of each order, and the crashes."""
        attachment = self.observer.attachment
        for top in TOPS:
            query = Query(sort=top.sort, limit=MOST)
            page = await attachment.ask(_of(query))
            if page is not None:
                self.tops[top.key] = [row_of(page.columns, row) for row in page.rows]
            elif self.tops:
                self.tops.setdefault(top.key, [])  # a node that answers, and does not know the column
        for sign in SIGNS:
            page = await attachment.ask(_seeing(sign))
            if page is not None:
                self.signed[sign.key] = ([row_of(page.columns, row) for row in page.rows], page.matched)
        crashes = await attachment.ask(lambda node: node.crashes(CRASHES))
        if crashes is not None:
            self.groups, self.total = group(crashes.crashes), crashes.total
        await self._fetch_death()
        workers = await attachment.ask(lambda node: node.workers())
        if workers is not None:
            self.processes = workers.to_wire()["workers"]
        self.draw()

    async def _fetch_death(self) -> None:
        """How the node died, once it has; a report of an earlier start does not count."""
        node = self.observer.node
        self.death = None
        if node.vitals is None or node.vitals.state not in ("dead", "stopped") or node.info is None:
            return
        found = await self.observer.attachment.ask(lambda client: client.deaths(1))
        for death in found.deaths if found is not None else []:
            if death.incarnation == node.info.incarnation:
                self.death = death

    def node_changed(self) -> None:
        """Vital signs and findings came."""
        self.draw()

    def draw(self) -> None:
        """Make the lines anew; the views keep their cursors."""
        node = self.observer.node
        now = node.node_now(node.clock())
        two = self.size.width >= WIDE
        width = self.left.text_width
        first = [
            *death_lines(self.death, self.folds),
            *finding_lines(node, self.folds, width),
        ]
        for sign in SIGNS:
            first += sign_lines(sign, *self.signed.get(sign.key, ([], 0)), self.folds)
        crashes = crash_group_lines(self.groups, self.total, self.folds, now)
        above = first if two else [*first, *crashes]
        room = self.left.line_count_in_sight - len(above) - len(TOPS)
        most = max(LEAST, min(MOST, room // len(TOPS)))
        tops: list[Line] = []
        for top in TOPS:
            tops += top_lines(top, self.tops.get(top.key), most, self.folds)
        if two:
            self.left.show([*above, *tops])
            beside = self.right.text_width
            workers = worker_lines(self.processes, self.folds, beside)
            lost = loss_lines(node, self.folds)
            self.right.show([*vital_lines(node, self.folds, beside), *lost, *workers, *crashes])
        else:
            workers = worker_lines(self.processes, self.folds, width)
            lost = loss_lines(node, self.folds)
            self.left.show([*above, *tops, *vital_lines(node, self.folds, width), *lost, *workers])
        if self.shown:
            self.observer.show_where()

    def where(self) -> list[Piece]:
        """How many agents there are, and whether the view is frozen."""
        node = self.observer.node
        pieces: list[Piece] = []
        if node.vitals is None:
            return [*pieces, ("waiting for the first picture …", "dim")]
        return [*pieces, ("overview  ", "strong"), (f"{node.vitals.agents:,} agents", "dim")]

    @on(LineView.Refolded)
    def _refolded(self, event: LineView.Refolded) -> None:
        event.stop()
        self.draw()

    @on(LineView.Activated)
    def _activated(self, event: LineView.Activated) -> None:
        event.stop()
        self.action_open()

    @property
    def _view(self) -> LineView:
        return self.right if self.right.has_focus else self.left

    def action_open(self) -> None:
        """Go where the line leads: an agent, the agents of a finding, the crashes; a heading of agents to the table."""
        line = self._view.current
        if line is None:
            return
        section, _, rest = line.key.partition("/")
        if section == "approvals":
            self.observer.visit(Place("approvals"))
        elif line.pid is not None:
            self.observer.visit_pid(line.pid)
        elif section == "findings" and rest.isdigit() and int(rest) < len(self.observer.node.findings):
            self.observer.show_finding(int(rest))
        elif section == "crashes" and rest:
            self.observer.show_crash_group("" if rest == "more" else rest)
        else:
            self._view.toggle()

    def action_table(self) -> None:
        """The agents table in the order of the section under the cursor."""
        line = self._view.current
        key = line.key.split("/")[1] if line is not None and line.key.startswith("top/") else ""
        for top in TOPS:
            if top.key == key:
                self.observer.sort_by(top.sort)
                return
        self.observer.visit(Place("agents"))

    def targets(self) -> list[int]:
        """The agent on the line, or the worst of the finding there."""
        line = self._view.current
        if line is None:
            return []
        section, _, rest = line.key.partition("/")
        found = self.observer.node.findings
        if section == "findings" and rest.isdigit() and int(rest) < len(found) and found[int(rest)].pid:
            return [found[int(rest)].pid]
        return [line.pid] if line.pid is not None else []

    def action_copy(self) -> None:
        """Put the line on the clipboard."""
        line = self._view.current
        if line is not None:
            self.observer.copy(line.full or line.text)
