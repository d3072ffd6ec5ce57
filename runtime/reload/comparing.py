"""Compares a module with its new text, and makes of the difference a list of changes, or the reasons why there can be none.

Classes and functions keep their identity and get new content. Values are taken from the new text where their assignment
was changed, and kept where it was not: what a running service has put into them is its state.
"""

from __future__ import annotations

import dis
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from dataclasses import fields as fields_of
from enum import Enum
from types import CodeType, FunctionType, GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any, Final

from observe.runtime.agent import Agent
from observe.runtime.reload import models
from observe.runtime.reload.homing import Home
from observe.runtime.reload.journal import MISSING, Journal
from observe.runtime.reload.source import Loaded

_NEVER: Final = frozenset(
    {
        "__dict__", "__weakref__", "__module__", "__slots__", "__abstractmethods__", "_abc_impl", "__classcell__",
        "__orig_bases__", "__parameters__",
    }
)  # fmt: skip
"""Names of a class that stay as they are."""

_NOT_OURS: Final = frozenset(
    {
        "__name__",
        "__file__",
        "__package__",
        "__path__",
        "__spec__",
        "__loader__",
        "__builtins__",
        "__cached__",
        "__dict__",
    }
)
"""Names of a module that stay as they are."""

_FROZEN: Final = ("mailbox_limit", "overflow")
"""Attributes of an agent's class by which its living mailboxes were made."""


@dataclass(slots=True)
class Changes:
    """What a new text changes."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """Values whose assignment is as before, or may have been: they stay as they are."""
    refusals: list[str] = field(default_factory=list)
    """Why there can be no reload; none when it can be."""
    classes: list[type] = field(default_factory=list)
    """The module's classes that live on."""
    gone: list[type] = field(default_factory=list)
    """Classes that the new text does not have any more."""


class Comparison:
    """Of some modules with their new texts."""

    def __init__(self, loaded: list[Loaded]) -> None:
        self.changes = Changes()
        self._loaded = loaded
        self._steps: list[Callable[[Journal], object]] = []
        self._home = Home({id(one.beside.__dict__): one.module for one in loaded})
        self._replaced: list[tuple[Any, Any]] = []
        for one in loaded:
            self._pair_all(one.module.__name__, vars(one.module), vars(one.beside))
        for one in loaded:
            self._module(one)

    def apply(self, journal: Journal, modules: Iterable[ModuleType]) -> None:
        """Make all changes. `modules`: all in which somebody may have imported a function by name."""
        for step in self._steps:
            step(journal)
        if self._replaced:
            new = {id(old): brought for old, brought in self._replaced}
            for module in modules:
                names = vars(module)
                for name, value in list(names.items()):
                    brought = new.get(id(value))
                    if brought is not None and brought is not value:
                        journal.item(names, name, brought)

    # -- who is whose twin ----------------------------------------------------------------------------------------------

    def _pair_all(self, module: str, old: Any, new: Any) -> None:
        for name, value in list(new.items()):
            before = old.get(name)
            if before is value or before is None:
                continue
            if isinstance(value, type) and isinstance(before, type):
                if (
                    value.__module__ == before.__module__ == module
                    and value.__qualname__ == before.__qualname__
                ):
                    self._home.pair(value, before)
                    self._pair_all(module, vars(before), vars(value))
            elif not hasattr(
                value, "cache_parameters"
            ):  # what a cache holds must go with it: another takes its place
                for mine, theirs in zip(_functions(before), _functions(value), strict=False):
                    if self._home.owns(theirs) and _fits(mine, theirs):
                        self._home.pair(theirs, mine)

    # -- a module -------------------------------------------------------------------------------------------------------

    def _module(self, one: Loaded) -> None:
        names, new_names = vars(one.module), vars(one.beside)
        for name, new in list(new_names.items()):
            if name in _NOT_OURS:
                continue
            self._value(one, names, name, name, names.get(name, MISSING), new, _put_item(names))
        defined = {name for name in one.definitions.all() if "." not in name}
        had = one.old.all() if one.old is not None else {}
        for name, old in list(names.items()):
            if name in new_names or name in _NOT_OURS or name in defined:
                continue
            ours = isinstance(old, (type, FunctionType)) and old.__module__ == one.module.__name__
            if not ours and name not in had:
                continue  # an import, or what somebody has put there at run time
            self.changes.removed.append(f"{one.module.__name__}.{name}")
            if isinstance(old, type):
                self.changes.gone.append(old)
            self._steps.append(_item(names, name, MISSING))

    def _value(
        self,
        one: Loaded,
        holder: Any,
        name: str,
        path: str,
        old: Any,
        new: Any,
        put: Callable[[Journal, str, Any], None],
    ) -> None:
        """One name of a module or class."""
        full = f"{one.module.__name__}.{path}"
        if old is new:
            return
        if self._home.twin(new) is old and "." not in path and path not in one.definitions.all():
            return  # imported from another module of this reload, which tells about it
        if isinstance(new, type) and self._home.twin(new) is old and old is not MISSING:
            self._class(one, path, old, new)
            return
        if isinstance(new, type) and self._home.owns(new) and isinstance(old, type):
            self.changes.refusals.append(f"{full} was another class before")
            return
        functions = list(_functions(new))
        if functions and any(map(self._home.is_made_beside, functions)):
            self._callable(one, path, old, new, functions, put, name)
            return
        if old is MISSING:
            if path in one.definitions.all():
                self.changes.added.append(full)
            self._steps.append(lambda journal: put(journal, name, self._home.bring(new)))
            return
        if isinstance(old, type) and self._home.owns(old):
            self.changes.gone.append(old)
        if self._keeps(one, path, old, new):
            if path in one.definitions.values and not _same(old, new):
                self.changes.kept.append(full)
            return
        if not _same(old, new):
            if path in one.definitions.values or path in one.definitions.functions:
                hidden = self._home.out_of_reach(new)
                if hidden:
                    self.changes.refusals.append(
                        f"{full}, a {type(new).__qualname__}, holds the new {hidden} where it cannot be exchanged: "
                        "restart the service"
                    )
                    return
                self.changes.changed.append(full)
            self._steps.append(lambda journal: put(journal, name, self._home.bring(new)))

    def _keeps(self, one: Loaded, path: str, old: Any, new: Any) -> bool:
        if path not in one.definitions.values:
            # Made by an import, a decorator, a metaclass. What a decorator made of the same text stays.
            is_decorated = one.old is not None and path in one.definitions.functions
            return is_decorated and path not in one.changed_without_classes
        if one.old is not None:
            if path in one.changed and path not in one.changed_without_classes:
                return not self._home.is_open(new)  # the class has the same identity as before
            return path not in one.changed
        name = path.rpartition(".")[2]
        constant = isinstance(old, (int, float, str, bytes, tuple, frozenset, type(None)))
        return not (name.strip("_").isupper() or ("." in path and constant and type(old) is type(new)))

    def _callable(
        self,
        one: Loaded,
        path: str,
        old: Any,
        new: Any,
        functions: list[FunctionType],
        put: Callable[[Journal, str, Any], None],
        name: str,
    ) -> None:
        full = f"{one.module.__name__}.{path}"
        mine = list(_functions(old)) if old is not MISSING else []
        if old is MISSING:
            self.changes.added.append(full)
        elif self._is_changed(one, path, mine, functions):
            self.changes.changed.append(full)
        in_place = type(old) is type(new) and len(mine) == len(functions)
        in_place = in_place and type(new) in (
            FunctionType,
            staticmethod,
            classmethod,
            property,
            functools.cached_property,
        )
        if in_place and all(_fits(a, b) for a, b in zip(mine, functions, strict=True)):
            for a, b in zip(mine, functions, strict=True):
                self._function(a, b)
            return
        if isinstance(old, type):
            self.changes.refusals.append(f"{full} is a function now and was a class")
            return

        for a, b in zip(mine, functions, strict=False):
            if self._home.twin(b) is a:  # it stands in what takes the place, in a property, say
                self._function(a, b)

        def replace(journal: Journal) -> None:
            brought = self._home.bring(new)
            put(journal, name, brought)
            if "." not in path and old is not MISSING:
                self._replaced.append((old, brought))

        self._steps.append(replace)

    def _is_changed(self, one: Loaded, path: str, old: list[FunctionType], new: list[FunctionType]) -> bool:
        if one.old is not None and path in one.definitions.functions:
            return one.old.functions.get(path) != one.definitions.functions[path]
        return len(old) != len(new) or any(
            _digest(a.__code__) != _digest(b.__code__) for a, b in zip(old, new, strict=True)
        )

    def _function(self, old: FunctionType, new: FunctionType) -> None:
        """Put the new function's content into the old one."""
        bring = self._home.bring

        def patch(journal: Journal) -> None:
            journal.attribute(old, "__code__", new.__code__)
            journal.attribute(old, "__defaults__", bring(new.__defaults__))
            journal.attribute(old, "__kwdefaults__", bring(new.__kwdefaults__))
            journal.attribute(old, "__doc__", new.__doc__)
            journal.attribute(old, "__annotations__", bring(new.__annotations__))
            own = {name: bring(part) for name, part in vars(new).items()}
            if own or vars(old):
                journal.attribute(old, "__dict__", dict(vars(old)) | own)

        self._steps.append(patch)
        written = set(_written(new.__code__))
        for name, mine, theirs in zip(
            old.__code__.co_freevars, old.__closure__ or (), new.__closure__ or (), strict=True
        ):
            try:
                before, after = mine.cell_contents, theirs.cell_contents
            except ValueError:
                continue
            if name == "__class__" or before is after or before is old:
                continue
            if isinstance(before, FunctionType) and isinstance(after, FunctionType):
                if _fits(before, after):
                    self._home.pair(after, before)
                    self._function(before, after)
                    continue
            elif name in written or _same(before, after):
                continue  # a variable of the closure: the service's state
            self._steps.append(lambda journal, mine=mine, after=after: journal.cell(mine, bring(after)))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults

    # -- a class --------------------------------------------------------------------------------------------------------

    def _class(self, one: Loaded, path: str, old: type, new: type) -> None:
        full, refuse = f"{one.module.__name__}.{path}", self.changes.refusals.append
        self.changes.classes.append(old)
        if type(old) is not type(new) and self._home.twin(type(new)) is not type(old):
            refuse(f"{full} has another metaclass")
            return
        if tuple(self._home.bring(base) for base in new.__bases__) != old.__bases__:
            refuse(f"the bases of {full} were changed")
            return
        if _slots(old) != _slots(new):
            refuse(f"the slots of {full} were changed: objects that were made before have the old ones")
            return
        if issubclass(old, Enum) and issubclass(new, Enum) and _members(old) != _members(new):
            refuse(f"the members of the enum {full} were changed: everybody holds the old ones")
            return
        if getattr(old, "_fields", None) != getattr(new, "_fields", None):
            refuse(f"the fields of the named tuple {full} were changed")
            return
        if issubclass(old, Agent):
            for name in _FROZEN:
                if getattr(old, name) != getattr(new, name):
                    refuse(f"{full}.{name} was changed: its agents have mailboxes made by the old one")
        for name in _fields_without_default(old, new):
            refuse(
                f"the field {name} of {full} has no default value: objects that were made before do not have it"
            )
        if models.is_model(old) and models.is_model(new) and models.shape(old) != models.shape(new):
            refuse(f"the fields, validators or settings of {full} were changed: pydantic has compiled them")
            return
        names, stays = vars(old), _NEVER | models.compiled(old)
        for name, value in list(vars(new).items()):
            if name in stays or isinstance(value, (MemberDescriptorType, GetSetDescriptorType)):
                continue
            if issubclass(old, Enum) and not list(_functions(value)):
                continue
            self._value(
                one, old, name, f"{path}.{name}", names.get(name, MISSING), value, _put_attribute(old)
            )
        for name, value in list(names.items()):
            if (
                name in vars(new)
                or name in stays
                or isinstance(value, (MemberDescriptorType, GetSetDescriptorType))
            ):
                continue
            had = one.old.all() if one.old is not None else {}
            if list(_functions(value)) or isinstance(value, type) or f"{path}.{name}" in had:
                if not name.startswith("_o_"):
                    self.changes.removed.append(f"{full}.{name}")
                self._steps.append(_attribute(old, name, MISSING))


def _put_item(names: dict[str, Any]) -> Callable[[Journal, str, Any], None]:
    return lambda journal, name, value: journal.item(names, name, value)


def _put_attribute(holder: type) -> Callable[[Journal, str, Any], None]:
    return lambda journal, name, value: journal.attribute(holder, name, value)


def _item(names: dict[str, Any], name: str, value: Any) -> Callable[[Journal], None]:
    return lambda journal: journal.item(names, name, value)


def _attribute(holder: type, name: str, value: Any) -> Callable[[Journal], None]:
    return lambda journal: journal.attribute(holder, name, value)


def _functions(value: Any) -> Iterable[FunctionType]:
    """The functions in a function, method or property; none in anything else."""
    if isinstance(value, FunctionType):
        yield value
    elif isinstance(value, (staticmethod, classmethod)):
        yield from _functions(value.__func__)
    elif isinstance(value, property):
        for part in (value.fget, value.fset, value.fdel):
            yield from _functions(part)
    elif isinstance(value, functools.cached_property):
        yield from _functions(value.func)
    elif hasattr(value, "cache_parameters"):
        yield from _functions(getattr(value, "__wrapped__", None))


def _fits(old: FunctionType, new: FunctionType) -> bool:
    """Whether the old function can take the new one's code: it must hold the same variables of enclosing functions."""
    return old.__code__.co_freevars == new.__code__.co_freevars


def _written(code: CodeType) -> Iterable[str]:
    """The variables of enclosing functions that this code, or a function in it, assigns."""
    for step in dis.get_instructions(code):
        if step.opname == "STORE_DEREF" and step.argval in code.co_freevars:
            yield step.argval
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _written(part)


def _digest(code: CodeType) -> tuple[Any, ...]:
    consts = tuple(_digest(part) if isinstance(part, CodeType) else part for part in code.co_consts)
    return code.co_code, consts, code.co_names, code.co_varnames


def _same(old: Any, new: Any) -> bool:
    if old is new:
        return True
    try:
        return type(old) is type(new) and bool(old == new)
    except Exception:
        return False


def _members(cls: type[Enum]) -> list[tuple[str, Any]]:
    return [(one.name, one.value) for one in cls]


def _slots(cls: type) -> tuple[Any, ...]:
    names = sorted(name for name, part in vars(cls).items() if isinstance(part, MemberDescriptorType))
    return (*names, cls.__basicsize__)


def _fields_without_default(old: type, new: type) -> list[str]:
    if not (hasattr(old, "__dataclass_fields__") and hasattr(new, "__dataclass_fields__")):
        return []
    known = {one.name for one in fields_of(old)}
    return [one.name for one in fields_of(new) if one.name not in known and one.name not in vars(new)]
