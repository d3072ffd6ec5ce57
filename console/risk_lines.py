"""How much an agent could do by itself, as lines: the score with its parts, and behind Enter the criteria. Pure."""

from typing import Final

from observe.console.columns import Piece, risk_tone
from observe.console.format import bar, one_line, pad, percent
from observe.console.lines import Folds, Line, heading
from observe.probe.wire_agent import Detail
from observe.probe.wire_standing import RiskLine

BAR: Final = 10
"""Cells of a bar."""


def risk_text(risk: RiskLine) -> str:
    """`0.46, tier 2 of 4`, and what its class declares where that decides."""
    declared = (
        f", as its class declares; observed {risk.observed:.2f}" if risk.declared > risk.observed else ""
    )
    return f"{risk.score:.2f}, tier {risk.tier} of 4{declared}"


def traced_text(risk: RiskLine) -> str:
    """What of it is traced because of that; empty where the node does not trace by risk."""
    if risk.traced is None:
        return ""
    return (
        f"{percent(risk.traced)} of its messages are traced for that"
        if risk.traced
        else "not traced for that"
    )


def risk_lines(detail: Detail, folds: Folds, width: int, now: float) -> list[Line]:
    """The score, and below it each part with the criteria of which it is the mean."""
    risk = detail.risk
    if risk is None:
        return []
    title = heading("risk", "Risk", folds, risk_text(risk), risk_tone(risk.score))
    if not title.open:
        return [title]
    lines = [title]
    for part, value in risk.parts.items():
        criteria = [one for one in risk.criteria if one.part == part]
        pieces: list[Piece] = [
            (pad(one_line(part), 13), "dim"),
            (bar(value, BAR), risk_tone(value)),
            (f" {value:.2f}", "text"),
            ("  " + ", ".join(f"{one_line(one.name)} {one.value:.2f}" for one in criteria), "dim"),
        ]
        why = "\n".join(f"{one.value:.2f}  {one_line(one.name)}: {one_line(one.text)}" for one in criteria)
        lines.append(Line(f"risk/{part}", tuple(pieces), 1, full=why))
    if traced := traced_text(risk):
        lines.append(Line("risk/traced", ((traced, "dim"),), 1))
    return lines
