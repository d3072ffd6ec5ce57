"""Values that cannot change, or are copied in a moment: they can be put into words later, when nobody waits for it.

a number, a short text, None             itself
a short list, tuple or dict of those     a shallow copy
whatever else                            nothing: it is put into words at once
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from observe.tracing.payload import Value, encode, encode_fields
from observe.tracing.sessions import MESSAGE

_PLAIN: Final = frozenset({int, float, bool, type(None)})
_TEXTS: Final = frozenset({str, bytes})

FIELDS: Final = replace(MESSAGE, depth=MESSAGE.depth + 1)
"""Of several values with their names, which are a level of their own."""

TEXT: Final = 4 * MESSAGE.text
"""Characters from which on a text is not kept for later: thousands of them may wait."""


class Later:
    """A value on its way."""

    __slots__ = ("fields", "value")

    def __init__(self, value: object, fields: list[tuple[str, object]] | None = None) -> None:
        self.value = value
        self.fields = fields
        """Of an object without a class of its own, such as the arguments of a call."""


def frozen(value: Any) -> Later | None:
    """The value as it is now; None when only its words would be that."""
    kind = type(value)
    if kind in _PLAIN or (kind in _TEXTS and len(value) <= TEXT):
        return Later(value)
    kept = _copied(value, kind)
    return None if kept is None else Later(kept)


def frozen_fields(fields: list[tuple[str, Any]]) -> Later | None:
    """As `frozen`, of several values with their names."""
    kept: list[tuple[str, object]] = []
    for name, value in fields:
        kind = type(value)
        if kind not in _PLAIN and not (kind in _TEXTS and len(value) <= TEXT):
            value = _copied(value, kind)
            if value is None:
                return None
        kept.append((name, value))
    return Later(None, kept)


def in_words(value: object) -> Value:
    """The value as it is told, now."""
    return encode(value, MESSAGE)


def fields_in_words(fields: list[tuple[str, object]]) -> Value:
    """As `in_words`, of several values with their names."""
    return encode_fields("", fields, FIELDS)


def told(value: object) -> Value:
    """The value in words, if it is not yet."""
    if not isinstance(value, Later):
        found: Value = value  # type: ignore[assignment]  # in words already
        return found
    return in_words(value.value) if value.fields is None else fields_in_words(value.fields)


def _copied(value: Any, kind: type) -> object | None:
    """A copy of a built-in container, of which the whole will be shown."""
    if kind is list or kind is tuple:
        copy: Any = value if kind is tuple else value[:]
        parts: Iterable[object] = copy
    elif kind is dict:
        copy = value.copy()
        parts = [*copy, *copy.values()] if len(copy) <= MESSAGE.items else ()
    else:
        return None
    if len(copy) > MESSAGE.items:
        return None
    for part in parts:
        one = type(part)
        if one not in _PLAIN and not (one in _TEXTS and len(part) <= TEXT):  # type: ignore[arg-type]  # a text has a length
            return None
    return copy  # type: ignore[no-any-return]  # a list, a tuple or a dict
