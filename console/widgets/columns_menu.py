"""Which columns the table shows, and in which order."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from observe.console.columns import BY_NAME, COLUMNS, ONLY_SORTED
from observe.console.format import clip, pad


class ColumnsMenu(ModalScreen[tuple[str, ...] | None]):
    """Answers with the names of the columns in their order, an empty tuple for those that fit, or None."""

    DEFAULT_CSS = """
    ColumnsMenu { align: center middle; }
    ColumnsMenu > Vertical {
        width: 76; max-width: 96%; height: auto; max-height: 96%; background: $panel; border: round $primary;
        padding: 0 1;
    }
    ColumnsMenu Label { color: $text-muted; }
    ColumnsMenu OptionList, ColumnsMenu OptionList:focus {
        height: auto; max-height: 100%; border: none; background: $panel; padding: 0;
    }
    """
    BINDINGS: ClassVar = [
        Binding("escape,q,o", "leave", "Close"),
        Binding("space,x", "show_or_hide", "Show or hide", priority=True),
        Binding("enter", "accept", "Accept", priority=True),
        Binding("plus,greater_than_sign", "later", "Further right"),
        Binding("minus,less_than_sign", "sooner", "Further left"),
        Binding("0", "automatic", "Those that fit"),
        Binding("j", "down", show=False),
        Binding("k", "up", show=False),
    ]

    def __init__(self, chosen: Sequence[str], shown: Sequence[str]) -> None:
        """`chosen` are those chosen before, in their order; without any, `shown` are those on the screen."""
        super().__init__()
        begin = [name for name in (chosen or shown) if name in BY_NAME]
        self._order = [*begin, *(column.name for column in COLUMNS if column.name not in begin)]
        self._on = {name for name in begin if BY_NAME[name].rank != ONLY_SORTED or name in chosen}

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label("Columns    Space shows or hides, - + move, 0 automatic, Enter accepts")
            yield OptionList()

    def on_mount(self) -> None:
        """Begin at the first."""
        self._fill(0)
        self.query_one(OptionList).focus()

    def _fill(self, at: int) -> None:
        options = self.query_one(OptionList)
        options.set_options([Option(self._line(name), id=name) for name in self._order])
        options.highlighted = max(0, min(at, len(self._order) - 1))

    def _line(self, name: str) -> Text:
        text = Text(f"{'✓' if name in self._on else ' '} {pad(name, 13)}", no_wrap=True, overflow="ellipsis")
        text.append(clip(BY_NAME[name].meaning, 52), style="dim")
        return text

    @property
    def _at(self) -> int:
        return self.query_one(OptionList).highlighted or 0

    def action_show_or_hide(self) -> None:
        """Show the column, or hide it."""
        self._on ^= {self._order[self._at]}
        self._fill(self._at)

    def _move(self, step: int) -> None:
        at = self._at
        to = at + step
        if 0 <= to < len(self._order):
            self._order[at], self._order[to] = self._order[to], self._order[at]
            self._fill(to)

    def action_later(self) -> None:
        """Move the column to the right."""
        self._move(1)

    def action_sooner(self) -> None:
        """Move the column to the left."""
        self._move(-1)

    def action_automatic(self) -> None:
        """Those that fit, as at first."""
        self.dismiss(())

    def action_accept(self) -> None:
        """Show these, in this order."""
        self.dismiss(tuple(name for name in self._order if name in self._on))

    def action_down(self) -> None:
        """One line down."""
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        """One line up."""
        self.query_one(OptionList).action_cursor_up()

    def action_leave(self) -> None:
        """As before."""
        self.dismiss(None)
