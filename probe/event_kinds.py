"""The kinds of **event** that a probe tells of (docs/protocol.md)."""

from __future__ import annotations

from typing import Final, Literal, get_args

EventKind = Literal["spawn", "exit", "crash", "restart", "finding", "rung", "limit", "governed", "node"]

EVENT_KINDS: Final[tuple[EventKind, ...]] = get_args(EventKind)
