"""How an agent stands, for `observe inspect`: the same lines as on its page."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from observe.console.lines import Folds, Line
from observe.console.standing_lines import budget_lines, past_lines, recovery_lines, tie_lines
from observe.probe.wire_agent import Detail

STYLES = {
    "heading": "bold", "dim": "dim", "faint": "dim", "key": "dim", "strong": "bold", "bad": "red", "warn": "yellow",
    "good": "green", "info": "cyan", "spark": "cyan",
}  # fmt: skip
"""Of the tones, on a terminal whose theme we do not know."""

WIDTH = 100


def standing(content: Mapping[str, Any]) -> list[Text]:
    """Past activities, budgets, ladder and checkpoint, ties."""
    detail = Detail.from_wire(content)
    shown: list[Text] = []
    for make in (past_lines, budget_lines, recovery_lines, tie_lines):
        lines = make(detail, Folds(), WIDTH, 0.0)
        if len(lines) > 1:  # a heading alone says that there is nothing
            shown += [Text(""), *map(_text, lines)]
    return shown


def _text(line: Line) -> Text:
    return Text.assemble("  " * line.depth, *((text, STYLES.get(tone, "")) for text, tone in line.pieces))
