"""The conversation that an agent keeps in its state, as people read one: who said what, with tools and tokens. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from observe.console.columns import Piece
from observe.console.format import count, one_line, pad, plural
from observe.console.lines import Folds, Line, heading, wrap
from observe.probe.wire_conversations import ConversationLine, SaidLine

TONES: Final = {"user": "accent", "assistant": "good", "system": "dim", "developer": "dim", "tool": "info"}

SHOWN: Final = 10
"""Messages shown at first, the newest."""

FEW_LINES: Final = 6
"""Lines of one message shown at first."""

WHO_CELLS: Final = 10


def conversation_lines(found: Sequence[ConversationLine], folds: Folds, width: int) -> list[Line]:
    """A section for each conversation, the newest message last; none for agents that keep none."""
    lines: list[Line] = []
    for one in found:
        key = f"conversation/{one.name}"
        if lines:
            lines.append(Line(f"{key}^", ()))
        title = heading(key, "Conversation", folds, f"{one_line(one.name)}, {plural(one.total, 'message')}")
        lines.append(title)
        if title.open:
            lines += _said(key, one, folds, width)
    return lines


def _said(key: str, one: ConversationLine, folds: Folds, width: int) -> list[Line]:
    lines: list[Line] = []
    earlier, newest = one.said[:-SHOWN], one.said[-SHOWN:]
    left = one.total - len(newest)
    if earlier:
        fold = f"{key}/earlier"
        is_open = folds.is_open(fold)
        lines.append(Line(fold, ((f"{plural(left, 'message')} before these", "faint"),), 1, is_open))
        if is_open:
            if left > len(earlier):
                untold = plural(left - len(earlier), "message")
                lines.append(Line(f"{key}/untold", ((f"… {untold} before them, not told", "faint"),), 2))
            for said in earlier:
                lines += _message(f"{key}/{said.number}", said, folds, width)
    elif left > 0:
        lines.append(Line(f"{key}/untold", ((f"… {plural(left, 'message')} before these", "faint"),), 1))
    for said in newest:
        lines += _message(f"{key}/{said.number}", said, folds, width)
    return lines


def _message(key: str, said: SaidLine, folds: Folds, width: int) -> list[Line]:
    """Who, and what they said; a long text is cut until it is unfolded."""
    parts = wrap(said.text, width - WHO_CELLS - 6)
    is_long = len(parts) > FEW_LINES + 1
    is_open = folds.is_open(key) if is_long else None
    lines: list[Line] = []
    shown = parts if is_open or not is_long else parts[:FEW_LINES]
    if not said.text and said.calls:
        shown = []
    texts: list[Piece] = [(part, "text") for part in shown]
    if is_long and not is_open:
        texts.append((f"… {plural(len(parts) - FEW_LINES, 'line')} more: Enter unfolds", "faint"))
    texts += [(one_line(f"→ {call.name} {call.arguments}".rstrip()), "info") for call in said.calls]
    if said.uses:
        uses = ", ".join(
            f"{name.removesuffix('_tokens').removesuffix('_count')} {count(n)}"
            for name, n in said.uses.items()
        )
        texts.append((f"tokens: {one_line(uses)}", "dim"))
    tone = TONES.get(said.role, "text")
    for number, piece in enumerate(texts):
        who = pad("" if number else one_line(said.role), WHO_CELLS) + " "
        line_key = f"{key}|{number}" if number else key
        lines.append(
            Line(line_key, ((who, tone), piece), 1, None if number else is_open, full=said.text or piece[0])
        )
    return lines
