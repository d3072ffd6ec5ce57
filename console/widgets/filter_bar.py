"""The line in which the filter of a table is typed. It is there only while there is a filter."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Label


class FilterBar(Horizontal):
    """`/ text`, with a reminder of what can be written."""

    DEFAULT_CSS = """
    FilterBar { height: 1; display: none; background: $panel; }
    FilterBar.open { display: block; }
    FilterBar Label { width: auto; color: $primary; text-style: bold; padding: 0 0 0 1; }
    FilterBar #help { color: $text-muted; text-style: none; width: auto; }
    FilterBar Input, FilterBar Input:focus {
        width: 1fr; height: 1; border: none; padding: 0 1; background: $panel;
    }
    """

    def __init__(
        self, placeholder: str = "name, class, status, activity or pid;  mailbox>10  load>0.1  status=waiting"
    ) -> None:
        super().__init__()
        self.input = Input(
            placeholder=placeholder,
            select_on_focus=False,
            compact=True,
        )

    def compose(self) -> ComposeResult:
        yield Label("/")
        yield self.input

    @property
    def is_open(self) -> bool:
        """Whether the line is there."""
        return self.has_class("open")

    @property
    def has_focus_within(self) -> bool:
        """Whether somebody types in it."""
        return self.input.has_focus

    def open(self, text: str) -> None:
        """Show the line with a text in it, and put the keys there."""
        self.add_class("open")
        field = self.input
        if field.value != text:
            field.value = text
        field.cursor_position = len(text)
        field.focus()

    def close(self) -> None:
        """Take the line away, and the text with it."""
        self.remove_class("open")
        self.input.value = ""
