"""The conversation that an agent keeps in its state, as people read one: who said what, with tools and tokens. Pure.

A conversation is a list of maps that have a role and a content, in any field of the state: the form in which the
chat interfaces of model vendors take messages.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from observe.console.columns import Piece
from observe.console.format import one_line, pad, plural
from observe.console.lines import Folds, Line, heading, wrap
from observe.probe.wire import Value

TONES: Final = {"user": "accent", "assistant": "good", "system": "dim", "developer": "dim", "tool": "info"}
TEXTS: Final = ("content", "text", "parts")
CALLS: Final = ("tool_calls", "function_call", "tool_use", "name")
USES: Final = ("usage", "tokens", "input_tokens", "output_tokens", "total_tokens")

LISTS: Final = ("list", "tuple", "deque")
LEVELS: Final = 3
"""How deep in the state a conversation is looked for: `progress.turns` is on the second level."""

SHOWN: Final = 50
"""Messages shown, the newest."""


@dataclass(frozen=True, slots=True)
class Said:
    """One message."""

    number: int
    role: str
    text: str
    calls: str
    """Tools called or answered; empty for none."""

    uses: str
    """Tokens, where the agent keeps them."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages in one field."""

    name: str
    said: tuple[Said, ...]
    total: int


def conversations(state: Value | None) -> list[Conversation]:
    """All fields of the state that hold one, and fields of what they hold."""
    found = []
    for name, value in _fields(state, LEVELS):
        said = [_said(number, part) for number, (_, part) in enumerate(value.items or [])]
        kept = tuple(one for one in said if one is not None)
        if kept and value.type in LISTS and len(kept) * 2 > len(said):
            found.append(Conversation(name, kept, value.size or len(said)))
    return found


def _fields(value: Value | None, levels: int) -> Iterator[tuple[str, Value]]:
    """The parts of a value by their paths, so many levels deep; those of lists are messages, and no fields."""
    if value is None or value.type in LISTS:
        return
    for label, part in value.items or []:
        name = _plain(label)
        yield name, part
        if levels > 1:
            for inner, below in _fields(part, levels - 1):
                yield f"{name}.{inner}", below


def _said(number: int, value: Value) -> Said | None:
    parts = {_plain(label): part for label, part in value.items or []}
    role = parts.get("role")
    text = next((parts[name] for name in TEXTS if name in parts), None)
    if role is None or text is None:
        return None
    calls = "; ".join(
        f"{name} {_read(parts[name])}" for name in CALLS if name in parts and _read(parts[name])
    )
    uses = ", ".join(f"{name} {_read(parts[name])}" for name in USES if name in parts)
    return Said(number, _read(role), _read(text), calls, uses)


def _plain(label: str) -> str:
    return label.strip("'\"")


def _read(value: Value) -> str:
    """The text itself where the wire has the repr of one; whatever else as it stands."""
    if value.masked:
        return "••••••"
    if value.type != "str":
        return "" if value.text == "None" else value.text
    try:
        text = ast.literal_eval(value.text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value.text  # cut in the middle
    return text if isinstance(text, str) else value.text


def conversation_lines(state: Value | None, folds: Folds, width: int) -> list[Line]:
    """A section for each conversation; none for agents that keep none."""
    lines: list[Line] = []
    for one in conversations(state):
        key = f"conversation/{one.name}"
        if lines:
            lines.append(Line(f"{key}^", ()))
        title = heading(key, "Conversation", folds, f"{one.name}, {plural(one.total, 'message')}")
        lines.append(title)
        if not title.open:
            continue
        hidden = len(one.said) - SHOWN
        if hidden > 0:
            lines.append(Line(f"{key}/earlier", ((f"… {hidden:,} before these", "faint"),), 1))
        for said in one.said[-SHOWN:]:
            lines += _message_lines(f"{key}/{said.number}", said, width)
        if one.total > len(one.said):
            left = one.total - one.said[-1].number - 1
            if left > 0:
                lines.append(Line(f"{key}/more", ((f"… {left:,} more", "faint"),), 1))
    return lines


def _message_lines(key: str, said: Said, width: int) -> list[Line]:
    tone = TONES.get(said.role, "text")
    lines: list[Line] = []
    for number, part in enumerate(wrap(said.text, width - 14)):
        who = pad(one_line(said.role) if not number else "", 10) + " "
        pieces: tuple[Piece, ...] = ((who, tone), (part, "text"))
        lines.append(Line(key if not number else f"{key}|{number}", pieces, 1, full=said.text))
    for what, extra, extra_tone in (("calls", said.calls, "info"), ("uses", said.uses, "dim")):
        if extra:
            lines.append(
                Line(f"{key}/{what}", ((" " * 11, "text"), (one_line(extra), extra_tone)), 1, full=extra)
            )
    return lines
