"""The client's methods about the audit log. Mixed into `NodeClient`."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from observe.probe.wire_audit import (
    MAX_LINES,
    AuditArgs,
    AuditHead,
    AuditHeadArgs,
    AuditKeys,
    AuditKeysArgs,
    AuditLines,
    AuditProof,
    AuditProofArgs,
    KeyRotated,
    RotateKeyArgs,
)
from observe.probe.wire_base import Told

if TYPE_CHECKING:
    from observe.audit.record import Record
    from observe.probe.witness import Witness

T = TypeVar("T", bound=Told)


class AuditClient:
    """Reads and proves the node's audit log."""

    if TYPE_CHECKING:

        @property
        def _witness(self) -> Witness: ...
        async def _ask(self, verb: str, args: Any, result: type[T]) -> T: ...
        def _command_fields(self) -> dict[str, Any]: ...

    async def audit_head(self) -> AuditHead:
        """Where the audit log stands: how many records, the newest signed checkpoint, and why it cannot be written."""
        return await self._ask("audit_head", AuditHeadArgs(), AuditHead)

    async def audit_lines(self, start: int = 1, limit: int = 100) -> AuditLines:
        """Some records as they stand in the log, from number `start` on."""
        return await self._ask("audit", AuditArgs(start=start, limit=limit), AuditLines)

    async def audit_proof(self, old: int, new: int) -> list[bytes]:
        """The hashes that prove that the log of `new` records begins with the one of `old` records."""
        proof = await self._ask("audit_proof", AuditProofArgs(old=old, new=new), AuditProof)
        return [base64.b64decode(one) for one in proof.hashes]

    async def audit_records(self, start: int = 1) -> AsyncIterator[Record]:
        """All records from number `start` on that there are now, one by one.

        Raises:
            ValueError: the node sent a line that is no record.
        """
        from observe.audit.record import Record

        size = (await self.audit_head()).size
        while start <= size:
            page = await self.audit_lines(start, MAX_LINES)
            if not page.lines:
                return
            for line in page.lines:
                yield Record.from_line(line.encode())
            start = page.start + len(page.lines)

    async def audit_keys(self) -> AuditKeys:
        """The key that signs the log, and the signed notes that say which followed which."""
        return await self._ask("audit_keys", AuditKeysArgs(), AuditKeys)

    async def rotate_key(
        self, why: Literal["routine", "compromised"] = "routine", reason: str = ""
    ) -> KeyRotated:
        """Have the log signed by another key from here on; the one before signs that it follows. With `compromised` nobody
        else believes in it before they are told to.

        Raises:
            RemoteError: it cannot be; the key is what it was.
        """
        args = RotateKeyArgs(why=why, reason=reason, **self._command_fields())
        with self._witness.believing_revocation():  # we are the one who says so
            return await self._ask("rotate_key", args, KeyRotated)
