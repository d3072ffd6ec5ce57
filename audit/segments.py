"""The files of a log. Nothing in here knows what a record says.

```
<log>/                       0700
    lock                     held by the one writer
    log.vkey                 the public key, for whoever verifies
    log.witnessed            the newest checkpoint that a witness has signed as well; missing without one
    log.rotations            which key followed which, signed by both; missing as long as there was one
    000000000001.jsonl       records 1 to n, a line each; 0600 while it is written, 0440 after
    000000000001.hashes      their hashes, 32 bytes each: derived, kept when the records are removed
    000000000001.notes       the signed checkpoints made meanwhile, an empty line between
    000000012345.jsonl       the next segment is named by its first record
```
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from observe.audit.merkle import HASH_BYTES

VKEY: Final = "log.vkey"
ROTATIONS: Final = "log.rotations"
WITNESSED: Final = "log.witnessed"
LOCK: Final = "lock"

_STEM: Final = re.compile(r"(\d{12})\.(jsonl|hashes|notes)")


@dataclass(frozen=True, slots=True)
class Segment:
    """Some records in a row, and what is derived of them."""

    directory: Path
    first: int
    """Number of its first record; records count from 1."""

    @property
    def records(self) -> Path:
        """The file of lines."""
        return self.directory / f"{self.first:012d}.jsonl"

    @property
    def hashes(self) -> Path:
        """The file of hashes."""
        return self.directory / f"{self.first:012d}.hashes"

    @property
    def notes(self) -> Path:
        """The file of checkpoints."""
        return self.directory / f"{self.first:012d}.notes"

    def read_hashes(self) -> list[bytes]:
        """The hashes as they were noted when the records were written; none when the file is missing."""
        try:
            data = self.hashes.read_bytes()
        except FileNotFoundError:
            return []
        return [data[at : at + HASH_BYTES] for at in range(0, len(data) - HASH_BYTES + 1, HASH_BYTES)]

    def read_notes(self) -> str:
        """The text of the checkpoints; empty when the file is missing."""
        try:
            return self.notes.read_bytes().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def lines(self) -> Iterator[tuple[bytes, bool]]:
        """Its lines without their ends, and whether each has one: the last may be cut off."""
        with self.records.open("rb") as file:
            for line in file:
                whole = line.endswith(b"\n")
                yield (line[:-1] if whole else line), whole


def segments(directory: Path) -> list[Segment]:
    """All segments of which there is anything, the oldest first.

    Raises:
        OSError: the directory cannot be read.
    """
    found = {int(match[1]) for name in os.listdir(directory) if (match := _STEM.fullmatch(name))}
    return [Segment(directory, first) for first in sorted(found) if first > 0]


def is_log(path: Path) -> bool:
    """Whether this is the directory of a log."""
    return path.is_dir() and ((path / VKEY).exists() or bool(segments(path)))


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """Put a file there, whole and on the disk, or leave what was there. Raises OSError."""
    beside = path.with_name(path.name + ".tmp")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Or a file could be gone with the power, with all that was synced in it. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_being_written(directory: Path) -> bool:
    """Whether a writer has the log open now, on this machine."""
    try:
        descriptor = os.open(directory / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
