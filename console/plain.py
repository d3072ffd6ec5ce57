"""The console without Unicode: every sign that we draw has a plain one that is told apart from the others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

VARIABLE: Final = "OBSERVE_ASCII"
"""Set to anything but nothing or 0: no sign beyond ASCII is drawn. `--ascii` sets it."""

PLAIN: Final = str.maketrans(
    {
        # states of agents and nodes: each another sign
        "◌": ":", "·": ".", "○": "o", "❄": "%", "●": "*", "◐": "~", "‖": "=", "✕": "x", "■": "#", "↻": "@",
        # marks
        "▲": "!", "▼": "v", "▌": ">", "◆": "+", "↑": "^", "↓": "v", "←": "<", "→": ">", "▾": "v", "▸": ">", "◀": "<", "▶": ">", "╌": ".", "✓": "+",
        "…": "~", "⏎": "$", "\u2013": "-", "\u00d7": "x", "µ": "u", "•": "*", "⚠": "!", "🔎": "?",
        # sparklines rise from . to #, bars are made of =
        "▁": "_", "▂": ".", "▃": ":", "▄": "-", "▅": "=", "▆": "+", "▇": "*", "█": "#",
        "▏": "|", "▎": "|", "▍": "=", "▋": "=", "▊": "=", "▉": "=", "▐": "#", "▕": "|", "▔": "-", "▪": "#",
        # frames
        "─": "-", "│": "|", "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+", "┬": "+", "┴": "+", "┼": "+",
        "╭": "+", "╮": "+", "╰": "+", "╯": "+", "━": "=", "┃": "|", "╸": "-", "╺": "-", "╶": "-", "╴": "-", "╵": "|",
        "╷": "|", "▀": "-", "▖": ".", "▗": ".", "▘": "'", "▝": "'",
    }
)  # fmt: skip


def wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this terminal is to be spared Unicode."""
    return environment.get(VARIABLE, "") not in ("", "0")


def plain(text: str) -> str:
    """`text` in ASCII, as many cells wide; what has no plain sign becomes `?`."""
    if text.isascii():
        return text
    text = text.translate(PLAIN)
    return "".join(one if one.isascii() else "?" * cell_len(one) for one in text)


class AsciiFilter(LineFilter):
    """The last thing that is done to each line of the screen."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same segments in ASCII."""
        return [
            segment
            if segment.text.isascii()
            else Segment(plain(segment.text), segment.style, segment.control)
            for segment in segments
        ]
