"""Fewer bytes to the terminal: a style is told as far as it differs from the one before.

Textual writes each run of cells as a full style, its text and a reset: `ESC[38;2;r;g;b;48;2;r;g;bm` + text + `ESC[0m`, forty bytes
around a number of three. Over ssh that is what one waits for. Between two runs only what has changed is needed, most often
the colour of the letters. What the screen shows is the same to the last cell.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, TypeVar

from textual.driver import Driver

_STYLES: Final = re.compile(r"\x1b\[0m(\n?(?:\x1b\[\d+;\d+H)?)\x1b\[([0-9;]+)m|\x1b\[([0-9;]+)m")
"""The end of a run, perhaps a place to go to, and the beginning of the next run; or a beginning behind something else, before
which there was a reset that stays."""


@lru_cache(maxsize=8192)
def difference(before: str, after: str) -> str:
    """What to write to go from one style to another; both are parameters of SGR sequences that begin with everything reset."""
    if before == after:
        return ""
    plain, ink, ground = _parts(before)
    plain_after, ink_after, ground_after = _parts(after)
    if plain != plain_after or (ink and not ink_after) or (ground and not ground_after):
        return f"\x1b[0;{after}m"
    changed = [new for old, new in ((ink, ink_after), (ground, ground_after)) if old != new]
    return f"\x1b[{';'.join(changed)}m"


def _parts(style: str) -> tuple[str, str, str]:
    """Attributes, colour of letters, colour of the ground."""
    codes = style.split(";")
    plain: list[str] = []
    ink = ground = ""
    place = 0
    while place < len(codes):
        code = codes[place]
        size = 1
        if code in ("38", "48"):
            size = 5 if codes[place + 1 : place + 2] == ["2"] else 3
        number = int(code or "0")
        part = ";".join(codes[place : place + size])
        if code == "38" or 30 <= number <= 37 or number == 39 or 90 <= number <= 97:
            ink = part
        elif code == "48" or 40 <= number <= 47 or number == 49 or 100 <= number <= 107:
            ground = part
        else:
            plain.append(part)
        place += size
    return ";".join(plain), ink, ground


def thrifty(text: str) -> str:
    """The same for the terminal, in fewer bytes."""
    current = ""

    def shorter(found: re.Match[str]) -> str:
        nonlocal current
        before, current = current, found[2] or found[3]
        return found[1] + difference(before, current) if found[2] else found[0]

    return _STYLES.sub(shorter, text)


D = TypeVar("D", bound=type[Driver])


def saving(driver: D) -> D:
    """A driver like this one that writes less."""

    class Saving(driver):  # type: ignore[misc, valid-type]  # a class that is known at run time only
        def write(self, data: str) -> Any:
            return super().write(thrifty(data))

    Saving.__name__ = driver.__name__
    return Saving  # type: ignore[return-value]  # made of the driver that Textual has chosen
