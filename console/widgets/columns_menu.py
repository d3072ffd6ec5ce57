"""Which columns the table shows, and in which order."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.binding import Binding
from textual.widgets.option_list import Option

from observe.console.columns import BY_NAME, COLUMNS, ONLY_SORTED
from observe.console.widgets.list_menu import ListMenu, menu_line


class ColumnsMenu(ListMenu[tuple[str, ...]]):
    """Answers with the names of the columns in their order, an empty tuple for those that fit, or None."""

    DEFAULT_CSS = "ColumnsMenu > Vertical { max-height: 96%; }"
    BINDINGS: ClassVar = [
        Binding("o", "leave", show=False),
        Binding("space,x", "show_or_hide", "Show or hide", priority=True),
        Binding("enter", "accept", "Accept", priority=True),
        Binding("plus,greater_than_sign", "later", "Further right"),
        Binding("minus,less_than_sign", "sooner", "Further left"),
        Binding("0", "automatic", "Those that fit"),
    ]

    def __init__(self, chosen: Sequence[str], shown: Sequence[str]) -> None:
        """`chosen` are those chosen before, in their order; without any, `shown` are those on the screen."""
        super().__init__()
        begin = [name for name in (chosen or shown) if name in BY_NAME]
        self._order = [*begin, *(column.name for column in COLUMNS if column.name not in begin)]
        self._on = {name for name in begin if BY_NAME[name].rank != ONLY_SORTED or name in chosen}

    def heading(self) -> str:
        return "Columns    Space shows or hides, - + move, 0 automatic, Enter accepts"

    def options(self) -> Iterable[Option]:
        for name in self._order:
            mark = "✓" if name in self._on else " "
            yield Option(menu_line(mark, name, 13, BY_NAME[name].meaning), id=name)

    def _fill(self, at: int) -> None:
        self.lines.set_options(self.options())
        self.lines.highlighted = max(0, min(at, len(self._order) - 1))

    @property
    def _at(self) -> int:
        return self.lines.highlighted or 0

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

    def chosen(self, option_id: str) -> None:
        """A click shows or hides, as Space does."""
        self.action_show_or_hide()
