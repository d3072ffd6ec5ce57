"""How a Python value crosses the wire: bounded in depth, breadth, text and time, with secrets masked.

The result is the **value** of docs/protocol.md 1.4. Anything may be given: open sockets, locks, cycles, containers that
another thread is changing, objects whose ``__repr__`` raises or never ends. Breadth comes first, so that a large first
attribute does not hide the others.

What is bounded, and how:

* number and length: by `Limits`. What was left out is counted in ``more`` or marked by ``cut``.
* a ``__repr__`` written in Python: ended after `Limits.repr_s` by a trace function. One that stands on a structure of more
  than `HEAVY` objects is not called at all.
* not bounded: a ``__repr__`` that spends its time inside one C call (`time.sleep`, a lock, a query to a database) or
  that catches `BaseException` in a loop. Whoever writes such a method stops the scheduler for as long as it takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from observe.tracing import peek
from observe.tracing.allowance import Allowance, ReprTooSlow, within
from observe.tracing.kinds import (
    CONTAINERS,
    KEY_CHARACTERS,
    NUMBERS,
    clean,
    exception_arguments,
    fields_of,
    has_own_repr,
    is_leaf,
    key_text,
    number_text,
    numpy_array,
    tuple_fields,
    written,
)
from observe.tracing.masking import MASK, mask_text, secrecy

Value = dict[str, Any]
"""A **value** as it goes into a frame."""

HEAVY: Final = 1000
"""Objects below a value from which on its own ``__repr__`` is not called: a built-in one would visit them all."""

_MARGIN: Final = 256
"""Characters read beyond a cut, so that a secret on the edge still looks like one when it is masked."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a value is worth sending."""

    items: int = 100
    """Elements of the outermost container; inner ones get a quarter of it per level, at least 5."""

    depth: int = 4
    """Levels below the value itself. Each costs three levels of the frame's sixteen."""

    nodes: int = 1000
    """Values altogether."""

    text: int = 1000
    """Characters of one text."""

    line: int = 200
    """Characters of the one-line text of a container or object."""

    total_text: int = 200_000
    """Characters altogether; once they are spent, a text gets 40."""

    seconds: float = 0.02
    """Time after which nothing more is opened and no ``__repr__`` called."""

    repr_s: float = 0.005
    """Time for one ``__repr__``."""


STATE: Final = Limits()
MESSAGE: Final = Limits(
    items=25, depth=3, nodes=100, text=500, total_text=20_000, seconds=0.003, repr_s=0.001
)
"""For messages in mailboxes and crashes: there may be many of them."""


def encode(value: object, limits: Limits = STATE) -> Value:
    """The value, ready to be packed. Never raises, but for a real `KeyboardInterrupt`."""
    encoder = _Encoder(limits)
    root = encoder.place(value, None, 0)
    return encoder.finish(root)


def encode_fields(type_name: str, fields: Iterable[tuple[str, object]], limits: Limits = STATE) -> Value:
    """As `encode`, for an object whose fields the caller has picked, such as an agent's state."""
    encoder = _Encoder(limits)
    root = _Node(object(), None, 0, type_name)
    root.opening, root.closing = f"{type_name}(", ")"
    encoder.add_fields(root, list(fields))
    return encoder.finish(root)


def clean_block(text: str, limit: int = 16_000) -> str:
    """A long text (a traceback) masked, cleaned and cut in its middle: its end says most."""
    if len(text) > limit:
        head, tail = limit // 4, limit - limit // 4
        left_out = len(text) - limit
        first = mask_text(text[: head + _MARGIN])[0][:head]
        last = mask_text(text[-tail - _MARGIN :])[0][-tail:]
        return clean(f"{first}\n… {left_out} characters left out …\n{last}")
    return clean(mask_text(text)[0])


@dataclass(slots=True, eq=False)
class _Node:
    """One value on its way: what will be sent, and what is needed until its children are known."""

    value: object
    parent: _Node | None
    depth: int
    type: str
    text: str | None = None
    """None while it is to be composed from the children."""
    opening: str = ""
    closing: str = ""
    secret: int = 0
    extra: Value = field(default_factory=dict)
    items: list[tuple[str, str, _Node]] = field(default_factory=list)
    """The key as it is shown, what precedes the value in the one-line text, and the value."""


class _Encoder:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._allowance = Allowance(limits.seconds)
        self._nodes: list[_Node] = []
        self._unopened: list[_Node] = []
        self._characters = limits.total_text

    # -- breadth first -------------------------------------------------------------------------------------------

    def place(self, value: object, parent: _Node | None, secret: int) -> _Node:
        """Make a node; queue it when it has something inside."""
        depth = 0 if parent is None else parent.depth + 1
        kind = _PLAIN_NAMES.get(type(value)) or clean(peek.type_name(value))
        node = _Node(value, parent, depth, kind, secret=secret)
        self._nodes.append(node)
        try:
            self._describe(node)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # whatever a stranger's object does is part of the answer
            node.text = node.text or f"<{node.type}>"
            node.extra["error"] = _reason(error)
        return node

    def finish(self, root: _Node) -> Value:
        queue = self._unopened
        for node in queue:  # grows while it is walked
            if node.depth >= self._limits.depth or not self._has_room():
                node.extra["cut"] = True
                continue
            try:
                self._open(node)
            except RuntimeError as error:
                node.extra["error"] = _reason(error)
        for node in reversed(self._nodes):
            self._compose(node)
        if root.text is None:
            self._compose(root)
        return _value(root)

    def _has_room(self) -> bool:
        return len(self._nodes) < self._limits.nodes and not self._allowance.is_spent()

    # -- one value -------------------------------------------------------------------------------------------------

    def _describe(self, node: _Node) -> None:
        value = node.value
        kind = type(value)
        if value is None or value is True or value is False:
            node.text = repr(value)
        elif kind is str:  # the common ones first, and without a look at their classes
            self._describe_text(node, str)
        elif kind is int or kind is float:
            self._describe_number(node, kind)
        elif self._is_repeated(node):
            node.text, node.extra["cut"] = f"<the same {node.type} as above>", True
        elif kind in _BRACKETS:
            size = node.extra["size"] = len(value)  # type: ignore[arg-type]  # a built-in container
            node.opening, node.closing = _BRACKETS[kind] if size or kind is not set else ("set(", ")")
            if size:
                self._unopened.append(node)
        elif (text := written(value)) is not None:
            node.text = text
        elif (number := peek.base_of(value, NUMBERS)) is not None:
            self._describe_number(node, number)
        elif (base := peek.base_of(value, peek.TEXTS)) is not None:
            self._describe_text(node, base)
        elif peek.base_of(value, peek.DICTS | peek.ELEMENTS) is not None:
            self._describe_container(node)
        elif (array := numpy_array(value)) is not None:
            node.opening, node.closing = f"{array.shape} {array.dtype} [", "]"
            node.extra["size"] = array.size
            self._unopened.append(node)
        else:
            self._describe_object(node)

    def _describe_number(self, node: _Node, base: Any) -> None:
        node.text = MASK if node.secret == 2 else number_text(node.value, base)
        if node.secret == 2:
            node.extra["masked"] = True

    def _is_repeated(self, node: _Node) -> bool:
        above = node.parent
        while above is not None:
            if above.value is node.value:
                return True
            above = above.parent
        return False

    def _describe_text(self, node: _Node, base: Any) -> None:
        size = base.__len__(node.value)
        if node.secret:
            node.text, node.extra["masked"] = MASK, True
            return
        node.extra["size"] = size
        room = self._room_for_text()
        piece = base.__getitem__(node.value, slice(0, room + _MARGIN))
        shown = piece if base is str else bytes(piece).decode("latin-1")
        text, masked = mask_text(shown)
        if masked:
            node.extra["masked"] = True
        if len(text) > room or size > len(shown):
            text, node.extra["cut"] = text[:room], True
        written = repr(text) if base is str or masked else repr(piece[:room])
        node.text = clean(written + ("…" if "cut" in node.extra else ""))
        self._characters -= len(node.text)

    def _describe_container(self, node: _Node) -> None:
        size = peek.length(node.value) or 0
        base: Any = peek.base_of(node.value, CONTAINERS)
        node.extra["size"] = size
        node.opening, node.closing = _BRACKETS.get(base, ("[", "]")) if size or base is not set else ("", "")
        if type(node.value) is not base or base not in _BRACKETS or not (node.opening or size):
            node.opening, node.closing = f"{node.type}({node.opening}", f"{node.closing})"
        if tuple_fields(node.value) is not None:
            node.opening, node.closing = f"{node.type}(", ")"
        if size or peek.instance_dict(node.value):
            self._unopened.append(node)

    def _describe_object(self, node: _Node) -> None:
        value = node.value
        leaf = is_leaf(value)
        if node.secret and leaf:
            node.text, node.extra["masked"] = MASK, True
            return
        if not node.secret and has_own_repr(value):
            self._call_repr(node)
        if not leaf and fields_of(value):
            node.opening, node.closing = f"{node.type}(", ")"
            self._unopened.append(node)
        elif node.text is None:
            node.text = f"<{node.type}>"

    def _call_repr(self, node: _Node) -> None:
        if self._allowance.is_spent() or peek.weighs_more_than(node.value, HEAVY):
            node.extra["cut"] = True
            return
        try:
            text = within(self._limits.repr_s, lambda: repr(node.value))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # as in `place`; its fields can still be shown
            node.extra["error"] = _reason(error)
            return
        room = min(self._limits.text, self._room_for_text())
        piece, masked = mask_text(str.__getitem__(text, slice(0, room + _MARGIN)))
        if masked:
            node.extra["masked"] = True
        if len(text) > room:
            piece, node.extra["cut"] = piece[:room] + "…", True
        node.text = clean(piece)
        self._characters -= len(node.text)

    def _room_for_text(self) -> int:
        return self._limits.text if self._characters > 0 else 40

    def _room(self, node: _Node) -> int:
        """For how much of what is inside."""
        return min(max(5, self._limits.items >> (2 * node.depth)), self._limits.nodes - len(self._nodes))

    # -- what is inside --------------------------------------------------------------------------------------------

    def _open(self, node: _Node) -> None:
        value = node.value
        room = self._room(node)
        if peek.base_of(value, CONTAINERS) is not None:
            if peek.base_of(value, peek.DICTS) is not None:
                for key, held in peek.first_pairs(value, room):
                    name = key_text(key)
                    shown = repr(name) if type(key) is str else name
                    self._add(node, name, f"{shown}: ", held, secrecy(name))
            else:
                self._open_elements(node, room)
            self._count_rest(node, int(node.extra["size"]))
            derived = [] if type(value) in _BRACKETS else fields_of(value)
            for name, held in derived[:room]:
                shown = clean(mask_text(name[:KEY_CHARACTERS])[0])
                self._add(node, f".{shown}", f".{shown}=", held, secrecy(name))
        elif (array := numpy_array(value)) is not None:
            for index, held in enumerate(array.flat[:room].tolist()):
                self._add(node, str(index), "", held, 0)
            self._count_rest(node, int(node.extra["size"]))
        else:
            self.add_fields(node, fields_of(value))

    def _open_elements(self, node: _Node, room: int) -> None:
        elements = peek.first_items(node.value, room)
        names = tuple_fields(node.value)
        named_secret = 0  # ("Authorization", "…"): a pair as headers and query parameters have it
        if names is None and len(elements) == 2 and node.extra["size"] == 2 and type(elements[0]) is str:
            named_secret = secrecy(elements[0])
        for index, held in enumerate(elements):
            if names is not None and index < len(names):
                self._add(node, names[index], f"{names[index]}=", held, secrecy(names[index]))
            else:
                self._add(node, str(index), "", held, named_secret if index == 1 else 0)

    def add_fields(self, node: _Node, fields: list[tuple[str, object]]) -> None:
        room = self._room(node)
        for name, held in fields[:room]:
            shown = clean(mask_text(name[:KEY_CHARACTERS])[0])
            self._add(node, shown, "" if shown.isdigit() else f"{shown}=", held, secrecy(shown))
        self._count_rest(node, len(fields))

    def _add(self, node: _Node, key: str, prefix: str, held: object, secret: int) -> None:
        node.items.append((key, prefix, self.place(held, node, max(secret, node.secret))))

    def _count_rest(self, node: _Node, size: int) -> None:
        if size > len(node.items):
            node.extra["more"] = size - len(node.items)

    # -- texts, from the inside out ----------------------------------------------------------------------------

    def _compose(self, node: _Node) -> None:
        if node.text is not None:
            return
        line = self._limits.line - 5
        most = line if len(node.items) < 2 else line // 2  # the first part must not hide the second
        parts: list[str] = []
        length = len(node.opening) + len(node.closing)
        for _, prefix, child in node.items:
            part = prefix + (child.text or "").replace("\n", " ")
            part = part if len(part) <= most else part[:most] + "…"
            if length + len(part) > line:
                parts.append("…" if length + 20 > line else part[: line - length] + "…")
                break
            parts.append(part)
            length += len(part) + 2
        else:
            if "more" in node.extra or (not node.items and "cut" in node.extra):
                parts.append("…")
        node.text = f"{node.opening}{', '.join(parts)}{node.closing}"


_PLAIN_NAMES: Final[dict[type, str]] = {
    one: one.__name__ for one in (str, int, float, bool, list, dict, tuple, type(None))
}
_BRACKETS: Final[dict[type, tuple[str, str]]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    dict: ("{", "}"),
    set: ("{", "}"),
}


def _value(node: _Node) -> Value:
    value: Value = {"type": node.type, "text": node.text or "", **node.extra}
    if node.items:
        value["items"] = [[key, _value(child)] for key, _, child in node.items]
    return value


def _reason(error: BaseException) -> str:
    """What went wrong, in one line, without calling the exception's own ``__str__``."""
    if isinstance(error, ReprTooSlow):
        return "its __repr__ took too long and was ended"
    first = next(iter(exception_arguments(error)), None)
    said = f": {mask_text(first[:200])[0]}" if type(first) is str else ""
    return clean(f"{peek.type_name(error)}{said}").replace("\n", " ")
