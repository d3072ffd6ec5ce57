"""Pictures of the screen as text files: what stands where, and in which style.

Run the tests with `OBSERVE_SNAPSHOTS=write` to accept the present screens; then look at the difference.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from rich.style import Style
from textual.app import App
from textual.widgets import Input

FOLDER = Path(__file__).parent / "snapshots"


def picture(app: App[None]) -> str:
    """The screen: its lines, and below them the same lines with a letter for the style of each cell."""
    letters: dict[str, str] = {}
    texts: list[str] = []
    styles: list[str] = []
    for strip in app.screen._compositor.render_strips():
        texts.append(strip.text.rstrip())
        styles.append("".join(_letter(letters, segment.style) * segment.cell_length for segment in strip))
    legend = [f"{letter} {style}" for style, letter in letters.items()]
    return "\n".join([*texts, "-- styles", *(line.rstrip("a") for line in styles), "-- legend", *legend, ""])


def _letter(letters: dict[str, str], style: Style | None) -> str:
    name = str(style.without_color + Style(color=style.color, bgcolor=style.bgcolor)) if style else "none"
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&*+=?@"
    return letters.setdefault(name, alphabet[len(letters) % len(alphabet)])


def assert_snapshot(app: App[None], name: str) -> None:
    """Compare the screen with the stored one of this name.

    Raises:
        AssertionError: they differ, with the difference; or there is none stored.
    """
    path = FOLDER / f"{name}.txt"
    for field in app.screen.query(Input):
        field.cursor_blink = False  # on a slow machine it may just be dark
    now = picture(app)
    if os.environ.get("OBSERVE_SNAPSHOTS") == "write":
        FOLDER.mkdir(exist_ok=True)
        path.write_text(now, encoding="utf-8")
    assert path.exists(), f"no snapshot {name}: run with OBSERVE_SNAPSHOTS=write and look at it"
    before = path.read_text(encoding="utf-8")
    if before != now:
        difference = difflib.unified_diff(before.splitlines(), now.splitlines(), "stored", "now", lineterm="")
        raise AssertionError(f"the screen {name} has changed:\n" + "\n".join(difference))
