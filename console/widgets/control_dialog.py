"""The question before one may act: why? A console begins by looking, whatever its key allows."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label

from observe.console.format import clock, duration
from observe.console.node_view import CONTROL_S


class ControlDialog(ModalScreen[str | None]):
    """Answers with the reason, or None."""

    DEFAULT_CSS = """
    ControlDialog { align: center middle; }
    ControlDialog > Vertical {
        width: 72; max-width: 96%; height: auto; background: $panel; border: round $warning; padding: 0 2;
        border-title-color: $warning; border-title-style: bold;
    }
    ControlDialog Label { width: 100%; height: auto; margin: 0 0 1 0; }
    ControlDialog Input, ControlDialog Input:focus {
        height: 1; border: none; padding: 0 1; margin: 0 0 1 0; background: $surface;
    }
    ControlDialog #hint { color: $text-muted; margin: 0; }
    """
    BINDINGS: ClassVar = [Binding("escape", "leave", "Leave")]

    def __init__(self, node: str, until: float) -> None:
        """`until` is when it will end, by this machine's clock."""
        super().__init__()
        self._node = node
        self._until = until

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = f"Take control of {self._node}?"
        with box:
            yield Label(
                f"You may act for {duration(CONTROL_S)}, until {clock(self._until)}. "
                "The reason goes into the node's record with each action."
            )
            yield Input(placeholder="why?", id="why", max_length=200, compact=True)
            yield Label("Enter takes control    Esc goes on looking", id="hint")

    def on_mount(self) -> None:
        """The keys go to the reason."""
        self.query_one(Input).focus()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        reason = event.value.strip()
        if reason:
            self.dismiss(reason)
        else:
            self.query_one("#hint", Label).update(
                "a reason is needed: it is what the record will say    Esc leaves"
            )

    def action_leave(self) -> None:
        """Go on looking."""
        self.dismiss(None)
