"""A menu over the page: a line of what it is for, and below it lines to choose from, with the arrows or `j` and `k`."""

from collections.abc import Iterable
from typing import ClassVar, Generic, TypeVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from observe.console.format import clip, pad

LINE_CELLS = 70
"""Cells of a line in a terminal of 80 columns, inside its border and beside a scroll bar."""

Answer = TypeVar("Answer")


class ListMenu(ModalScreen[Answer | None], Generic[Answer]):
    """Answers with what was chosen, or with None. Give it a `heading` and `options`."""

    DEFAULT_CSS = """
    ListMenu { align: center middle; }
    ListMenu > Vertical {
        width: 76; max-width: 96%; height: auto; max-height: 90%; background: $panel; border: round $primary;
        padding: 0 1;
    }
    ListMenu Label { color: $text-muted; }
    ListMenu OptionList, ListMenu OptionList:focus {
        height: auto; max-height: 100%; border: none; background: $panel; padding: 0;
    }
    """
    BINDINGS: ClassVar = [
        Binding("escape,q", "leave", "Close"),
        Binding("j", "down", show=False),
        Binding("k", "up", show=False),
    ]

    def heading(self) -> str:
        """What it is for, and its keys."""
        raise NotImplementedError

    def options(self) -> Iterable[Option]:
        """The lines to choose from."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label(self.heading())
            yield OptionList(*self.options())

    @property
    def lines(self) -> OptionList:
        """The list."""
        return self.query_one(OptionList)

    def on_mount(self) -> None:
        """The keys go to the list."""
        self.lines.focus()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.chosen(event.option_id or "")

    def chosen(self, option_id: str) -> None:
        """Enter was pressed on this line, or it was clicked."""
        raise NotImplementedError

    def action_down(self) -> None:
        """One line down."""
        self.lines.action_cursor_down()

    def action_up(self) -> None:
        """One line up."""
        self.lines.action_cursor_up()

    def action_leave(self) -> None:
        """Nothing is chosen; all stays as it was."""
        self.dismiss(None)


def menu_line(before: str, name: str, name_width: int, meaning: str) -> Text:
    """A line of a menu: a mark or a key, the name, and faintly what it means."""
    text = Text(f"{before} {pad(name, name_width)}", no_wrap=True, overflow="ellipsis")
    text.append(clip(meaning, LINE_CELLS - text.cell_len), style="dim")
    return text
