"""The question before an agent is killed, and what became of it.

The dialog is about one pid, fixed when it opens: rows that move below it change nothing, and a successor with another
pid is never hit. The default answer is no; yes takes a `y`, or Tab and Enter.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import ClassVar, Literal

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from observe.console.attachment import Attachment, Poller
from observe.console.columns import MAILBOX, PID, SUPERVISOR, Piece, Row
from observe.console.format import duration, one_line, plural
from observe.console.lines import wrap
from observe.console.state import Identity
from observe.console.tones import tones_of
from observe.probe.errors import AttachError, RemoteError
from observe.probe.wire import Detail

Stage = Literal["asking", "sent", "done", "over"]

SUCCESSOR_WITHIN_S = 10.0
"""How long we look for a successor; a supervisor restarts at once unless it backs off."""

LOOK_EVERY_S = 0.15


@dataclass(frozen=True, slots=True)
class Step:
    """One line of what became of the kill."""

    glyph: str
    text: str
    tone: str


def _lost(waiting: int) -> Piece:
    if not waiting:
        return ("empty: nothing will be lost", "text")
    return (f"{plural(waiting, 'message')} will be lost", "warn")


class KillDialog(ModalScreen[None]):
    """See the module's docstring."""

    DEFAULT_CSS = """
    KillDialog { align: center middle; }
    KillDialog > Vertical {
        width: 72; max-width: 96%; height: auto; background: $panel; border: round $error; padding: 0 2;
        border-title-color: $error; border-title-style: bold;
    }
    KillDialog Static { width: 100%; height: auto; }
    KillDialog #facts { margin: 1 0; }
    KillDialog Horizontal { height: 1; margin: 0 0 1 0; }
    KillDialog Button { min-width: 12; margin: 0 2 0 0; background: $surface; color: $foreground; }
    KillDialog #yes { color: $error; background: $surface; }
    KillDialog Button:focus, KillDialog #yes:focus {
        background: $primary; color: $background; text-style: bold !important; background-tint: transparent;
    }
    KillDialog #yes:focus { background: $error; }
    KillDialog Input, KillDialog Input:focus { height: 1; border: none; padding: 0 1; width: 1fr; background: $surface; }
    """
    BINDINGS: ClassVar = [
        Binding("y", "confirm", "Kill"),
        Binding("escape", "leave", "Leave"),
        Binding("n,q", "leave", "Leave"),
        Binding("enter", "close_when_over", show=False),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    def __init__(self, agent: Identity, attachment: Attachment, why: str = "", on: str = "") -> None:
        """`why` is the reason for which control was taken; it is told unless another one is given. `on` names the
        node, where there are several."""
        super().__init__()
        self.agent = agent
        self.stage: Stage = "asking"
        self.steps: list[Step] = []
        self._attachment = attachment
        self._why = why
        self._on = on
        self._detail: Detail | None = None
        self._row: Row | None = None
        self._trouble = ""
        self._ended = False
        self._poller = Poller(self._look, 1.0)

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = "Kill this agent?"
        with box:
            yield Static(id="facts")
            with Horizontal(id="buttons"):
                yield Button("No", id="no", compact=True)
                yield Button("Yes, kill it", id="yes", compact=True)
            yield Input(
                placeholder=f"reason, else: {self._why}"
                if self._why
                else "reason, for the record (optional)",
                id="reason",
                max_length=200,
                compact=True,
            )
            yield Static(id="steps")
            yield Static(id="hint")

    def on_mount(self) -> None:
        """The default answer has the focus."""
        self.query_one("#no", Button).focus()
        self._draw()
        self.run_worker(self._poller.run(), group="look", exclusive=True)

    # -- the facts

    async def _look(self) -> None:
        """Is it still there, and what would be lost?"""
        node = self._attachment.node
        if node is None or self.stage != "asking":
            return
        if self._row is None:
            # The probe has the row at once, also while the node itself cannot answer.
            self._row = await self._attachment.row_of(Identity(self.agent.pid, None, "", 0, ""))
            self._draw()
        try:
            self._detail = await node.inspect(self.agent.pid, max_items=0)
            self._trouble = ""
        except RemoteError as error:
            if error.code == "no_such_agent":
                self._ended = True
                self._trouble = "it has ended by itself meanwhile; nothing is left to kill"
                self.stage = "over"
            else:
                self._trouble = str(error)
        except AttachError as error:
            self._trouble = str(error)
        self._draw()

    def _facts(self) -> list[list[Piece]]:
        agent, detail = self.agent, self._detail
        name = agent.name or agent.child
        rows: list[tuple[str, list[Piece]]] = [
            ("agent", [(f"{one_line(name)} " if name else "", "title"), (f"pid {agent.pid}", "strong")]),
            ("class", [(agent.class_name, "text")]),
        ]
        if self._on:
            rows.insert(0, ("node", [(one_line(self._on), "strong")]))
        if detail is None:
            if self._row is not None:
                rows.append(("supervisor", [(f"#{self._row[SUPERVISOR]}", "text")]))
                rows.append(("mailbox", [_lost(self._row[MAILBOX])]))
            text = self._trouble or "asking the node what its supervisor will do …"
            rows += [
                ("" if number else "restart", [(part, "warn" if self._trouble else "dim")])
                for number, part in enumerate(wrap(text, 54))
            ]
        else:
            rows += self._facts_of(detail)
        return [[(f"{label:<12}", "dim"), *pieces] for label, pieces in rows]

    def _facts_of(self, detail: Detail) -> list[tuple[str, list[Piece]]]:
        restart = str((detail.spec or {}).get("restart", ""))
        after = {
            "permanent": ("its supervisor will restart it", "good"),
            "transient": ("its supervisor will restart it", "good"),
            "temporary": ("it will NOT be restarted", "bad"),
        }.get(restart, ("what its supervisor does is not known", "warn"))
        supervisor = detail.supervisor
        if supervisor is None:
            rows: list[tuple[str, list[Piece]]] = [
                ("supervisor", [("none: this is the root, and all of the node's agents end with it", "bad")])
            ]
        else:
            above = f"{supervisor.name or supervisor.class_name} #{supervisor.pid}"
            rows = [("supervisor", [(above, "text")]), ("restart", [(f"{restart or '?'}: ", "text"), after])]
        rows.append(("mailbox", [_lost(detail.mailbox_total)]))
        if detail.children_total:
            rows.append(("children", [(f"{plural(detail.children_total, 'agent')} will end with it", "bad")]))
        for activity in detail.activities[:1]:
            rows.append(("now", [(f"{one_line(activity.name)} for {duration(activity.since_s)}", "info")]))
        if self._trouble:
            rows += [("", [(part, "warn")]) for part in wrap(self._trouble, 54)]
        return rows

    def _draw(self) -> None:
        tones = tones_of(self.app)
        facts = Text(no_wrap=True, overflow="ellipsis")
        for number, pieces in enumerate(self._facts()):
            facts.append("\n" if number else "")
            for text, tone in pieces:
                facts.append(text, tones.style(tone, "panel"))
        self.query_one("#facts", Static).update(facts)
        asking = self.stage == "asking"
        self.query_one("#buttons").display = asking
        self.query_one("#reason").display = asking
        steps = Text()
        for number, step in enumerate(self.steps):
            steps.append("\n" if number else "")
            steps.append(f"{step.glyph} {step.text}", tones.style(step.tone, "panel"))
        self.query_one("#steps", Static).update(steps)
        self.query_one("#steps").display = bool(self.steps)
        hint = "y kills it    n or Esc leaves it alone    Tab moves" if asking else "Esc closes"
        self.query_one("#hint", Static).update(Text(hint, tones.style("dim", "panel")))
        if not asking and self.focused is not None:
            self.set_focus(None)

    # -- the answer

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Enter on a button."""
        event.stop()
        if event.button.id == "yes":
            self.action_confirm()
        else:
            self.action_leave()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter behind the reason goes back to the default answer: it confirms nothing."""
        event.stop()
        self.query_one("#no", Button).focus()

    def action_leave(self) -> None:
        """Close. What has been sent cannot be called back."""
        self.dismiss(None)

    def action_close_when_over(self) -> None:
        """When all is over, Enter closes as well; before that it is the buttons'."""
        if self.stage in ("done", "over"):
            self.action_leave()

    def action_confirm(self) -> None:
        """Kill it, once."""
        if self.stage != "asking" or self._ended:
            return
        self.stage = "sent"
        reason = self.query_one("#reason", Input).value.strip() or self._why
        self.run_worker(self._kill(reason), group="kill")

    def _step(self, glyph: str, text: str, tone: str) -> None:
        self.steps.append(Step(glyph, text, tone))
        self._draw()

    async def _kill(self, reason: str) -> None:
        node = self._attachment.node
        began = monotonic()
        self._step("○", f"asked the node to kill #{self.agent.pid} …", "dim")
        if node is None:
            return
        try:
            outcome = await node.kill(self.agent.pid, reason)
        except AttachError as error:
            self._step("✕", f"not killed: {error}", "bad")
            if error.hint:
                self._step(" ", error.hint, "dim")
            self.stage = "over"
            self._draw()
            return
        took = duration(outcome.took_s or monotonic() - began)
        self._step(
            "●" if outcome.done else "✕",
            f"{one_line(outcome.what)} ({took})",
            "good" if outcome.done else "bad",
        )
        self.stage = "done" if outcome.done else "over"
        self._attachment.rows.wake()
        if outcome.done:
            await self._find_successor(began)
        self._draw()

    async def _find_successor(self, began: float) -> None:
        restart = str(((self._detail.spec if self._detail else None) or {}).get("restart", ""))
        if restart == "temporary":
            self._step("○", "not restarted: its child spec says temporary", "warn")
            return
        while monotonic() - began < SUCCESSOR_WITHIN_S:
            row = await self._attachment.row_of(self.agent)
            if row is not None and row[PID] != self.agent.pid:
                took = duration(monotonic() - began)
                self._step("↻", f"restarted as pid {row[PID]}, seen after {took}", "good")
                self._attachment.rows.wake()
                return
            await asyncio.sleep(LOOK_EVERY_S)
        self._step("▲", f"no successor within {SUCCESSOR_WITHIN_S:g} s", "warn")
