"""One field of an agent's state, found by its path and replaced by a value of the right type.

A value comes as JSON. It is read strictly as the field's type annotation says, where there is one (dates and enums by
their JSON forms, dataclasses from objects); a field without one, or with one that only a type checker can read, keeps the
type of its present value. A path leads through state only, and looking for it runs no code of the service.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from types import (
    BuiltinFunctionType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any, Final

import pydantic_core
from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation

from observe.probe.declared import declared, inner
from observe.runtime.agent import Agent
from observe.runtime.errors import ActionRefused

CODE: Final = (ModuleType, type, FunctionType, MethodType, BuiltinFunctionType)
"""What holds code, not state. A path ends before it."""

_NONE: Final = object()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands."""

    path: tuple[str, ...]
    value: Any
    annotation: Any
    """Its declared type; None when there is none."""
    put: Callable[[Any], None]
    """Put another value there."""

    @property
    def pointer(self) -> str:
        """The path as a JSON pointer (RFC 6901)."""
        return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in self.path)


def find(agent: Agent, path: str) -> Place:
    """The place of this path in the agent's state.

    Raises:
        ActionRefused: there is no such field, or it cannot be replaced.
    """
    parts = tuple(path.split("."))
    holder: Any = agent
    place: Place | None = None
    annotation: Any = None
    for depth, part in enumerate(parts, start=1):
        if place is not None:
            holder, annotation = place.value, place.annotation
        value, declared, put = _step(holder, annotation, part, ".".join(parts[:depth]), agent)
        place = Place(parts[:depth], value, declared, put)
    assert place is not None
    return place


def _step(
    holder: Any, annotation: Any, part: str, path: str, agent: Agent
) -> tuple[Any, Any, Callable[[Any], None]]:
    if isinstance(holder, MutableMapping):
        key = part if part in holder else _number(part)
        if key not in holder:
            raise ActionRefused(f"{agent._o_text()} has no {path}")
        return (
            holder[key],
            inner(annotation, holder),
            lambda value: holder.__setitem__(key, value),
        )
    if isinstance(holder, list):
        place = _number(part)
        if type(place) is not int or not 0 <= place < len(holder):
            raise ActionRefused(f"{agent._o_text()} has no {path}: that list has {len(holder)} elements")
        return (
            holder[place],
            inner(annotation, holder),
            lambda value: holder.__setitem__(place, value),
        )
    if holder is not agent and _is_no_state(holder):
        raise ActionRefused(f"{path} of {agent._o_text()} is not its state")
    if part.startswith(("_o_", "__")):
        raise ActionRefused(f"{agent._o_text()} has no {path}")
    found, of_class = (inspect.getattr_static(one, part, _NONE) for one in (holder, type(holder)))
    if found is _NONE:
        raise ActionRefused(f"{agent._o_text()} has no {path}")
    is_slot = isinstance(of_class, (MemberDescriptorType, GetSetDescriptorType))
    if not is_slot and (
        callable(of_class)
        or (hasattr(type(of_class), "__get__") and (found is of_class or hasattr(type(of_class), "__set__")))
    ):
        raise ActionRefused(f"{path} of {agent._o_text()} is code, not state")
    try:
        value = getattr(holder, part)
    except AttributeError:  # a slot that is empty
        raise ActionRefused(f"{agent._o_text()} has no {path}") from None
    return value, declared(type(holder), part), lambda new: setattr(holder, part, new)


def _is_no_state(holder: Any) -> bool:
    """Whether it is code, another agent, or of observe itself: refs, nodes, timers."""
    package, _, rest = type(holder).__module__.partition(".")
    return isinstance(holder, (*CODE, Agent)) or (package == "observe" and not rest.startswith("examples."))


def _number(part: str) -> int | str:
    return int(part) if part.isascii() and part.removeprefix("-").isdigit() and len(part) < 19 else part


def converted(place: Place, value: Any, name: str) -> Any:
    """The JSON value as the place wants it.

    Raises:
        ActionRefused: it does not fit; the message says why.
    """
    if place.annotation is None or place.annotation is Any:
        return _like(place.value, value, name)
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(place.annotation)
        if _imports(adapter.core_schema):
            raise ActionRefused(
                f"{name} takes the name of something to import, and no code comes over the wire"
            )
        return adapter.validate_json(pydantic_core.to_json(value), strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, (name, *fault["loc"])))
        raise ActionRefused(f"{where} is declared as {_name_of(place.annotation)}: {fault['msg']}") from None
    except (PydanticUserError, PydanticUndefinedAnnotation):
        return _like(place.value, value, name)


def _imports(schema: Any) -> bool:
    """Whether a type of this schema imports what a text names: pydantic's `ImportString`, at any depth."""
    todo = [schema]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            todo += [part for name, part in one.items() if name not in ("metadata", "serialization")]
        elif isinstance(one, (list, tuple)):
            todo += one
        elif getattr(one, "__name__", "") == "import_string":
            return True
    return False


def _like(old: Any, value: Any, name: str) -> Any:
    if isinstance(old, tuple) and type(old) is tuple and isinstance(value, list):
        return tuple(value)
    if type(old) is float and type(value) is int:
        return float(value)
    if type(value) is not type(old):
        raise ActionRefused(
            f"{name} holds a {type(old).__name__} and has no type annotation that can be read, so another "
            f"{type(old).__name__} can take its place, and not a {type(value).__name__}"
        )
    return value


def _name_of(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
