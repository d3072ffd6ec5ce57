"""The audit log: append-only segments of canonical JSON lines, under a Merkle tree whose root is signed again and again.

```
append("requested") --> line, fdatasync --> checkpoint --> the command is carried out --> append("completed") --> …
```

Policy of writing: a record is on the disk (`fdatasync`) before `append` returns; hashes and checkpoints are written with
it and synced when a segment or the log is closed, since both can be made again from the records. A command whose intent
cannot be written is not carried out: whatever fails (a full disk, most likely) leaves the files as they were before and
raises `AuditUnavailable`, and the next append tries again.

A crash can leave half a line at the end. It was never acknowledged, so opening the log cuts it off and notes that it did.
Anything else that is not as the newest checkpoint says is not a crash, and nothing is appended to such a log.

All methods may be called from any thread; one at a time gets in.
"""

from __future__ import annotations

import base64
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from observe.audit import segments as files
from observe.audit.errors import AuditDelayed, AuditUnavailable
from observe.audit.gap import Gap
from observe.audit.keyring import Rotation, Why
from observe.audit.log_key import LogKey
from observe.audit.merkle import Peaks, leaf_hash
from observe.audit.notes import origin_of
from observe.audit.open_segment import SYNC, OpenSegment, no_sync
from observe.audit.opening import MAX_LINE_BYTES, stand, take
from observe.audit.plain import NoRule, Rule, plain
from observe.audit.record import Phase, Record, Who
from observe.audit.segments import Segment

logger = logging.getLogger("observe.audit")

SEGMENT_BYTES: Final = 16 << 20
"""Some thirty thousand records: what opening the log has to hash, and what retention removes at once."""

SEGMENT_S: Final = 30 * 86_400.0
"""A segment is closed after so long even if it is small, or retention would have to keep old records with new ones. Where records are
kept for less than four times this, after a quarter of it."""

KEEP_DAYS: Final = 400
"""Auditors look at a year, and ask about it some weeks later."""

EVERY_RECORDS: Final = 1000
EVERY_S: Final = 60.0
"""Records that no command waits for are signed together: after so many, or so long."""


class AuditLog:
    """Appends records. One writer at a time: a lock in the directory says so."""

    def __init__(
        self,
        directory: Path,
        *,
        node: str,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sync: Callable[[int], None] = SYNC,
        rule: Rule | None = None,
        key: Path | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        keep_days: float = KEEP_DAYS,
    ) -> None:
        """Open the log, or make it.

        Args:
            key: the file of the secret key, beside the directory unless told otherwise.
            segment_bytes: a segment is followed by the next one when it is larger.
            keep_days: whole segments are removed when their newest record is older.

        Raises:
            AuditUnavailable: it cannot be opened, is not ours alone, has another writer, or was tampered with.
        """
        self.directory = directory
        self.checkpoint = ""
        """The newest signed note; empty as long as there is none. May be read from any thread."""
        self.vkey = ""
        """The public key; empty until there is one."""
        self.problem = ""
        """Why the last record could not be written; empty when it could."""
        self._node = node
        self._wall = wall
        self._monotonic = monotonic
        self._sync = sync
        self._rule: Rule = rule or NoRule()
        self._key = LogKey(key or directory.with_name(directory.name + ".key"), directory, origin_of(node))
        self._segment_bytes = segment_bytes
        self._keep_s = keep_days * 86_400.0
        self._segment_s = min(SEGMENT_S, self._keep_s / 4)
        self._mutex = threading.Lock()
        self._peaks = Peaks()
        self._open: OpenSegment | None = None
        """What is written to; None before the first record, and after the end."""
        self._began_at = 0.0
        self._is_begun = False
        self._repaired: dict[str, Any] | None = None
        self._signed = 0
        self._signed_at = monotonic()
        self._looked_at = float("-inf")
        self._failed = 0
        self._gap: Gap | None = None
        self._lock = -1
        try:
            self._lock = take(directory)
            self._load()
        except AuditUnavailable:
            self._let_go()
            raise
        except OSError as error:
            self._let_go()
            raise AuditUnavailable(f"the audit log {directory} cannot be opened: {error}") from error

    # -- for everybody --------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many records there are, removed ones included."""
        return self._peaks.size

    def statistics(self) -> dict[str, int]:
        """How many records there are, how many of them no checkpoint covers yet, and how many could not be written."""
        size = self._peaks.size
        return {"records": size, "unsigned": size - self._signed, "failed": self._failed}

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
        trace: str = "",
        control: bool = True,
        owed: bool = False,
    ) -> Record:
        """Write one record and wait until it is on the disk: some milliseconds on a disk, none in memory.

        Args:
            control: somebody acts upon it, so a checkpoint covers it at once. Others wait for the next one.
            owed: it tells what has happened already. When it cannot be written it is kept in memory, and written with the time at
                which it happened as soon as that can be; `MOST_OWED` at most.

        Raises:
            AuditDelayed: it could not be written now, and will be.
            AuditUnavailable: it could not be written or not be made durable. Nothing of it is left.
        """
        fields: dict[str, Any] = {
            "phase": phase,
            "command_id": command_id,
            "who": who,
            "what": what,
            "target": plain(target, self._rule),
            "reason": plain(reason, self._rule),
            "incarnation": incarnation,
            "outcome": plain(outcome, self._rule),
            "trace": trace,
        }
        with self._mutex:
            try:
                self._begin()
                self._resume()
                record = self._put(fields, sync=True)
            except AuditUnavailable as error:
                if self._missed(str(error), fields if owed else None):
                    raise AuditDelayed(str(error)) from error
                raise
            if control or self._peaks.size - self._signed >= EVERY_RECORDS:
                self._sign()
            return record

    def rotate(self, why: Why = "routine") -> Rotation:
        """Sign with another key from here on. The one before signs that it follows, and is thrown away.

        `compromised`: somebody else may have the key. Consoles then believe in the new one only when they are told to.

        Raises:
            AuditUnavailable: it could not be written, or nothing can be signed here. The key is what it was.
        """
        with self._mutex:
            self._begin()
            if self._key.load() is None:
                raise AuditUnavailable(
                    "the audit log is not signed on this machine, so there is no key to change"
                )
            try:
                rotation = self._key.stage(self._peaks.size + 1, why, self._wall())
            except OSError as error:
                raise AuditUnavailable(f"the new key of the audit log cannot be written: {error}") from error
            try:
                self._note_key(rotation)
            except AuditUnavailable:
                self._key.unstage()
                raise
            self._key.adopt(rotation)
            self.vkey = self._key.vkey
            self._sign()
            return rotation

    def tick(self) -> None:
        """Sign what has waited for a minute, remove what has been kept long enough, and see whether a disk that was full is so no more.
        Call it every second or so."""
        with self._mutex:
            if self._lock < 0 or self._open is None:
                return
            if self._gap is not None:
                try:
                    self._begin()
                    self._resume()
                except AuditUnavailable:
                    return
            now = self._monotonic()
            if self._peaks.size > self._signed and now - self._signed_at >= EVERY_S:
                self._sign()
            if now - self._looked_at >= 3600.0:
                self._looked_at = now
                try:
                    self._remove_old()
                except OSError as error:
                    logger.error("old records of the audit log cannot be removed: %s", error)

    def close(self) -> None:
        """Note that the log is closed, sign it and close it. Doing so twice has no effect."""
        with self._mutex:
            if self._lock < 0:
                return
            try:
                if self._is_begun and self._open is not None:
                    self._note("closed", {}, sync=True)
                    self._sign()
                    self._open.sync_derived()
            except OSError as error:
                logger.error("the audit log %s could not be closed in order: %s", self.directory, error)
            self._let_go()

    # -- opening --------------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        here = stand(self.directory, self._key)
        self._peaks, self._began_at, self._repaired = here.peaks, here.began_at, here.repaired
        self._signed, self.checkpoint, self.vkey = here.signed, here.checkpoint, here.vkey
        if here.segment is not None:
            self._go_on_in(here.segment)

    def _go_on_in(self, segment: Segment) -> None:
        opened = OpenSegment(segment, self._sync)
        if self._open is not None:
            self._open.close()
        self._open = opened

    # -- writing --------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Before the first record of this writer: the log's own notes. And a new segment when it is time."""
        if self._lock < 0:
            raise AuditUnavailable(f"the audit log {self.directory} is closed")
        try:
            last = self._open
            if last is None or not last.size_bytes:
                self._next_segment()
            elif last.size_bytes >= self._segment_bytes or self._wall() - self._began_at >= self._segment_s:
                if self._is_begun:  # else a key that has yet to be introduced would sign
                    self._sign()
                last.sync_derived()
                last.seal()
                self._next_segment()
                self._remove_old()
            if not self._is_begun:
                if self._repaired is not None:
                    self._note("repaired", self._repaired)
                    self._repaired = None
                every = "never" if self._sync is no_sync else "each record"
                about = {"rule": self._rule.name, "sync": every, "keep_days": round(self._keep_s / 86_400, 3)}
                if self._key.load() is not None:
                    self._introduce_key()
                    about["key"] = self._key.vkey
                self._note("opened", about)
                self._is_begun = True
        except AuditUnavailable:
            raise
        except OSError as error:
            raise AuditUnavailable(f"the audit log {self.directory} cannot be written: {error}") from error

    def _missed(self, why: str, owed: dict[str, Any] | None) -> bool:
        """A record could not be written. Returns whether it is kept to be written later."""
        self._failed += 1
        if self._gap is None:
            self._gap = Gap(self._wall(), why)
            logger.error("%s: what cannot be recorded is not done", why)
        self._gap.missed()
        self.problem = why
        if owed is None or not self._gap.has_room or self._lock < 0:
            return False
        self._gap.owed.append({"wall": self._wall(), "monotonic": self._monotonic()} | owed)
        return True

    def _resume(self) -> None:
        """Once records can be written again, one that tells since when they could not, why, and how many were not; and those that
        are owed."""
        gap = self._gap
        if gap is None:
            return
        self._note("resumed", gap.about(), sync=True)
        while gap.owed:
            self._put(gap.owed[0], sync=len(gap.owed) == 1)
            gap.owed.popleft()
        self._sign()
        self._gap, self.problem = None, ""
        logger.warning("the audit log %s is written again", self.directory)

    def _next_segment(self) -> None:
        segment = Segment(self.directory, self._peaks.size + 1)
        self._go_on_in(segment)
        self._began_at = self._wall()
        peaks = self._peaks
        encoded = [base64.b64encode(one).decode() for one in peaks.hashes]
        root = base64.b64encode(peaks.root()).decode()
        self._note("segment", {"size": peaks.size, "root": root, "peaks": encoded}, sync=True)
        if self._sync is not no_sync:
            files.sync_directory(self.directory)

    def _note(self, what: str, target: dict[str, Any], *, sync: bool = False) -> None:
        us = Who(key="", name="observe", role="log", user="")
        fields = {"phase": "noted", "command_id": "", "who": us, "what": what, "target": target, "reason": ""}
        self._put(fields | {"incarnation": ""}, sync=sync)

    def _put(self, fields: dict[str, Any], *, sync: bool) -> Record:
        """Append a record, or leave everything as it was."""
        wall, monotonic = self._wall(), self._monotonic()
        number = self._peaks.size + 1
        record = Record(**({"wall": wall, "monotonic": monotonic} | fields), seq=number, node=self._node)
        try:
            line = record.line()
            if len(line) >= MAX_LINE_BYTES:
                record = _smaller(record, len(line))
                line = record.line()
        except (ValueError, TypeError) as error:
            raise AuditUnavailable(f"the record has no form in JSON: {error}") from error
        assert self._open is not None
        hashed = leaf_hash(line)
        try:
            self._open.add(line, hashed, sync=sync)
        except OSError as error:
            self._undo(self._open)
            raise AuditUnavailable(f"the audit log {self.directory} cannot be written: {error}") from error
        self._peaks.add(hashed)
        return record

    def _undo(self, current: OpenSegment) -> None:
        try:
            current.cut(self._peaks.size)
        except OSError as error:  # the next one to open it cuts off what is left
            logger.error("half a record could not be taken back from %s: %s", self.directory, error)
            self._let_go()

    # -- signing --------------------------------------------------------------------------------------------------------

    def _introduce_key(self) -> None:
        """A key that did not sign the log so far: the one that did is lost. The log goes on, and says so."""
        rotation: Rotation | None = None
        if self._key.is_stranger(self.checkpoint):
            rotation = self._key.introduce(self.checkpoint, self._peaks.size + 1, self._wall())
            logger.error("the key of the audit log %s was lost: another one signs it now", self.directory)
            self._note_key(rotation)
        self.vkey = self._key.vkey
        self._key.keep(rotation)

    def _note_key(self, rotation: Rotation) -> None:
        known = rotation.old.vkey if rotation.old is not None else "unknown"
        about = {"why": rotation.why, "from": known, "to": rotation.new.vkey, "statement": rotation.note}
        self._note("key", about, sync=True)

    def _sign(self) -> None:
        """Sign the log as it is. The note counts from here on; one that cannot be written is followed by the next."""
        signer = self._key.load()
        if signer is None or self._signed == self._peaks.size:
            return
        self.checkpoint = note = signer.sign(self._peaks.size, self._peaks.root(), also=self._key.former)
        self._key.former = None
        self._signed, self._signed_at = self._peaks.size, self._monotonic()
        assert self._open is not None
        try:
            self._open.add_note(note)
        except OSError as error:
            logger.error("a checkpoint of %s could not be kept: %s", self.directory, error)

    # -- retention ------------------------------------------------------------------------------------------------------

    def _remove_old(self) -> None:
        """Remove the records of whole segments that are old enough. Their hashes stay, and with them every proof."""
        assert self._open is not None
        for segment in files.segments(self.directory):
            if segment.first == self._open.segment.first:
                return
            if not segment.records.exists():
                continue
            *_, (line, _whole) = segment.lines()
            newest = Record.from_line(line)
            if newest.wall > self._wall() - self._keep_s:
                return
            # Noted first: a segment that is gone without a note is one that somebody took.
            self._note("removed", {"first": segment.first, "last": newest.seq}, sync=True)
            self._sign()
            segment.records.unlink()

    # -- the end --------------------------------------------------------------------------------------------------------

    def _let_go(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _smaller(record: Record, size_bytes: int) -> Record:
    """A record that says how large it would have been."""
    target = {key: part for key, part in record.target.items() if key != "arguments"}
    text = f"left out: the record would have had {size_bytes} bytes"
    changes: dict[str, Any] = {"target": plain(target, NoRule(), 2) | {"arguments": text}}
    if record.outcome is not None:
        changes["outcome"] = {
            key: part for key, part in record.outcome.items() if not isinstance(part, (dict, list))
        } | {"more": text}
    return record.model_copy(update=changes)
