"""Changes to living objects that can be undone and done again, in one go each."""

from __future__ import annotations

import warnings
from enum import Enum
from types import CellType
from typing import Any, Final


class _Missing(Enum):
    MISSING = 0


MISSING: Final = _Missing.MISSING
"""In the place of a value: there is none."""


class Journal:
    """Does each change at once and remembers how it was."""

    def __init__(self) -> None:
        self._done: list[tuple[str, Any, str, Any, Any]] = []

    def __len__(self) -> int:
        return len(self._done)

    def attribute(self, holder: Any, name: str, new: Any) -> None:
        """Set an attribute of a class or function itself; MISSING removes it."""
        own = vars(holder) if isinstance(holder, type) else None
        old = own.get(name, MISSING) if own is not None else getattr(holder, name, MISSING)
        self._do("attribute", holder, name, old, new)

    def item(self, holder: dict[str, Any], name: str, new: Any) -> None:
        """Set an item of a namespace; MISSING removes it."""
        self._do("item", holder, name, holder.get(name, MISSING), new)

    def cell(self, cell: CellType, new: Any) -> None:
        """Put another value into a variable that a closure holds."""
        try:
            old = cell.cell_contents
        except ValueError:
            old = MISSING
        self._do("cell", cell, "", old, new)

    def undo(self) -> None:
        """Everything is as it was."""
        for kind, holder, name, old, _ in reversed(self._done):
            _put(kind, holder, name, old)

    def redo(self) -> None:
        """Everything is new again."""
        for kind, holder, name, _, new in self._done:
            _put(kind, holder, name, new)

    def _do(self, kind: str, holder: Any, name: str, old: Any, new: Any) -> None:
        if old is new:
            return
        _put(kind, holder, name, new)
        self._done.append((kind, holder, name, old, new))


def _put(kind: str, holder: Any, name: str, value: Any) -> None:
    if kind == "item":
        if value is MISSING:
            holder.pop(name, None)
        else:
            holder[name] = value
    elif kind == "cell":
        if value is MISSING:
            del holder.cell_contents
        else:
            holder.cell_contents = value
    elif isinstance(holder, type):
        # `type`'s own: metaclasses such as that of enums forbid it to others.
        if value is MISSING:
            type.__delattr__(holder, name)
        else:
            type.__setattr__(holder, name, value)
    elif name == "__code__":
        with warnings.catch_warnings():
            # From 3.13 on it is deprecated that a function becomes a coroutine function in this way. There is no other
            # for a handler that becomes `async` and that tables, timers and subclasses refer to.
            warnings.simplefilter("ignore", DeprecationWarning)
            holder.__code__ = value
    elif value is MISSING:
        delattr(holder, name)
    else:
        setattr(holder, name, value)
