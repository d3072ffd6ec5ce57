"""Questions before something is done that is not about an agent, and what became of it; fixed when they open."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from observe.console.attachment import Attachment
from observe.console.format import one_line
from observe.probe.client import NodeClient
from observe.probe.errors import AttachError
from observe.probe.wire_actions import Acted
from observe.probe.wire_letters import DeadLetterLine
from observe.probe.wire_tasks import TaskLine


class PlainDialog(ModalScreen[None]):
    """The default answer is no; yes takes a `y`, or Tab and Enter."""

    QUESTION = ""
    YES = ""
    HINT = ""

    DEFAULT_CSS = """
    PlainDialog { align: center middle; }
    PlainDialog > Vertical {
        width: 72; max-width: 96%; height: auto; background: $panel; border: round $error; padding: 0 2;
        border-title-color: $error; border-title-style: bold;
    }
    PlainDialog Static { width: 100%; height: auto; }
    PlainDialog #facts { margin: 1 0; }
    PlainDialog #outcome, CancelDialog #hint { color: $text-muted; }
    PlainDialog Horizontal { height: 1; margin: 0 0 1 0; }
    PlainDialog Button { min-width: 12; margin: 0 2 0 0; background: $surface; color: $foreground; }
    PlainDialog Button:focus {
        background: $primary; color: $background; text-style: bold !important; background-tint: transparent;
    }
    PlainDialog Input, CancelDialog Input:focus { height: 1; border: none; padding: 0 1; width: 1fr; background: $surface; }
    """
    BINDINGS: ClassVar = [
        Binding("y", "confirm", "Yes"),
        Binding("escape", "leave", "Leave"),
        Binding("n,q", "leave", "Leave"),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    def __init__(self, attachment: Attachment, why: str = "") -> None:
        """`why` is the reason for which control was taken; it is told unless another one is given."""
        super().__init__()
        self.is_sent = False
        self._attachment = attachment
        self._why = why

    def facts(self) -> str:
        """What it is about."""
        raise NotImplementedError

    async def act(self, node: NodeClient, reason: str) -> Acted:
        """Do it."""
        raise NotImplementedError

    def more_fields(self) -> ComposeResult:
        """What else the person may say."""
        yield from ()

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = self.QUESTION
        with box:
            yield Static(self.facts(), id="facts", markup=False)
            yield from self.more_fields()
            with Horizontal(id="buttons"):
                yield Button("No", id="no", compact=True)
                yield Button(self.YES, id="yes", compact=True)
            yield Input(
                placeholder=f"reason, else: {self._why}"
                if self._why
                else "reason, for the record (optional)",
                id="reason",
                max_length=200,
                compact=True,
            )
            yield Static(id="outcome", markup=False)
            yield Static(self.HINT, id="hint", markup=False)

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
            for field in self.query(Input):
                field.display = False
            self.set_focus(None)
            self._say("sent: waiting for the node …")
            self.run_worker(self._act(), group="act", exclusive=True)

    async def _act(self) -> None:
        node = self._attachment.node
        reason = self.query_one("#reason", Input).value.strip() or self._why
        if node is None:
            self._say("the node is not attached")
            return
        try:
            outcome = await self.act(node, reason)
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


class CancelDialog(PlainDialog):
    """Before an asyncio task is cancelled."""

    QUESTION = "Cancel this task?"
    YES = "Yes, cancel it"
    HINT = "y cancels it    n or Esc leaves it alone    Tab moves"

    def __init__(self, task: TaskLine, attachment: Attachment, why: str = "") -> None:
        super().__init__(attachment, why)
        self.task_line = task

    def facts(self) -> str:
        one = self.task_line
        waits = f"\nwaits for   {one_line(one.waiting_on)}" if one.waiting_on else ""
        return (
            f"task        {one_line(one.name)}, number {one.id}\nruns        {one_line(one.coroutine)}\n"
            f"at          {one_line(one.place)}{waits}"
        )

    async def act(self, node: NodeClient, reason: str) -> Acted:
        return await node.cancel_task(self.task_line.id, reason)


class ResendDialog(PlainDialog):
    """Before a dead letter is sent again."""

    QUESTION = "Send this message again?"
    YES = "Yes, send it"
    HINT = "y sends it    n or Esc leaves it    Tab moves, also to whom"

    def __init__(self, letter: DeadLetterLine, attachment: Attachment, why: str = "") -> None:
        super().__init__(attachment, why)
        self.letter = letter

    def facts(self) -> str:
        one = self.letter
        heir = one_line(one.heir) or "nobody: say to whom"
        return (
            f"message     {one_line(one.type)}  {one_line(one.text)}\nwas for     {one_line(one.target)}\n"
            f"sent by     {one_line(one.sender) or 'not known'}\ngoes to     {heir}\n\n"
            "It is handled as if it was sent now, and can be sent again once."
        )

    def more_fields(self) -> ComposeResult:
        yield Input(placeholder="to another agent: name or pid", id="to", max_length=200, compact=True)

    async def act(self, node: NodeClient, reason: str) -> Acted:
        typed = self.query_one("#to", Input).value.strip()
        to = int(typed) if typed.isdecimal() else typed or self.letter.heir_pid or None
        return await node.resend(self.letter.number, to, reason)
