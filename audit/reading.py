"""Reads a log, also while it is written: its records from any place on, and the hashes that proofs are made of."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from observe.audit import segments as files
from observe.audit.merkle import HASH_BYTES, Tree
from observe.audit.record import Record
from observe.audit.segments import Segment

STRIDE: Final = 64
"""Every so many lines it is remembered where one begins: reading on from anywhere skips a few dozen lines."""


class History:
    """The records of a log in their order, by number. Belongs to one thread, which need not be the writer's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tree = Tree(self.leaves)
        """Makes the proofs."""
        self._segments: list[Segment] = []
        self._begins: dict[int, array[int]] = {}

    def refresh(self) -> None:
        """Notice segments that have begun or were removed since.

        Raises:
            OSError: the directory cannot be read.
        """
        self._segments = files.segments(self.directory) if self.directory.is_dir() else []

    @property
    def first(self) -> int:
        """Number of the oldest record that is still there; 0 when there is none."""
        return next((one.first for one in self._segments if one.records.exists()), 0)

    def lines(self, start: int, limit: int) -> list[bytes]:
        """At most `limit` records from number `start` on (or from the first that is left), as they were written.

        Raises:
            OSError: a file cannot be read.
        """
        self.refresh()
        found: list[bytes] = []
        for at, segment in enumerate(self._segments):
            after = self._segments[at + 1].first if at + 1 < len(self._segments) else None
            if (after is not None and after <= start) or not segment.records.exists():
                continue
            found += self._lines_of(segment, max(0, start - segment.first), limit - len(found))
            if len(found) >= limit:
                break
        return found

    def _lines_of(self, segment: Segment, skip: int, limit: int) -> list[bytes]:
        begins = self._begins.setdefault(segment.first, array("Q", [0]))
        found: list[bytes] = []
        with segment.records.open("rb") as file:
            known = min(skip // STRIDE, len(begins) - 1)
            file.seek(begins[known])
            number = known * STRIDE
            while len(found) < limit:
                line = file.readline()
                if not line.endswith(b"\n"):
                    break
                if number >= skip:
                    found.append(line[:-1])
                number += 1
                if number % STRIDE == 0 and number // STRIDE == len(begins):
                    begins.append(file.tell())
        return found

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        """The hashes of records `start` + 1 to `end`.

        Raises:
            OSError: they cannot be read, or there are not so many.
        """
        self.refresh()
        found: list[bytes] = []
        at = bisect_right([one.first for one in self._segments], start + 1) - 1
        while len(found) < end - start and 0 <= at < len(self._segments):
            segment = self._segments[at]
            skip = start + len(found) - (segment.first - 1)
            with segment.hashes.open("rb") as file:
                file.seek(skip * HASH_BYTES)
                data = file.read((end - start - len(found)) * HASH_BYTES)
            found += (data[place : place + HASH_BYTES] for place in range(0, len(data), HASH_BYTES))
            at += 1
        if len(found) != end - start:
            raise OSError(f"the hashes of records {start + 1} to {end} are not all there")
        return found


def read_all(directory: Path) -> tuple[list[Record], int]:
    """All records that are there in their order, the log's own notes among them, and how many lines are none.

    Raises:
        OSError: a file cannot be read.
    """
    records: list[Record] = []
    damaged = 0
    for segment in files.segments(directory):
        if not segment.records.exists():
            continue
        for line, whole in segment.lines():
            try:
                if not whole:
                    raise ValueError("half a line")
                records.append(Record.from_line(line))
            except ValueError:
                damaged += 1
    return records, damaged


def read(directory: Path) -> tuple[list[Record], int]:
    """The records of what people and agents did, without the log's own notes; and how many lines are none."""
    records, damaged = read_all(directory)
    return [record for record in records if record.phase != "noted"], damaged
