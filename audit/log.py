"""The audit log: an append-only file of JSON lines, each on the disk before the next thing happens.

```
append("requested") --> fsync --> the command is carried out --> append("completed") --> fsync
```

A command whose intent cannot be written is not carried out. A line that a crash cut in half is left where it is and
ended with a line break, so that every line after it can be read; a reader counts it as damaged.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from observe.audit.record import Phase, Record, Who


class AuditUnavailable(OSError):
    """The log cannot be written, so nothing that must be recorded may be done."""


class AuditLog:
    """Appends records to one file. One writer at a time: the probe holds the node's lock."""

    def __init__(
        self,
        path: Path,
        *,
        node: str,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sync: Callable[[int], None] = os.fsync,
    ) -> None:
        """Open or make the file, readable by its owner alone.

        Raises:
            AuditUnavailable: it cannot be opened, or is no regular file of ours.
        """
        self.path = path
        self._node = node
        self._wall = wall
        self._monotonic = monotonic
        self._sync = sync
        try:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise AuditUnavailable(f"the audit log {path} cannot be opened: {error.strerror}") from error
        facts = os.fstat(self._descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid():
            self.close()
            raise AuditUnavailable(f"the audit log {path} is not a regular file of ours")
        os.fchmod(self._descriptor, 0o600)
        self._seq = sum(1 for _ in lines(path))
        self._torn = facts.st_size > 0 and os.pread(self._descriptor, 1, facts.st_size - 1) != b"\n"

    def append(
        self,
        phase: Phase,
        *,
        command_id: str,
        who: Who,
        what: str,
        target: dict[str, Any],
        reason: str,
        incarnation: str,
        outcome: dict[str, Any] | None = None,
    ) -> Record:
        """Write one record and wait until it is on the disk: some milliseconds on a disk, none in memory.

        Raises:
            AuditUnavailable: it could not be written or not be made durable.
        """
        record = Record(
            seq=self._seq + 1,
            phase=phase,
            command_id=command_id,
            who=who,
            what=what,
            target=target,
            reason=reason,
            node=self._node,
            incarnation=incarnation,
            wall=self._wall(),
            monotonic=self._monotonic(),
            outcome=outcome,
        )
        line = record.model_dump_json().encode() + b"\n"
        if self._torn:  # end the half line that somebody left, so that ours can be read
            line = b"\n" + line
        try:
            written = os.write(self._descriptor, line)
            self._torn = written != len(line)
            self._seq += written > 0  # a half line stays, and counts as a line
            if self._torn:
                raise OSError("the disk took only a part of the record")
            self._sync(self._descriptor)
        except OSError as error:
            raise AuditUnavailable(f"the audit log {self.path} cannot be written: {error}") from error
        return record

    def close(self) -> None:
        """Close the file. Doing so twice has no effect."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a log, without their ends; also the damaged ones."""
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield line.rstrip(b"\n")


def read(path: Path) -> tuple[list[Record], int]:
    """All records of a log in their order, and how many lines were damaged.

    Raises:
        OSError: the file cannot be read.
    """
    records: list[Record] = []
    damaged = 0
    for line in lines(path):
        try:
            records.append(Record.model_validate_json(line))
        except ValidationError:
            damaged += 1
    return records, damaged
