"""Logs for the tests, and what somebody might do to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from observe.audit import segments as files
from observe.audit.log import AuditLog
from observe.audit.merkle import Peaks, leaf_hash
from observe.audit.notes import Signer, Verifier, origin_of
from observe.audit.open_segment import no_sync
from observe.audit.record import Record, Who

WHO = Who(key="0123456789abcdef", name="ann", role="operator", user="ann")
NODE = "shop@host"


def opened(directory: Path, **options: Any) -> AuditLog:
    """A log that does not wait for the disk."""
    known: dict[str, Any] = {"node": NODE, "sync": no_sync}
    return AuditLog(directory, **(known | options))


def append(log: AuditLog, phase: Any = "requested", **facts: Any) -> Record:
    known: dict[str, Any] = {
        "command_id": "c1", "who": WHO, "what": "kill", "target": {"pid": 7, "agent": "w7"}, "reason": "stuck",
        "incarnation": "i",
    }  # fmt: skip
    return log.append(phase, **(known | facts))


def filled(directory: Path, count: int = 20, **options: Any) -> str:
    """A log with so many records that was closed; its newest checkpoint."""
    log = opened(directory, **options)
    for number in range(count):
        append(log, command_id=f"c{number}")
    log.close()
    return log.checkpoint


def key_of(directory: Path) -> Verifier:
    return Verifier.parse((directory / files.VKEY).read_text())


class Attacker:
    """May write every file of a log, and does not have its key unless said."""

    def __init__(self, directory: Path, segment: int = -1) -> None:
        self.directory = directory
        self.segment = files.segments(directory)[segment]

    @property
    def lines(self) -> list[bytes]:
        return self.segment.records.read_bytes().splitlines(keepends=True)

    def change(self, what: Callable[[list[bytes]], object]) -> None:
        """Do something to the lines of the segment."""
        lines = self.lines
        what(lines)
        self.segment.records.chmod(0o600)
        self.segment.records.write_bytes(b"".join(lines))

    def rehash(self) -> None:
        """Make the hashes fit the lines."""
        hashes = b"".join(leaf_hash(line.rstrip(b"\n")) for line in self.lines)
        self.segment.hashes.chmod(0o600)
        self.segment.hashes.write_bytes(hashes)

    def notes(self) -> list[str]:
        parts = self.segment.read_notes().split("\n\n")
        return [f"{parts[at]}\n\n{parts[at + 1]}\n\n" for at in range(0, len(parts) - 1, 2)]

    def keep_notes(self, count: int) -> None:
        """Drop all checkpoints of the segment but the first ones."""
        self.segment.notes.write_text("".join(self.notes()[:count]))

    def sign_again(self, seed: bytes | None = None) -> None:
        """With the log's own key: make the hashes and one checkpoint that fits everything."""
        self.rehash()
        peaks = Peaks()
        for segment in files.segments(self.directory):
            for hashed in segment.read_hashes():
                peaks.add(hashed)
            segment.notes.unlink(missing_ok=True)
        name = origin_of(NODE)
        key = self.directory.with_name(self.directory.name + ".key")
        signer = Signer(name, seed) if seed else Signer.of_file(key, name)
        self.segment.notes.write_text(signer.sign(peaks.size, peaks.root()) + "\n")
