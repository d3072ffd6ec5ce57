"""Trace contexts on their way between the processes of a node: as the headers that HTTP has for them.

What a message carries in its process is a function (`calls.Carried`). One that can leave it has a method `headers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from observe.runtime.calls import Carried

_read: Callable[[Mapping[str, str]], Carried | None] | None = None


def set_reader(read: Callable[[Mapping[str, str]], Carried | None]) -> None:
    """Let messages from other processes carry here what `read` makes of their headers. For tracing."""
    global _read
    _read = read


class Headers:
    """A context that nobody here can read: passed on as it is."""

    __slots__ = ("_headers",)

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def __call__(self) -> None:
        """Nothing to be made current."""

    def headers(self) -> dict[str, str]:
        """As they came."""
        return self._headers


def headers_of(carried: Carried | None) -> dict[str, str] | None:
    """What a message that leaves this process takes along; None for nothing."""
    told: Any = getattr(carried, "headers", None)
    return (told() or None) if told is not None else None


def carried_from(headers: dict[str, str] | None) -> Carried | None:
    """What a message that has come from another process carries."""
    if not headers:
        return None
    return Headers(headers) if _read is None else _read(headers)
