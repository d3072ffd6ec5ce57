"""The question before code is reloaded, with what it would touch; then how it goes, and what became of it.

The modules are fixed when it opens. The node first only loads and compares, so that what is confirmed has been seen; a
rollback, of which there is nothing to compare, names what it takes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import ClassVar, Final, Literal

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Button, Static

from observe.console.attachment import Attachment
from observe.console.code_lines import preview_pieces
from observe.console.columns import Piece
from observe.console.format import clip, duration, one_line
from observe.console.widgets.question import YesNo
from observe.probe.errors import AttachError
from observe.probe.wire_reload import ReloadDone

Stage = Literal["looking", "asking", "sent", "over"]

TICK_S: Final = 0.25


class ReloadDialog(YesNo[bool]):
    """Answers with whether anything was changed."""

    DEFAULT_CSS = """
    ReloadDialog > Vertical { width: 90; }
    ReloadDialog #yes { color: $warning; }
    """
    BINDINGS: ClassVar = [
        Binding("u", "undo", "Undo"),
        Binding("enter", "close_when_over", show=False),
    ]

    def __init__(
        self, modules: Sequence[str], attachment: Attachment, why: str = "", *, rollback: bool = False
    ) -> None:
        """`why` is the reason for which control was taken; it is told unless another one is given."""
        super().__init__(why)
        self.modules = list(modules)
        self.stage: Stage = "asking" if rollback else "looking"
        self._rollback = rollback
        self._attachment = attachment
        self._plan: ReloadDone | None = None
        self._result: list[Piece] = []
        self._began = monotonic()
        self._changed = False
        self._can_undo = False

    def compose(self) -> ComposeResult:
        box = Vertical(classes="careful")
        box.border_title = "Undo the newest reload?" if self._rollback else "Reload this code?"
        with box:
            yield Static(id="facts")
            yield from self.answers("Yes, undo it" if self._rollback else "Yes, reload it")
            yield Static(id="outcome")
            yield Static(id="hint")

    def on_mount(self) -> None:
        """The default answer has the focus; what it would change is asked for at once."""
        self.query_one("#no", Button).focus()
        self.set_interval(TICK_S, self._tick)
        self._draw()
        if not self._rollback:
            self.run_worker(self._look(), group="look", exclusive=True)

    def _tick(self) -> None:
        if self.stage in ("looking", "sent"):
            self._draw()

    async def _look(self) -> None:
        node = self._attachment.node
        try:
            if node is None:
                raise ValueError("the node is not attached")
            self._plan = await node.reload(self.modules, dry_run=True, reason=self.reason)
        except (AttachError, ValueError) as error:
            self._over(str(error), "bad")
            return
        if self._plan.refusals:
            self._over("nothing was changed", "dim")
            return
        self.stage = "asking"
        self._draw()

    def _over(self, text: str, tone: str) -> None:
        self.stage = "over"
        glyph = {"good": "●", "bad": "✕"}.get(tone, "·")
        self._result = [(f"{glyph} {one_line(text)}", tone)]
        self._draw()

    # -- drawing

    def _draw(self) -> None:
        cells = max(20, self.size.width * 96 // 100 - 18) if self.size.width < 94 else 72
        names = clip(one_line(", ".join(self.modules)), cells)
        facts: list[list[Piece]] = [[(f"{'modules':<10}", "key"), (names, "strong")]]
        if self._plan is not None:
            facts += [
                [
                    (part, tone) if at == 0 else (clip(part, cells), tone)
                    for at, (part, tone) in enumerate(line)
                ]
                for line in preview_pieces(self._plan)
            ]
        elif self._rollback:
            facts.append(
                [("          their code is as it was before, to the last object; states stay", "dim")]
            )
        self.put("facts", facts)
        asking = self.stage in ("looking", "asking")
        for name in ("buttons", "reason"):
            for part in self.query(f"#{name}"):
                part.display = asking
        since = duration(monotonic() - self._began)
        outcome: list[list[Piece]] = []
        if self.stage == "looking":
            outcome = [[(f"◌ the node loads it beside the old and compares, {since} …", "info")]]
        elif self.stage == "sent":
            outcome = [[(f"◌ sent: agents pause between two messages, {since} …", "info")]]
        elif self.stage == "over":
            outcome = [self._result]
        self.put("outcome", outcome)
        hint = {
            "looking": "Esc leaves",
            "asking": "y does it    n or Esc leaves it    Tab moves",
            "sent": "Esc closes; what was sent is carried out, or given up as a whole",
            "over": "u undoes it    Esc closes" if self._can_undo else "Esc closes",
        }[self.stage]
        self.put("hint", [[(hint, "dim")]])

    # -- answers

    def action_confirm(self) -> None:
        """Send it, once, and only after what it touches was shown."""
        if self.stage == "asking":
            self._send(self._rollback)

    def action_undo(self) -> None:
        """Take back what was just done."""
        if self._can_undo:
            self._can_undo = False
            self._send(True)

    def _send(self, rollback: bool) -> None:
        self.stage, self._began = "sent", monotonic()
        self.set_focus(None)
        self._draw()
        self.run_worker(self._do(rollback, self.reason), group="reload", exclusive=True)

    async def _do(self, rollback: bool, reason: str) -> None:
        node = self._attachment.node
        try:
            if node is None:
                raise ValueError("the node is not attached")
            done = await node.reload(self.modules, rollback=rollback, reason=reason)
        except AttachError as error:
            self._over(f"{error}{f'; {error.hint}' if error.hint else ''}", "bad")
            return
        except ValueError as error:
            self._over(str(error), "bad")
            return
        self._changed = True
        self._can_undo = not rollback
        self._over(
            f"{done.what}; paused for {duration(done.paused_s)}, {duration(done.took_s)} in all", "good"
        )

    def action_close_when_over(self) -> None:
        """Enter, once there is nothing more to answer."""
        if self.stage == "over":
            self.action_leave()

    def action_leave(self) -> None:
        """Close it; what has been sent is carried out."""
        self.dismiss(self._changed or self.stage == "sent")
