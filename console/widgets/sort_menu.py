"""A menu of all columns to sort by, each with what it means."""

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from observe.console.columns import COLUMNS
from observe.console.format import clip, pad


class SortMenu(ModalScreen[str | None]):
    """Answers with the name of a column, or None."""

    DEFAULT_CSS = """
    SortMenu { align: center middle; }
    SortMenu > Vertical {
        width: 76; max-width: 96%; height: auto; max-height: 90%; background: $panel; border: round $primary;
        padding: 0 1;
    }
    SortMenu Label { color: $text-muted; }
    SortMenu OptionList, SortMenu OptionList:focus {
        height: auto; max-height: 100%; border: none; background: $panel; padding: 0;
    }
    """
    BINDINGS: ClassVar = [
        Binding("escape,q,S", "leave", "Close"),
        Binding("j", "down", show=False),
        Binding("k", "up", show=False),
    ]

    def __init__(self, sort: str, descending: bool) -> None:
        super().__init__()
        self._sort = sort
        self._descending = descending

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label("Sort by    Enter chooses, the same again reverses, Esc leaves")
            yield OptionList(*(Option(self._line(column.name), id=column.name) for column in COLUMNS))

    def _line(self, name: str) -> Text:
        column = next(column for column in COLUMNS if column.name == name)
        mark = ("▼ " if self._descending else "▲ ") if name == self._sort else "  "
        text = Text(mark + pad(name, 13), no_wrap=True, overflow="ellipsis")
        text.append(clip(column.meaning, 50), style="dim")
        return text

    def on_mount(self) -> None:
        """Begin at the column that is sorted by."""
        options = self.query_one(OptionList)
        options.highlighted = [column.name for column in COLUMNS].index(self._sort)
        options.focus()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)

    def action_down(self) -> None:
        """One column down."""
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        """One column up."""
        self.query_one(OptionList).action_cursor_up()

    def action_leave(self) -> None:
        """Sort as before."""
        self.dismiss(None)
