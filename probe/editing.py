"""One field of an agent's state, found by its path and replaced by a value of the right type.

A value comes as JSON. It is read strictly as the field's type annotation says, where there is one (dates and enums by
their JSON forms, dataclasses from objects); a field without one keeps the type of its present value.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import pydantic_core
from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation

from observe.runtime.agent import Agent
from observe.runtime.errors import ActionRefused


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
    inner = typing.get_args(annotation)
    if isinstance(holder, MutableMapping):
        key = part if part in holder else _number(part)
        if key not in holder:
            raise ActionRefused(f"{agent._o_text()} has no {path}")
        return (
            holder[key],
            inner[1] if len(inner) == 2 else None,
            lambda value: holder.__setitem__(key, value),
        )
    if isinstance(holder, list):
        place = _number(part)
        if type(place) is not int or not 0 <= place < len(holder):
            raise ActionRefused(f"{agent._o_text()} has no {path}: that list has {len(holder)} elements")
        return (
            holder[place],
            inner[0] if len(inner) == 1 else None,
            lambda value: holder.__setitem__(place, value),
        )
    if part.startswith(("_o_", "__")) or not hasattr(holder, part):
        raise ActionRefused(f"{agent._o_text()} has no {path}")
    if callable(getattr(type(holder), part, None)) or isinstance(getattr(type(holder), part, None), property):
        raise ActionRefused(f"{path} of {agent._o_text()} is code, not state")
    return getattr(holder, part), _declared(type(holder), part), lambda value: setattr(holder, part, value)


def _number(part: str) -> int | str:
    return int(part) if part.isascii() and part.removeprefix("-").isdigit() and len(part) < 19 else part


def _declared(cls: type, name: str) -> Any:
    try:
        return typing.get_type_hints(cls).get(name)
    except Exception:  # noqa: BLE001  # an annotation that cannot be evaluated is none
        return None


def converted(place: Place, value: Any, name: str) -> Any:
    """The JSON value as the place wants it.

    Raises:
        ActionRefused: it does not fit; the message says why.
    """
    if place.annotation is None or place.annotation is Any:
        return _like(place.value, value, name)
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(place.annotation)
        return adapter.validate_json(pydantic_core.to_json(value), strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, (name, *fault["loc"])))
        raise ActionRefused(f"{where} is declared as {_name_of(place.annotation)}: {fault['msg']}") from None
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation):
        return _like(place.value, value, name)


def _like(old: Any, value: Any, name: str) -> Any:
    if isinstance(old, tuple) and type(old) is tuple and isinstance(value, list):
        return tuple(value)
    if type(old) is float and type(value) is int:
        return float(value)
    if type(value) is not type(old):
        raise ActionRefused(
            f"{name} holds a {type(old).__name__} and has no type annotation, so another "
            f"{type(old).__name__} can take its place, and not a {type(value).__name__}"
        )
    return value


def _name_of(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
