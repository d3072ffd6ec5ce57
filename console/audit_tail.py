"""The newest records of an audit log, and those further back that were looked for. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from observe.audit.record import Record
from observe.console.audit_filter import AuditFilter
from observe.probe.wire_audit import AuditHead

KEPT: Final = 2000
"""The newest records that are kept, to be filtered as a person types."""

FOUND: Final = 2000
"""Records further back that are kept: of those only what passes the filter."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record, and the line of the log that it is."""

    record: Record
    line: str


@dataclass(slots=True)
class Tail:
    """See the module's docstring."""

    kept: deque[Entry] = field(default_factory=lambda: deque(maxlen=KEPT))
    """The oldest of them first."""
    further: deque[Entry] = field(default_factory=lambda: deque(maxlen=FOUND))
    """What passes the filter further back; the newest of them first."""
    looked_to: int = 0
    """Number of the record down to which it was looked further back; 0: it was not."""

    @property
    def last(self) -> int:
        """Number of the newest that is known; 0 for none."""
        return self.kept[-1].record.seq if self.kept else 0

    @property
    def oldest(self) -> int:
        """Number of the oldest that was looked at; 0 for none."""
        return self.looked_to or (self.kept[0].record.seq if self.kept else 0)

    def start(self, head: AuditHead) -> int:
        """From which record on to ask; a log that has become shorter is another one, and read anew."""
        if head.size < self.last:
            self.kept.clear()
            self.forget_further()
        return max(head.first, 1, head.size - KEPT + 1, self.last + 1)

    def take(self, lines: Iterable[str]) -> None:
        """Lines that were added, in their order. What is no record is passed over: `verify` tells of it."""
        self.kept.extend(entry for entry in read(lines) if entry.record.seq > self.last)

    def take_further(self, start: int, lines: Iterable[str], wanted: AuditFilter) -> None:
        """Lines from number `start` on, which come before all that was looked at."""
        before = self.oldest
        found = [one for one in read(lines) if one.record.seq < before and wanted.has(one.record, one.line)]
        self.further.extend(found[::-1])
        self.looked_to = start

    def forget_further(self) -> None:
        """The filter is another one: what it finds further back has to be looked for anew."""
        self.further.clear()
        self.looked_to = 0

    def matching(self, wanted: AuditFilter) -> list[Entry]:
        """What passes the filter, the newest first."""
        newest = [one for one in reversed(self.kept) if wanted.has(one.record, one.line)]
        return newest + list(self.further)

    def family(self, record: Record) -> list[Record]:
        """The records of the same command, itself among them, the oldest first."""
        if not record.command_id:
            return [record]
        all_ = [*reversed(self.further), *self.kept]
        return [one.record for one in all_ if one.record.command_id == record.command_id]


def read(lines: Iterable[str]) -> Iterator[Entry]:
    """Lines as records; what is none is passed over."""
    for line in lines:
        try:
            yield Entry(Record.from_line(line.encode()), line)
        except ValueError:
            continue
