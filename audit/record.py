"""One entry of the audit log: who did what to whom, when, and what became of it.

Each command has a record `requested`, written before it is carried out, and one of `completed`, `failed`, `denied` or
`expired` after. Fields are never renamed and never change their meaning; later versions add some.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Phase = Literal["requested", "completed", "failed", "denied", "expired"]


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


class Record(BaseModel):
    """One line of the log."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    seq: int = Field(ge=1)
    """Counts the records of this file from 1, by 1."""
    phase: Phase
    command_id: str
    """The same in the two records of one command."""
    who: Who
    what: str
    """The verb: `kill`."""
    target: dict[str, Any]
    """On what: for an agent `pid`, `name`, `class` and what was asked for as `agent`."""
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
