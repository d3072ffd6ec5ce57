"""The question before several agents are killed: who they are, what goes with them, and the node's name typed out.

The pids are fixed when the dialog opens. Agents that end meanwhile are not killed again, nor are their successors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from observe.console.attachment import Attachment
from observe.console.columns import Piece
from observe.console.format import one_line, plural
from observe.console.state import Identity
from observe.console.tones import tones_of
from observe.probe.errors import AttachError

LISTED = 8
"""Names shown; the others are counted."""


class KillManyDialog(ModalScreen[None]):
    """See the module's docstring."""

    DEFAULT_CSS = """
    KillManyDialog { align: center middle; }
    KillManyDialog > Vertical {
        width: 72; max-width: 96%; height: auto; background: $panel; border: round $error; padding: 0 2;
        border-title-color: $error; border-title-style: bold;
    }
    KillManyDialog Static { width: 100%; height: auto; margin: 0 0 1 0; }
    KillManyDialog Input, KillManyDialog Input:focus {
        height: 1; border: none; padding: 0 1; margin: 0 0 1 0; background: $surface;
    }
    """
    BINDINGS: ClassVar = [Binding("escape", "leave", "Leave")]

    def __init__(self, agents: Sequence[Identity], attachment: Attachment, node: str, why: str) -> None:
        super().__init__()
        self.agents = tuple(agents)
        self._attachment = attachment
        self._name = node.partition("@")[0]
        self._why = why
        self._stakes: list[Piece] = [("asking the node what goes with them …", "dim")]
        self._outcome: list[Piece] = []
        self._sent = False

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = f"Kill {plural(len(self.agents), 'agent')}?"
        with box:
            yield Static(id="who")
            yield Static(id="outcome")
            yield Input(placeholder=f"type {self._name} to kill them", id="name", compact=True)
            yield Static("Enter kills when the name is right    Esc leaves them alone", id="hint")

    def on_mount(self) -> None:
        """The keys go to the name."""
        self.query_one(Input).focus()
        self._draw()
        self.run_worker(self._look(), group="look")

    async def _look(self) -> None:
        node = self._attachment.node
        waiting = below = unknown = forever = 0
        for agent in self.agents:
            try:
                if node is None:
                    return
                detail = await node.inspect(agent.pid, max_items=0)
            except AttachError:
                unknown += 1
                continue
            waiting += detail.mailbox_total
            below += detail.children_total
            forever += (detail.spec or {}).get("restart") == "temporary"
        self._stakes = [(f"{plural(waiting, 'message')} will be lost", "warn" if waiting else "text")]
        if below:
            self._stakes.append((f"{plural(below, 'agent')} below them will end with them", "bad"))
        if forever:
            self._stakes.append((f"{forever:,} will NOT be restarted", "bad"))
        if unknown:
            self._stakes.append((f"of {unknown:,} nothing is known: ended, or not to be asked now", "warn"))
        self._draw()

    def _draw(self) -> None:
        tones = tones_of(self.app)
        lines: list[Piece] = [(f"  {one_line(agent.label)}", "strong") for agent in self.agents[:LISTED]]
        if len(self.agents) > LISTED:
            lines.append((f"  and {len(self.agents) - LISTED:,} more", "dim"))
        for name, content in (("#who", [*lines, *self._stakes]), ("#outcome", self._outcome)):
            text = Text(no_wrap=True, overflow="ellipsis")
            for number, (part, tone) in enumerate(content):
                text.append("\n" if number else "")
                text.append(part, tones.style(tone, "panel"))
            self.query_one(name, Static).update(text)
        self.query_one("#outcome").display = bool(self._outcome)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._sent:
            self.action_leave()
        elif event.value.strip() == self._name:
            self._sent = True
            self.run_worker(self._kill(), group="kill")
        else:
            self._outcome = [(f"that is not {self._name}: nothing was done", "warn")]
            self._draw()

    async def _kill(self) -> None:
        killed = 0
        failed: list[str] = []
        for agent in self.agents:
            node = self._attachment.node
            if node is None:
                break
            try:
                outcome = await node.kill(agent.pid, self._why)
            except AttachError as error:
                failed.append(f"{agent.label}: {error}")
            else:
                killed += outcome.done
                if not outcome.done:
                    failed.append(f"{agent.label}: {outcome.what}")
            self._outcome = [(f"● {killed:,} of {len(self.agents):,} killed", "good")]
            if failed:
                self._outcome.append((f"✕ {len(failed):,} not: {one_line(failed[0])}", "bad"))
            self._draw()
        self._attachment.rows.wake()
        self.query_one("#hint", Static).update("Enter or Esc closes")

    def action_leave(self) -> None:
        """Close. What has been sent is carried out."""
        self.dismiss(None)
