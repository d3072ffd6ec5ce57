"""Asks for the name of the file into which the screen goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, Static

from observe.console.widgets.question import Question


class ExportDialog(Question[str]):
    """Writes, and answers with what to say about it."""

    DEFAULT_CSS = """
    ExportDialog > Vertical { margin: 0; }
    """

    def __init__(
        self, name: str, write: Callable[[Path], int],
        title: str = "Write what is on the screen into a file",
        hint: str = "by its end: .json .csv the list, .txt .svg the screen    Enter writes",
    ) -> None:  # fmt: skip
        super().__init__()
        self._title, self._hint = title, hint
        self._name = name
        self._write = write

    def compose(self) -> ComposeResult:
        box = Vertical(classes="careful")
        box.border_title = self._title
        with box:
            yield Input(self._name, id="path", compact=True, select_on_focus=False)
            yield Static(id="hint")

    def on_mount(self) -> None:
        """The keys go to the name."""
        self.query_one(Input).focus()
        self._say(self._hint, "dim")

    def _say(self, text: str, tone: str) -> None:
        self.put("hint", [[(text, tone)]])

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        path = Path(event.value.strip()).expanduser()
        try:
            size = self._write(path)
        except FileExistsError:
            self._say(f"{path} exists, and is not overwritten", "warn")
        except (OSError, ValueError) as error:
            self._say(str(error), "warn")
        else:
            self.dismiss(f"{size:,} bytes written to {path.absolute()}")
