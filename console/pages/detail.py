"""The page of one agent: what it does now, its stack, state, mailbox, last crash and relations, kept fresh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.strip import Strip
from textual.widget import Widget

from observe.console.bindings import bindings_of
from observe.console.changes import Changes
from observe.console.columns import NAMES, Piece, Row, row_of
from observe.console.deeds import Deed
from observe.console.detail_lines import (
    LEFT,
    LOCALS,
    RIGHT,
    SECTIONS,
    WITHOUT_THE_NODE,
    section_lines,
    title_pieces,
)
from observe.console.findings import concerning
from observe.console.format import ago, clock, one_line
from observe.console.lines import Folds
from observe.console.navigation import Place
from observe.console.pages.base import ConsolePage
from observe.console.prefilled import from_line
from observe.console.state import Identity
from observe.console.tones import Ground, tones_of
from observe.console.widgets.line_view import LineView
from observe.probe.errors import AttachError, NodeUnreachable, RemoteError
from observe.probe.wire_agent import Detail, Stack

WIDE = 140
"""Cells from which on state and mailbox stand beside the rest."""

MOST_FINDINGS = 2
"""Findings about the agent that stand above everything else; the screen of findings has all."""

UNANSWERED = frozenset({"scheduler_held", "node_timeout", "node_dead"})
"""Errors after which the probe's own picture of the agent is shown instead: the node itself cannot answer."""


@dataclass(slots=True)
class Shown:
    """What is on the page."""

    agent: Identity
    detail: Detail | None = None
    came: float = 0.0
    """When the picture came, by this machine's clock."""

    gone: bool = False
    """The agent has ended and has no successor."""

    partial: bool = False
    """Only what the probe knows: the node was never able to answer."""

    trouble: str = ""
    """Why the picture is not fresh, in a sentence."""


class DetailTitle(Widget):
    """Two lines that stay while the rest scrolls: who it is, and its numbers; a third when something is wrong."""

    DEFAULT_CSS = "DetailTitle { height: 2; }"

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[tuple[list[Piece], Ground]] = []

    def show(self, lines: list[tuple[list[Piece], Ground]]) -> None:
        """Show these lines."""
        if len(lines) != len(self._lines):
            self.styles.height = len(lines)
        if lines != self._lines:
            self._lines = lines
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """One of them."""
        tones, width = tones_of(self.app), self.size.width
        if y >= len(self._lines):
            return Strip.blank(width, tones.style("text"))
        pieces, ground = self._lines[y]
        segments = [Segment(" ", tones.style("text", ground))]
        segments += [Segment(text, tones.style(tone, ground)) for text, tone in pieces]
        return Strip(segments).adjust_cell_length(width, tones.style("text", ground))


class DetailPage(ConsolePage):
    """Everything about one agent."""

    DEFAULT_CSS = """
    DetailPage #right { border-left: vkey $panel; }
    """
    BINDINGS: ClassVar = bindings_of("detail")
    page_name = "detail"
    interval_s = 0.5

    def __init__(self) -> None:
        super().__init__(id="detail")
        self.folds = Folds()
        self.changes = Changes()
        self.content: Shown | None = None
        self.headline = DetailTitle()
        self.left = LineView(self.folds, id="left")
        self.right = LineView(self.folds, id="right")
        """Beside the other on a wide screen."""

    def compose(self) -> ComposeResult:
        yield self.headline
        with Horizontal():
            yield self.left
            yield self.right

    def enter(self, place: Place) -> None:
        """Show an agent. What was unfolded stays so only for the same one."""
        assert place.agent is not None
        if self.content is None or self.content.agent.key != place.agent.key:
            self.content = Shown(place.agent)
            self.folds.chosen.clear()
            self.changes.forget()
            self.left.reset()
            self.right.reset()
        self.draw()
        self.left.focus()
        super().enter(place)

    def on_resize(self) -> None:
        """One view or two."""
        self.right.display = self.size.width >= WIDE
        if not self.right.display and self.right.has_focus:
            self.left.focus()

    @property
    def has_picture(self) -> bool:
        """Whether there is anything to freeze."""
        return self.content is not None and self.content.detail is not None

    # -- asking

    async def fetch(self) -> None:
        """The newest picture of the agent, or of its successor, or the probe's picture when the node is mute."""
        node, shown = self.observer.attachment.node, self.content
        if node is None or shown is None or shown.gone:
            return
        try:
            detail = await node.inspect(shown.agent.pid, locals=self.folds.is_open(LOCALS))
        except RemoteError as error:
            await self._refused(shown, error)
        except NodeUnreachable as error:
            shown.trouble = "" if node.state != "up" else str(error)  # the header tells of a lost connection
        except AttachError as error:
            shown.trouble = str(error)
        else:
            shown.partial = False
            self.changes.look(detail.state, self.observer.node.clock())
            shown.detail, shown.came, shown.trouble = detail, self.observer.node.clock(), ""
        if shown is self.content:
            self.draw()

    async def _refused(self, shown: Shown, error: RemoteError) -> None:
        attachment = self.observer.attachment
        if error.code == "no_such_agent":
            row = await attachment.row_of(shown.agent)
            if row is None:
                shown.gone = attachment.node is not None and attachment.node.state == "up"
                return
            before, shown.agent = shown.agent, Identity.of(row)
            if shown is self.content:
                name = shown.agent.name or shown.agent.child or "it"
                self.observer.say(f"{name} came back: #{before.pid} is #{shown.agent.pid} now", "warn")
                self.observer.moved_to(Place("detail", shown.agent))
            self.poller.wake()
            return
        shown.trouble = str(error)
        if error.code in UNANSWERED:
            row = await attachment.row_of(shown.agent)
            stack = await self._stack(shown.agent.pid)
            if row is not None:
                shown.partial = shown.partial or shown.detail is None
                shown.detail = _without_the_node(shown.detail, row, stack)
                held = self.observer.node.held(self.observer.node.clock())
                if held is not None and held.pid == shown.agent.pid:
                    shown.detail.agent.update({"status": "holding", "status_s": held.since_s})
                shown.came = self.observer.node.clock()

    async def _stack(self, pid: int) -> Stack | None:
        """The stack by another way than through the node's scheduler: from the vital signs, or asked for."""
        held = self.observer.node.held(self.observer.node.clock())
        if held is not None and held.pid == pid and held.stack:
            return Stack(pid=pid, status="running", frames=held.stack, note="it holds the scheduler")
        node = self.observer.attachment.node
        try:
            return await node.stack(pid) if node is not None else None
        except AttachError:
            return None

    # -- showing

    def draw(self) -> None:
        """Make the lines anew; the views keep their cursors."""
        shown = self.content
        if shown is None:
            return
        title: list[tuple[list[Piece], Ground]]
        if shown.detail is None:
            text = "has ended and did not come back" if shown.gone else shown.trouble or "…"
            title = [([(f"{shown.agent.label}  ", "title"), (text, "bad" if shown.gone else "dim")], "panel")]
            self.headline.show([*title, ([], "panel")])
            return
        width = max(40, self.size.width - 2)
        title = [(pieces, "panel") for pieces in title_pieces(shown.detail, width, shown.gone)]
        if shown.gone:
            text = f"✕ it has ended and did not come back; last picture {clock(shown.came)}"
            title.append(([(text, "strong")], "bad"))
        elif shown.trouble:
            text = f"▲ {shown.trouble}; shown is what the probe knows, {ago(max(0.0, self.observer.node.clock() - shown.came))}"
            title.append(([(text, "strong")], "warn"))
        row = row_of(list(shown.detail.agent), list(shown.detail.agent.values()))
        for finding in concerning(row, self.observer.node.findings)[:MOST_FINDINGS] if not shown.gone else ():
            pieces: list[Piece] = [
                (f"▲ {finding.check}", finding.level),
                (f"  {one_line(finding.advice)}", "text"),
            ]
            title.append((pieces, "panel"))
        self.headline.show(title)
        now = self.observer.node.node_now(self.observer.node.clock())
        two = self.right.display
        sections = WITHOUT_THE_NODE if shown.partial else LEFT if two else SECTIONS
        mark = self.changes.marked
        self.left.show(mark(section_lines(shown.detail, sections, self.folds, self.left.text_width, now)))
        if two and shown.partial:
            self.right.show([])
        elif two:
            self.right.show(mark(section_lines(shown.detail, RIGHT, self.folds, self.right.text_width, now)))

    def where(self) -> list[Piece]:
        """Who supervises it, and whether we look at a frozen picture."""
        shown = self.content
        if shown is None:
            return []
        pieces: list[Piece] = []
        pieces.append((f"{shown.agent.label}  ", "strong"))
        if shown.detail is not None and shown.detail.supervisor is not None:
            supervisor = shown.detail.supervisor
            pieces.append((f"under {supervisor.name or '#' + str(supervisor.pid)}  ", "dim"))
        return pieces

    @on(LineView.Refolded)
    def _refolded(self, event: LineView.Refolded) -> None:
        event.stop()
        self.draw()
        if self.folds.is_open(LOCALS) and self.content is not None and not self.content.gone:
            self.poller.wake()  # they are asked for only while somebody looks

    # -- doing

    @property
    def _view(self) -> LineView:
        return self.right if self.right.has_focus else self.left

    @on(LineView.Activated)
    def _activated(self, event: LineView.Activated) -> None:
        event.stop()
        self.action_open()

    def action_open(self) -> None:
        """Go to the agent on the line, or fold and unfold the value there."""
        line = self._view.current
        if line is not None and line.pid is not None:
            self.observer.visit_pid(line.pid)
        else:
            self._view.toggle()

    def action_supervisor(self) -> None:
        """Go to the supervisor."""
        detail = self.content.detail if self.content else None
        if detail is not None and detail.supervisor is not None:
            self.observer.visit_pid(detail.supervisor.pid)
        else:
            self.observer.say("it has no supervisor: it is the root of the tree")

    def targets(self) -> list[Identity]:
        """This agent."""
        return [self.content.agent] if self.content is not None and not self.content.gone else []

    def nobody(self) -> str:
        """It has ended."""
        return f"{self.content.agent.label} has ended already" if self.content is not None else ""

    def prefilled(self, deed: Deed) -> Mapping[str, str]:
        """The field, messages or activity on the line under the cursor."""
        detail = self.content.detail if self.content else None
        return from_line(deed, detail, self._view.current) if detail is not None else {}

    def action_copy(self) -> None:
        """Put what is on the line on the clipboard, in full."""
        line = self._view.current
        if line is not None:
            self.observer.copy(line.full or line.text)


def _without_the_node(before: Detail | None, row: Row, stack: Stack | None) -> Detail:
    """What is known of an agent when its node cannot be asked: the probe's row, the stack, and what was seen before."""
    agent = dict(zip(NAMES, row, strict=True))
    if before is None:
        return Detail(
            agent=agent,
            stack=stack,
            note="state, mailbox and last crash are to be had when the node answers again",
        )
    return before.model_copy(update={"agent": agent, "stack": stack or before.stack})
