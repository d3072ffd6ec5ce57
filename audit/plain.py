"""What may stand in a record: plain JSON of a bounded size, with secrets masked before anything is written.

A record is kept for a year and cannot be changed, so a secret in it cannot be taken back, and a message of a megabyte
cannot be made smaller. Which texts are secrets is not decided here: whoever opens the log hands a rule in.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from observe.audit.canonical import MAX_INTEGER

MAX_TEXT: Final = 1024
"""Characters of a text. A longer one is cut, and its length and hash say what was there."""
MAX_DEPTH: Final = 8
MAX_ITEMS: Final = 100
MASK: Final = "<masked>"


class Rule(Protocol):
    """Which parts of a record are secrets."""

    @property
    def name(self) -> str:
        """Stands in the log, so that a reader knows by which rule its records were masked."""
        ...

    def is_secret(self, name: str, value: object) -> bool:
        """Whether a value is one by what it is called."""
        ...

    def mask(self, text: str) -> str:
        """The text, with what looks like a secret replaced."""
        ...


@dataclass(frozen=True, slots=True)
class NoRule:
    """Masks nothing."""

    name: str = "none"

    def is_secret(self, name: str, value: object) -> bool:
        return False

    def mask(self, text: str) -> str:
        return text


def plain(value: Any, rule: Rule, depth: int = MAX_DEPTH) -> Any:
    """A value as it may stand in a record. Never raises: what is no JSON is described."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, rule)
    if isinstance(value, int):
        return int(value) if abs(value) <= MAX_INTEGER else str(value)[:MAX_TEXT]
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return int(value) if value.is_integer() and abs(value) <= MAX_INTEGER else float(value)
    if depth <= 0:
        return f"… ({type(value).__name__})"
    if isinstance(value, Mapping):
        made: dict[str, Any] = {}
        changes_secret = _changes_a_secret(value, rule)
        for key, part in list(value.items())[:MAX_ITEMS]:
            name = _text(str(key), rule)
            secret = part is not None and (
                rule.is_secret(name, part) or (changes_secret and name in _OLD_AND_NEW)
            )
            made[name] = MASK if secret else plain(part, rule, depth - 1)
        hidden = _hidden_paths(value, rule)
        if hidden and "what" in made:  # the sentence for people has the values as well
            made["what"] = f"{_text(', '.join(hidden), rule)} changed; {MASK}"
        if len(value) > MAX_ITEMS:
            made["…"] = f"{len(value) - MAX_ITEMS} more"
        return made
    if isinstance(value, (list, tuple)):
        items = [plain(part, rule, depth - 1) for part in value[:MAX_ITEMS]]
        return [*items, f"… {len(value) - MAX_ITEMS} more"] if len(value) > MAX_ITEMS else items
    if isinstance(value, bytes):
        return f"{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()}"
    return f"… ({type(value).__name__})"


_OLD_AND_NEW: Final = ("old", "new")
_BETWEEN_NAMES: Final = re.compile(r"[./]")


def _changes_a_secret(value: Mapping[Any, Any], rule: Rule) -> bool:
    """Whether it is an entry of a diff (`path`, `old`, `new`) and its path leads to something that is called a secret."""
    path = value.get("path")
    if not isinstance(path, str) or not any(part in value for part in _OLD_AND_NEW):
        return False
    changed = next(value[part] for part in _OLD_AND_NEW if part in value)
    return any(rule.is_secret(part, changed) for part in _BETWEEN_NAMES.split(path) if part)


def _hidden_paths(value: Mapping[Any, Any], rule: Rule) -> list[str]:
    """Of an outcome: the paths of its `diff` that lead to secrets."""
    diff = value.get("diff")
    changes = diff[:MAX_ITEMS] if isinstance(diff, (list, tuple)) else ()
    return [one["path"] for one in changes if isinstance(one, Mapping) and _changes_a_secret(one, rule)]


def _text(text: str, rule: Rule) -> str:
    if len(text) <= MAX_TEXT:
        return _whole(rule.mask(text))
    # The rule sees more than is kept: a secret on the edge must not be cut into something that looks like none.
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    kept = rule.mask(text[: MAX_TEXT + 512])[:MAX_TEXT]
    return f"{_whole(kept)}… ({len(text)} characters, sha256 {digest})"


def _whole(text: str) -> str:
    """Half a surrogate has no bytes in UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
