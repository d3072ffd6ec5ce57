"""The question before an asyncio task is cancelled, and what became of it. About one task, fixed when it opens."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from observe.console.attachment import Attachment
from observe.console.format import one_line
from observe.probe.errors import AttachError
from observe.probe.wire_tasks import TaskLine


class CancelDialog(ModalScreen[None]):
    """The default answer is no; yes takes a `y`, or Tab and Enter."""

    DEFAULT_CSS = """
    CancelDialog { align: center middle; }
    CancelDialog > Vertical {
        width: 72; max-width: 96%; height: auto; background: $panel; border: round $error; padding: 0 2;
        border-title-color: $error; border-title-style: bold;
    }
    CancelDialog Static { width: 100%; height: auto; }
    CancelDialog #facts { margin: 1 0; }
    CancelDialog #outcome, CancelDialog #hint { color: $text-muted; }
    CancelDialog Horizontal { height: 1; margin: 0 0 1 0; }
    CancelDialog Button { min-width: 12; margin: 0 2 0 0; background: $surface; color: $foreground; }
    CancelDialog Button:focus {
        background: $primary; color: $background; text-style: bold !important; background-tint: transparent;
    }
    CancelDialog Input, CancelDialog Input:focus { height: 1; border: none; padding: 0 1; width: 1fr; background: $surface; }
    """
    BINDINGS: ClassVar = [
        Binding("y", "confirm", "Cancel it"),
        Binding("escape", "leave", "Leave"),
        Binding("n,q", "leave", "Leave"),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    def __init__(self, task: TaskLine, attachment: Attachment, why: str = "") -> None:
        """`why` is the reason for which control was taken; it is told unless another one is given."""
        super().__init__()
        self.task_line = task
        self.is_sent = False
        self._attachment = attachment
        self._why = why

    def compose(self) -> ComposeResult:
        one = self.task_line
        box = Vertical()
        box.border_title = "Cancel this task?"
        waits = f"\nwaits for   {one.waiting_on}" if one.waiting_on else ""
        with box:
            yield Static(
                f"task        {one_line(one.name)}, number {one.id}\nruns        {one_line(one.coroutine)}\n"
                f"at          {one_line(one.place)}{one_line(waits) and waits}",
                id="facts",
                markup=False,
            )
            with Horizontal(id="buttons"):
                yield Button("No", id="no", compact=True)
                yield Button("Yes, cancel it", id="yes", compact=True)
            yield Input(
                placeholder=f"reason, else: {self._why}"
                if self._why
                else "reason, for the record (optional)",
                id="reason",
                max_length=200,
                compact=True,
            )
            yield Static(id="outcome", markup=False)
            yield Static("y cancels it    n or Esc leaves it alone    Tab moves", id="hint", markup=False)

    def on_mount(self) -> None:
        """The default answer has the focus."""
        self.query_one("#no", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Enter on a button."""
        event.stop()
        if event.button.id == "yes":
            self.action_confirm()
        else:
            self.action_leave()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Back to the buttons: a reason is no answer."""
        event.stop()
        self.query_one("#no", Button).focus()

    def action_confirm(self) -> None:
        """Send it, once."""
        if not self.is_sent:
            self.is_sent = True
            self.query_one("#buttons").display = False
            self.query_one("#reason").display = False
            self.set_focus(None)
            self._say("sent: waiting for the node …")
            self.run_worker(self._cancel(), group="cancel", exclusive=True)

    async def _cancel(self) -> None:
        node = self._attachment.node
        reason = self.query_one("#reason", Input).value.strip() or self._why
        if node is None:
            self._say("the node is not attached")
            return
        try:
            outcome = await node.cancel_task(self.task_line.id, reason)
        except AttachError as error:
            self._say(str(error))
        else:
            self._say(outcome.what)

    def _say(self, text: str) -> None:
        self.query_one("#outcome", Static).update(one_line(text))
        self.query_one("#hint", Static).update("Esc closes")

    def action_leave(self) -> None:
        """Close it; what has been sent stays sent."""
        self.dismiss(None)
