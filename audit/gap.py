"""A time in which records could not be written, as on a disk that was full: what is owed, and what is to be noted after it."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

MOST_OWED: Final = 1000
"""Records of what has happened already that are kept in memory while they cannot be written."""


class Gap:
    """Began with the first record that could not be written, and lasts until one can."""

    def __init__(self, since: float, why: str) -> None:
        self.owed: deque[dict[str, Any]] = deque()
        """The fields of those that are still to be written."""
        self._since = since
        self._why = why
        self._records = 0

    @property
    def has_room(self) -> bool:
        """Whether one more may be owed."""
        return len(self.owed) < MOST_OWED

    def missed(self) -> None:
        """One more was asked for and not written."""
        self._records += 1

    def about(self) -> dict[str, Any]:
        """For the record that ends it: since when none could be written, why, how many were not, and how many follow."""
        return {"since": self._since, "why": self._why, "records": self._records, "owed": len(self.owed)}
