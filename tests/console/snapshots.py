"""Pictures of the screen as text files: what stands where, and in which style, in the dark and in the light.

Run the tests with `OBSERVE_SNAPSHOTS=write` to accept the present screens; then look at the difference.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from rich.style import Style
from textual.app import App
from textual.widgets import Input

FOLDER = Path(__file__).parent / "snapshots"

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&*+=?@"

Picture = list[tuple[str, list[str]]]
"""Of each line its text, and the style of each of its cells."""

Pictures = dict[str, Picture]
"""By the name of the screen."""


def picture(app: App[None]) -> Picture:
    """The screen as it is now."""
    for field in app.screen.query(Input):
        field.cursor_blink = False  # on a slow machine it may just be dark
    lines: Picture = []
    for strip in app.screen._compositor.render_strips():
        styles = [name for part in strip for name in [_named(part.style)] * part.cell_length]
        lines.append((strip.text.rstrip(), styles))
    return lines


def _named(style: Style | None) -> str:
    return str(style.without_color + Style(color=style.color, bgcolor=style.bgcolor)) if style else "none"


def written(pictures: Sequence[Picture]) -> str:
    """The lines, and below them the same lines with a letter for what each cell looks like in all pictures.

    Raises:
        AssertionError: not all of them have the same text.
    """
    first, *others = [[text for text, _ in lines] for lines in pictures]
    for other in others:
        assert other == first, "not the same text in each theme:\n" + _difference(first, other)
    letters: dict[tuple[str, ...], str] = {}
    styles = []
    for lines in zip(*pictures, strict=True):
        cells = zip(*(cell_styles for _, cell_styles in lines), strict=True)
        styles.append(
            "".join(letters.setdefault(cell, LETTERS[len(letters) % len(LETTERS)]) for cell in cells)
        )
    legend = [f"{letter} {' | '.join(looks)}" for looks, letter in letters.items()]
    return "\n".join([*first, "-- styles", *(line.rstrip("a") for line in styles), "-- legend", *legend, ""])


def assert_snapshot(name: str, *pictures: Picture) -> None:
    """Compare pictures of one screen, in one or several themes, with the stored ones of this name.

    Raises:
        AssertionError: they differ, with the difference; or there is none stored.
    """
    path, now = FOLDER / f"{name}.txt", written(pictures)
    if os.environ.get("OBSERVE_SNAPSHOTS") == "write":
        FOLDER.mkdir(exist_ok=True)
        path.write_text(now, encoding="utf-8")
    assert path.exists(), f"no snapshot {name}: run with OBSERVE_SNAPSHOTS=write and look at it"
    before = path.read_text(encoding="utf-8")
    assert before == now, f"the screen {name} has changed:\n" + _difference(
        before.splitlines(), now.splitlines()
    )


def _difference(before: Sequence[str], now: Sequence[str]) -> str:
    return "\n".join(difflib.unified_diff(before, now, "stored", "now", lineterm=""))
