"""A log to read and to prove, wherever it is: the files of a directory, or a node that is asked for its lines."""

from __future__ import annotations

import asyncio
import base64
import getpass
import json
import os
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Final, Literal

from observe.audit import segments as files
from observe.audit.errors import AuditUnavailable
from observe.audit.faults import Fault, Kind
from observe.audit.keyring import Keyring, Rotation, read_rotation, rotations_of
from observe.audit.log import AuditLog
from observe.audit.merkle import Peaks, leaf_hash
from observe.audit.notes import BadNote, Verifier, WrongKey, read_notes
from observe.audit.reading import History
from observe.audit.record import Phase, Record, Who
from observe.audit.verify import Report, tell_keys, verify
from observe.probe.audit_keys import rotated_to
from observe.probe.client import NodeClient
from observe.probe.errors import RemoteError
from observe.probe.wire_audit import MAX_LINES, AuditHead, KeyRotated

PAGE: Final = MAX_LINES

THE_NODE: Final = "the node"

LOOKS: Final = 20
LOOK_S: Final = 0.05
"""So often, after pauses of so long, a node is asked for a checkpoint that covers its newest records: a second in all."""

MOST_UNSIGNED: Final = 5000
"""Roots remembered of records that no checkpoint covers yet; there is one every thousand at least."""

Known = dict[int, list[tuple[str, bytes]]]
"""By size of the log: whose checkpoint, and its root."""


class FilesOfLog:
    """A directory, offline."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._history = History(directory)

    async def head(self) -> AuditHead:
        """Where the log stands, as far as its files tell."""
        self._history.refresh()
        notes = ""
        size = 0
        for segment in reversed(files.segments(self.directory)):
            if not size:
                lines = (
                    sum(1 for _ in segment.lines())
                    if segment.records.exists()
                    else len(segment.read_hashes())
                )
                size = segment.first - 1 + lines
            found = list(read_notes(segment.read_notes()))
            if found:
                notes = found[-1].note
                break
        vkey = self.directory / files.VKEY
        key = vkey.read_text().strip() if vkey.exists() else ""
        return AuditHead(
            size=size, first=self._history.first, checkpoint=notes, key=key, directory=str(self.directory)
        )

    async def lines(self, start: int) -> Sequence[bytes]:
        """Some lines from record number `start` on; none at the end."""
        return self._history.lines(start, PAGE)

    async def proof(self, old: int, new: int) -> list[bytes]:
        """The consistency proof between two sizes. Raises ValueError or OSError when there is none."""
        return self._history.tree.consistency(old, new)

    async def verify(self, key: Verifier | None, anchors: Iterable[str]) -> Report:
        """Prove it."""
        return verify(self.directory, key, anchors)

    async def rotations(self) -> list[Rotation]:
        """Which key followed which."""
        return rotations_of(self.directory)[0]

    async def rotate(self, why: Literal["routine", "compromised"], reason: str) -> KeyRotated:
        """Change the key of a log that nobody writes now. On record as a command of whoever runs this.

        Raises:
            AuditUnavailable: it cannot be; most likely its node is running, which has to be asked then.
        """
        node = ""
        for line in self._history.lines(1, 1):
            node = Record.from_line(line).node
        if not node:
            raise AuditUnavailable(f"there are no records in {self.directory}, so there is no key to change")
        log = AuditLog(self.directory, node=node)
        try:
            try:
                user = getpass.getuser()
            except (KeyError, OSError):  # a user without an entry, as in some containers
                user = str(os.geteuid())
            who = Who(key="", name=user, role="admin", user=user)
            number = secrets.token_hex(8)

            def record(phase: Phase, outcome: dict[str, object] | None = None) -> None:
                log.append(
                    phase, command_id=number, who=who, what="rotate_key", target={"arguments": {"why": why}},
                    reason=reason, incarnation="", outcome=outcome,
                )  # fmt: skip

            record("requested")
            try:
                rotation = log.rotate(why)
            except AuditUnavailable as error:
                record("failed", {"message": str(error)})
                raise
            record("completed", {"done": True, "key": rotation.new.vkey, "record": rotation.record})
            return rotated_to(rotation)
        finally:
            log.close()


class NodesLog:
    """The log of a node that is attached."""

    def __init__(self, client: NodeClient) -> None:
        self._client = client

    async def head(self) -> AuditHead:
        """Where the log stands."""
        return await self._client.audit_head()

    async def lines(self, start: int) -> Sequence[bytes]:
        """Some lines from record number `start` on; none at the end."""
        return [line.encode() for line in (await self._client.audit_lines(start, PAGE)).lines]

    async def proof(self, old: int, new: int) -> list[bytes]:
        """The consistency proof between two sizes."""
        return await self._client.audit_proof(old, new)

    async def verify(self, key: Verifier | None, anchors: Iterable[str]) -> Report:
        """Prove what the node sends: all its records must lead to its newest checkpoint, and through every anchor."""
        head = await self._head_with_us()
        report = Report(trusted=key is not None, segments=1)
        if key is None:
            if not head.key and (not head.size or head.checkpoint):
                raise BadNote("the node's log has no key yet: nothing was recorded")
            if not head.key:  # the node's machine cannot sign: what there is proves nothing
                await self._walk(report, {}, None)
                return report
            key = Verifier.parse(head.key)
        ring = Keyring(key, await self.rotations())
        report.key = ring.newest.vkey
        tell_keys(report, ring)
        known: Known = {}
        for where, note in [(THE_NODE, head.checkpoint), *(("one kept elsewhere", one) for one in anchors)]:
            if note:
                report.anchors += where != THE_NODE
                _know(known, report, ring, where, note)
        await self._walk(report, known, ring)
        return report

    async def rotations(self) -> list[Rotation]:
        """Which key followed which, as far as the node says."""
        try:
            notes = (await self._client.audit_keys()).rotations
        except RemoteError as error:
            if error.code != "unknown_verb":
                raise
            return []
        found = []
        for note in notes:
            try:
                found.append(read_rotation(note))
            except BadNote:
                continue
        return found

    async def rotate(self, why: Literal["routine", "compromised"], reason: str) -> KeyRotated:
        """Change its key."""
        return await self._client.rotate_key(why, reason)

    async def _head_with_us(self) -> AuditHead:
        """Where the log stands. Who asks has just been put on record for it, in a log that may begin with that."""
        head = await self.head()
        for _ in range(LOOKS):
            if head.checkpoint or head.problem:
                break
            await asyncio.sleep(LOOK_S)
            head = await self.head()
        return head

    async def _walk(self, report: Report, known: Known, ring: Keyring | None) -> None:
        peaks = Peaks()
        unsigned: dict[int, bytes] = {}
        for _ in range(LOOKS):
            await self._read_on(peaks, report, known, unsigned)
            if ring is None or not unsigned or report.faults:
                break
            # The record of our own attach is written, or another one; its checkpoint is made this very moment.
            later: Known = {}
            _know(later, report, ring, THE_NODE, (await self.head()).checkpoint)
            for size, told in later.items():
                if size in unsigned:
                    for where, root in told:
                        _compare(report, size, unsigned[size], where, root)
                elif size > peaks.size:
                    known.setdefault(size, []).extend(told)
            unsigned = {size: root for size, root in unsigned.items() if size > report.signed}
            if not unsigned and peaks.size >= report.signed:
                break
            await asyncio.sleep(LOOK_S)
        report.records = peaks.size
        newest = max(known, default=0)
        if newest > peaks.size:
            kind = (
                Kind.EMPTIED
                if not peaks.size
                else Kind.CUT
                if report.signed > peaks.size
                else Kind.ROLLED_BACK
            )
            text = f"there are {peaks.size} records, and a checkpoint covers {newest}"
            report.faults.append(Fault(kind, "", 0, peaks.size + 1, text))
        elif report.signed < peaks.size:
            text = f"no checkpoint covers the last {peaks.size - report.signed} records"
            kind = Kind.UNSIGNED_TAIL if report.signed else Kind.UNSIGNED
            report.faults.append(Fault(kind, "", 0, report.signed + 1, text))

    async def _read_on(self, peaks: Peaks, report: Report, known: Known, unsigned: dict[int, bytes]) -> None:
        """Read what there is beyond `peaks`, and remember the roots of the newest that no checkpoint of the node covers yet."""
        number = peaks.size + 1
        while lines := await self.lines(number):
            if number == 1:
                header = Record.from_line(lines[0])
                if header.seq > 1:  # older ones were removed: their hashes are in the segment's first record
                    before = Peaks(header.seq - 1, [base64.b64decode(one) for one in header.target["peaks"]])
                    peaks.size, peaks.hashes = before.size, before.hashes
            for line in lines:
                peaks.add(leaf_hash(line))
                report.kept += 1
                for where, root in known.get(peaks.size, ()):
                    _compare(report, peaks.size, peaks.root(), where, root)
                if 0 < report.signed < peaks.size:
                    unsigned[peaks.size] = peaks.root()
                    if len(unsigned) > MOST_UNSIGNED:
                        del unsigned[next(iter(unsigned))]
            number = peaks.size + 1


def _know(known: Known, report: Report, ring: Keyring, where: str, note: str) -> None:
    """Open a checkpoint that the log must lead to."""
    try:
        opened = ring.open(note)
    except WrongKey as error:
        report.faults.append(Fault(Kind.WRONG_KEY, "", 0, 0, f"the checkpoint of {where}: {error}"))
    except BadNote as error:
        report.faults.append(Fault(Kind.FORGED, "", 0, 0, f"the checkpoint of {where}: {error}"))
    else:
        known.setdefault(opened.size, []).append((where, opened.root))
        if where == THE_NODE:
            report.signed = max(report.signed, opened.size)


def _compare(report: Report, size: int, root: bytes, where: str, expected: bytes) -> None:
    if root != expected:
        kind = Kind.REWRITTEN if where == THE_NODE else Kind.FORKED
        text = f"up to record {size} the records are others than those of the checkpoint of {where}"
        report.faults.append(Fault(kind, "", 0, size, text))


Log = FilesOfLog | NodesLog


async def records(log: Log, start: int = 1) -> AsyncIterator[tuple[bytes, Record]]:
    """All records from number `start` on, with the line of each. A line that is none is passed over.

    Whether lines are missing or damaged `verify` tells; here is what can be read.
    """
    while lines := await log.lines(start):
        number = start
        for line in lines:
            number += 1
            try:
                record = Record.from_line(line)
            except ValueError:
                continue
            number = record.seq + 1
            yield line, record
        start = max(start + 1, number)


async def newest_start(log: Log, count: int) -> int:
    """The number of the first of the newest `count` records."""
    head = await log.head()
    return max(head.first, 1, head.size - count + 1)


def as_json(line: bytes) -> object:
    """A line as a document."""
    return json.loads(line)
