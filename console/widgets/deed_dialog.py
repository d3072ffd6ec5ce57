"""The question before something is done to one agent, or to the node, and what became of it.

The dialog is about one pid, fixed when it opens: rows that move below it change nothing, and a successor with another
pid is never hit. The default answer is no; yes takes a `y`, or Tab and Enter. What is shown as done is what the runtime
observed; what can be undone is one key away while the dialog is open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Input, Static

from observe.console.approval_lines import question_facts
from observe.console.attachment import Attachment, Poller
from observe.console.columns import PID, Piece, Row
from observe.console.deeds import Deed, arguments_of, do
from observe.console.format import clip, duration, one_line
from observe.console.stakes import facts, restart_type
from observe.console.state import Identity
from observe.console.undoing import undoing
from observe.console.widgets.question import YesNo, fields_of, said_in
from observe.probe.errors import AttachError, RemoteError
from observe.probe.wire_actions import Acted, Change
from observe.probe.wire_agent import Detail
from observe.probe.wire_approvals import WaitingApproval, WaitingApprovals

if TYPE_CHECKING:
    from observe.console.deeds import Outcome

Stage = Literal["asking", "sent", "done", "over"]

SUCCESSOR_WITHIN_S = 10.0
"""How long we look for a successor; a supervisor restarts at once unless it backs off."""

LOOK_EVERY_S = 0.15

DECIDES = ("approve", "refuse")
"""Deeds that answer an agent which waits for a person: what it asks stands in the question."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of what became of it."""

    glyph: str
    text: str
    tone: str


class DeedDialog(YesNo[None]):
    """See the module's docstring."""

    DEFAULT_CSS = """
    DeedDialog #yes { color: $error; background: $surface; }
    DeedDialog #yes:focus { background: $error; }
    """
    BINDINGS: ClassVar = [
        Binding("u", "undo", "Undo"),
        Binding("enter", "close_when_over", show=False),
    ]

    def __init__(
        self,
        deed: Deed,
        agent: Identity | None,
        attachment: Attachment,
        node: str,
        why: str = "",
        prefilled: Mapping[str, str] | None = None,
        on: str = "",
    ) -> None:
        """`why` is the reason for which control was taken; it is told unless another one is given. `on` names the
        node among the facts, where there are several."""
        super().__init__(why)
        self.deed = deed
        self.agent = agent
        self.stage: Stage = "asking"
        self.steps: list[Step] = []
        self._attachment = attachment
        self._node_name = node
        self._prefilled = prefilled or {}
        self._on = on
        self._detail: Detail | None = None
        self._row: Row | None = None
        self._asks: list[WaitingApproval] | None = None
        self._trouble = ""
        self._ended = False
        self._undo: tuple[Deed, dict[str, Any]] | None = None
        self._poller = Poller(self._look, 1.0)

    def compose(self) -> ComposeResult:
        deed = self.deed
        box = Vertical(classes="" if deed.ends else "careful")
        box.border_title = deed.title
        with box:
            yield Static(id="facts")
            yield from fields_of(deed, self._prefilled)
            yield from self.answers(f"Yes, {self._verb} it")
            yield Static(id="steps")
            yield Static(id="hint")

    @property
    def _verb(self) -> str:
        return self.deed.id.replace("-", " ")

    @property
    def _whom(self) -> str:
        return f"#{self.agent.pid}" if self.agent is not None else self._node_name

    def on_mount(self) -> None:
        """The default answer has the focus, or the first field that has to be filled in."""
        empty = [want for want in self.deed.wants if want.needed and not self._prefilled.get(want.name)]
        self.query_one(f"#want-{empty[0].name}" if empty else "#no").focus()
        self._draw()
        self.run_worker(self._poller.run(), group="look", exclusive=True)

    # -- the facts

    async def _look(self) -> None:
        """Is it still there, and what does this touch?"""
        node, agent = self._attachment.node, self.agent
        if node is None or agent is None or self.stage != "asking":
            return
        if self._row is None:
            # The probe has the row at once, also while the node itself cannot answer.
            self._row = await self._attachment.row_of(Identity(agent.pid, None, "", 0, ""))
            self._draw()
        try:
            self._detail = await node.inspect(agent.pid, max_items=0)
            if self.deed.id in DECIDES:
                self._take(await node.approvals(), agent.pid)
            self._trouble = ""
        except RemoteError as error:
            if error.code == "no_such_agent":
                self._ended = True
                self._trouble = f"it has ended by itself meanwhile; nothing is left to {self._verb}"
                self.stage = "over"
            else:
                self._trouble = str(error)
        except AttachError as error:
            self._trouble = str(error)
        self._draw()

    def _take(self, found: WaitingApprovals, pid: int) -> None:
        """What it asks. The number of the only one is filled in: what is decided is what stands here, also when the agent
        goes on meanwhile and asks for something else."""
        first, self._asks = self._asks is None, [one for one in found.approvals if one.pid == pid]
        field = self.query_one("#want-approval", Input)
        if first and len(self._asks) == 1 and not field.value:
            field.value = str(self._asks[0].number)

    def _asked(self) -> list[list[Piece]]:
        if self._asks is None:
            return []
        said = self.query_one("#want-approval", Input).value.strip()
        return question_facts(self._asks, int(said) if said.isascii() and said.isdigit() else 0)

    def _draw(self) -> None:
        if not self.query("#facts"):
            return  # an answer that came after the dialog had been left
        if self.agent is None:
            self.put("facts", [[(f"{'node':<12}", "dim"), (self._node_name, "title")],
                               [(f"{'':<12}", "dim"), (clip(self.deed.description, 54), "text")]])  # fmt: skip
        else:
            about = facts(self.deed, self.agent, self._detail, self._row, self._trouble, self._on)
            self.put("facts", about + self._asked())
        asking = self.stage == "asking"
        for name in ("buttons", "reason", *(f"want-{want.name}" for want in self.deed.wants)):
            self.query_one(f"#{name}").display = asking
        self.put("steps", [[(f"{step.glyph} {step.text}", step.tone)] for step in self.steps])
        if asking:
            hint = f"y {_third_person(self._verb)} it    n or Esc leaves it alone    Tab moves"
        else:
            hint = "u undoes it    Esc closes" if self._undo is not None else "Esc closes"
        self.put("hint", [[(hint, "dim")]])
        if not asking and self.focused is not None:
            self.set_focus(None)

    # -- the answer

    def submitted(self, field: Input) -> None:
        """Enter behind a field goes on to the next, and at last to the default answer: it confirms nothing."""
        fields = [f"want-{want.name}" for want in self.deed.wants]
        after = fields[fields.index(field.id) + 1 :] if field.id in fields else []
        self.query_one(f"#{after[0]}" if after else "#no").focus()
        if not after and field.id in fields and self.deed.rehearses:
            self.run_worker(self._rehearse(), group="rehearse", exclusive=True)

    def action_close_when_over(self) -> None:
        """When all is over, Enter closes as well; before that it is the buttons'."""
        if self.stage in ("done", "over"):
            self.action_leave()

    def _arguments(self) -> dict[str, Any] | None:
        try:
            return arguments_of(self.deed, said_in(self, self.deed))
        except ValueError as error:
            self.steps = [Step("▲", one_line(str(error)), "warn")]
            self._draw()
            return None

    async def _rehearse(self) -> None:
        """What would be changed, before it is."""
        node, agent, arguments = self._attachment.node, self.agent, self._arguments()
        if node is None or agent is None or arguments is None:
            return
        try:
            outcome = await do(node, self.deed, agent.pid, arguments, "", dry_run=True)
        except AttachError as error:
            self.steps = [Step("✕", one_line(str(error)), "bad"), *_hint(error)]
        else:
            self.steps = [Step("○", one_line(outcome.what), "info"), *_differences(outcome)]
        self._draw()

    def action_confirm(self) -> None:
        """Do it, once."""
        if self.stage != "asking" or self._ended:
            return
        arguments = self._arguments()
        if arguments is None:
            return
        self.stage = "sent"
        self.steps = []
        self.run_worker(self._do(self.deed, arguments, self.reason), group="do")

    def action_undo(self) -> None:
        """Do what undoes it, once."""
        if self._undo is None:
            return
        (deed, arguments), self._undo = self._undo, None
        self.stage = "sent"
        self.run_worker(self._do(deed, arguments, f"undone: {self._why}"), group="do")

    def _step(self, glyph: str, text: str, tone: str) -> None:
        self.steps.append(Step(glyph, text, tone))
        self._draw()

    async def _do(self, deed: Deed, arguments: dict[str, Any], reason: str) -> None:
        node, agent = self._attachment.node, self.agent
        began = monotonic()
        self._step("○", f"asked the node to {deed.id.replace('-', ' ')} {self._whom} …", "dim")
        if node is None:
            return
        try:
            outcome = await do(node, deed, agent.pid if agent is not None else None, arguments, reason)
        except AttachError as error:
            self._step("✕", f"not {deed.done}: {one_line(str(error))}", "bad")
            self.steps += _hint(error)
            self.stage = "over"
            self._draw()
            return
        took = duration(outcome.took_s or monotonic() - began)
        glyph, tone = ("●", "good") if outcome.done else ("✕", "bad")
        self._step(glyph, f"{one_line(outcome.what)} ({took})", tone)
        self.steps += _differences(outcome)
        self.stage = "done" if outcome.done else "over"
        if deed is self.deed:
            self._undo = undoing(deed, arguments, outcome)
        self._attachment.rows.wake()
        if outcome.done and deed.ends and agent is not None:
            await self._find_successor(agent, began)
        self._draw()

    async def _find_successor(self, agent: Identity, began: float) -> None:
        if restart_type(self._detail) == "temporary":
            self._step("○", "not restarted: its child spec says temporary", "warn")
            return
        while monotonic() - began < SUCCESSOR_WITHIN_S:
            row = await self._attachment.row_of(agent)
            if row is not None and row[PID] != agent.pid:
                took = duration(monotonic() - began)
                self._step("↻", f"restarted as pid {row[PID]}, seen after {took}", "good")
                self._attachment.rows.wake()
                return
            await asyncio.sleep(LOOK_EVERY_S)
        self._step("▲", f"no successor within {SUCCESSOR_WITHIN_S:g} s", "warn")


def _third_person(verb: str) -> str:
    return "takes" if verb == "next rung" else f"{verb}s"


def _hint(error: AttachError) -> list[Step]:
    return [Step(" ", one_line(error.hint), "dim")] if error.hint else []


def _changes(outcome: Outcome) -> list[Change]:
    return outcome.diff if isinstance(outcome, Acted) else []


def _differences(outcome: Outcome) -> list[Step]:
    return [
        Step(" ", f"{one_line(change.path)}: {one_line(change.old)} → {one_line(change.new)}", "text")
        for change in _changes(outcome)[:5]
    ]
