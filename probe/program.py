"""What this client is called. By itself, so that the command line can say it without loading a client."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

PROGRAM: Final[ContextVar[str]] = ContextVar("PROGRAM", default="observe")
"""The command line puts its verb here, as in `observe ps`; nodes are told with `hello`."""
