"""The question before something is done to several agents: who they are, what goes with them, the node's name typed out.

The pids are fixed when the dialog opens. Agents that end meanwhile are not hit again, nor are their successors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Input, Static

from observe.console.attachment import Attachment
from observe.console.columns import Piece
from observe.console.deeds import Deed, arguments_of, do, question_of_several
from observe.console.format import one_line, plural
from observe.console.stakes import names, summed
from observe.console.state import Identity
from observe.console.widgets.question import Question, fields_of, said_in
from observe.probe.errors import AttachError
from observe.probe.wire_agent import Detail


class DeedsDialog(Question[None]):
    """See the module's docstring."""

    DEFAULT_CSS = """
    DeedsDialog Static { margin: 0 0 1 0; }
    """
    BINDINGS: ClassVar = [Binding("escape", "leave", "Leave")]

    def __init__(
        self,
        deed: Deed,
        agents: Sequence[Identity],
        attachment: Attachment,
        node: str,
        why: str,
        prefilled: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.deed = deed
        self.agents = tuple(agents)
        self._attachment = attachment
        self._name = node.partition("@")[0]
        self._why = why
        self._prefilled = prefilled or {}
        self._stakes: list[Piece] = [("asking the node what goes with them …", "dim")] if deed.ends else []
        self._outcome: list[Piece] = []
        self._sent = False

    @property
    def _verb(self) -> str:
        return self.deed.id.replace("-", " ")

    def compose(self) -> ComposeResult:
        box = Vertical(classes="" if self.deed.ends else "careful")
        box.border_title = question_of_several(self.deed, plural(len(self.agents), "agent"))
        with box:
            yield Static(id="who")
            yield Static(id="outcome")
            yield from fields_of(self.deed, self._prefilled)
            yield Input(placeholder=f"type {self._name} to {self._verb} them", id="name", compact=True)
            yield Static(id="hint")

    def on_mount(self) -> None:
        """The keys go to the first field."""
        self.query(Input).first().focus()
        self._draw()
        if self.deed.ends:
            self.run_worker(self._look(), group="look")

    async def _look(self) -> None:
        node = self._attachment.node
        if node is None:
            return
        details: list[Detail | None] = []
        for agent in self.agents:
            try:
                details.append(await node.inspect(agent.pid, max_items=0))
            except AttachError:
                details.append(None)
        self._stakes = summed(details)
        self._draw()

    def _draw(self, hint: str = "Enter behind the right name does it    Esc leaves them alone") -> None:
        self.put("who", [[piece] for piece in (*names(self.agents), *self._stakes)])
        self.put("outcome", [[piece] for piece in self._outcome])
        self.put("hint", [[("Enter or Esc closes" if self._sent else hint, "dim")]])

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._sent:
            self.action_leave()
        elif event.input.id != "name":
            self.focus_next(Input)
        elif event.value.strip() != self._name:
            self._outcome = [(f"that is not {self._name}: nothing was done", "warn")]
            self._draw()
        else:
            try:
                arguments = arguments_of(self.deed, said_in(self, self.deed))
            except ValueError as error:
                self._outcome = [(one_line(str(error)), "warn")]
                self._draw()
                return
            self._sent = True
            self.run_worker(self._do(arguments), group="do")

    async def _do(self, arguments: Mapping[str, object]) -> None:
        done = 0
        failed: list[str] = []
        for agent in self.agents:
            node = self._attachment.node
            if node is None:
                break
            try:
                outcome = await do(node, self.deed, agent.pid, arguments, self._why)
            except AttachError as error:
                failed.append(f"{agent.label}: {error}")
            else:
                done += outcome.done
                if not outcome.done:
                    failed.append(f"{agent.label}: {outcome.what}")
            self._outcome = [(f"● {done:,} of {len(self.agents):,} {self.deed.done}", "good")]
            if failed:
                self._outcome.append((f"✕ {len(failed):,} not: {one_line(failed[0])}", "bad"))
            self._draw()
        self._attachment.rows.wake()
