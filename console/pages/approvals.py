"""What waits until a person agrees, and what was decided lately; below, the chosen one in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from observe.console.approval_lines import (
    SOON_S,
    decided_detail,
    number_of,
    page_lines,
    waiting_detail,
)
from observe.console.bindings import bindings_of
from observe.console.columns import Piece
from observe.console.deeds import BY_ID, Deed
from observe.console.format import plural
from observe.console.lines import Folds, Line
from observe.console.navigation import Place
from observe.console.pages.list_page import ListPage
from observe.console.state import Identity
from observe.console.widgets.line_view import LineView
from observe.probe.wire_approvals import DecidedApproval, WaitingApproval, WaitingApprovals


class ApprovalsPage(ListPage):
    """Who asks for what, since when, until when; `O` and `V` answer."""

    DEFAULT_CSS = """
    ApprovalsPage #approval-list { height: 1fr; }
    ApprovalsPage #approval-detail { height: 1fr; max-height: 18; border-top: hkey $panel; }
    """
    BINDINGS: ClassVar = bindings_of("approvals")
    page_name = "approvals"
    found: WaitingApprovals | None
    below: LineView

    def __init__(self) -> None:
        super().__init__(id="approvals")
        self._shown_below = ""
        self.view = LineView(Folds(), id="approval-list")
        self.below = LineView(Folds(), id="approval-detail")

    def enter(self, place: Place) -> None:
        """Show what waits."""
        self.draw()
        super().enter(place)

    async def fetch(self) -> None:
        """What waits now, and what was decided."""
        found = await self.observer.attachment.ask(lambda node: node.approvals())
        if found is not None:
            self.found = found
            self.draw()

    def node_changed(self) -> None:
        """Control was taken or given back: what may be done is another."""
        super().node_changed()
        if self.found is not None:
            self.draw_below()

    @property
    def chosen(self) -> WaitingApproval | DecidedApproval | None:
        """What the line of the cursor is about."""
        section, number = number_of(self.view.current)
        if self.found is None or not number:
            return None
        among = self.found.approvals if section == "waiting" else self.found.decided
        return next((one for one in among if one.number == number), None)

    def draw(self) -> None:
        """Make the lines anew. What the cursor was on may have been decided: then it goes with it."""
        found = self.found
        if found is None:
            self.view.show([Line("none", ((self.not_yet, "dim"),))])
            return
        before = number_of(self.view.current)
        lines = page_lines(found, self.view.folds, self.view.text_width, self._now)
        first = len(self.view.lines) <= 1
        self.view.show(lines)
        places = {line.key: index for index, line in enumerate(lines)}
        if first and found.approvals:
            self.view.go_to(places.get(f"waiting/{found.approvals[0].number}", 0))
        elif before[0] == "waiting" and before[1] and f"waiting/{before[1]}" not in places:
            self.view.go_to(places.get(f"decided/{before[1]}", self.view.cursor))
        self.draw_below()
        if self.shown:
            self.observer.show_where()

    @property
    def _now(self) -> float:
        node = self.observer.node
        return node.node_now(node.clock())

    def draw_below(self) -> None:
        chosen, width = self.chosen, self.below.text_width
        key = "" if chosen is None else f"{type(chosen).__name__}/{chosen.number}"
        if key != self._shown_below:
            self._shown_below = key
            self.below.reset()
        if isinstance(chosen, WaitingApproval):
            self.below.show(waiting_detail(chosen, width, self._now, self.observer.why_not(BY_ID["approve"])))
        elif chosen is not None:
            self.below.show(decided_detail(chosen, width, self._now))
        else:
            text = "an activity waits for a person where its code or a policy says so (docs/approvals.md)"
            self.below.show([Line("none", ((text, "faint"),))])

    def where(self) -> list[Piece]:
        """How many wait, and how little time is left."""
        found = self.found
        if found is None:
            return [("asking what waits for a person …", "dim")]
        if not found.total:
            return [("nothing waits for a person  ", "strong")]
        waiting = plural(found.total, "activity waits", "activities wait")
        pieces: list[Piece] = [(f"{waiting}  ", "strong")]
        soon = sum(one.left_s < SOON_S for one in found.approvals)
        if soon:
            pieces.append((f"{soon:,} for less than a minute more  ", "bad"))
        return pieces

    # -- acting

    def targets(self) -> list[int]:
        """The agent that waits on the line of the cursor."""
        chosen = self.chosen
        return [chosen.pid] if isinstance(chosen, WaitingApproval) else []

    def nobody(self) -> str:
        """Why nothing can be decided here."""
        return "that was decided already" if self.chosen is not None else "nothing waits on this line"

    def prefilled(self, deed: Deed) -> Mapping[str, str]:
        """Which approval: what is decided is what was read, even if the agent asks for something else meanwhile."""
        chosen = self.chosen
        if isinstance(chosen, WaitingApproval) and deed.id in ("approve", "refuse"):
            return {"approval": str(chosen.number)}
        return {}

    # -- the lines

    def action_open(self) -> None:
        """To the details; there, to the agent. On a heading, fold it."""
        if self.below.has_focus:
            self.action_open_agent()
        elif self.chosen is not None:
            self.below.focus()
        else:
            self.view.toggle()

    def action_open_agent(self) -> None:
        """The agent that asks."""
        chosen = self.chosen
        if chosen is not None:
            self.observer.visit_agent(Identity(chosen.pid, chosen.name, chosen.class_name, 0, ""))
