"""What is done before a log is written to: one writer gets in, half a line is cut off, and the newest checkpoint is believed.

A crash can leave half a line at the end, and hashes and checkpoints that are behind the records: both are put in order here.
Whatever else is not as the newest checkpoint says is not a crash.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from observe.audit import segments as files
from observe.audit.errors import AuditUnavailable
from observe.audit.keyring import Rotation, rotations_of
from observe.audit.log_key import LogKey
from observe.audit.merkle import Peaks, leaf_hash
from observe.audit.notes import BadNote, Checkpoint, read_notes
from observe.audit.record import Record
from observe.audit.segments import Segment

MAX_LINE_BYTES: Final = 65_536


def take(directory: Path) -> int:
    """Make the directory if there is none, and lock it. Returns the descriptor that holds the lock.

    Raises:
        AuditUnavailable: it is not ours alone, or has another writer.
        OSError: it cannot be made or read.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        pass
    facts = directory.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
        raise AuditUnavailable(f"the audit log {directory} is not a directory of ours")
    directory.chmod(0o700)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(directory / files.LOCK, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AuditUnavailable(f"the audit log {directory} has another writer") from None
    return descriptor


@dataclass(slots=True)
class Standing:
    """How far a log had come when it was opened."""

    segment: Segment | None = None
    """The one to go on in; None before the first."""
    peaks: Peaks = field(default_factory=Peaks)
    began_at: float = 0.0
    """When that segment was begun, by the wall clock."""
    signed: int = 0
    """Records that the newest checkpoint covers."""
    checkpoint: str = ""
    vkey: str = ""
    repaired: dict[str, Any] | None = None
    """What was cut off its end."""


def stand(directory: Path, key: LogKey) -> Standing:
    """Find where the log is, put in order what a crash left, and make sure that the newest checkpoint says the same.

    Raises:
        AuditUnavailable: it was tampered with.
        OSError: it cannot be read, or not be put in order.
    """
    found = [one for one in files.segments(directory) if one.records.exists()]
    if not found:
        left = files.segments(directory)
        if left:
            raise _tampered(directory, f"the records from {left[0].first} on are missing")
        return Standing()
    key.recover(lambda: _newest_rotation(directory))
    last = found[-1]
    here = Standing(last)
    if (directory / files.VKEY).is_file():
        here.vkey = (directory / files.VKEY).read_text().strip()[:1000]
    here.repaired = _cut_half_line(directory, last)
    hashes = [leaf_hash(line) for line, _ in last.lines()]
    if not hashes:  # the crash came before its first line was written
        if last.first != 1:
            raise _tampered(directory, f"{last.records.name} is empty")
        return here
    try:
        header = Record.from_line(next(last.lines())[0])
        peaks = [base64.b64decode(one, validate=True) for one in header.target["peaks"]]
        here.peaks = Peaks(last.first - 1, peaks)
    except (ValueError, KeyError, TypeError) as error:
        raise _tampered(
            directory, f"the first line of {last.records.name} is not that of a segment"
        ) from error
    here.began_at = header.wall
    checkpoint = _newest_checkpoint(directory, found)
    if checkpoint is not None:
        here.checkpoint, here.signed = checkpoint.note, checkpoint.size
    wrong = _grow(here.peaks, hashes, checkpoint)
    if wrong:
        raise _tampered(directory, wrong)
    _derive(last, hashes)
    return here


def _grow(peaks: Peaks, hashes: list[bytes], signed: Checkpoint | None) -> str:
    """Add the segment's records to the tree. Returns how that contradicts what was signed; empty when it does not."""
    for hashed in hashes:
        if signed is not None and signed.size == peaks.size and signed.root != peaks.root():
            return "its records are not those that were signed"
        peaks.add(hashed)
    if signed is None or signed.size < peaks.size:
        return ""
    if signed.size > peaks.size:
        return f"{signed.size - peaks.size} signed records at its end are missing"
    return "" if signed.root == peaks.root() else "its records are not those that were signed"


def _newest_checkpoint(directory: Path, found: list[Segment]) -> Checkpoint | None:
    for segment in reversed(found[-2:]):
        try:
            notes = list(read_notes(segment.read_notes()))
        except BadNote as error:
            raise _tampered(directory, f"{segment.notes.name}: {error}") from error
        if notes:
            return notes[-1]
    return None


def _newest_rotation(directory: Path) -> Rotation | None:
    found, recorded = rotations_of(directory)
    return next((one for one in reversed(found) if one.note in recorded), None)


def _cut_half_line(directory: Path, last: Segment) -> dict[str, Any] | None:
    """What was cut off, for the log's own note of it."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(last.records, os.O_RDONLY | os.O_NONBLOCK | flags)
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid():
            raise AuditUnavailable(f"{last.records} is not a regular file of ours")
        os.fchmod(descriptor, 0o600)  # a crash right after it was closed left it read-only
    finally:
        os.close(descriptor)
    descriptor = os.open(last.records, os.O_RDWR | flags)
    try:
        tail = os.pread(descriptor, 2 * MAX_LINE_BYTES, max(0, facts.st_size - 2 * MAX_LINE_BYTES))
        half = tail[tail.rfind(b"\n") + 1 :]
        if not half:
            return None
        if len(half) > MAX_LINE_BYTES:
            raise _tampered(directory, f"the end of {last.records.name} is no record")
        os.ftruncate(descriptor, facts.st_size - len(half))
        return {"bytes": len(half), "sha256": hashlib.sha256(half).hexdigest()}
    finally:
        os.close(descriptor)


def _derive(last: Segment, hashes: list[bytes]) -> None:
    """The file of hashes may be behind the records after a crash, or ahead of a line that was cut off."""
    if last.read_hashes() != hashes or last.hashes.stat().st_size % 32:
        last.hashes.write_bytes(b"".join(hashes))
    text = last.read_notes()
    if text and not text.endswith("\n\n"):
        whole = text.rpartition("\n\n\u2014")[0].rpartition("\n\n")
        last.notes.write_text(whole[0] + whole[1])


def _tampered(directory: Path, what: str) -> AuditUnavailable:
    return AuditUnavailable(
        f"the audit log {directory} was tampered with: {what}; `observe audit verify` names the place, and "
        "moving the directory away lets a new log begin"
    )
