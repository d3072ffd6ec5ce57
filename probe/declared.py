"""What a class declares an attribute to be.

Each annotation is evaluated by itself: of a class's annotations some name what is there for type checkers only
(`if TYPE_CHECKING:`), and those of its other attributes are to be of use all the same.
"""

from __future__ import annotations

import inspect
import sys
import typing
from typing import Annotated, Any, Final

_WRAPPERS: Final = (typing.ClassVar, typing.Final)


def declared(cls: type, name: str) -> Any:
    """The type, with what `Annotated` adds to it; None when there is none that can be evaluated here."""
    for owner in cls.__mro__:
        try:
            text = inspect.get_annotations(owner).get(name)
        except Exception:  # noqa: BLE001  # a class of strangers, which may compute them
            return None
        if text is not None:
            return _evaluated(owner, name, text)
    return None


def _evaluated(owner: type, name: str, annotation: Any) -> Any:
    one = type(owner.__name__, (), {"__annotations__": {name: annotation}, "__module__": owner.__module__})
    names = vars(sys.modules.get(owner.__module__, typing))
    try:
        meant = typing.get_type_hints(one, dict(names), dict(vars(owner)), include_extras=True)[name]
    except Exception:  # noqa: BLE001  # it is for type checkers only, or is none
        return None
    if typing.get_origin(meant) in _WRAPPERS:
        meant = typing.get_args(meant)[0]
    return None if meant in _WRAPPERS else meant


def inner(annotation: Any, holder: Any) -> Any:
    """The type of what stands in a mapping or list that is declared so; None when that does not say."""
    while True:
        if typing.get_origin(annotation) is Annotated:
            annotation = typing.get_args(annotation)[0]
        elif hasattr(annotation, "__value__"):
            annotation = annotation.__value__
        else:
            break
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(origin, type) and isinstance(holder, origin):
        wanted = 1 if isinstance(holder, list) else 2
        return parts[-1] if len(parts) == wanted else None
    found = (
        [one for one in (inner(part, holder) for part in parts) if one is not None]
        if _is_union(annotation)
        else []
    )
    return found[0] if len(found) == 1 else None


def _is_union(annotation: Any) -> bool:
    return isinstance(annotation, (type(int | str), type(typing.Optional[int])))  # noqa: UP045  # the older kind is another class
