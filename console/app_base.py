"""The frame of the console: its parts, its pages, and what pages may ask of the app.

The app is four classes, each on top of the one before, so that each file has one subject:

    ConsoleApp    the parts and the pages            app_base.py
    PlacesApp     which page is on the screen        app_places.py
    ActingApp     taking control, acting on agents   app_acts.py
    ObserveApp    what the node tells                app.py
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from time import time
from typing import ClassVar

from textual.app import ComposeResult
from textual.widgets import ContentSwitcher

from observe.console.attachment import Attachment
from observe.console.bindings import bindings_of
from observe.console.fleet_view import Opening
from observe.console.keys import Page
from observe.console.memory import Memory
from observe.console.navigation import History, Place
from observe.console.node_view import NodeView
from observe.console.pages.agents import AgentsPage
from observe.console.pages.approvals import ApprovalsPage
from observe.console.pages.audit import AuditPage
from observe.console.pages.base import ConsolePage
from observe.console.pages.budgets import BudgetsScreen
from observe.console.pages.code import CodePage
from observe.console.pages.crashes import CrashesPage
from observe.console.pages.detail import DetailPage
from observe.console.pages.findings import FindingsPage
from observe.console.pages.groups import GroupsPage
from observe.console.pages.letters import LettersScreen
from observe.console.pages.log import LogScreen
from observe.console.pages.names import NamesScreen
from observe.console.pages.overview import OverviewPage
from observe.console.pages.tasks import TasksScreen
from observe.console.pages.traces import TracesPage
from observe.console.pages.tree import TreePage
from observe.console.painting_app import PaintingApp
from observe.console.palette import ActionCommands
from observe.console.screens import FIRST_SCREEN, PageName
from observe.console.state import AgentsView
from observe.console.widgets.bars import KeyHints, StatusBar
from observe.console.widgets.vitals import VitalsHeader
from observe.probe.client import NodeClient
from observe.probe.errors import AttachError

Connect = Callable[[], AbstractAsyncContextManager[NodeClient]]


class ConsoleApp(PaintingApp):
    """Header, pages, and the two lines at the bottom."""

    TITLE = "observe"
    CSS_PATH = "console.tcss"
    BINDINGS: ClassVar = [*bindings_of("app"), *bindings_of("agent")]
    COMMANDS = {ActionCommands}
    COMMAND_PALETTE_BINDING = "ctrl+p"
    PAUSE_GC_ON_SCROLL = True

    def __init__(
        self,
        connect_to: Connect,
        target: str,
        *,
        readonly: bool = False,
        screen: PageName = FIRST_SCREEN,
        clock: Callable[[], float] = time,
        opening: Opening | None = None,
        memory: Memory | None = None,
    ) -> None:
        """`connect_to` makes the client to attach with; `target` is what the person called the node; `screen` is the
        page to begin with; `opening` says what to show of the node when it was opened from several."""
        super().__init__()
        self.node = NodeView(target, readonly=readonly, clock=clock)
        self.memory = memory
        """What is remembered from one time to the next; None: nothing."""
        self.table_view = AgentsView()
        self.attachment = Attachment(connect_to, self.table_view, self.post_message)
        self.history = History([Place(screen)])
        self.opening = opening
        self.also: tuple[Page, ...] = ()
        """Pages of the registry whose actions work everywhere here, besides the app's."""
        self.leaves_for_fleet = False
        """Whether the person went back to the nodes; the app has ended then."""
        self.collects = False
        """Whether Python's garbage collector is kept out of the way: of a console that has its process to itself."""
        self.failure: AttachError | None = None
        """Why the first attempt to attach failed; the app has ended then."""

        self.first_paint = asyncio.Event()
        """Set once the first picture of the first page is on the screen."""

        self.first_paint_at = 0.0
        """`time.perf_counter()` at that moment."""

        self.header = VitalsHeader(self.node)
        self.agents_page = AgentsPage(self.table_view)
        self.pages: dict[PageName, ConsolePage] = {
            "overview": OverviewPage(),
            "agents": self.agents_page,
            "detail": DetailPage(),
            "tree": TreePage(),
            "crashes": CrashesPage(),
            "findings": FindingsPage(),
            "code": CodePage(),
            "tasks": TasksScreen(),
            "groups": GroupsPage(),
            "traces": TracesPage(),
            "approvals": ApprovalsPage(),
            "audit": AuditPage(),
            "log": LogScreen(),
            "letters": LettersScreen(),
            "budgets": BudgetsScreen(),
            "names": NamesScreen(),
        }
        self.switcher = ContentSwitcher(*self.pages.values(), initial=screen)
        self.status_bar = StatusBar()
        self.key_hints = KeyHints(self.node)

    def compose(self) -> ComposeResult:
        yield self.header
        yield self.switcher
        yield self.status_bar
        yield self.key_hints

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
        self.status_bar.show([*self.page.pause(), *self.page.where()])

    def show_node(self) -> None:
        """Bring everything up to date that tells of the node as a whole."""
        self.header.update()
        self.key_hints.refresh()
        table = self.agents_page.table
        table.mark_findings(self.node.findings)
        if table.stale == self.node.is_fresh:
            table.stale = not self.node.is_fresh
            table.refresh()
        if self.page.shown:
            self.page.node_changed()

    def copy(self, text: str) -> None:
        """Put a text on the clipboard of the terminal (OSC 52)."""
        self.copy_to_clipboard(text)
        first = text.splitlines()[0] if text else ""
        self.say(f"copied {first}")
