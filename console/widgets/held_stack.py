"""The stack of code that holds the scheduler and belongs to no agent."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label

from observe.console.format import duration
from observe.console.lines import frame_lines
from observe.console.widgets.line_view import LineView
from observe.probe.held_where import held_by_system
from observe.probe.wire import Held


class HeldStack(ModalScreen[None]):
    """Where the scheduler is stuck, as of the moment when this was opened."""

    DEFAULT_CSS = """
    HeldStack { align: center middle; }
    HeldStack > Vertical {
        width: 100; max-width: 96%; height: 80%; background: $background; border: round $error; padding: 0 1;
    }
    HeldStack Label { color: $text-muted; width: 100%; }
    """
    BINDINGS: ClassVar = [Binding("escape,q,h,enter", "leave", "Close")]

    def __init__(self, held: Held) -> None:
        super().__init__()
        self._held = held

    def compose(self) -> ComposeResult:
        where = "C code that keeps the GIL" if self._held.where == "c" else "Python code"
        who = held_by_system(self._held.where) or f"{where} outside any agent"
        with Vertical():
            yield Label(f"{who} holds the scheduler for {duration(self._held.since_s)}; Esc leaves")
            yield LineView()

    def on_mount(self) -> None:
        """Show the stack."""
        view = self.query_one(LineView)
        view.focus()
        view.show(frame_lines("held", self._held.stack, 0))

    def action_leave(self) -> None:
        """Back to the page."""
        self.dismiss(None)
