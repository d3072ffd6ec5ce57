"""The client as a witness of a node's audit log: it keeps the newest checkpoint, and believes in no log that contradicts it.

```
before the first command of a connection:   audit_head -> the log must begin with the one we know
with each answer to a command:              a receipt, a signed checkpoint that covers the command -> likewise, and kept
```

The key is believed the first time, as that of a machine with ssh; the connection has been authenticated by then. Another one
is believed when the one that we know has signed that it follows, and was not revoked. What is
kept is a file a node, of which everybody may make copies: `observe audit verify --receipts` compares a log with them.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from observe.audit.keyring import Keyring, Rotation, read_rotation
from observe.audit.merkle import BadProof, check_consistency
from observe.audit.notes import BadNote, Checkpoint, Verifier, WrongKey, read_note
from observe.probe.errors import AttachError, AuditMismatch, RemoteError
from observe.probe.states import seen_directory
from observe.probe.wire_audit import (
    AuditHead,
    AuditHeadArgs,
    AuditKeys,
    AuditKeysArgs,
    AuditProof,
    AuditProofArgs,
)

logger = logging.getLogger("observe.probe")

Ask = Callable[[str, Any, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a node's log."""

    key: str
    """Its public key."""
    note: str
    """The newest checkpoint that we saw."""


def seen_path(node: str) -> Path:
    """The file about a node, `shop@host`."""
    return seen_directory() / (re.sub(r"[^A-Za-z0-9._@-]", "_", node) + ".json")


def read_seen(node: str) -> Seen | None:
    """What is known of a node's log; None when it was never seen."""
    try:
        content = json.loads(seen_path(node).read_text())
        read_note(content["note"])
        return Seen(str(content["key"]), str(content["note"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_seen(node: str, seen: Seen) -> None:
    """Keep it, unless another of our consoles has seen more. Raises OSError."""
    path = seen_path(node)
    before = read_seen(node)
    if (
        before is not None
        and before.key == seen.key
        and read_note(before.note).size > read_note(seen.note).size
    ):
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"key": seen.key, "note": seen.note}, file)
    os.replace(name, path)


def known_nodes(name: str) -> list[str]:
    """The full names of nodes of which something is known, that are meant by this name, with a host or without one."""
    kept = [path.stem for path in seen_directory().glob("*.json")]
    return sorted(node for node in kept if name in (node, node.partition("@")[0]))


def forget_seen(node: str) -> bool:
    """Let the next log of this node be believed. False when none was known."""
    try:
        seen_path(node).unlink()
    except FileNotFoundError:
        return False
    return True


class Witness:
    """Of the log of one node, for one client."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._mutex = asyncio.Lock()
        self._node = ""
        self._seen: Seen | None = None
        self._is_checked = False
        self._is_off = False
        self._is_kept = False
        self._believes_revocation = False

    @property
    def size(self) -> int:
        """How many records the log has as far as we know."""
        return read_note(self._seen.note).size if self._seen else 0

    def attached(self, node: str) -> None:
        """A connection begins: look at the log again before the next command."""
        self._is_checked = False
        self._is_off = False
        if node != self._node:
            self._node, self._seen, self._is_kept = node, None, False

    @contextlib.contextmanager
    def believing_revocation(self) -> Iterator[None]:
        """While we revoke the key ourselves: the one that follows is believed."""
        self._believes_revocation = True
        try:
            yield
        finally:
            self._believes_revocation = False

    async def before(self) -> int:
        """Make sure, once a connection, that the log is the one we know. Returns its size.

        Raises:
            AuditMismatch: it is not; nothing was asked of the node.
        """
        async with self._mutex:
            if not self._is_checked and not self._is_off:
                await self._look()
                self._is_checked = True
        return self.size

    async def after(self, note: str, floor: int) -> None:
        """Take the receipt of a command that was sent when the log had at least `floor` records.

        Raises:
            AuditMismatch: it is not of the log that we know.
        """
        if not note or self._is_off:
            return
        async with self._mutex:
            try:
                await self._accept(note, "", floor)
            except AuditMismatch:
                self._is_checked = False
                raise
            except AttachError as error:  # the command has its answer; the next one will look again
                self._is_checked = False
                logger.info("the receipt of a command could not be compared: %s", error)

    async def _look(self) -> None:
        try:
            import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401 - only to see whether it is there
        except ImportError as error:
            logger.warning("the audit logs of nodes are not compared: %s", error)
            self._is_off = True
            return
        try:
            head: AuditHead = await self._ask("audit_head", AuditHeadArgs(), AuditHead)
        except RemoteError as error:
            if error.code != "unknown_verb":
                raise
            self._is_off = True  # a node of an earlier version
            return
        known = read_seen(self._node)
        if known is not None or self._is_kept:  # the file counts: a person may have let us forget
            self._seen = known
            self._is_kept = True
        if head.problem and not head.checkpoint:
            return  # no command will be carried out, and the refusal says why
        if not head.checkpoint:
            if self._seen is not None:
                raise self._mismatch(f"it is empty, and had {self.size} records")
            return
        await self._accept(head.checkpoint, head.key, self.size)

    async def _accept(self, note: str, key: str, floor: int) -> None:
        seen = self._seen
        if seen is None:
            if not key:
                head: AuditHead = await self._ask("audit_head", AuditHeadArgs(), AuditHead)
                key = head.key
            self._keep(Seen(key, self._opened(key, note).note))
            return
        told, vkey = await self._told(seen.key, note)
        known = read_note(seen.note)
        if told.size < floor:
            raise self._mismatch(f"it has {told.size} records, and had {known.size}")
        old, new = (known, told) if known.size <= told.size else (told, known)
        proof: list[bytes] = []
        if old.size != new.size:
            args = AuditProofArgs(old=old.size, new=new.size)
            try:
                answer: AuditProof = await self._ask("audit_proof", args, AuditProof)
                proof = [base64.b64decode(one) for one in answer.hashes]
            except (RemoteError, ValueError) as error:
                raise self._mismatch(f"it does not show that it has only grown: {error}") from None
        try:
            check_consistency(old.size, old.root, new.size, new.root, proof)
        except BadProof as error:
            raise self._mismatch(str(error)) from None
        if new is told and new.size > known.size:
            self._keep(Seen(vkey, note))

    async def _told(self, key: str, note: str) -> tuple[Checkpoint, str]:
        """What a note says that our key has signed, or one that follows it; and that key."""
        verifier = Verifier.parse(key)
        try:
            return verifier.open(note), key
        except WrongKey:
            ring = Keyring(verifier, await self._rotations())
        except BadNote as error:
            raise self._mismatch(str(error)) from None
        revoked = next((one for one in ring.ahead if one.why == "compromised"), None)
        if ring.rivals:
            raise self._mismatch("two keys claim to follow the one that we know: somebody else has it")
        if ring.lost is not None:
            raise self._mismatch(
                f"its key was lost, says record {ring.lost.record}, and another one signs it now"
            )
        if revoked is not None and not self._believes_revocation:
            raise self._mismatch(
                f"its key was revoked as compromised at record {revoked.record}, and another one signs it now"
            )
        try:
            return ring.open(note), ring.newest.vkey
        except BadNote as error:
            raise self._mismatch(str(error)) from None

    async def _rotations(self) -> list[Rotation]:
        try:
            answer: AuditKeys = await self._ask("audit_keys", AuditKeysArgs(), AuditKeys)
        except RemoteError as error:
            if error.code != "unknown_verb":
                raise
            return []
        found = []
        for note in answer.rotations:
            with contextlib.suppress(BadNote):
                found.append(read_rotation(note))
        return found

    def _opened(self, key: str, note: str) -> Checkpoint:
        try:
            return Verifier.parse(key).open(note)
        except BadNote as error:
            raise self._mismatch(str(error)) from None

    def _keep(self, seen: Seen) -> None:
        self._seen = seen
        try:
            write_seen(self._node, seen)
            self._is_kept = True
        except OSError as error:  # known for as long as we live, then
            logger.info("the checkpoint of %s cannot be kept: %s", self._node, error)

    def _mismatch(self, why: str) -> AuditMismatch:
        return AuditMismatch(self._node, why)
