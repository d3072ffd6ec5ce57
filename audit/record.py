"""One entry of the audit log: who did what to whom, when, and what became of it.

Each command has a record `requested`, written before it is carried out, and one of `completed`, `failed`, `denied` or
`expired` after. What the log says of itself (it was opened, a new segment begins) is `noted`. Fields are never renamed and
never change their meaning; later versions add some.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from observe.audit.canonical import canonical

Phase = Literal["requested", "completed", "failed", "denied", "expired", "noted"]


class Who(BaseModel):
    """Who acted. Taken from the transport's key, never from what the client says of itself."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    key: str
    """Fingerprint of the public key: the first 16 hexadecimal digits of its SHA-256."""
    name: str
    """Under which the node knows the key."""
    role: str
    user: str
    """The user of this machine for whom the probe runs. For the key on the node's card: who used it."""
    address: str = ""
    """From where, as the transport knows it; empty when it does not say."""


class Record(BaseModel):
    """One line of the log."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    seq: int = Field(ge=1)
    """Counts the records of this log from 1, by 1."""
    phase: Phase
    command_id: str
    """The same in the two records of one command."""
    who: Who
    what: str
    """The verb: `kill`. Of a `noted` record what the log notes: `segment`, `opened`, `repaired`, `resumed`, `removed`, `key`, `closed`."""
    target: dict[str, Any]
    """On what: for an agent `pid`, `name`, `class` and what was asked for as `agent`; what the command was given beside
    that is `arguments`."""
    reason: str
    """Why, in the words of who acted."""
    node: str
    """`shop@host`."""
    incarnation: str
    """Of the node that the command named."""
    wall: float
    """Unix time. May jump when somebody sets the clock."""
    monotonic: float
    """Seconds on the clock that never jumps, since the machine started."""
    outcome: dict[str, Any] | None = None
    """What became of it: the reply's result, or its error as `code` and `message`. None when `requested`."""
    trace: str = ""
    """Trace id of what it belongs to, 32 hexadecimal digits; empty for none."""

    def line(self) -> bytes:
        """The record in canonical JSON, without a line break. Raises ValueError or TypeError when it has no such form."""
        return canonical(self.__dict__ | {"who": self.who.__dict__})

    @classmethod
    def from_line(cls, line: bytes) -> Record:
        """Read a record. Raises ValueError when the line is none."""
        return cls.model_validate(json.loads(line))
