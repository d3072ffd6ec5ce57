"""The conversations that an agent keeps in its state: the newest messages of each, as people read them. Calls nothing of theirs.

A conversation is a list of maps, or of objects, in the forms in which chat models take messages: OpenAI's (`role`, `content`,
`tool_calls`; also items such as `function_call`), Anthropic's (`content` in parts such as `tool_use`), Gemini's (`role`, `parts`),
LangChain's messages (`type`, `content`, `tool_calls`) and pydantic-ai's (`kind`, `parts`). The state itself is cut in its depth and shows
the first of each list; of a conversation the end says most.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from observe.tracing import peek
from observe.tracing.allowance import Allowance
from observe.tracing.kinds import clean, fields_of
from observe.tracing.masking import mask_text, secrecy
from observe.tracing.payload import Limits, clean_block, encode

LEVELS: Final = 3
"""How deep in the state one is looked for: `progress.turns` is on the second level."""

LOOKED_AT: Final = 500
"""Values of the state that are looked at."""

MOST: Final = 5
"""Conversations that are told of one agent."""

NEWEST: Final = 40
"""Messages told of each."""

TEXT_CHARACTERS: Final = 4_000
ARGUMENTS: Final = Limits(items=10, depth=2, nodes=40, text=200, line=200, seconds=0.002, repr_s=0.001)
CALLS: Final = 20
"""Calls told of one message."""

SECONDS: Final = 0.02
"""Processor time after which the rest is left out."""

_MARGIN: Final = 256
"""Characters read beyond a cut, so that a secret on the edge still looks like one when it is masked."""

_STR: Final = peek.table(str)
_KEYS: Final = 60
"""Entries of one message that are looked at."""

_ROLES: Final = {
    "human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "model": "assistant", "request": "user", "response": "assistant",
    "function_call": "assistant", "function_call_output": "tool", "function": "tool",
}  # fmt: skip
"""What others call them."""

_KINDS: Final = frozenset(
    {"human", "ai", "system", "tool", "function", "chat", "AIMessageChunk", "request", "response", "function_call", "function_call_output"}
)  # fmt: skip
"""By which `type` or `kind` messages without a role are known."""

_ANSWERS: Final = frozenset({"tool_result", "tool-return"})
"""Parts of a message that are what a tool has answered."""

_TEXTS: Final = ("text", "content", "output", "thinking")
_USES: Final = ("usage", "usage_metadata", "response_usage", "token_usage")

Fields = dict[str, object]


def conversations_of(fields: list[tuple[str, object]]) -> list[dict[str, Any]]:
    """Each **conversation** of docs/protocol.md in these fields of an agent, at most `MOST`. Bounded in time, number and length."""
    allowance = Allowance(SECONDS)
    told: list[dict[str, Any]] = []
    for name, value in _lists(fields, LEVELS):
        if len(told) == MOST or allowance.is_spent():
            break
        total = peek.length(value) or 0
        said = _said(peek.last_items(value, NEWEST), total, allowance)
        if said:
            told.append({"name": name, "total": total, "said": said})
    return told


def _lists(fields: list[tuple[str, object]], levels: int) -> Iterator[tuple[str, object]]:
    """Lists in a state by their paths, the outer ones first; what hides under the name of a secret is not looked at."""
    waiting = [(name, value, levels) for name, value in fields]
    for looked, (name, value, left) in enumerate(waiting):  # grows while it is walked
        if looked == LOOKED_AT:
            return
        if secrecy(name.rpartition(".")[2]):
            continue
        if peek.base_of(value, peek.SEQUENCES) is not None:
            yield name, value
        elif left > 1 and len(waiting) < LOOKED_AT:
            inner = _map(value)
            waiting += [(f"{name}.{key}", held, left - 1) for key, held in inner.items()]


def _map(value: object) -> Fields:
    """What a dictionary or an object holds under names that are texts."""
    try:
        if peek.base_of(value, peek.DICTS) is not None:
            pairs = peek.first_pairs(value, _KEYS)
        elif peek.base_of(value, peek.SIZED) is not None or isinstance(value, (type, int, float)):
            return {}
        else:
            pairs = list(fields_of(value))[:_KEYS]
    except RuntimeError:
        return {}
    return {clean(key[:100]): held for key, held in pairs if type(key) is str}


def _said(messages: list[Any], total: int, allowance: Allowance) -> list[dict[str, Any]]:
    """The messages told; nothing when what is in the list are, for the most part, none."""
    told: list[dict[str, Any]] = []
    first = total - len(messages)
    for number in range(len(messages) - 1, -1, -1):
        if allowance.is_spent():
            break
        one = _message(_map(messages[number]))
        if one is not None:
            told.append({"number": first + number, **one})
        elif len(told) <= (len(messages) - number) // 2:
            return []
    return told[::-1]


def _message(parts: Fields) -> dict[str, Any] | None:
    kind = _word(parts.get("type")) or _word(parts.get("kind"))
    role = _word(parts.get("role")) or (kind if kind in _KINDS else "")
    if not role or not (kind == "function_call" or any(name in parts for name in ("parts", *_TEXTS))):
        return None
    reading = _Reading()
    reading.part(parts, 0)
    reading.calls_of(parts)
    inner = _map(parts["usage"]) if "usage" in parts else {}
    for name in _USES:
        inner |= _map(parts.get(name))
    uses = {
        name: value
        for name, value in [*parts.items(), *inner.items()]
        if type(value) is int and name.endswith(("tokens", "token_count")) and value
    }
    return {
        "role": "tool" if reading.only_answers else _ROLES.get(role, role), "text": clean_block("\n".join(reading.texts), TEXT_CHARACTERS),
        "calls": reading.calls[:CALLS], "uses": uses,
    }  # fmt: skip


def _word(value: object) -> str:
    """A short text, or that of a member of an enumeration."""
    text = _text_of(value, 40)
    if text is None:
        text = _text_of(peek.instance_dict(value).get("_value_"), 40)
    return clean(text or "")


def _text_of(value: Any, characters: int) -> str | None:
    """The beginning of a text, by `str` itself; None for whatever else."""
    if peek.base_of(value, _STR) is None:
        return None
    return str.__getitem__(value, slice(0, max(0, characters)))


class _Reading:
    """What one message says and calls, gathered from its parts."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.calls: list[dict[str, str]] = []
        self._answers = 0

    @property
    def only_answers(self) -> bool:
        """Whether all that is said is what tools have answered: some interfaces have them under the role of the user."""
        return 0 < self._answers == len(self.texts)

    def part(self, parts: Fields, depth: int) -> None:
        """A message, or one part of it."""
        kind = _word(parts.get("type")) or _word(parts.get("part_kind"))
        if kind in ("tool_use", "tool-call", "function_call"):
            return self.call(parts)
        for name in ("functionCall", "function_call"):
            if inner := _map(parts.get(name)):
                self.call(inner)
        self._answers += kind in _ANSWERS
        if answer := _map(parts.get("functionResponse")):
            self._answers += 1
            self._text(answer.get("response"), depth)
        found = [name for name in ("parts", *_TEXTS) if name in parts]
        for name in found[:2]:
            self._text(parts[name], depth)
        if not found and depth and kind:
            self.texts.append(f"[{kind}]")
        return None

    def _text(self, value: object, depth: int) -> None:
        text = _text_of(value, TEXT_CHARACTERS + _MARGIN - sum(map(len, self.texts)))
        if text is not None:
            self.texts += [text] if text else []
        elif peek.base_of(value, peek.SEQUENCES) is not None and depth < 2:
            for one in peek.first_items(value, CALLS):
                if peek.base_of(one, _STR) is not None:
                    self._text(one, depth + 1)
                else:
                    self.part(_map(one), depth + 1)
        elif value is not None:
            self.texts.append(encode(value, ARGUMENTS)["text"])

    def calls_of(self, parts: Fields) -> None:
        """Calls beside the content, as OpenAI and LangChain have them."""
        held = parts.get("tool_calls")
        if peek.base_of(held, peek.SEQUENCES) is not None:
            for one in peek.first_items(held, CALLS):
                call = _map(one)
                self.call(_map(call["function"]) if "function" in call else call)

    def call(self, parts: Fields) -> None:
        """One call of a tool."""
        name = _word(parts.get("name")) or _word(parts.get("tool_name"))
        given = next(
            (parts[key] for key in ("arguments", "input", "args") if parts.get(key) is not None), None
        )
        self.calls.append({"name": name or "?", "arguments": _arguments(given)})


def _arguments(value: object) -> str:
    if value is None:
        return ""
    text = _text_of(value, ARGUMENTS.line + _MARGIN)
    if text is not None:
        masked = clean(mask_text(text)[0])
        return masked if len(masked) <= ARGUMENTS.line else masked[: ARGUMENTS.line] + "…"
    return str(encode(value, ARGUMENTS)["text"])
