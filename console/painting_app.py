"""What our apps share: how they take keys, and how they paint. In a theme of ours, at once, in few bytes, and without Unicode where that is wanted."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.console import RenderableType
from textual._compositor import ChopsUpdate
from textual.driver import Driver
from textual.filter import LineFilter
from textual.screen import Screen

from observe.console.keys_in_turn import KeysInTurn
from observe.console.narrow import NarrowUpdate
from observe.console.plain import AsciiFilter, wanted
from observe.console.prompt_screen import PromptScreen
from observe.console.thrift import saving
from observe.console.tones import THEMES, theme_for


class PaintingApp(KeysInTurn):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__()
        self.animation_level = "none"
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = theme_for(os.environ)
        self._plain: list[LineFilter] = [AsciiFilter()] if wanted() else []

    def get_driver_class(self) -> type[Driver]:
        """Textual's for this terminal, which then writes no style twice."""
        return saving(super().get_driver_class())

    def get_default_screen(self) -> Screen[None]:
        """One that paints at once what a key has changed."""
        return PromptScreen(id="_default")

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        """Textual's way to the terminal, for no more of a line than has changed."""
        if type(renderable) is ChopsUpdate:
            renderable = NarrowUpdate.of(renderable)
        super()._display(screen, renderable)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's, and where it is wanted one that leaves nothing but ASCII."""
        return [*super().get_line_filters(), *self._plain]
