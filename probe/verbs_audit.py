"""The desk's side of the audit log: read from its files, which the scribe's thread only ever adds to."""

from __future__ import annotations

import base64
import json
import re
import time
from functools import partial
from typing import Final

from observe.audit.errors import AuditUnavailable
from observe.audit.keyring import Rotation, rotations_of
from observe.audit.reading import History
from observe.audit.segments import is_log
from observe.probe.audit_keys import rotated_to
from observe.probe.counter import Client, Handler, Hands, Reply
from observe.probe.errors import Refusal
from observe.probe.wire_audit import (
    MAX_ROTATIONS,
    AuditArgs,
    AuditHead,
    AuditHeadArgs,
    AuditKeys,
    AuditKeysArgs,
    AuditLines,
    AuditProof,
    AuditProofArgs,
    RotateKeyArgs,
)

MAX_BYTES: Final = 512 << 10
"""Lines in one reply: half of what a frame holds."""

_SEQ: Final = re.compile(rb'"seq":(\d+)')


class _Reader:
    """Keeps its place in the files from one request to the next."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._history: History | None = None

    def history(self) -> History:
        """The files of the log. Raises `Refusal` when there are none."""
        audit = self._hands.commands.scribe.audit
        if audit is None:
            raise Refusal("refused", f"there is no audit log: {self._hands.commands.scribe.problem}")
        if self._history is None:
            self._history = History(audit.directory)
        return self._history


def handlers(hands: Hands) -> dict[str, Handler]:
    """One for each verb."""
    reader = _Reader(hands)
    return {
        "audit": partial(_audit, reader),
        "audit_head": partial(_head, hands, reader),
        "audit_proof": partial(_proof, reader),
        "audit_keys": partial(_keys, reader),
        "rotate_key": partial(_rotate, hands),
    }


def _head(
    hands: Hands, reader: _Reader, _client: Client, _args: AuditHeadArgs, reply: Reply, _now: float
) -> None:
    scribe = hands.commands.scribe
    audit = scribe.audit
    if audit is None:
        reply(AuditHead(size=0, first=0, problem=scribe.problem).to_wire())
        return
    history = reader.history()
    history.refresh()
    head = AuditHead(
        size=audit.size,
        first=history.first,
        checkpoint=audit.checkpoint,
        key=audit.vkey,
        directory=str(audit.directory),
        problem=audit.problem,
    )
    reply(head.to_wire())


def _audit(reader: _Reader, _client: Client, args: AuditArgs, reply: Reply, _now: float) -> None:
    history = reader.history()
    try:
        found = history.lines(args.start, args.limit) if is_log(history.directory) else []
    except OSError as error:
        raise Refusal("refused", f"the audit log cannot be read: {error}") from None
    lines: list[str] = []
    room = MAX_BYTES
    for line in found:
        room -= len(line)
        if room < 0 and lines:
            break
        lines.append(line.decode("utf-8", "replace"))
    start = max(args.start, history.first)
    if lines:
        number = _SEQ.search(found[0])
        start = json.loads(number[1]) if number else start
    audit = reader._hands.commands.scribe.audit
    reply(AuditLines(lines=lines, start=start, size=audit.size if audit else 0).to_wire())


def _proof(reader: _Reader, _client: Client, args: AuditProofArgs, reply: Reply, _now: float) -> None:
    history = reader.history()
    try:
        proof = history.tree.consistency(args.old, args.new)
    except (ValueError, OSError) as error:
        raise Refusal("refused", f"there is no such proof: {error}") from None
    reply(AuditProof(hashes=[base64.b64encode(one).decode() for one in proof]).to_wire())


def _keys(reader: _Reader, _client: Client, _args: AuditKeysArgs, reply: Reply, _now: float) -> None:
    history = reader.history()
    try:
        found = rotations_of(history.directory)[0] if is_log(history.directory) else []
    except OSError as error:
        raise Refusal("refused", f"the audit log cannot be read: {error}") from None
    audit = reader._hands.commands.scribe.audit
    notes = [one.note for one in found[-MAX_ROTATIONS:]]
    reply(AuditKeys(key=audit.vkey if audit else "", rotations=notes).to_wire())


def _rotate(hands: Hands, client: Client, args: RotateKeyArgs, reply: Reply, _now: float) -> None:
    def carry_out(done: Reply) -> None:
        def rotated(made: Rotation | AuditUnavailable) -> None:
            if isinstance(made, AuditUnavailable):
                done(Refusal("refused", f"the key is what it was: {made}"))
                return
            done(rotated_to(made).to_wire())

        hands.commands.scribe.run(lambda audit: audit.rotate(args.why), rotated)

    hands.commands.submit("rotate_key", args, client.holder, {}, time.time(), carry_out, reply)
