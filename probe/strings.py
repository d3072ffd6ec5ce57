"""The strings of a feed: numbered texts, searched and ranked once each and not once for each row.

Rows name their class, name, child id and activity by number. A million agents have a million names but one class;
searching the texts and gathering the answer by number is faster than searching the rows, and the answer for a text
never changes, so each term that somebody filters by is looked for only in texts that came since.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from itertools import repeat
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from observe.probe.ranking import LAST, Ranking

__all__ = ["LAST", "Bools", "Ints", "Strings"]

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

MAX_TERMS: Final = 32
"""Search terms whose matches are kept. Each takes a byte for each text."""

JOIN_AT: Final = 20_000
"""Texts from which on searching one long text beats asking each: half a millisecond."""


MOST_INTERNED: Final = 10_000
"""Texts from others than the node's own process; more are not told apart."""


class Strings:
    """Texts by number. Number 0 is "no string"."""

    def __init__(self) -> None:
        self._texts: list[str] = [""]
        self._folded: list[str] = [""]
        self._matches: OrderedDict[str, Bools] = OrderedDict()
        self._joined = ""
        self._starts: Ints = np.empty(0, dtype=np.int64)
        """Where each text begins in the joined one; not all texts need be in it yet."""
        self._ranking = Ranking(self._folded)
        self._told = 1
        """Texts that the node's own process has numbered, with number 0."""
        self._interned: dict[str, int] = {}
        self._own: Ints | None = None
        """For each number of the node's process ours; None while they are the same."""
        self._prepared = 0
        """Texts at the last `prepare`."""

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, number: int) -> str:
        return self._texts[number]

    def text(self, number: int) -> str | None:
        """The text, or None for number 0. Below 0 stands a number for itself: ~n for n."""
        if number < 0:
            return str(~number)
        return self._texts[number] if number else None

    def texts(self, numbers: NDArray[Any]) -> list[str | None]:
        """The text for each number, None for 0; below 0 as in `text`."""
        texts = self._texts
        return [
            texts[number] if number > 0 else str(~number) if number < 0 else None
            for number in numbers.tolist()
        ]

    def numbers(self, text: str) -> list[int]:
        """All numbers of exactly this text. A service with very many texts may number one again."""
        found: list[int] = []
        start = 1
        while True:
            try:
                found.append(self._texts.index(text, start))
            except ValueError:
                return found
            start = found[-1] + 1

    def add(self, base: int, texts: list[str]) -> None:
        """Number these texts from `base`.

        Raises:
            ValueError: `base` is not the next number, so texts are missing.
        """
        if base != self._told:
            raise ValueError(f"strings from number {base}, but {self._told} is next")
        self._told += len(texts)
        if self._own is not None:
            self._own = np.resize(self._own, 2 * self._told) if self._told > len(self._own) else self._own
            self._own[base : self._told] = np.arange(len(self._texts), len(self._texts) + len(texts))
        self._texts += texts
        self._folded += map(str.casefold, texts)

    def intern(self, text: str) -> int:
        """The number of a text that somebody else than the node's own process has sent. At most `MOST_INTERNED`."""
        number = self._interned.get(text)
        if number is None:
            if len(self._interned) >= MOST_INTERNED:
                text = "another activity"
                if text in self._interned:
                    return self._interned[text]
            if self._own is None:
                self._own = np.arange(max(1024, 2 * self._told), dtype=np.int64)
            number = self._interned[text] = len(self._texts)
            self._texts.append(text)
            self._folded.append(text.casefold())
        return number

    @property
    def interned(self) -> list[int]:
        """The numbers of texts that the node's own process has not numbered."""
        return list(self._interned.values())

    def remember_interned(self, numbers: list[int]) -> None:
        """Of the texts that are there, these are not the node's own."""
        self._interned = {self._texts[number]: number for number in numbers}
        self._own = np.setdiff1d(np.arange(len(self._texts), dtype=np.int64), numbers)
        self._told = len(self._own)

    def own(self, numbers: Ints) -> Ints:
        """Our numbers for those of the node's own process; those below 0 stay.

        Raises:
            IndexError: one has not been sent.
        """
        if len(numbers) and int(numbers.max()) >= self._told:
            raise IndexError("a string that was not sent")
        if self._own is None:
            return numbers
        return np.where(numbers < 0, numbers, self._own[np.maximum(numbers, 0)])

    def all_texts(self) -> list[str]:
        """All texts from number 1 on."""
        return self._texts[1:]

    def matching(self, term: str) -> Bools:
        """For each number whether its text contains `term`, without regard to case. Number 0 contains nothing."""
        term = term.casefold()
        known = self._matches.get(term)
        start = len(known) if known is not None else 0
        if known is None or start < len(self._folded):
            found = self._search(term, start)
            known = found if known is None else np.concatenate([known, found])
            known[0] = False
            self._matches[term] = known
            if len(self._matches) > MAX_TERMS:
                self._matches.popitem(last=False)
        self._matches.move_to_end(term)
        return known

    def _search(self, term: str, start: int) -> Bools:
        """Which texts from number `start` on contain the folded `term`."""
        count = len(self._folded) - start
        if start or count < JOIN_AT or "\0" in term:
            return self._ask_each(term, start, len(self._folded))
        if len(self._folded) - len(self._starts) > JOIN_AT:
            self._join()
        found = np.zeros(count, dtype=np.bool_)
        hits: list[int] = []
        at = self._joined.find(term)
        while at >= 0 and len(hits) < count // 20:
            hits.append(at)
            at = self._joined.find("\0", at)  # one hit in a text is enough
            at = self._joined.find(term, at) if at >= 0 else -1
        found[np.searchsorted(self._starts, hits, side="right") - 1] = True
        rest = len(self._starts)
        if at >= 0:  # so many that asking each is quicker from here on
            rest = int(np.searchsorted(self._starts, at, side="right")) - 1
        found[rest:] = self._ask_each(term, rest, count)
        return found

    def _ask_each(self, term: str, start: int, stop: int) -> Bools:
        asked = self._folded[start:stop]
        return np.frombuffer(bytes(map(operator.contains, asked, repeat(term))), dtype=np.bool_).copy()

    def _join(self) -> None:
        self._joined = "\0".join(self._folded)
        lengths = np.fromiter(map(len, self._folded), dtype=np.int64, count=len(self._folded))
        self._starts = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]])

    def equal_to(self, text: str) -> Bools:
        """For each number whether its text is `text`, without regard to case."""
        folded = text.casefold()
        found = np.frombuffer(bytes(map(operator.eq, self._folded, repeat(folded))), dtype=np.bool_).copy()
        found[0] = not folded
        return found

    def ranks(self) -> Ints:
        """For each number its place among all texts in alphabetical order; number 0 comes last."""
        return self._ranking.ranks()

    def prepare(self) -> None:
        """Get ready for the first search and the first sort, if that would take long: many texts have come, and no more have
        since the last call. Call it about once a second."""
        before, self._prepared = self._prepared, len(self._folded)
        if before != self._prepared:
            return
        self._ranking.prepare()
        if len(self._folded) - len(self._starts) > JOIN_AT and len(self._folded) > 4 * len(self._starts):
            self._join()
