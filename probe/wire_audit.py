"""The audit log as it crosses the wire: its head, its lines, and the proof that it has only grown. No input, no output."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from observe.probe.wire_base import Asked, Command, Role, Told

MAX_LINES: Final = 500
MAX_ROTATIONS: Final = 200
"""Some 120 kB: a key a day for half a year, or a year for most of a life."""


class AuditHeadArgs(Asked):
    """It takes none."""


class AuditArgs(Asked):
    start: int = Field(default=1, ge=1, lt=2**53)
    """Number of the first record wanted."""
    limit: int = Field(default=100, ge=1, le=MAX_LINES)


class AuditProofArgs(Asked):
    old: int = Field(ge=0, lt=2**53)
    """Size of the log that the client knows."""
    new: int = Field(ge=0, lt=2**53)
    """Size of the log that it wants to compare it with."""


class AuditKeysArgs(Asked):
    """It takes none."""


class RotateKeyArgs(Command):
    why: Literal["routine", "compromised"] = "routine"
    """`compromised`: somebody else may have the key, so nobody believes in the new one because the old one says so."""


class AuditKeys(Told):
    """Which key of the log followed which."""

    key: str = ""
    """The public key in use; empty as long as there is none."""
    rotations: list[str] = Field(default_factory=list)
    """Signed notes of audit.md, the oldest first, the newest `MAX_ROTATIONS`."""


class KeyRotated(Told):
    """What signs the log from here on."""

    done: bool
    what: str
    """One line for people."""
    key: str
    """The public key, as C2SP writes it."""
    former: str
    record: int
    """Number of the record that says so."""


class AuditHead(Told):
    """Where the log stands."""

    size: int
    """How many records it has, removed ones included."""
    first: int
    """Number of the oldest record that is still there; 0 when there is none."""
    checkpoint: str = ""
    """The newest signed note; empty when nothing was signed yet."""
    key: str = ""
    """The public key, as C2SP writes it; empty as long as there is none."""
    directory: str = ""
    """Where its files are, on the node's machine."""
    problem: str = ""
    """Why nothing can be written, so that commands are refused; empty when all is well."""


class AuditLines(Told):
    """Some records in a row."""

    lines: list[str]
    """Each as it stands in the log: canonical JSON. Fewer than asked for when they are large, or the last."""
    start: int
    """Number of the first; more than was asked for when older ones were removed."""
    size: int


class AuditProof(Told):
    """A consistency proof of RFC 6962."""

    hashes: list[str]
    """In base64, in the RFC's order."""


VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {
    "audit": ("viewer", AuditArgs),
    "audit_head": ("viewer", AuditHeadArgs),
    "audit_proof": ("viewer", AuditProofArgs),
    "audit_keys": ("viewer", AuditKeysArgs),
    "rotate_key": ("admin", RotateKeyArgs),
}
