"""What all questions before an action look like: a box over the screen, facts as toned lines, fields of one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Generic, TypeVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widgets import Button, Input, Label, Static

from observe.console.columns import Piece
from observe.console.deeds import Deed
from observe.console.tones import tones_of

Answer = TypeVar("Answer")


class Question(ModalScreen[Answer], Generic[Answer]):
    """A box in the middle; Esc leaves without an answer."""

    DEFAULT_CSS = """
    Question { align: center middle; }
    Question > Vertical {
        width: 76; max-width: 96%; height: auto; max-height: 100%; background: $panel; border: round $error;
        padding: 0 2; border-title-color: $error; border-title-style: bold;
    }
    Question > Vertical.careful { border: round $warning; border-title-color: $warning; }
    Question Static { width: 100%; height: auto; }
    Question Input, Question Input:focus { height: 1; border: none; padding: 0 1; width: 1fr; background: $surface; }
    Question Input { margin: 0 0 1 0; }
    Question .fields { height: auto; margin: 0 0 1 0; }
    Question .fields Horizontal { height: 1; margin: 0; }
    Question .fields Label { width: 13; color: $text-muted; }
    Question .fields Input { margin: 0; }
    """
    BINDINGS: ClassVar = [Binding("escape", "leave", "Leave")]

    def action_leave(self) -> None:
        """Close. What has been sent is carried out."""
        self.dismiss(None)

    def put(self, name: str, lines: Iterable[Sequence[Piece]]) -> None:
        """Show toned lines in the part of the box with this id; a part without any is not there."""
        tones = tones_of(self.app)
        text = Text(no_wrap=True, overflow="ellipsis")
        count = 0
        for number, pieces in enumerate(lines):
            text.append("\n" if number else "")
            for part, tone in pieces:
                text.append(part, tones.style(tone, "panel"))
            count += 1
        for part_of_box in self.query(f"#{name}").results(Static):  # none: the box has been left meanwhile
            part_of_box.update(text)
            part_of_box.display = count > 0


class YesNo(Question[Answer]):
    """A question whose default answer is no; yes takes a `y`, or Tab and Enter. A reason may go with it."""

    DEFAULT_CSS = """
    YesNo #facts { margin: 1 0; }
    YesNo #buttons { height: 1; margin: 0 0 1 0; }
    YesNo Button { min-width: 12; margin: 0 2 0 0; background: $surface; color: $foreground; }
    YesNo Button:focus, YesNo #yes:focus {
        background: $primary; color: $background; text-style: bold !important; background-tint: transparent;
    }
    YesNo #reason { margin: 0; }
    """
    BINDINGS: ClassVar = [
        Binding("y", "confirm", "Yes"),
        Binding("n,q", "leave", "Leave"),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    def __init__(self, why: str = "") -> None:
        """`why` is the reason for which control was taken; it is told unless another one is given."""
        super().__init__()
        self._why = why

    def answers(self, yes: str) -> ComposeResult:
        """The two buttons, and the field of the reason."""
        with Horizontal(id="buttons"):
            yield Button("No", id="no", compact=True)
            yield Button(yes, id="yes", compact=True)
        said = f"reason, else: {self._why}" if self._why else "reason, for the record (optional)"
        yield Input(placeholder=said, id="reason", max_length=200, compact=True)

    @property
    def reason(self) -> str:
        """What the person says, else why control was taken."""
        return self.query_one("#reason", Input).value.strip() or self._why

    def action_confirm(self) -> None:
        """Yes."""
        raise NotImplementedError

    def submitted(self, field: Input) -> None:
        """Enter behind a field: back to the buttons, since a reason is no answer."""
        self.query_one("#no", Button).focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "yes":
            self.action_confirm()
        else:
            self.action_leave()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.submitted(event.input)


def fields_of(deed: Deed, prefilled: Mapping[str, str]) -> ComposeResult:
    """The fields in which a person says what a deed wants to know, each with its name. The right arrow completes a choice."""
    if not deed.wants:
        return
    with Vertical(classes="fields"):
        for want in deed.wants:
            known = SuggestFromList(want.choices, case_sensitive=False) if want.choices else None
            with Horizontal():
                yield Label(want.name.replace("_", " "))
                yield Input(prefilled.get(want.name, ""), placeholder=want.ask, id=f"want-{want.name}", suggester=known,
                            compact=True, select_on_focus=False)  # fmt: skip


def said_in(screen: ModalScreen[Answer], deed: Deed) -> dict[str, str]:
    """What stands in the fields of a deed."""
    return {want.name: screen.query_one(f"#want-{want.name}", Input).value for want in deed.wants}
