"""Brings what was made beside a module home into it: functions see the module's names, old classes stand for new ones.

What has an old one of the same name (its twin) is replaced by that; the old one itself gets the new content. So whatever
refers to a class or function of the module, from wherever, refers to the new code afterwards, and objects made before are
still instances of their class.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from enum import Enum
from types import CellType, FunctionType, ModuleType
from typing import Any, Final

DEPTH: Final = 20
"""Containers in containers that are looked into."""


class Home:
    """Knows which namespaces are beside which modules, and who is whose twin."""

    def __init__(self, modules: Mapping[int, ModuleType]) -> None:
        """`modules`: by the id of the namespace beside it."""
        self._modules = modules
        self._twins: dict[int, Any] = {}
        self._brought: dict[int, Any] = {}
        self._kept: list[Any] = []

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
            return self._function(value) if self.is_made_beside(value) else value
        if isinstance(value, type):
            return self._class(value) if self.owns(value) else value
        kind = type(value)
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
        """An object that the module makes of a class of its own becomes one of the old class."""
        twin = self._twins.get(id(kind))
        if twin is None:
            return
        try:
            object.__setattr__(value, "__class__", twin)
            state = vars(value)
        except TypeError:
            return  # its class has slots, and so has the twin: they are alike, but not exchangeable
        for name, part in list(state.items()):
            state[name] = self.bring(part, depth - 1)
