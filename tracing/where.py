"""Conditions of a trace session: expressions over the fields of one trace event.

    message.kind == "refund" and message.amount > 100
    took_ms > 50 or error

Python's syntax, evaluated by `simpleeval` over plain data that has been copied out of the message: no attribute of a
live object is touched, nothing of it is called, and there is no way to anything else.
"""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Final

from simpleeval import DEFAULT_OPERATORS, SimpleEval

from observe.tracing import peek
from observe.tracing.errors import BadCondition
from observe.tracing.kinds import CONTAINERS, NUMBERS, fields_of, tuple_fields
from observe.tracing.masking import secrecy

NAMES: Final = {
    "kind": "the kind of event: send, receive, call, ...",
    "pid": "of the agent that is traced",
    "name": "its registered name, or None",
    "class_name": "the name of its class",
    "peer": "the other agent's name or pid, or None",
    "message": "the message, its fields by name: message.amount, message['amount'], message[0]",
    "type": "the name of the message's type",
    "size": "its length, when it has one, else None",
    "value": "what was answered, of a reply",
    "took_ms": "how long it took, of a reply, a handled message, an activity",
    "error": "the name of the exception, or None",
    "activity": "the name of the activity, or None",
}
"""What an expression may name."""

MAX_CHARACTERS: Final = 500
MAX_DEPTH: Final = 4
MAX_ITEMS: Final = 50
MAX_TEXT: Final = 1000
"""How much of a message an expression can see."""

_FUNCTIONS: Final = {"len": len, "lower": str.lower, "abs": abs, "str": str, "min": min, "max": max}


def _remainder(left: Any, right: Any) -> Any:
    # Of texts it is a format, and `"%999999999d" % 1` takes a gigabyte of the service's memory.
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        raise TypeError
    return left % right


_OPERATORS: Final = DEFAULT_OPERATORS | {ast.Mod: _remainder}

_ALLOWED: Final = (
    ast.Expression, ast.Expr, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.Compare, ast.Eq,
    ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot, ast.Name, ast.Load, ast.Attribute,
    ast.Subscript, ast.Constant, ast.Call, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Mod,
)  # fmt: skip


class _Absent:
    """What a field is that a message does not have: false, equal to nothing, and without fields itself."""

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]  # it is never a key

    def _no(self, other: object) -> bool:
        return False

    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = _no

    def __len__(self) -> int:
        return 0


ABSENT: Final = _Absent()


class Condition:
    """An expression that has been read. Raises nothing once it is made."""

    def __init__(self, text: str) -> None:
        """
        Raises:
            BadCondition: it cannot be read; says what is wrong with it.
        """
        self.text = text
        if len(text) > MAX_CHARACTERS:
            raise BadCondition(f"the condition has more than {MAX_CHARACTERS} characters")
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            why = error.msg if isinstance(error, SyntaxError) else type(error).__name__
            raise BadCondition(f"the condition {text!r} cannot be read: {why}") from None
        for node in ast.walk(tree):
            self._check(node)
        self._tree = tree.body
        self._evaluator = _Evaluator(operators=_OPERATORS, functions=_FUNCTIONS, names={})

    def _check(self, node: ast.AST) -> None:
        if not isinstance(node, _ALLOWED):
            raise BadCondition(
                f"the condition {self.text!r} uses {type(node).__name__}, which is not part of the language: compare "
                "fields, join with and, or, not"
            )
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            raise BadCondition(f"the condition names the field {node.attr!r}; private fields are not shown")
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS or node.keywords:
                raise BadCondition(f"only {', '.join(_FUNCTIONS)} can be called in a condition")
        elif isinstance(node, ast.Name) and node.id not in NAMES and node.id not in _FUNCTIONS:
            near = difflib.get_close_matches(node.id, NAMES, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise BadCondition(
                f"the condition names {node.id!r}, which there is not: {hint}there are {', '.join(NAMES)}"
            )

    def holds(self, facts: Mapping[str, Any]) -> bool:
        """Whether it is true of these facts. What cannot be compared is not true."""
        self._evaluator.names = {name: facts.get(name) for name in NAMES}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return bool(self._evaluator.eval(self.text, self._tree))
        except Exception:  # noqa: BLE001  # a field of another type than the expression expects
            return False
        finally:
            self._evaluator.names = {}


class _Evaluator(SimpleEval):  # type: ignore[misc]  # it has no types
    """Finds fields in plain maps only."""

    def _eval_attribute(self, node: ast.Attribute) -> Any:
        found = self._eval(node.value)
        return found.get(node.attr, ABSENT) if isinstance(found, dict) else ABSENT

    def _eval_subscript(self, node: ast.Subscript) -> Any:
        found, key = self._eval(node.value), self._eval(node.slice)
        if isinstance(found, dict):
            return found.get(key, ABSENT) if isinstance(key, str | int) else ABSENT
        if isinstance(found, list | str) and isinstance(key, int):
            return found[key] if -len(found) <= key < len(found) else ABSENT
        return ABSENT


def plain(value: object, depth: int = MAX_DEPTH) -> Any:
    """A copy of a value as maps, lists, numbers and texts, for a condition to look at. Calls nothing of the value's."""
    if value is None or value is True or value is False:
        return value
    number: Any = peek.base_of(value, NUMBERS)
    if number is not None:
        return value if type(value) is number else number.__pos__(value)
    text: Any = peek.base_of(value, peek.TEXTS)
    if text is not None:
        piece = text.__getitem__(value, slice(0, MAX_TEXT))
        return piece if text is str else bytes(piece).decode("latin-1")
    if depth <= 0:
        return ABSENT
    if peek.base_of(value, peek.DICTS) is not None:
        return _fields(peek.first_pairs(value, MAX_ITEMS), depth)
    if peek.base_of(value, CONTAINERS) is not None:
        items, names = peek.first_items(value, MAX_ITEMS), tuple_fields(value)
        if names is not None:
            return _fields(zip(names, items, strict=False), depth)
        return [plain(part, depth - 1) for part in items]
    return _fields(fields_of(value)[:MAX_ITEMS], depth)


def _fields(pairs: Iterable[tuple[Any, object]], depth: int) -> dict[str | int, Any]:
    """Without what looks like a secret: a condition must not find it out by trying."""
    return {
        name: plain(part, depth - 1)
        for name, part in pairs
        if type(name) is int or (type(name) is str and not secrecy(name))
    }
