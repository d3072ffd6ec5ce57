"""The question before one may act: why? A console begins by looking, whatever its key allows."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, Static

from observe.console.control import CONTROL_S
from observe.console.format import clock, duration
from observe.console.widgets.question import Question


class ControlDialog(Question[str]):
    """Answers with the reason, or None."""

    DEFAULT_CSS = """
    ControlDialog #until { margin: 0 0 1 0; }
    """

    def __init__(self, node: str, until: float) -> None:
        """`until` is when it will end, by this machine's clock."""
        super().__init__()
        self._node = node
        self._until = until

    def compose(self) -> ComposeResult:
        box = Vertical(classes="careful")
        box.border_title = f"Take control of {self._node}?"
        with box:
            yield Static(
                f"You may act for {duration(CONTROL_S)}, until {clock(self._until)}. "
                "The reason goes into the node's record, now and with each action.",
                id="until",
            )
            yield Input(placeholder="why?", id="why", max_length=200, compact=True)
            yield Static(id="hint")

    def on_mount(self) -> None:
        """The keys go to the reason."""
        self.query_one(Input).focus()
        self.put("hint", [[("Enter takes control    Esc goes on looking", "dim")]])

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        reason = event.value.strip()
        if reason:
            self.dismiss(reason)
        else:
            self.put("hint", [[("a reason is needed: it is what the record will say    Esc leaves", "warn")]])
