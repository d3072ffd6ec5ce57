"""Questions before something is done that is not about an agent, and what became of it; fixed when they open."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Button, Input, Static

from observe.console.attachment import Attachment
from observe.console.format import one_line
from observe.console.widgets.question import YesNo
from observe.probe.client import NodeClient
from observe.probe.errors import AttachError
from observe.probe.wire_actions import Acted
from observe.probe.wire_letters import DeadLetterLine
from observe.probe.wire_tasks import TaskLine


class PlainDialog(YesNo[None]):
    """Sends one command, and says what became of it."""

    QUESTION = ""
    YES = ""
    HINT = ""

    DEFAULT_CSS = """
    PlainDialog #outcome, PlainDialog #hint { color: $text-muted; }
    """

    def __init__(self, attachment: Attachment, why: str = "") -> None:
        super().__init__(why)
        self.is_sent = False
        self._attachment = attachment

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
            yield from self.answers(self.YES)
            yield Static(id="outcome", markup=False)
            yield Static(self.HINT, id="hint", markup=False)

    def on_mount(self) -> None:
        """The default answer has the focus."""
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
        if node is None:
            self._say("the node is not attached")
            return
        try:
            outcome = await self.act(node, self.reason)
        except AttachError as error:
            self._say(str(error))
        else:
            self._say(outcome.what)

    def _say(self, text: str) -> None:
        self.query_one("#outcome", Static).update(one_line(text))
        self.query_one("#hint", Static).update("Esc closes")


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
