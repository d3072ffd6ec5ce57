"""The alphabetical order of texts that grow in number: once for all, then only for those that came since.

A million texts are ordered in a thread of its own, by numpy, which lets go of the interpreter lock for that: the probe goes on
answering meanwhile. What comes later, a few thousand at a time, is put in by bisection.
"""

from __future__ import annotations

from bisect import bisect_right
from threading import Thread
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

LAST: Final = np.iinfo(np.int64).max
"""The rank of "no text": it comes after all others."""

MANY: Final = 50_000
"""Texts without a place from which on it is worth a thread: some 10 ms otherwise, and 150 ms or more for a million."""

FEW_SHARE: Final = 32
"""Fewer than this part of all are put in one by one, at 4 µs each; more are merged."""

WIDTH: Final = 96
"""Bytes of a text by which a thread orders it. Of those that begin with as many equal ones, the older comes first."""

CHUNK: Final = 20_000
"""Texts made ready between two chances for other threads."""


class Ranking:
    """Ranks of the texts of a list to which others append. Number 0 is no text."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts
        self._order: Ints = np.zeros(1, dtype=np.int64)
        """Numbers in alphabetical order, of those that have a place."""
        self._rank: Ints = np.array([LAST], dtype=np.int64)
        self._thread: Thread | None = None
        self._made: Ints | None = None

    def prepare(self) -> bool:
        """Begin to order what has come, if it is much. Tells whether a thread was started for it."""
        waiting = len(self._texts) - len(self._order)
        if self._thread is not None or waiting < max(MANY, len(self._order) // 4):
            return False
        self._thread = Thread(target=self._sort, name="observe:ranking", daemon=True)
        self._thread.start()
        return True

    def ranks(self) -> Ints:
        """For each number its place among all texts; number 0 comes last. Waits for a thread that is at it."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            if self._made is not None:
                self._order, self._made = self._made, None
        known = len(self._order)
        if len(self._rank) == len(self._texts):
            return self._rank
        if known < len(self._texts):
            self._add(known)
        rank = np.empty(len(self._order), dtype=np.int64)
        rank[self._order] = np.arange(len(self._order))
        rank[0] = LAST
        self._rank = rank
        return rank

    def _add(self, known: int) -> None:
        """Give those from number `known` on their places."""
        key = self._texts.__getitem__
        count = len(self._texts)
        if (count - known) * FEW_SHARE > known:
            # The known order and the added one are two runs, which Python's sort merges in one pass.
            added = sorted(range(known, count), key=key)
            self._order = np.array(sorted(self._order.tolist() + added, key=key), dtype=np.int64)
            return
        order, texts = self._order, self._texts
        added = sorted(range(known, count), key=key)
        places: list[int] = []
        low = 0
        for number in added:
            low = bisect_right(order, texts[number], low, key=key)
            places.append(low)
        self._order = np.insert(order, places, added)

    def _sort(self) -> None:
        texts = self._texts
        count = len(texts)
        width = min(WIDTH, max(len(text) for text in texts[:count]) * 4)
        keys = np.empty(count, dtype=f"S{max(width, 1)}")
        for start in range(0, count, CHUNK):
            chunk = texts[start : min(start + CHUNK, count)]
            keys[start : start + len(chunk)] = [text.encode("utf-8", "surrogatepass") for text in chunk]
        self._made = np.argsort(keys, kind="stable").astype(np.int64, copy=False)
