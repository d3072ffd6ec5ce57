"""Whether a step is in the middle of a transaction of SQLite.

A transaction that is open locks the file for every other connection, and its own connection for whoever shares it. SQLite
waits for a lock by stopping the thread, so that a step which is frozen in a transaction would be waited for by the very
thread that has to go on with it, until the others fail with "database is locked".
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any


def in_transaction(frame: FrameType) -> bool:
    """Whether a local variable of the frame, or an attribute of its `self`, is a connection of the `sqlite3` module (or
    a cursor of one) that is in a transaction. Runs nobody's code."""
    sqlite3 = sys.modules.get("sqlite3")
    if sqlite3 is None:
        return False
    held = frame.f_locals
    if any(_is_open(value, sqlite3) for value in held.values()):
        return True
    try:
        attributes = object.__getattribute__(held.get("self"), "__dict__")
    except AttributeError:
        return False  # no `self`, or one with slots
    return any(_is_open(value, sqlite3) for value in list(attributes.values()))


def _is_open(value: Any, sqlite3: Any) -> bool:
    kind = type(value)
    try:
        if issubclass(kind, sqlite3.Cursor):
            return bool(value.connection.in_transaction)
        return issubclass(kind, sqlite3.Connection) and bool(value.in_transaction)
    except (AttributeError, sqlite3.ProgrammingError):
        return False  # half-imported, never opened or closed again
