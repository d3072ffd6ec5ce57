"""Where a command's pictures go: the terminal, or stdout as plain text."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Final, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.tree import Tree

PIPE_WIDTH: Final = 100_000
"""Cells to a line when stdout is no terminal: nothing is cut there, as the reader is a program."""


def console() -> Console:
    """Where data goes: the terminal in its width, or plain text of any width."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=PIPE_WIDTH, no_color=True, force_terminal=False)


def show(picture: RenderableType) -> None:
    """Print a picture on stdout."""
    console().print(picture, soft_wrap=not isinstance(picture, (Table, Tree)) and not sys.stdout.isatty())


class Screen:
    """A picture that is replaced in place on a terminal, and printed again and again elsewhere."""

    def __init__(self, enabled: bool) -> None:
        self._console = console()
        self._live = (
            Live(console=self._console, auto_refresh=False, screen=True)
            if enabled and sys.stdout.isatty()
            else None
        )

    @property
    def width(self) -> int | None:
        """Cells in a line; None when a line may have any number."""
        return self._console.width if self._live else None

    @property
    def height(self) -> int | None:
        """Lines that there is room for; None when there is no end to them."""
        return self._console.height if self._live else None

    def update(self, picture: RenderableType) -> None:
        if self._live:
            self._live.update(picture, refresh=True)
        else:
            self._console.print(picture)
            self._console.file.flush()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
