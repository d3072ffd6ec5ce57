"""The console on several nodes: all of them on one page, their agents in one table, and any one of them opened.

A node is opened as `observe attach` opens it: the same console with a connection of its own, from which `n` leads back
to where one was. Meanwhile the fleet goes on being watched, on the same loop.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import ClassVar, Final, Literal

from textual import on
from textual.app import ComposeResult
from textual.widgets import ContentSwitcher

from observe.console import keymap
from observe.console.attachment import Attachment
from observe.console.bindings import bindings_of
from observe.console.control import CONTROL_S, Taken
from observe.console.deeds import BY_ID
from observe.console.fleet_view import FleetView, Opening, totals_pieces
from observe.console.format import clock
from observe.console.keys import Action, find, rebind, rebound
from observe.console.pages.fleet import FleetAgentsPage, LinesPage, NodesPage
from observe.console.painting_app import PaintingApp
from observe.console.palette import ActionCommands
from observe.console.state import AgentsView, Identity
from observe.console.tones import DARK, LIGHT
from observe.console.widgets.bars import KeyHints, StatusBar
from observe.console.widgets.control_dialog import ControlDialog
from observe.console.widgets.deed_dialog import DeedDialog
from observe.console.widgets.help import HelpOverlay
from observe.console.widgets.piece_lines import PieceLines
from observe.probe.client import connect
from observe.probe.errors import AttachError
from observe.probe.fleet import Fleet
from observe.probe.fleet_watch import FleetWatch
from observe.probe.resolving import Sought

FleetScreen = Literal["nodes", "fleet_agents"]

REDRAW_S: Final = 0.5
_KILL: Final = find("fleet_agents", "kill")


class FleetApp(PaintingApp):
    """Totals, two pages, and the two lines at the bottom."""

    TITLE = "observe"
    CSS_PATH = "console.tcss"
    BINDINGS: ClassVar = bindings_of("fleet")
    COMMANDS = {ActionCommands}
    COMMAND_PALETTE_BINDING = "ctrl+p"

    def __init__(
        self, fleet: Fleet, view: FleetView, *, screen: FleetScreen = "nodes", says: str = ""
    ) -> None:
        """`says` is told when it opens, such as why a node could not be opened."""
        super().__init__()
        self.fleet = fleet
        self.node = view
        """For the bars and the palette: what a person may do here."""
        self.opening: Opening | None = None
        """Set when a person opened a node: the app has ended then."""
        self._says = says
        self._seen = -1
        self.totals = PieceLines(2, "header")
        self.agents_page = FleetAgentsPage(view, fleet)
        self.pages: dict[FleetScreen, LinesPage] = {
            "nodes": NodesPage(view),
            "fleet_agents": self.agents_page,
        }
        self.shown: FleetScreen = screen
        self.switcher = ContentSwitcher(*self.pages.values(), initial=screen)
        self.status_bar = StatusBar()
        self.key_hints = KeyHints(view)

    def compose(self) -> ComposeResult:
        yield self.totals
        yield self.switcher
        yield self.status_bar
        yield self.key_hints

    def on_mount(self) -> None:
        """Show the first page, and what is known already."""
        self.set_keymap(rebound())
        self._show_page(self.shown)
        self.set_interval(REDRAW_S, self.refresh_fleet)
        self.set_interval(1.0, self._end_control_in_time)
        if self._says:
            self.say(self._says, "bad")

    @property
    def page(self) -> LinesPage:
        """The page on the screen."""
        return self.pages[self.shown]

    def say(self, text: str, tone: str = "text") -> None:
        """Tell the person something, for some seconds."""
        self.status_bar.say(text, tone)

    def show_where(self) -> None:
        """Bring the status bar up to date."""
        self.status_bar.show(self.page.where())

    def refresh_fleet(self) -> None:
        """Show what the nodes have told since."""
        if self._seen != self.node.watch.version or self.shown == "nodes":
            self._seen = self.node.watch.version
            self._show_totals()
            if self.shown == "nodes":
                self.page.draw()
            self.show_where()

    def _show_totals(self) -> None:
        first, second = totals_pieces(self.node, self.size.width)
        self.totals.show(
            [*first, ("  ", "text"), self.node.mode, (f"  {clock(self.node.clock())}", "text")], second
        )

    def _show_page(self, name: FleetScreen) -> None:
        self.page.leave()
        self.shown = name
        self.switcher.current = name
        self._show_totals()
        self.page.enter()
        self.key_hints.show(name, deeper=name != "nodes")
        self.show_where()

    def open(self, opening: Opening) -> None:
        """Leave for the console on one node."""
        self.opening = opening
        self.exit()

    # -- actions of the registry

    def perform(self, action: Action) -> None:
        """Do what an action's key does, from the palette or by a click."""
        target = self if action.page == "fleet" else self.page
        self.call_later(getattr(target, f"action_{action.id}"))

    @on(KeyHints.Picked)
    def _key_clicked(self, message: KeyHints.Picked) -> None:
        self.perform(message.action)

    def action_help(self) -> None:
        """All keys of this page, and what the columns mean."""
        self.push_screen(HelpOverlay(self.page.page_name, self.node.role, barred=self.node.barred))

    def action_palette(self) -> None:
        """Every action by name."""
        self.action_command_palette()

    def action_show_nodes(self) -> None:
        """A line for each node."""
        self._show_page("nodes")

    def action_show_agents(self) -> None:
        """The agents of all nodes."""
        self._show_page("fleet_agents")

    def action_leave(self) -> None:
        """Close what is open, else go back to the nodes; from there, quit."""
        if self.page.close_inner():
            return
        if self.shown != "nodes":
            self._show_page("nodes")
        else:
            self.exit()

    async def action_back(self) -> None:
        """Close what is open, else go back to the nodes."""
        if not self.page.close_inner() and self.shown != "nodes":
            self._show_page("nodes")

    def action_toggle_theme(self) -> None:
        """Light or dark."""
        self.theme = LIGHT if self.current_theme.dark else DARK

    def sort_by(self, column: str) -> None:
        """Sort the table of agents, wherever we are."""
        if self.shown != "fleet_agents":
            self._show_page("fleet_agents")
        self.agents_page.sort_by(column)

    # -- acting

    def action_control(self) -> None:
        """Take control of all nodes, after saying why; give it back when it is ours."""
        if self.node.readonly:
            self.say("attached read-only: leave out --read-only to take control", "warn")
        elif not self.node.only_looks:
            self.node.control = None
            self.say("view mode again")
        else:
            number = len(self.fleet.nodes)
            self.push_screen(
                ControlDialog(f"{number} nodes", self.node.clock() + CONTROL_S), self._take_control
            )

    def _take_control(self, reason: str | None) -> None:
        if reason is not None:
            self.node.control = Taken(reason, self.node.clock() + CONTROL_S)
            self.say(f"you have control until {clock(self.node.control.until)}; W gives it back", "warn")
            self._show_totals()
            self.key_hints.refresh()

    def _end_control_in_time(self) -> None:
        if self.node.control is not None and self.node.only_looks:
            self.node.control = None
            self.say("control is over: view mode again; W takes it anew")
        self._show_totals()

    def ask_to_kill(self, node: str, agent: Identity) -> None:
        """The question before an agent is killed on its node; for those who may not kill, why not."""
        try:
            client = self.fleet.client(node)
        except KeyError:
            self.say(f"{node} is not attached: {self.fleet.troubles.get(node, '')}", "warn")
            return
        refused = self.node.why_not(_KILL, f"killing on {node}", client.role)
        if refused:
            self.say(refused, "warn")
        else:
            attachment = Attachment(lambda: client, AgentsView(), self.post_message)
            attachment.node = client
            why = self.node.control.reason if self.node.control is not None else ""
            self.push_screen(DeedDialog(BY_ID["kill"], agent, attachment, node, why, on=node))


async def _run(nodes: Sequence[str | Sought], readonly: bool, screen: FleetScreen) -> int:
    from observe.console.app import ObserveApp

    says = ""
    async with Fleet(nodes) as fleet, FleetWatch(fleet) as watch:
        view = FleetView(watch, readonly)
        while True:
            console = FleetApp(fleet, view, screen=screen, says=says)
            await console.run_async()
            screen, opening = console.shown, console.opening
            if opening is None:
                return console.return_code or 0
            sought = fleet.sought(opening.node)
            app = ObserveApp(
                lambda sought=sought: connect(sought, reconnect=True),  # type: ignore[misc]  # bound now
                opening.node, readonly=readonly, opening=opening,
            )  # fmt: skip
            app.collects = True
            app.node.control, app.theme = view.control, console.theme
            await app.run_async()
            view.control = app.node.control
            says = f"{opening.node}: {app.failure}" if app.failure is not None else ""
            if not app.leaves_for_fleet and app.failure is None:
                return app.return_code or 0


def run_fleet(nodes: Sequence[str | Sought], *, readonly: bool = False, screen: FleetScreen = "nodes") -> int:
    """Open the console on several nodes and return the exit status when the person leaves.

    Raises:
        AttachError: there is no terminal to draw on.
    """
    if sys.__stderr__ is None or not sys.__stderr__.isatty():
        raise AttachError(
            "the console draws on stderr, which is not a terminal here", hint="do not redirect it with 2>"
        )
    rebind(keymap.load(keymap.default_path()))
    return asyncio.run(_run(nodes, readonly, screen))
