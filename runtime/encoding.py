"""How states are written down: JSON, with tags for what JSON does not know.

Not pickle: what is read back may have been written by an older version, or by somebody else, and must not be able to
run code. So the set of types is closed. It holds None, bool, int, float, str, bytes, bytearray, list, tuple, dict, set,
frozenset, deque, OrderedDict, Counter, Decimal, UUID, Path, dates, times and durations, refs by name, and the dataclasses and enums that
`storable` has been told of. Subclasses of these are refused rather than turned into their bases.

An object that is reached twice comes back as two equal ones, and one that contains itself is refused.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields, is_dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from pathlib import Path, PosixPath, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload
from uuid import UUID
from zoneinfo import ZoneInfo

from observe.runtime.errors import NotStorable, Unreadable
from observe.runtime.ref import NamedRef, Ref

if TYPE_CHECKING:
    from observe.runtime.node import Node

MAX_DEPTH: Final = 100
"""Containers within containers. Deeper ones are refused: they are cycles, as a rule."""

LONG_INT_BITS: Final = 4096
"""Longer integers are written in hexadecimal: Python refuses to read or write very long decimal ones."""

TAG: Final = "@"
"""The key that marks a JSON object as something else than a plain dict."""

_NESTED: Final = frozenset((list, dict))

_PLAIN: Final = frozenset((type(None), bool))

C = TypeVar("C", bound=type)

_classes: dict[str, type] = {}
_names: dict[type, str] = {}


class _Cannot(Exception):
    """Something cannot be written down; `path` grows on the way out."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.path = ""


@overload
def storable(cls: C, /) -> C: ...


@overload
def storable(*, name: str) -> Callable[[C], C]: ...


def storable(cls: Any = None, /, *, name: str = "") -> Any:
    """Let checkpoints hold objects of this dataclass or enum. A decorator.

        @storable
        @dataclass
        class Order:
            ...

    The class is known in the store by its module and name; give another `name` to be free to move it. What is read
    back gets its fields as they were, without `__init__` and `__post_init__`; a field that the stored object lacks takes
    its default.

    Raises:
        TypeError: it is neither a dataclass nor an enum.
        ValueError: another class has the name.
    """
    if cls is None:
        return lambda decorated: _register(decorated, name)
    return _register(cls, "")


def _register(cls: Any, name: str) -> Any:
    if not isinstance(cls, type) or not (is_dataclass(cls) or issubclass(cls, Enum)):
        raise TypeError(f"only dataclasses and enums can be made storable, not {cls!r}")
    name = name or f"{cls.__module__}:{cls.__qualname__}"
    other = _classes.get(name)
    if other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"the storable name {name!r} belongs to {other!r}")
    _classes[name] = cls  # the newest of the same name: a reloaded module
    _names[cls] = name
    return cls


def encode(value: Any, what: str) -> bytes:
    """Write `value` down.

    Args:
        what: what it is, for the error's text.

    Raises:
        NotStorable: it holds something that cannot be written down; the error says where.
    """
    try:
        tree = _encode(value, MAX_DEPTH)
    except _Cannot as fault:
        raise NotStorable(what, fault.path, fault.why) from None
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode()


def encode_state(attributes: dict[str, Any], what: str) -> bytes:
    """`encode` of an agent's attributes, whose errors name the attribute.

    Raises:
        NotStorable: as `encode`.
    """
    tree: dict[str, Any] = {}
    for name, value in attributes.items():
        try:
            tree[name] = _encode(value, MAX_DEPTH)
        except _Cannot as fault:
            raise NotStorable(what, f"self.{name}{fault.path}", fault.why) from None
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode()


def decode(data: bytes, what: str, node: Node | None = None) -> Any:
    """Read back what `encode` wrote.

    Args:
        node: where refs by name look for agents.

    Raises:
        Unreadable: it is damaged, or names a class that is not storable here.
    """
    try:
        return _decode(json.loads(data.decode()), node)
    except _Cannot as fault:
        raise Unreadable(what, fault.why) from None
    except (ValueError, TypeError, LookupError, RecursionError, ArithmeticError, AttributeError) as error:
        raise Unreadable(what, f"{type(error).__name__}: {error}") from error


def decode_state(data: bytes, what: str, node: Node | None = None) -> dict[str, Any]:
    """Read back what `encode_state` wrote.

    Raises:
        Unreadable: as `decode`.
    """
    try:
        tree = json.loads(data.decode())
        return {name: _decode(value, node) for name, value in tree.items()}
    except _Cannot as fault:
        raise Unreadable(what, fault.why) from None
    except (ValueError, TypeError, LookupError, RecursionError, ArithmeticError, AttributeError) as error:
        raise Unreadable(what, f"{type(error).__name__}: {error}") from error


# -- Writing


def _encode(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        return value if value.isascii() else _text(value)
    if kind is int:
        return value if value.bit_length() <= LONG_INT_BITS else {TAG: "int", "v": hex(value)}
    if kind is float or kind in _PLAIN:
        return value
    if depth == 0:
        raise _Cannot(f"it is nested more than {MAX_DEPTH} deep, or contains itself")
    if kind is list:
        return _encode_all(value, depth - 1)
    if kind is dict:
        if TAG not in value and all(type(key) is str and key.isascii() for key in value):
            return {key: _at(item, depth - 1, key) for key, item in value.items()}
        return {TAG: "dict", "v": _encode_pairs(value, depth - 1)}
    writer = _WRITERS.get(kind)
    if writer is not None:
        tag, write = writer
        return {TAG: tag, "v": write(value, depth - 1)}
    return _encode_object(value, kind, depth - 1)


def _encode_object(value: Any, kind: type, depth: int) -> Any:
    name = _names.get(kind)
    if name is not None:
        if isinstance(value, Enum):
            return {TAG: "enum", "c": name, "v": value.name}
        held: dict[str, Any] = {}
        for field in fields(value):
            try:
                held[field.name] = _encode(getattr(value, field.name), depth)
            except _Cannot as fault:
                fault.path = f".{field.name}{fault.path}"
                raise
            except AttributeError:
                continue  # a field that was never set
        return {TAG: "data", "c": name, "v": held}
    if isinstance(value, Ref):
        raise _Cannot("a ref by pid ends with its agent; keep a ref by name: self.node.ref(name)")
    if is_dataclass(kind) or issubclass(kind, Enum):
        raise _Cannot(f"{kind.__qualname__} is not storable: put @storable above the class")
    for base in (*_WRITERS, list, dict, str, int, float):
        if issubclass(kind, base):
            raise _Cannot(
                f"{kind.__qualname__} is a subclass of {base.__name__}, which is all that would come back"
            )
    raise _Cannot(
        f"{kind.__module__}.{kind.__qualname__} cannot be written down: list the attribute in the class's `unsaved` "
        "and make it anew in restored()"
    )


def _at(value: Any, depth: int, key: Any) -> Any:
    try:
        return _encode(value, depth)
    except _Cannot as fault:
        fault.path = f"[{key!r:.60}]{fault.path}"
        raise


def _encode_all(values: Iterable[Any], depth: int) -> list[Any]:
    return [_at(item, depth, index) for index, item in enumerate(values)]


def _encode_pairs(pairs: dict[Any, Any], depth: int) -> list[Any]:
    return [[_at(key, depth, "a key"), _at(item, depth, key)] for key, item in pairs.items()]


def _encode_set(values: Iterable[Any], depth: int) -> list[Any]:
    return [_at(item, depth, "an item") for item in values]


def _text(value: str) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:  # lone surrogates: names of files, mostly
        return {TAG: "str", "v": value.encode("utf-16-le", "surrogatepass").hex()}
    return value


def _encode_zone(zone: tzinfo | None) -> Any:
    if zone is None:
        return None
    if type(zone) is ZoneInfo and zone.key is not None:
        return zone.key
    if type(zone) is timezone:
        return _encode_span(zone.utcoffset(None), 0)
    raise _Cannot(f"a time zone of the kind {type(zone).__qualname__} cannot be written down")


def _encode_moment(value: datetime | time, depth: int) -> Any:
    return [value.replace(tzinfo=None, fold=0).isoformat(), _encode_zone(value.tzinfo), value.fold]


def _encode_span(value: timedelta, depth: int) -> Any:
    return [value.days, value.seconds, value.microseconds]


_WRITERS: Final[dict[type, tuple[str, Callable[[Any, int], Any]]]] = {
    bytes: ("bytes", lambda value, _: b64encode(value).decode()),
    bytearray: ("bytearray", lambda value, _: b64encode(value).decode()),
    tuple: ("tuple", _encode_all),
    set: ("set", _encode_set),
    frozenset: ("frozenset", _encode_set),
    deque: ("deque", lambda value, depth: [value.maxlen, _encode_all(value, depth)]),
    OrderedDict: ("odict", _encode_pairs),
    Counter: ("counter", _encode_pairs),
    Decimal: ("decimal", lambda value, _: str(value)),
    UUID: ("uuid", lambda value, _: value.hex),
    PosixPath: ("path", lambda value, depth: _encode(str(value), depth)),
    PurePosixPath: ("purepath", lambda value, depth: _encode(str(value), depth)),
    datetime: ("datetime", _encode_moment),
    date: ("date", lambda value, _: value.isoformat()),
    time: ("time", _encode_moment),
    timedelta: ("timedelta", _encode_span),
    NamedRef: ("ref", lambda value, depth: _encode(value.name, depth)),
}


# -- Reading


def _decode(tree: Any, node: Node | None) -> Any:
    kind = type(tree)
    if kind is list:
        return [_decode(item, node) if type(item) in _NESTED else item for item in tree]
    if kind is not dict:
        return tree
    tag = tree.get(TAG)
    if tag is None:
        return {key: _decode(item, node) if type(item) in _NESTED else item for key, item in tree.items()}
    reader = _READERS.get(tag)
    if reader is not None:
        return reader(tree["v"], node)
    cls = _classes.get(tree.get("c", ""))
    if cls is None or tag not in ("data", "enum"):
        raise _Cannot(f"it holds a {tree.get('c', tag)!r}, which is not storable here")
    if tag == "enum":
        return cls[tree["v"]]  # type: ignore[index]  # registered enums only, whose class has items
    held = {name: _decode(item, node) for name, item in tree["v"].items()}
    made: Any = object.__new__(cls)
    for field in fields(cls):
        if field.name in held:
            value = held[field.name]
        elif field.default is not MISSING:
            value = field.default
        elif field.default_factory is not MISSING:
            value = field.default_factory()
        else:
            raise _Cannot(f"it holds a {tree['c']!r} without {field.name!r}, which has no default")
        object.__setattr__(made, field.name, value)
    return made


def _decode_all(tree: Any, node: Node | None) -> list[Any]:
    return [_decode(item, node) for item in tree]


def _decode_pairs(tree: Any, node: Node | None) -> list[tuple[Any, Any]]:
    return [(_decode(key, node), _decode(item, node)) for key, item in tree]


def _decode_zone(tree: Any) -> tzinfo | None:
    if tree is None:
        return None
    return ZoneInfo(tree) if isinstance(tree, str) else timezone(timedelta(*tree))


def _decode_datetime(tree: Any, node: Node | None) -> datetime:
    text, zone, fold = tree
    return datetime.fromisoformat(text).replace(tzinfo=_decode_zone(zone), fold=fold)


def _decode_time(tree: Any, node: Node | None) -> time:
    text, zone, fold = tree
    return time.fromisoformat(text).replace(tzinfo=_decode_zone(zone), fold=fold)


def _decode_ref(tree: Any, node: Node | None) -> NamedRef:
    if node is None:
        raise _Cannot("it holds a ref by name, and there is no node to look for the name")
    return NamedRef(node, _decode(tree, node))


def _decode_path(cls: type[PurePath]) -> Callable[[Any, Node | None], Any]:
    return lambda tree, node: cls(_decode(tree, node))


_READERS: Final[dict[str, Callable[[Any, Node | None], Any]]] = {
    "dict": lambda tree, node: dict(_decode_pairs(tree, node)),
    "int": lambda tree, _: int(tree, 16),
    "str": lambda tree, _: bytes.fromhex(tree).decode("utf-16-le", "surrogatepass"),
    "bytes": lambda tree, _: b64decode(tree),
    "bytearray": lambda tree, _: bytearray(b64decode(tree)),
    "tuple": lambda tree, node: tuple(_decode_all(tree, node)),
    "set": lambda tree, node: set(_decode_all(tree, node)),
    "frozenset": lambda tree, node: frozenset(_decode_all(tree, node)),
    "deque": lambda tree, node: deque(_decode_all(tree[1], node), tree[0]),
    "odict": lambda tree, node: OrderedDict(_decode_pairs(tree, node)),
    "counter": lambda tree, node: Counter(dict(_decode_pairs(tree, node))),
    "decimal": lambda tree, _: Decimal(tree),
    "uuid": lambda tree, _: UUID(hex=tree),
    "path": _decode_path(Path),
    "purepath": _decode_path(PurePosixPath),
    "datetime": _decode_datetime,
    "date": lambda tree, _: date.fromisoformat(tree),
    "time": _decode_time,
    "timedelta": lambda tree, _: timedelta(*tree),
    "ref": _decode_ref,
}
