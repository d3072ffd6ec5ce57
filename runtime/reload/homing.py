"""Brings what was made beside a module home into it: functions see the module's names, old classes stand for new ones.

What has an old one of the same name (its twin) is replaced by that; the old one itself gets the new content. So whatever
refers to a class or function of the module, from wherever, refers to the new code afterwards, and objects made before are
still instances of their class.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Mapping
from dataclasses import Field
from enum import Enum
from operator import or_
from types import CellType, FunctionType, GenericAlias, ModuleType, UnionType
from typing import Any, Final

_PLAIN: Final = frozenset({str, bytes, int, float, bool, complex, type(None), ModuleType})
_CONTAINERS: Final = frozenset({list, tuple, set, frozenset, dict})

_BROUGHT: Final = frozenset(
    {
        staticmethod,
        classmethod,
        property,
        functools.partial,
        functools.cached_property,
        UnionType,
        GenericAlias,
        Field,
    }
)
"""Kinds of objects whose parts are exchanged."""

DEPTH: Final = 20
"""Containers in containers that are looked into."""

STRANGERS: Final = 4
"""Objects of other modules' classes in one another that are looked into."""

MOST: Final = 2000
"""Parts of one value that are looked at for what cannot be brought home."""


class Home:
    """Knows which namespaces are beside which modules, and who is whose twin."""

    def __init__(self, modules: Mapping[int, ModuleType]) -> None:
        """`modules`: by the id of the namespace beside it."""
        self._modules = modules
        self._twins: dict[int, Any] = {}
        self._brought: dict[int, Any] = {}
        self._kept: list[Any] = []
        self._looked: set[int] = set()

    def pair(self, new: Any, old: Any) -> None:
        """Let `old` stand for `new`."""
        self._kept.append(new)  # an id is worth something only as long as its owner lives
        self._twins[id(new)] = old

    def twin(self, new: Any) -> Any:
        """The old one of a new class or function, or None."""
        return self._twins.get(id(new))

    def owns(self, value: Any) -> bool:
        """Whether a function or class was made beside one of the modules."""
        if isinstance(value, FunctionType):
            return id(value.__globals__) in self._modules
        if isinstance(value, type):
            return any(value.__module__ == module.__name__ for module in self._modules.values())
        return False

    def bring(self, value: Any, depth: int = DEPTH) -> Any:
        """`value` as it shall stand in the module."""
        known = self._twins.get(id(value), self._brought.get(id(value)))
        if known is not None:
            return known
        if depth <= 0:
            return value
        if isinstance(value, FunctionType):
            return self._function(value) if self.is_made_beside(value) else self._generated(value)
        if isinstance(value, type):
            return self._class(value) if self.owns(value) else value
        kind = type(value)
        if kind in _PLAIN:
            return value
        if isinstance(value, Enum):
            twin = self._twins.get(id(kind))
            return twin[value.name] if twin is not None else value
        if kind in (list, tuple, set, frozenset):
            parts = [self.bring(part, depth - 1) for part in value]
            return kind(parts) if any(a is not b for a, b in zip(parts, value, strict=True)) else value
        if kind is dict:
            made = {self.bring(key, depth - 1): self.bring(part, depth - 1) for key, part in value.items()}
            if any(a is not b for a, b in zip(made.values(), value.values(), strict=False)) or any(
                a is not b for a, b in zip(made, value, strict=False)
            ):
                return made
            return value
        if kind in (UnionType, GenericAlias) or hasattr(value, "copy_with"):
            return self._alias(value, depth)
        if _is_named_alias(kind):
            return self._named_alias(value, kind, depth)
        if kind is Field:
            for name in ("type", "default", "default_factory"):
                setattr(value, name, self.bring(getattr(value, name), depth - 1))
            return value
        if kind in (staticmethod, classmethod):
            return kind(self.bring(value.__func__, depth - 1))
        if kind is property:
            get, put, delete = (self.bring(one, depth - 1) for one in (value.fget, value.fset, value.fdel))
            return property(get, put, delete, value.__doc__)
        if kind is functools.partial:
            arguments = self.bring(value.args, depth - 1)
            return functools.partial(self.bring(value.func, depth - 1), *arguments, **value.keywords)
        if kind is functools.cached_property:
            value.func = self.bring(value.func, depth - 1)
            return value
        if hasattr(value, "cache_parameters") and hasattr(value, "__wrapped__"):
            return functools.lru_cache(**value.cache_parameters())(self.bring(value.__wrapped__, depth - 1))
        self._instance(value, kind, depth)
        return value

    def _alias(self, value: Any, depth: int) -> Any:
        """`Order | Cancel`, `list[Order]`: made of the old classes, or `isinstance` would know only what is made from here on."""
        before = getattr(value, "__args__", None)
        if not isinstance(before, tuple):
            return value
        parts = tuple(self.bring(part, depth - 1) for part in before)
        base = getattr(value, "__origin__", None)
        origin = self.bring(base, depth - 1)
        if origin is base and all(a is b for a, b in zip(parts, before, strict=True)):
            return value
        if isinstance(value, UnionType):
            return functools.reduce(or_, parts)
        if origin is base and hasattr(value, "copy_with"):
            return value.copy_with(parts)
        return origin[parts]

    def _named_alias(self, value: Any, kind: Any, depth: int) -> Any:
        try:
            meant = value.__value__
        except (
            Exception
        ):  # it is worked out when it is asked for, and may name what is there for type checkers only
            return value
        brought = self.bring(meant, depth - 1)
        return value if brought is meant else kind(value.__name__, brought, type_params=value.__type_params__)

    def _generated(self, function: FunctionType) -> FunctionType:
        """One that a library has made of the module's texts, as the `__init__` of a dataclass: its defaults are of the module."""
        for name in ("__defaults__", "__kwdefaults__"):
            held = getattr(function, name)
            brought = self.bring(held) if held else held
            if brought is not held:
                setattr(function, name, brought)
        return function

    def is_made_beside(self, function: FunctionType) -> bool:
        """Made beside a module, or holding something that was: a wrapper of another module's decorator."""
        if id(function.__globals__) in self._modules:
            return True
        for cell in function.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:
                continue
            if isinstance(content, FunctionType) and content is not function and self.is_made_beside(content):
                return True
            if self.owns(content):
                return True
        return False

    def _function(self, new: FunctionType) -> FunctionType:
        module = self._modules.get(id(new.__globals__))
        namespace = module.__dict__ if module is not None else new.__globals__
        cells = tuple(CellType() for _ in new.__closure__ or ())
        made = FunctionType(new.__code__, namespace, new.__name__, None, cells)
        self._kept.append(new)
        self._brought[id(new)] = made  # before its parts: it may refer to itself
        for mine, theirs in zip(cells, new.__closure__ or (), strict=True):
            try:
                mine.cell_contents = self.bring(theirs.cell_contents)
            except ValueError:
                pass  # not assigned yet
        made.__defaults__ = self.bring(new.__defaults__)
        made.__kwdefaults__ = self.bring(new.__kwdefaults__)
        made.__annotations__ = self.bring(new.__annotations__)
        made.__qualname__, made.__module__, made.__doc__ = new.__qualname__, new.__module__, new.__doc__
        made.__dict__.update(self.bring(new.__dict__))
        return made

    def _class(self, new: type) -> type:
        """A class that has no twin comes as it is, with its functions brought home."""
        self._kept.append(new)
        self._brought[id(new)] = new
        for name, value in list(vars(new).items()):
            if isinstance(
                value, (FunctionType, staticmethod, classmethod, property, type, functools.cached_property)
            ):
                brought = self.bring(value)
                if brought is not value:
                    type.__setattr__(new, name, brought)
        bases = tuple(self.bring(base) for base in new.__bases__)
        if bases != new.__bases__:
            new.__bases__ = bases
        return new

    def _instance(self, value: Any, kind: type, depth: int) -> None:
        """An object that the module makes of a class of its own becomes one of the old class. One of another class, as a
        library's decorator makes it of a function, holds what is at home."""
        twin = self._twins.get(id(kind))
        if twin is None:
            self._inside(value, min(depth, STRANGERS))
            return
        try:
            object.__setattr__(value, "__class__", twin)
            state = vars(value)
        except TypeError:
            return  # its class has slots, and so has the twin: they are alike, but not exchangeable
        for name, part in list(state.items()):
            state[name] = self.bring(part, depth - 1)

    def _inside(self, value: Any, depth: int) -> None:
        state = getattr(value, "__dict__", None)
        if type(state) is not dict or id(value) in self._looked:
            return
        self._kept.append(value)
        self._looked.add(id(value))
        for name, part in list(state.items()):
            brought = self.bring(part, depth - 1)
            if brought is not part:
                state[name] = brought

    def is_open(self, value: Any) -> bool:
        """Whether it is an object whose parts can all be brought home: none of a library's class, which may do anything with them."""
        kind = type(value)
        return (
            kind in _PLAIN | _CONTAINERS | {UnionType, GenericAlias}
            or hasattr(value, "copy_with")
            or self._twins.get(id(kind)) is not None
        )

    def out_of_reach(self, value: Any) -> str:
        """The name of a new class or function that `value` holds where it cannot be exchanged, as a compiled validator holds its
        class: what comes out of it would be of no class that anybody knows. Empty when there is none."""
        todo, seen = [(value, False)], set[int]()
        while todo and len(seen) < MOST:
            one, is_hidden = todo.pop()
            kind = type(one)
            if kind in _PLAIN or id(one) in seen:
                continue
            seen.add(id(one))
            if isinstance(one, (type, FunctionType)):
                is_new = self._twins.get(id(one)) is not None or (
                    isinstance(one, FunctionType) and id(one.__globals__) in self._modules
                )
                if is_hidden and is_new:
                    return one.__qualname__
            elif kind is dict:
                todo += [(part, is_hidden) for pair in one.items() for part in pair]
            elif kind in _CONTAINERS:
                todo += [(part, is_hidden) for part in one]
            elif self._twins.get(id(kind)) is not None or type(getattr(one, "__dict__", None)) is dict:
                todo += [(part, is_hidden) for part in getattr(one, "__dict__", {}).values()]
            elif kind not in _BROUGHT and not _is_named_alias(kind):
                todo += [(part, True) for part in gc.get_referents(one) if part is not kind]
        return ""


def _is_named_alias(kind: type) -> bool:
    """Of `type Message = Order | Cancel`, from 3.12 on."""
    return kind.__name__ == "TypeAliasType" and kind.__module__ == "typing"
