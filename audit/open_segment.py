"""The segment that is being written: its three files, and how what was written by half is taken back."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from observe.audit.merkle import HASH_BYTES
from observe.audit.segments import Segment

SYNC: Final[Callable[[int], None]] = getattr(os, "fdatasync", os.fsync)


def no_sync(_descriptor: int) -> None:
    """For a log whose newest records may be lost with the power. Opening it then looks as if its tail had been cut."""


class OpenSegment:
    """Appends to the files of one segment. Knows nothing of what a record says; every method raises OSError."""

    def __init__(self, segment: Segment, sync: Callable[[int], None]) -> None:
        """Open its files, or make them."""
        self.segment = segment
        self._sync = sync
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        opened: list[int] = []
        try:
            for path in (segment.records, segment.hashes, segment.notes):
                opened.append(os.open(path, flags, 0o600))
                os.fchmod(opened[-1], 0o600)
            self.size_bytes = os.fstat(opened[0]).st_size
            """Of the records."""
        except OSError:
            for descriptor in opened:
                os.close(descriptor)
            raise
        self._records, self._hashes, self._notes = opened

    def add(self, line: bytes, hashed: bytes, *, sync: bool) -> None:
        """A record and its hash. When it fails a part of them may be there; see `cut`. The size counts whole records only."""
        written = os.write(self._records, line + b"\n")
        if written != len(line) + 1:
            raise OSError("the disk took only a part of the record")
        if sync:
            self._sync(self._records)
        if os.write(self._hashes, hashed) != len(hashed):
            raise OSError("the disk took only a part of the record's hash")
        self.size_bytes += written

    def cut(self, last: int) -> None:
        """Take back what is there of a record after number `last`, the last whole one."""
        os.ftruncate(self._records, self.size_bytes)
        os.ftruncate(self._hashes, (last - self.segment.first + 1) * HASH_BYTES)

    def add_note(self, note: str) -> None:
        """A checkpoint. Raises OSError, and then nothing of it is there."""
        data = note.encode() + b"\n"
        end = os.lseek(self._notes, 0, os.SEEK_END)
        try:
            if os.write(self._notes, data) != len(data):
                raise OSError("the disk took only a part of the checkpoint")
        except OSError:
            os.ftruncate(self._notes, end)
            raise

    def sync_derived(self) -> None:
        """What could be made again from the records."""
        for descriptor in (self._hashes, self._notes):
            self._sync(descriptor)

    def seal(self) -> None:
        """Its records and hashes are written no more."""
        os.fchmod(self._records, 0o440)
        os.fchmod(self._hashes, 0o440)

    def close(self) -> None:
        """Close the files."""
        for descriptor in (self._records, self._hashes, self._notes):
            os.close(descriptor)
