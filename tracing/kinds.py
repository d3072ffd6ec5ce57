"""What kinds of Python objects there are for somebody who looks on, and the texts of those without parts.

Nothing here calls code of the object that it looks at.
"""

from __future__ import annotations

import enum
import functools
import sys
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final

from observe.tracing import peek
from observe.tracing.masking import mask_text

NUMBERS: Final = peek.table(int, float, complex)
CONTAINERS: Final = peek.DICTS | peek.ELEMENTS
KEY_CHARACTERS: Final = 100
"""Characters of a dictionary key that are shown."""

MOST_FIELDS: Final = 10_000

_LEAF_MODULES: Final = frozenset(
    {
        "_asyncio",
        "_contextvars",
        "_io",
        "_sqlite3",
        "_ssl",
        "_thread",
        "_weakref",
        "anyio",
        "asyncio",
        "concurrent",
        "contextvars",
        "datetime",
        "decimal",
        "fractions",
        "httpcore",
        "httpx",
        "io",
        "ipaddress",
        "logging",
        "multiprocessing",
        "pathlib",
        "re",
        "selectors",
        "socket",
        "sqlite3",
        "ssl",
        "threading",
        "uuid",
        "weakref",
        "zmq",
        "zoneinfo",
    }
)
"""Top-level modules whose objects are shown by their text alone: their attributes tell nobody anything."""

_GENERATED: Final = ("dataclasses.py", "reprlib.py")
_PLAIN_REPRS: Final = (object.__repr__, BaseException.__repr__, types.SimpleNamespace.__repr__)
_WEAK: Final = peek.table(weakref.ref, weakref.ProxyType, weakref.CallableProxyType)
_NAMED: Final = peek.table(
    types.FunctionType, types.BuiltinFunctionType, types.CoroutineType, types.GeneratorType
)
_OPAQUE: Final = peek.table(
    types.MappingProxyType,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
    types.MethodWrapperType,
    types.CellType,
)


def written(value: Any) -> str | None:
    """The text of objects that have no parts worth opening and whose own repr could call a stranger's."""
    cls = type(value)
    if type in peek.bases(value):
        return clean(f"<class {peek.module_name(value)}.{peek.class_name(value)}>")
    if id(cls) in _NAMED:
        return clean(f"<{cls.__name__} {value.__qualname__[:200]}>")
    if cls is types.MethodType:
        function = value.__func__
        name = function.__qualname__[:200] if type(function) is types.FunctionType else "?"
        return clean(f"<bound method {name}>")
    if cls is functools.partial:
        return f"<partial of {written(value.func) or peek.type_name(value.func)}>"
    if id(cls) in _OPAQUE or peek.base_of(value, _WEAK) is not None:
        return f"<{peek.type_name(value)}>"
    if types.ModuleType in peek.bases(value):
        name = types.ModuleType.__getattribute__(value, "__dict__").get("__name__")
        return clean(f"<module {name}>" if type(name) is str else "<module>")
    if enum.Enum in peek.bases(value):
        parts = peek.instance_dict(value)
        return clean(f"<{peek.type_name(value)}.{str(parts.get('_name_'))[:100]}>")
    return None


def number_text(value: Any, base: Any) -> str:
    """The repr of a number by the built-in class that it derives from; of a huge one its size."""
    if base is int:
        bits = int.bit_length(value)
        if bits > 4096:
            return f"<int of {bits} bits>"  # writing it down takes quadratic time
    return str(base.__repr__(value))


def key_text(key: object) -> str:
    """A dictionary key as a bounded text, without calling anything of the key's own."""
    text = mask_text(_key(key))[0]
    return clean(text if len(text) <= KEY_CHARACTERS else text[: KEY_CHARACTERS - 1] + "…")


def _key(key: object) -> str:
    if type(key) is str:
        return key[: 3 * KEY_CHARACTERS]
    if key is None or key is True or key is False:
        return repr(key)
    if (text := written(key)) is not None:
        return text
    if (number := peek.base_of(key, NUMBERS)) is not None:
        return number_text(key, number)
    base: Any = peek.base_of(key, peek.TEXTS)
    if base is not None:
        return repr(base.__getitem__(key, slice(0, 3 * KEY_CHARACTERS)))
    if peek.base_of(key, peek.ELEMENTS) is not None:
        return f"({', '.join(_key(part)[:40] for part in peek.first_items(key, 4))})"
    return f"<{peek.type_name(key)}>"


def has_own_repr(value: object) -> bool:
    """Whether the class brings a ``__repr__`` that says more than its fields do."""
    function = peek.class_attribute(value, "__repr__")
    if any(function is plain for plain in _PLAIN_REPRS):
        return False
    if type(function) is types.FunctionType:
        file = function.__code__.co_filename
        module = str(function.__globals__.get("__name__", ""))
        return not (file.endswith(_GENERATED) or file.startswith("<attrs") or module.startswith("pydantic"))
    return True


def is_leaf(value: object) -> bool:
    """Whether its text alone is shown: its attributes would tell nobody anything, or lead to the whole node."""
    room, _, rest = peek.module_name(type(value)).partition(".")
    return (
        any(peek.module_name(cls).startswith("observe.runtime") for cls in peek.bases(value))
        or room in _LEAF_MODULES
        # Our own, but for the examples: they are written as users write.
        or (room == "observe" and rest.partition(".")[0] != "examples")
    )


def fields_of(value: object, stop: Iterable[type] = ()) -> list[tuple[str, object]]:
    """What hangs on an object, read without calling anything of its own: an exception's arguments, its dictionary, its slots.

    Slots declared by the classes in `stop` and their bases are left out: they are the framework's, not the user's.

    Raises:
        RuntimeError: another thread kept changing it.
    """
    fields: list[tuple[str, object]] = []
    if BaseException in peek.bases(value):
        fields += [(str(index), held) for index, held in enumerate(exception_arguments(value))]
    fields += [(str(name), held) for name, held in peek.first_pairs(peek.instance_dict(value), MOST_FIELDS)]
    return fields + peek.slots(value, peek.table(*stop))


_exception_args: Callable[[object], object] = BaseException.__dict__["args"].__get__


def exception_arguments(error: object) -> tuple[object, ...]:
    """The exception's ``args``, whatever its class makes of that name."""
    found = _exception_args(error)
    return found if type(found) is tuple else ()


def tuple_fields(value: object) -> list[str] | None:
    """The field names of a named tuple."""
    if type(value) is tuple or tuple not in peek.bases(value):
        return None
    names = peek.class_attribute(value, "_fields")
    return [name[:100] for name in names if type(name) is str] if type(names) is tuple else None


def numpy_array(value: object) -> Any:
    """The value as a plain numpy array when it is one and numpy is loaded; never loads it."""
    kind: Any = getattr(sys.modules.get("numpy"), "ndarray", None)
    if kind is None or not any(cls is kind for cls in peek.bases(value)):
        return None
    return kind.view(value, kind)


_ESCAPES: Final = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in (
        *(code for code in range(32) if code not in (9, 10)),
        *range(0x7F, 0xA0),
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
        *range(0xD800, 0xE000),
    )
}


def clean(text: str) -> str:
    """The text without characters that could steer a terminal or that UTF-8 cannot carry."""
    return text if text.isprintable() else text.translate(_ESCAPES)
