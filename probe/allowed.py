"""The allow-list of findings: which checks are not to speak at all, or not of whom.

stuck                   never
mailbox_grows:Importer  not of agents of this class, of this name, or in this activity
same_call:tool:poll*    `*` stands for anything
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

import numpy as np
from numpy.typing import NDArray

from observe.probe.table import Table

Rows = NDArray[np.intp]

COLUMNS: Final = ("class", "name", "activity")


class Allowed:
    """An allow-list, read."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self.checks: set[str] = set()
        """Checks that do not speak."""
        self._patterns: dict[str, list[str]] = {}
        for entry in entries:
            check, colon, pattern = entry.strip().partition(":")
            if colon and pattern.strip():
                self._patterns.setdefault(check, []).append(pattern.strip())
            else:
                self.checks.add(check)

    def names(self, check: str, *texts: str | None) -> bool:
        """Whether one of these texts is on the list of this check."""
        patterns = self._patterns.get(check, ())
        return any(text and fnmatchcase(text, pattern) for pattern in patterns for text in texts)

    def without(self, check: str, table: Table, rows: Rows) -> Rows:
        """These rows but those of agents whose class, name or activity is on the list of this check."""
        if check not in self._patterns or not len(rows):
            return rows
        keep = np.ones(len(rows), dtype=np.bool_)
        for column in COLUMNS:
            numbers = table.ints(column)[rows]
            listed = [
                number
                for number in np.unique(numbers).tolist()
                if number and self.names(check, table.strings[number])
            ]
            keep &= ~np.isin(numbers, listed)
        return rows[keep]
