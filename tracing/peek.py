"""Looking at an object without letting it act: no property, no ``__getattr__``, no ``__iter__`` of its own is called.

Somebody who inspects a live service must not change it. So classes and instance dictionaries are read through the
descriptors of `type` and `object` themselves, containers through the methods of the built-in class they derive from.
"""

from __future__ import annotations

import array
import collections
import itertools
import types
from collections.abc import Callable, Iterable
from typing import Any, Final

_mro: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
_class_dict: Callable[[type], Any] = type.__dict__["__dict__"].__get__
_class_name: Callable[[type], str] = type.__dict__["__qualname__"].__get__
Table = dict[int, type]
"""Classes by identity: comparing classes with ``==`` could call a metaclass's own ``__eq__``."""


def table(*classes: type) -> Table:
    """A `Table` of these classes."""
    return {id(cls): cls for cls in classes}


SEQUENCES: Final = table(list, tuple, collections.deque)
SETS: Final = table(set, frozenset)
TEXTS: Final = table(str, bytes, bytearray)
DICTS: Final = table(dict)
ELEMENTS: Final = SEQUENCES | SETS | table(array.array)
SIZED: Final = ELEMENTS | TEXTS | DICTS


def bases(value: object) -> tuple[type, ...]:
    """The method resolution order of the value's real class, whatever ``__class__`` pretends."""
    return _mro(type(value))


def base_of(value: object, candidates: Table) -> type | None:
    """The first of the candidates that the value's real class is or derives from."""
    for cls in _mro(type(value)):
        found = candidates.get(id(cls))
        if found is not None:
            return found
    return None


def type_name(value: object) -> str:
    """The class's qualified name without the function that it was defined in, at most 100 characters."""
    return class_name(type(value))


def class_name(cls: type) -> str:
    """As `type_name`, of a class."""
    name = _class_name(cls)
    return name.rpartition("<locals>.")[2][:100]


def module_name(cls: type) -> str:
    """The name of the module that defined the class, ``builtins`` when it does not say."""
    name = _class_dict(cls).get("__module__", "builtins")
    return name if type(name) is str else "builtins"


def class_attribute(value: object, name: str) -> object | None:
    """What the value's class or its bases hold under `name`, not bound; None when nothing."""
    for cls in bases(value):
        found: object = _class_dict(cls).get(name)
        if found is not None:
            return found
    return None


def instance_dict(value: object) -> dict[str, object]:
    """The dictionary of the instance's attributes (the very one, not a copy); an empty one when it has none."""
    for cls in bases(value):
        descriptor = _class_dict(cls).get("__dict__")
        if type(descriptor) is types.GetSetDescriptorType or type(descriptor) is types.MemberDescriptorType:
            found = descriptor.__get__(value)
            return found if type(found) is dict else {}
    return {}


def slots(value: object, stop: Table | None = None) -> list[tuple[str, object]]:
    """The filled ``__slots__`` of the value, except those declared by the classes in `stop` and their bases."""
    filled: list[tuple[str, object]] = []
    for cls in bases(value):
        if stop is not None and id(cls) in stop:
            break
        members = _class_dict(cls)
        if "__slots__" not in members:
            continue
        for name, descriptor in list(members.items()):
            if type(descriptor) is types.MemberDescriptorType and not name.startswith("__"):
                try:
                    filled.append((name, descriptor.__get__(value)))
                except AttributeError:
                    pass  # an empty slot
    return filled


def length(value: object) -> int | None:
    """How long a built-in container or text is, by the built-in's own ``__len__``; None for anything else."""
    base: Any = base_of(value, SIZED)
    return None if base is None else int(base.__len__(value))


def first_items(value: object, limit: int) -> list[Any]:
    """The first elements of a built-in sequence, set or array, by the built-in's own iterator.

    Raises:
        RuntimeError: another thread kept changing it.
    """
    base: Any = base_of(value, ELEMENTS)
    return [] if base is None else _taken(lambda: base.__iter__(value), limit)


def last_items(value: Any, limit: int) -> list[Any]:
    """The last elements of a built-in sequence in their order, by the built-in's own reversed iterator.

    Raises:
        RuntimeError: another thread kept changing it.
    """
    base: Any = base_of(value, SEQUENCES)
    if base is None:
        return []
    if base is tuple:  # has no reversed iterator of its own, and does not change
        return list(base.__getitem__(value, slice(-limit, None)))
    return _taken(lambda: base.__reversed__(value), limit)[::-1]


def first_pairs(value: Any, limit: int) -> list[tuple[Any, Any]]:
    """The first pairs of a dictionary, by `dict`'s own iterator.

    Raises:
        RuntimeError: another thread kept changing it.
    """
    return _taken(lambda: dict.items(value), limit)


def _taken(iterable: Callable[[], Iterable[Any]], limit: int) -> list[Any]:
    for _ in range(3):
        try:
            return list(itertools.islice(iterable(), limit))
        except RuntimeError:
            continue  # changed by another thread while we looked
    raise RuntimeError("it changed size while it was read")


def weighs_more_than(value: object, limit: int) -> bool:
    """Whether more than `limit` objects (or 100 characters each) hang below, as far as a built-in repr would go."""
    pending: list[object] = [value]
    seen: set[int] = set()
    weight = 0
    while pending:
        item = pending.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        size = length(item) or 0
        weight += 1 + (size // 100 if base_of(item, TEXTS) else size)
        if weight > limit:
            return True
        try:
            if base_of(item, DICTS):
                for pair in first_pairs(item, limit):
                    pending += pair
            elif base_of(item, SEQUENCES | SETS):
                pending += first_items(item, limit)
            pending += instance_dict(item).values()
        except RuntimeError:
            return True
        pending += [held for _, held in slots(item)]
    return False
