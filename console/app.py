"""The console on one node: header, pages, and the two lines at the bottom. Opened by `observe attach`.

The connection runs in a worker and posts messages; handlers here fold them into `NodeView` and `AgentsView`, which
know no Textual, and tell the widgets concerned to paint.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from time import monotonic, perf_counter, time
from typing import ClassVar

from textual import on
from textual.app import App, ComposeResult
from textual.widgets import ContentSwitcher

from observe.console.attachment import Attachment
from observe.console.bindings import bindings_of
from observe.console.keys import Action, find, permitted
from observe.console.messages import (
    Attached,
    Failed,
    FindingsArrived,
    Happened,
    LinkChanged,
    PageArrived,
    VitalsArrived,
)
from observe.console.navigation import History, PageName, Place
from observe.console.node_view import NodeView
from observe.console.pages.agents import AgentsPage
from observe.console.pages.base import ConsolePage
from observe.console.pages.crashes import CrashesPage
from observe.console.pages.detail import DetailPage
from observe.console.pages.tree import TreePage
from observe.console.palette import ActionCommands
from observe.console.state import AgentsView, Identity
from observe.console.tones import DARK, LIGHT, THEMES, theme_for
from observe.console.widgets.agents_table import AgentsTable
from observe.console.widgets.bars import KeyHints, StatusBar
from observe.console.widgets.held_stack import HeldStack
from observe.console.widgets.help import HelpOverlay
from observe.console.widgets.kill_dialog import KillDialog
from observe.console.widgets.vitals import VitalsHeader
from observe.probe.client import NodeClient, connect
from observe.probe.errors import AttachError
from observe.probe.wire import Crash

_KILL = find("agents", "kill")

Connect = Callable[[], AbstractAsyncContextManager[NodeClient]]


class ObserveApp(App[None]):
    """The console on one node."""

    TITLE = "observe"
    CSS_PATH = "console.tcss"
    BINDINGS: ClassVar = bindings_of("app")
    COMMANDS = {ActionCommands}
    COMMAND_PALETTE_BINDING = "ctrl+p"
    PAUSE_GC_ON_SCROLL = True

    def __init__(
        self, connect_to: Connect, target: str, *, readonly: bool = False, clock: Callable[[], float] = time
    ) -> None:
        """`connect_to` makes the client to attach with; `target` is what the person called the node."""
        super().__init__()
        self.animation_level = "none"
        self.node = NodeView(target, readonly=readonly, clock=clock)
        self.table_view = AgentsView()
        self.attachment = Attachment(connect_to, self.table_view, self.post_message)
        self.history = History()
        self.failure: AttachError | None = None
        """Why the first attempt to attach failed; the app has ended then."""

        self.first_paint = asyncio.Event()
        """Set once the first rows of the table are on the screen."""

        self.first_paint_at = 0.0
        """`time.perf_counter()` at that moment."""

        self._trouble_shown = -1
        self.header = VitalsHeader(self.node)
        self.agents_page = AgentsPage(self.table_view)
        self.pages: dict[PageName, ConsolePage] = {
            "agents": self.agents_page,
            "detail": DetailPage(),
            "tree": TreePage(),
            "crashes": CrashesPage(),
        }
        self.switcher = ContentSwitcher(*self.pages.values(), initial="agents")
        self.status_bar = StatusBar()
        self.key_hints = KeyHints(self.node)
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = theme_for(os.environ)

    def compose(self) -> ComposeResult:
        yield self.header
        yield self.switcher
        yield self.status_bar
        yield self.key_hints

    def on_mount(self) -> None:
        """Show the table, and attach."""
        self.agents_page.enter(self.history.current)
        self.run_worker(self._stay_attached(), group="attachment")

    async def _stay_attached(self) -> None:
        try:
            await self.attachment.run()
        except AttachError as error:
            self.failure = error
            self.exit(return_code=error.exit_code)

    # -- the parts

    @property
    def page(self) -> ConsolePage:
        """The page on the screen."""
        return self.pages[self.history.current.page]

    @property
    def paused(self) -> bool:
        """Whether this screen is frozen."""
        return self.table_view.paused_at is not None

    def say(self, text: str, tone: str = "text") -> None:
        """Tell the person something, for some seconds."""
        self.status_bar.say(text, tone)

    def show_where(self) -> None:
        """Bring the status bar up to date."""
        self.status_bar.show(self.page.where())

    def copy(self, text: str) -> None:
        """Put a text on the clipboard of the terminal (OSC 52)."""
        self.copy_to_clipboard(text)
        first = text.splitlines()[0] if text else ""
        self.say(f"copied {first}")

    # -- what the node tells

    @on(Attached)
    def _attached(self, message: Attached) -> None:
        self.node.attached(message.node.info, message.node.role, self.node.clock())
        self._show_node()

    @on(LinkChanged)
    def _link_changed(self, message: LinkChanged) -> None:
        was_up = self.node.link == "up"
        other = self.node.linked(message.state, message.text, message.info, self.node.clock())
        if message.state == "up":
            if self.attachment.node is not None:
                self.node.role = self.attachment.node.role
            if other:
                self.table_view.clear()
                self.agents_page.table.sync()
                self.say(f"{self.node.name} is back as a new process", "good")
            elif not was_up:
                self.say(f"attached to {self.node.name} again", "good")
            self.page.poller.wake()
        self._show_node()

    @on(VitalsArrived)
    def _vitals_arrived(self, message: VitalsArrived) -> None:
        self.node.took_vitals(message.vitals, self.node.clock())
        if not self.paused:
            self._show_node()

    @on(FindingsArrived)
    def _findings_arrived(self, message: FindingsArrived) -> None:
        self.node.took_findings(message.findings, message.crashes, self.node.clock())
        if not self.paused:
            self._show_node()

    def _show_node(self) -> None:
        self.header.update()
        self.key_hints.refresh()
        table = self.agents_page.table
        if table.stale == self.node.is_fresh:
            table.stale = not self.node.is_fresh
            table.refresh()

    @on(PageArrived)
    def _page_arrived(self, message: PageArrived) -> None:
        self.agents_page.took(message)

    @on(AgentsTable.Painted)
    def _painted(self) -> None:
        self.first_paint_at = perf_counter()
        self.first_paint.set()

    @on(Happened)
    def _happened(self, message: Happened) -> None:
        if any(event.kind in ("restart", "crash", "exit") for event in message.events):
            self.attachment.rows.wake()

    @on(Failed)
    def _failed(self, message: Failed) -> None:
        hint = f" ({message.hint})" if message.hint else ""
        self.say(message.text + hint, "bad")

    # -- going places

    def visit(self, place: Place) -> None:
        """Go to another page, or to the same page about another agent."""
        if self.history.visit(place):
            self._show_place()

    def moved_to(self, place: Place) -> None:
        """The place on the screen is about an agent's successor."""
        if self.history.current.page == place.page:
            self.history.update(place)
            self.show_where()

    def visit_pid(self, pid: int) -> None:
        """Open the agent with this pid."""
        self.run_worker(self._visit(Identity(pid, None, "", 0, "")), group="visit", exclusive=True)

    def visit_crashed(self, crash: Crash) -> None:
        """Open the agent that crashed, or whoever has taken its place."""
        agent = Identity(
            crash.restarted or crash.pid, crash.name, crash.class_name, crash.supervisor, crash.child
        )
        self.run_worker(self._visit(agent), group="visit", exclusive=True)

    async def _visit(self, agent: Identity) -> None:
        row = await self.attachment.row_of(agent)
        if row is None:
            self.say(f"{agent.label} is not there any more", "warn")
            return
        self.visit(Place("detail", Identity.of(row)))

    def show_children(self, pid: int) -> None:
        """The children of a supervisor in the table."""
        self.visit(Place("agents"))
        page = self.agents_page
        page.action_filter()
        page.filter_bar.input.value = f"supervisor={pid}"
        page.table.focus()

    def _show_place(self) -> None:
        for page in self.pages.values():
            if page.shown:
                page.leave()
        place = self.history.current
        self.switcher.current = place.page
        self.pages[place.page].enter(place)
        self.key_hints.show(place.page)
        self.show_where()

    # -- actions of the registry

    def perform(self, action: Action) -> None:
        """Do what an action's key does, from the palette or by a click."""
        target = self if action.page == "app" else self.pages[action.page]
        self.call_later(getattr(target, f"action_{action.id}"))

    def action_help(self) -> None:
        """All keys of this page, and what the columns mean."""
        self.push_screen(HelpOverlay(self.page.page_name, self.node.role, readonly=self.node.readonly))

    def action_palette(self) -> None:
        """Every action by name."""
        self.action_command_palette()

    def action_show_agents(self) -> None:
        """The table of agents."""
        self.visit(Place("agents"))

    def action_show_tree(self) -> None:
        """The supervision tree; from there, back."""
        self._toggle("tree")

    def action_show_crashes(self) -> None:
        """The crashes; from there, back."""
        self._toggle("crashes")

    def _toggle(self, page: PageName) -> None:
        if self.history.current.page == page:
            self.action_history_back()
        else:
            self.visit(Place(page))

    def action_show_held(self) -> None:
        """Open the agent that holds the scheduler."""
        held = self.node.held(self.node.clock())
        if held is None:
            self.say("nobody holds the scheduler")
        elif held.pid:
            self.visit(Place("detail", Identity(held.pid, held.name, held.class_name, 0, "")))
        else:
            self.push_screen(HeldStack(held))

    def action_trouble(self) -> None:
        """Show the agents behind the next trouble."""
        found = self.node.troubles
        if not found:
            self.say(self.node.verdict() or "nothing is known to be wrong")
            return
        self._trouble_shown = (self._trouble_shown + 1) % len(found)
        trouble = found[self._trouble_shown]
        self.visit(Place("agents"))
        page = self.agents_page
        if trouble.filter:
            page.filter_bar.open(trouble.filter)
        page.show_only(trouble.filter, trouble.sort)
        page.table.focus()
        self.say(f"trouble {self._trouble_shown + 1} of {len(found)}", trouble.level)

    @on(VitalsHeader.TroubleClicked)
    def _trouble_clicked(self) -> None:
        self.action_trouble()

    def action_pause(self) -> None:
        """Freeze this screen, or let it go on."""
        view = self.table_view
        view.paused_at = monotonic() if view.paused_at is None else None
        if view.paused_at is None:
            self.attachment.rows.wake()
            self.page.poller.wake()
            self._show_node()
        self.show_where()

    async def action_back(self) -> None:
        """Close what is open, else go one page back."""
        if not self.page.close_inner():
            self.action_history_back()

    def action_history_back(self) -> None:
        """The page seen before."""
        if self.history.back():
            self._show_place()

    def action_history_forward(self) -> None:
        """The page seen after."""
        if self.history.forward():
            self._show_place()

    def action_toggle_theme(self) -> None:
        """Light or dark."""
        self.theme = LIGHT if self.current_theme.dark else DARK

    def sort_by(self, column: str) -> None:
        """Sort the table by a column, wherever we are."""
        self.visit(Place("agents"))
        self.agents_page.sort_by(column)

    @on(KeyHints.Picked)
    def _key_clicked(self, message: KeyHints.Picked) -> None:
        self.perform(message.action)

    # -- killing

    def ask_to_kill(self, agent: Identity | None) -> None:
        """The question before a kill; for those who may not kill, why not."""
        if agent is None:
            return
        if self.node.readonly:
            self.say("attached read-only: leave out --readonly to act on agents", "warn")
        elif not permitted(_KILL, self.node.role, readonly=False):
            self.say(f"your key has the role {self.node.role}; killing takes operator", "warn")
        else:
            self.push_screen(KillDialog(agent, self.attachment))

    def ask_to_kill_pid(self, pid: int) -> None:
        """The same for an agent of which only the pid is at hand."""
        self.run_worker(self._ask_to_kill_pid(pid), group="visit", exclusive=True)

    async def _ask_to_kill_pid(self, pid: int) -> None:
        row = await self.attachment.row_of(Identity(pid, None, "", 0, ""))
        if row is None:
            self.say(f"#{pid} is not there any more", "warn")
        else:
            self.ask_to_kill(Identity.of(row))


def run_console(target: str, *, readonly: bool = False) -> int:
    """Open the console on a node and return the exit status when the person leaves.

    Raises:
        AttachError: the first attempt to attach failed, or there is no terminal to draw on; nothing has been left on
            the screen.
    """
    if sys.__stderr__ is None or not sys.__stderr__.isatty():
        # Textual draws there, so that stdout may go elsewhere.
        raise AttachError(
            "the console draws on stderr, which is not a terminal here", hint="do not redirect it with 2>"
        )
    app = ObserveApp(lambda: connect(target, reconnect=True), target, readonly=readonly)
    app.run()
    if app.failure is not None:
        raise app.failure
    return app.return_code or 0
