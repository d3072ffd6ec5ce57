"""The filter language: which agents somebody means. Text in, terms out; no table, no numpy, so a console can use it.

```
filter  = { term }                          all must hold
term    = [ "-" | "!" ] ( compare | text )  the sign negates
compare = column operator value { "," value }
text    = word | '"' … '"'                  a part of name, class, status or activity, or the exact pid
```

docs/filters.md describes it for people. `observe.probe.matching` applies it to the agents table.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from observe.probe.errors import Refusal
from observe.probe.wire_table import COLUMNS, LEVELS, STATUS_NAMES, TEXT_COLUMNS

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "~", "!~"]
Kind = Literal["count", "seconds", "microseconds", "share", "bytes", "text"]

OPERATORS: Final[dict[Operator, str]] = {
    "=": "is",
    "!=": "is not",
    ">": "more than",
    ">=": "at least",
    "<": "less than",
    "<=": "at most",
    "~": "contains",
    "!~": "does not contain",
}
"""Every operator, and how it reads."""

ORDERS: Final[frozenset[str]] = frozenset({"<", "<=", ">", ">="})

KINDS: Final[dict[str, Kind]] = {
    "status_s": "seconds",
    "activity_s": "seconds",
    "age_s": "seconds",
    "reductions": "microseconds",
    "load": "share",
    "risk": "share",
}
"""What the numbers of a column are, where they are not plain counts. Says which units its values may carry."""

UNITS: Final[dict[Kind, Mapping[str, float]]] = {
    "count": {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9},
    "seconds": {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400},
    "microseconds": {
        "us": 1, "µs": 1, "ms": 1e3, "s": 1e6, "m": 6e7, "min": 6e7, "h": 3.6e9, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9,
    },
    "share": {"%": 0.01},
    "bytes": {
        "B": 1, "k": 1e3, "kB": 1e3, "K": 1e3, "KB": 1e3, "M": 1e6, "MB": 1e6, "G": 1e9, "GB": 1e9,
        "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
    },
    "text": {},
}  # fmt: skip
"""What each unit is worth in the column's own."""

EXAMPLES: Final[dict[Kind, str]] = {
    "count": "10 or 1k", "seconds": "10s, 5ms or 2h", "microseconds": "5ms or 2s", "share": "0.5 or 50%",
    "bytes": "2MB", "text": "text",
}  # fmt: skip

COMPARE: Final = re.compile(r"([A-Za-z_]+)(!=|!~|<=|>=|[<>=~])")
NUMBER: Final = re.compile(r"([+-]?(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)(.*)", re.DOTALL)

MAX_TERMS: Final = 32
"""Terms of one filter; each costs a pass over the table."""

MAX_VALUES: Final = 100
"""Values in one list."""


@dataclass(frozen=True, eq=False)
class Language:
    """What a filter may compare, of one table."""

    table: str
    """What the table is called, for messages."""
    columns: tuple[str, ...]
    text_columns: frozenset[str]
    kinds: Mapping[str, Kind]
    """Of columns of numbers that are not plain counts."""
    statuses: Mapping[str, tuple[str, ...]]
    """All values of a column that has few."""

    def unit_of(self, column: str) -> Kind:
        """What the values of a column are."""
        return "text" if column in self.text_columns else self.kinds.get(column, "count")


AGENTS: Final = Language(
    "agents table", COLUMNS, TEXT_COLUMNS, KINDS, {"status": STATUS_NAMES, "containment": LEVELS}
)


class FilterError(Refusal):
    """A filter that cannot be read."""

    def __init__(self, code: Literal["bad_request", "no_such_column"], why: str, at: int, hint: str) -> None:
        super().__init__(code, f"filter: {why}, at character {at + 1}", hint)
        self.position = at
        """Where in the text, from 0."""


@dataclass(frozen=True, slots=True)
class Text:
    """A part of name, class, status or activity, or the exact pid."""

    text: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """One column against a value, or several for `=` and `!=`."""

    column: str
    operator: Operator
    values: tuple[float | str, ...]
    """Numbers in the column's own unit; texts for columns of text, and for `supervisor` by name."""
    negated: bool = False


Term = Text | Comparison


@lru_cache(maxsize=256)
def parse(text: str, language: Language = AGENTS) -> tuple[Term, ...]:
    """The terms of a filter.

    Raises:
        FilterError: `no_such_column`, or `bad_request` for what cannot be read; both say where, and what to write.
    """
    terms: list[Term] = []
    for at, word in _words(text):
        terms.append(_term(word, at, language))
        if len(terms) > MAX_TERMS:
            raise FilterError("bad_request", f"more than {MAX_TERMS} terms", at, "leave some out")
    return tuple(terms)


def quote(value: str) -> str:
    """`value` as a filter must write it to mean exactly that: quoted where it has to be."""
    if value and not re.search(r'[\s",\\]', value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unit_of(column: str) -> Kind:
    """What the values of a column of the agents table are."""
    return AGENTS.unit_of(column)


# -- reading -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Character:
    """A character of a word. A quoted one is never a sign, an operator or a comma."""

    text: str
    at: int
    quoted: bool


_Word = list[_Character]


def _words(text: str) -> Iterator[tuple[int, _Word]]:
    """The words of a filter: split at spaces that are not quoted."""
    word: _Word = []
    begun: int | None = None
    at = 0
    while at < len(text):
        one = text[at]
        if one.isspace():
            if begun is not None:
                yield begun, word
            word, begun = [], None
        elif one == '"' and _may_open(word):
            begun = at if begun is None else begun
            at = _quoted(text, at, word)
        else:
            begun = at if begun is None else begun
            word.append(_Character(one, at, False))
        at += 1
    if begun is not None:
        yield begun, word


def _may_open(word: _Word) -> bool:
    """A quote opens at the start of a word, and after a sign, an operator or a comma; elsewhere it is a character."""
    plain = "".join(one.text for one in word if not one.quoted)
    return not word or (not word[-1].quoted and (word[-1].text in "=~<>," or plain in ("-", "!")))


def _quoted(text: str, start: int, word: _Word) -> int:
    """Add what stands in quotes. Returns the position of the closing one."""
    at = start + 1
    if text[at : at + 1] == '"':
        word.append(_Character("", at, True))  # an empty text is a text
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\"):
            at += 1
        elif text[at] == '"':
            return at
        word.append(_Character(text[at], at, True))
        at += 1
    raise FilterError("bad_request", "a quote is not closed", start, 'end the text with "')


def _plain(word: _Word) -> str:
    """The word with quoted characters as NUL, so that nothing in quotes is taken for syntax."""
    return "".join("\0" if one.quoted else one.text for one in word)


def _text(word: Sequence[_Character]) -> str:
    return "".join(one.text for one in word)


def _term(word: _Word, at: int, language: Language) -> Term:
    negated = len(word) > 1 and not word[0].quoted and word[0].text in "-!"
    if negated:
        word = word[1:]
    found = COMPARE.match(_plain(word))
    if found is None:
        return Text(_text(word), negated)
    column, operator = found[1].lower(), found[2]
    if column not in language.columns:
        near = difflib.get_close_matches(column, language.columns, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        whole = _text(word)
        raise FilterError(
            "no_such_column", f"the {language.table} has no column {column[:64]!r}", at,
            f"{hint}it has {', '.join(language.columns)}; to search for the text, write {quote(whole + ' ').replace(' ', '')}",
        )  # fmt: skip
    after, rest = word[found.end() - 1].at + 1, word[found.end() :]
    values = _split(rest, after) if operator in ("=", "!=") else [(after, rest)]
    if len(values) > MAX_VALUES:
        raise FilterError("bad_request", f"more than {MAX_VALUES} values", at, "use several filters")
    read = tuple(_value(language, column, operator, value, start) for start, value in values)
    return Comparison(column, _operator(operator), read, negated)


def _operator(text: str) -> Operator:
    for operator in OPERATORS:
        if operator == text:
            return operator
    raise AssertionError(text)


def _split(word: _Word, at: int) -> list[tuple[int, _Word]]:
    """The values of a list, each with its position."""
    values: list[tuple[int, _Word]] = [(at, [])]
    for one in word:
        if one.text == "," and not one.quoted:
            values.append((one.at + 1, []))
        else:
            values[-1][1].append(one)
    return values


def _value(language: Language, column: str, operator: str, word: _Word, at: int) -> float | str:
    text, kind = _text(word), language.unit_of(column)
    if operator in ("~", "!~") and kind != "text":
        raise FilterError(
            "bad_request", f"{column} is a number and contains nothing", at, f"write {column}={text or 1}"
        )
    if kind == "text":
        if operator in ORDERS:
            raise FilterError(
                "bad_request", f"{column} is text and has no order", at, f"write {column}={text}"
            )
        statuses = language.statuses.get(column)
        if statuses is not None and operator in ("=", "!=") and text.casefold() not in statuses:
            hint = f"there are {', '.join(name for name in statuses if name != 'exited')}"
            raise FilterError("bad_request", f"{text[:64]!r} is no {column}", at, hint)
        return text
    if column == "supervisor" and operator in ("=", "!=") and not text.isdigit():
        if text:
            return text
        raise FilterError("bad_request", "'' is no supervisor", at, "write its pid or its name")
    return _number(column, operator, text, at, kind)


def _number(column: str, operator: str, text: str, at: int, kind: Kind) -> float:
    example = f"for example {column}{operator}{EXAMPLES[kind]}"
    found = NUMBER.fullmatch(text)
    if found is None:
        raise FilterError("bad_request", f"{text[:64]!r} is not a number, and {column} is one", at, example)
    factor = UNITS[kind].get(found[2], 1.0 if not found[2] else None)
    if factor is None:
        why = f"{found[2][:64]!r} is no unit of {column}"
        units = ", ".join(UNITS[kind])
        raise FilterError("bad_request", why, at + len(found[1]), f"it takes {units}; {example}")
    if factor == 1 and re.fullmatch(r"[+-]?\d+", found[1]):
        return int(found[1])  # a pid is more than a float can tell apart
    number = float(found[1]) * factor
    if not math.isfinite(number):
        raise FilterError("bad_request", f"{text[:64]!r} is out of range", at, example)
    return number


# -- completion --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Completion:
    """What may be typed next: the text to put in place of everything from `start` to the cursor."""

    text: str
    start: int
    meaning: str


Known = Mapping[str, Sequence[str]]
"""Values to offer for a column: the classes, names or activities that a console has seen."""


def complete(text: str, cursor: int | None = None, known: Known | None = None) -> list[Completion]:
    """What may stand at the cursor: columns, then operators, then values. Best first; empty when anything may."""
    head = text if cursor is None else text[:cursor]
    start = max(head.rfind(" "), head.rfind("\t")) + 1
    word = head[start:]
    if word[:1] in ("-", "!"):
        start, word = start + 1, word[1:]
    found = COMPARE.match(word)
    if found is None:
        exact = word.lower()
        if exact in COLUMNS:
            allowed = [one for one in OPERATORS if _is_allowed(exact, one)]
            return [Completion(exact + one, start, f"{exact} {OPERATORS[one]} …") for one in allowed]
        if not word:
            return []
        return [
            Completion(column, start, f"compare {column}") for column in COLUMNS if column.startswith(exact)
        ]
    column = found[1].lower()
    begun = word[found.end() :].rpartition(",")[2]
    fixed = {"status": STATUS_NAMES[:-1], "containment": LEVELS}.get(column)
    offered = fixed if fixed is not None else (known or {}).get(column, ())
    folded = begun.casefold().lstrip('"')
    at = start + len(word) - len(begun)
    values = [value for value in dict.fromkeys(offered) if value.casefold().startswith(folded)]
    if values or unit_of(column) == "text":
        return [Completion(quote(value), at, f"{column} {value}") for value in values]
    number = NUMBER.fullmatch(begun)
    if number is None or not number[1]:
        return []
    units = [unit for unit in UNITS[unit_of(column)] if unit.startswith(number[2]) and unit != number[2]]
    return [Completion(number[1] + unit, at, f"in {unit}") for unit in units]


def _is_allowed(column: str, operator: str) -> bool:
    if unit_of(column) == "text":
        return operator not in ORDERS
    return operator not in ("~", "!~")
