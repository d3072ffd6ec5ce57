"""A menu of all columns to sort by, each with what it means."""

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding
from textual.widgets.option_list import Option

from observe.console.columns import COLUMNS
from observe.console.widgets.list_menu import ListMenu, menu_line


class SortMenu(ListMenu[str]):
    """Answers with the name of a column, or None."""

    BINDINGS: ClassVar = [Binding("S", "leave", show=False)]

    def __init__(self, sort: str, descending: bool) -> None:
        super().__init__()
        self._sort = sort
        self._mark = "▼" if descending else "▲"

    def heading(self) -> str:
        return "Sort by    Enter chooses, the same again reverses, Esc leaves"

    def options(self) -> Iterable[Option]:
        for column in COLUMNS:
            mark = self._mark if column.name == self._sort else " "
            yield Option(menu_line(mark, column.name, 13, column.meaning), id=column.name)

    def on_mount(self) -> None:
        """Begin at the column that is sorted by."""
        self.lines.highlighted = [column.name for column in COLUMNS].index(self._sort)

    def chosen(self, option_id: str) -> None:
        self.dismiss(option_id)
