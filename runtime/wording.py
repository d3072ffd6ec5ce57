"""Words for people, in what the runtime says of itself."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A count with its noun: `1 message`, `2 messages`, `1,024 messages`."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"
