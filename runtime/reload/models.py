"""Classes of pydantic: it has compiled their fields into a validator that makes objects of one class and no other.

So the old one stays, and with it the class by which everybody knows the objects; methods and the bodies of validators are new,
as those of any class. Pydantic is not imported: whoever uses it has done that.
"""

from __future__ import annotations

import re
from typing import Any, Final

_OTHERS: Final = frozenset(
    {"model_config", "__signature__", "__private_attributes__", "__class_vars__", "__fields_set__"}
)
_ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")


def is_model(cls: type) -> bool:
    """Whether it is a model, or a dataclass of pydantic."""
    return "__pydantic_core_schema__" in vars(cls) or "__pydantic_validator__" in vars(cls)


def compiled(cls: type) -> frozenset[str]:
    """The names of the class that belong together with its validator."""
    if not is_model(cls):
        return frozenset()
    return _OTHERS | {name for name in vars(cls) if name.startswith("__pydantic_")}


def shape(cls: type) -> str:
    """What was compiled, for comparison: fields, settings, and which validators there are."""
    held: Any = vars(cls)
    fields = held.get("__pydantic_fields__") or held.get("model_fields")
    settings = held.get("model_config") or held.get("__pydantic_config__")
    found = held.get("__pydantic_decorators__")
    deeds = [
        (kind, name, getattr(one, "info", None))
        for kind in getattr(found, "__slots__", None) or vars(found or object)
        for name, one in (getattr(found, kind, None) or {}).items()
    ] if found is not None else []  # fmt: skip
    return _ADDRESS.sub("", repr((fields, settings, deeds)))
