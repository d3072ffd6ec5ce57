"""The line in which the filter of a table is typed, and below it what may be typed next.

It is there only while there is a filter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label

from observe.console.columns import Piece
from observe.console.widgets.piece_lines import PieceLines
from observe.probe.filters import Completion, FilterError, complete, parse

KNOWN = 500
"""Values remembered of each column, to be offered again."""


class FilterInput(Input):
    """Tab takes the first of what is offered."""

    BINDINGS: ClassVar = [Binding("tab", "complete", "Complete", show=False)]

    class TabPressed(Message):
        """Somebody wants the first of what is offered."""

    def action_complete(self) -> None:
        """See the class."""
        self.post_message(self.TabPressed())


class FilterBar(Vertical):
    """`/ text`, and a line of what may come next, or of what cannot be read."""

    DEFAULT_CSS = """
    FilterBar { height: auto; display: none; background: $panel; }
    FilterBar.open { display: block; }
    FilterBar Horizontal { height: 1; }
    FilterBar PieceLines { display: none; }
    FilterBar.offering PieceLines { display: block; }
    FilterBar Label { width: auto; color: $primary; text-style: bold; padding: 0 0 0 1; }
    FilterBar Input, FilterBar Input:focus {
        width: 1fr; height: 1; border: none; padding: 0 1; background: $panel;
    }
    """

    def __init__(
        self,
        placeholder: str = "name, class, status, activity or pid;  mailbox>10  load>10%  status=waiting",
        *,
        agents: bool = True,
    ) -> None:
        """`agents`: the filter is one of the agents table, in whose language completions are offered."""
        super().__init__()
        self._agents = agents
        self.input = FilterInput(
            placeholder=placeholder,
            select_on_focus=False,
            compact=True,
        )
        self.offered = PieceLines()
        self._completions: list[Completion] = []
        self._known: dict[str, dict[str, None]] = {}

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Label("/")
            yield self.input
        yield self.offered

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
        self.offer()

    def close(self) -> None:
        """Take the line away, and the text with it."""
        self.remove_class("open", "offering")
        self.input.value = ""

    def seen(self, values: Mapping[str, Sequence[str | None]]) -> None:
        """Values of columns that were on the screen: they are offered from now on."""
        for column, texts in values.items():
            known = self._known.setdefault(column, {})
            for text in texts:
                if text and len(known) < KNOWN:
                    known[text] = None

    def offer(self) -> None:
        """Show what may be typed next, or where the filter cannot be read."""
        if not self._agents:
            return
        text, cursor = self.input.value, self.input.cursor_position
        known = {column: sorted(values) for column, values in self._known.items()}
        self._completions = complete(text, cursor, known)[:12] if self.has_focus_within else []
        pieces: list[Piece] = []
        if self._completions:
            pieces = [("   Tab ", "hotkey")]
            for number, one in enumerate(self._completions):
                pieces.append((f"{one.text}  ", "dim" if number else "strong"))
        else:
            try:
                parse(text)
            except FilterError as error:
                pieces = [(f"   {error}", "warn"), (f"  {error.hint}", "dim")]
        self.offered.show(pieces)
        self.set_class(self.is_open and bool(pieces), "offering")

    @on(FilterInput.TabPressed)
    def _tab(self, event: FilterInput.TabPressed) -> None:
        """Put the first of what is offered into the line; when nothing is, go on to the table."""
        event.stop()
        if not self._completions:
            self.screen.focus_next()
            return
        first, field = self._completions[0], self.input
        before, after = field.value[: first.start], field.value[field.cursor_position :]
        field.value = before + first.text + after
        field.cursor_position = len(before) + len(first.text)
        self.offer()
