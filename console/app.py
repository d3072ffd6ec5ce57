"""The console on one node: header, pages, and the two lines at the bottom. Opened by `observe attach`.

The connection runs in a worker and posts messages; handlers here fold them into `NodeView` and `AgentsView`, which
know no Textual, and tell the widgets concerned to paint.
"""

from __future__ import annotations

import sys
from time import monotonic, perf_counter
from typing import cast

from textual import on

from observe.console import keymap
from observe.console.app_acts import ActingApp
from observe.console.collecting import collect_at_leisure
from observe.console.columns import BY_NAME
from observe.console.exports import written
from observe.console.format import clock
from observe.console.keys import Action, rebind, rebound
from observe.console.memory import Memory, default_path
from observe.console.messages import (
    Attached,
    Failed,
    FindingsArrived,
    Happened,
    LinkChanged,
    PageArrived,
    PagePainted,
    VitalsArrived,
)
from observe.console.screens import FIRST_SCREEN, PageName, in_browser
from observe.console.tones import DARK, LIGHT
from observe.console.widgets.agents_table import AgentsTable
from observe.console.widgets.bars import KeyHints
from observe.console.widgets.export_dialog import ExportDialog
from observe.console.widgets.help import HelpOverlay
from observe.probe.client import connect
from observe.probe.errors import AttachError


class ObserveApp(ActingApp):
    """The console on one node. See `observe.console.app_base` for the classes below."""

    def on_mount(self) -> None:
        """Show the first page, and attach."""
        self.set_keymap(rebound())
        self._show_place()
        self.run_worker(self._stay_attached(), group="attachment")
        self.set_interval(1.0, self.end_control_in_time)
        if self.collects:
            self.run_worker(collect_at_leisure(self.first_paint), group="collecting")

    async def _stay_attached(self) -> None:
        try:
            await self.attachment.run()
        except AttachError as error:
            self.failure = error
            self.exit(return_code=error.exit_code)

    # -- what the node tells

    @on(Attached)
    def _attached(self, message: Attached) -> None:
        self.node.attached(message.node.info, message.node.role, self.node.clock())
        self._recall()
        self.show_node()
        self.show_opening()
        self.page.poller.wake()  # it has asked already, when there was nobody to ask
        if message.node.way:
            self.say(message.node.way)

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
        self.show_node()

    @on(VitalsArrived)
    def _vitals_arrived(self, message: VitalsArrived) -> None:
        self.node.left_out = self.attachment.left_out
        self.node.took_vitals(message.vitals, self.node.clock())
        if not self.paused:
            self.show_node()

    @on(FindingsArrived)
    def _findings_arrived(self, message: FindingsArrived) -> None:
        self.node.took_findings(message.findings, message.crashes, self.node.clock())
        if not self.paused:
            self.show_node()

    @on(PageArrived)
    def _page_arrived(self, message: PageArrived) -> None:
        self.agents_page.took(message)
        if message.ask.filter == self.table_view.filter:
            self.status_bar.take_back("filter:")  # what was half typed could not be read; this can

    @on(PagePainted)
    @on(AgentsTable.Painted)
    def _painted(self) -> None:
        self.first_paint_at = perf_counter()
        self.first_paint.set()

    @on(Happened)
    def _happened(self, message: Happened) -> None:
        if any(event.kind in ("restart", "crash", "exit") for event in message.events):
            self.table_view.ended(
                (event.pid for event in message.events if event.kind == "exit"), monotonic()
            )
            self.attachment.rows.wake()
        if any(event.kind == "finding" for event in message.events):
            self.attachment.findings.wake()

    @on(Failed)
    def _failed(self, message: Failed) -> None:
        hint = f" ({message.hint})" if message.hint else ""
        self.say(message.text + hint, "bad")

    # -- what is remembered

    def _recall(self) -> None:
        """Order, columns and theme as they were left, if they still exist."""
        kept = self.memory.of(self.node.name) if self.memory is not None else {}
        view = self.table_view
        if kept.get("sort") in BY_NAME and not view.filter:
            view.order_by(kept["sort"], descending=kept.get("descending") is True)
            self.attachment.rows.wake()
        columns = kept.get("columns")
        if isinstance(columns, list):
            view.columns = tuple(name for name in columns if name in BY_NAME)
        if kept.get("theme") in self.available_themes:
            self.theme = kept["theme"]

    def on_unmount(self) -> None:
        """Remember how it was left; a console that never attached has nothing to remember."""
        view = self.table_view
        if self.memory is not None and self.node.info is not None:
            what = {"sort": view.sort, "descending": view.descending, "columns": list(view.columns)}
            self.memory.keep(self.node.name, {**what, "theme": self.theme})

    # -- actions of the registry

    def perform(self, action: Action) -> None:
        """Do what an action's key does, from the palette or by a click."""
        if action.page == "agent":
            self.call_later(self.action_act, action.id)
            return
        here = action.page == "app" or action.page in self.also
        target = self if here else self.pages[cast(PageName, action.page)]
        self.call_later(getattr(target, f"action_{action.id}"))

    @property
    def barred(self) -> str:
        """Why nothing may be changed from here now; empty when something may."""
        return self.node.barred

    def action_help(self) -> None:
        """All keys of this page, and what the columns mean."""
        self.push_screen(HelpOverlay(self.page.page_name, self.node.role, barred=self.barred, also=self.also))

    def action_palette(self) -> None:
        """Every action by name."""
        self.action_command_palette()

    def action_pause(self) -> None:
        """Freeze this screen, or let it go on."""
        view = self.table_view
        view.paused_at = monotonic() if view.paused_at is None else None
        self.say("")  # a long message would hide that it stands still
        if view.paused_at is None:
            self.attachment.rows.wake()
            self.page.poller.wake()
            self.show_node()
        self.show_where()

    def action_export(self) -> None:
        """Write what is on the screen into a file."""
        page, screen = self.page, [strip.text for strip in self.screen._compositor.render_strips()]
        svg = self.export_screenshot(title=f"{self.node.name} {page.page_name}")
        columns, rows = page.listed()  # as it was when the key was pressed

        def said(text: str | None) -> None:
            if text is not None:
                self.say(text, "good")

        name = f"observe-{self.node.name.partition('@')[0]}-{page.page_name}-{clock(self.node.clock())}.json"
        dialog = ExportDialog(name.replace(":", ""), lambda path: written(path, columns, rows, screen, svg))
        self.push_screen(dialog, said)

    def action_toggle_theme(self) -> None:
        """Light or dark."""
        self.theme = LIGHT if self.current_theme.dark else DARK

    @on(KeyHints.Picked)
    def _key_clicked(self, message: KeyHints.Picked) -> None:
        self.perform(message.action)


def run_console(target: str, *, readonly: bool = False, screen: PageName = FIRST_SCREEN) -> int:
    """Open the console on a node and return the exit status when the person leaves.

    Raises:
        AttachError: the first attempt to attach failed, the file of keys cannot be used, or there is no terminal to draw on; nothing has been left on
            the screen.
    """
    if not in_browser() and (sys.__stderr__ is None or not sys.__stderr__.isatty()):
        # Textual draws there, so that stdout may go elsewhere.
        raise AttachError(
            "the console draws on stderr, which is not a terminal here", hint="do not redirect it with 2>"
        )
    rebind(keymap.load(keymap.default_path()))
    app = ObserveApp(
        lambda: connect(target, reconnect=True),
        target,
        readonly=readonly,
        screen=screen,
        memory=Memory(default_path()),
    )
    app.collects = True
    app.run()
    if app.failure is not None:
        raise app.failure
    return app.return_code or 0
