"""Watches: what a client has pushed to it again and again, and how it says how much it takes."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from observe.probe.wire_base import Asked, Role, Told
from observe.probe.wire_table import Query


class WatchArgs(Asked):
    what: Literal["agents", "vitals", "events", "tape"]
    query: Query | None = None
    """For agents only."""
    interval_s: float = Field(default=0.5, ge=0.05, le=3600.0)
    credit: int = Field(default=2, ge=0, le=1000)
    """How many pushes may be sent before the client gives more credit."""


class RewatchArgs(Asked):
    sub: int
    query: Query


class CreditArgs(Asked):
    sub: int
    n: int = Field(ge=1, le=1000)


class UnwatchArgs(Asked):
    sub: int


class Subscription(Told):
    """The result of `watch` and `rewatch`."""

    sub: int


class Push(Told):
    """Server to client, for a subscription."""

    sub: int
    seq: int
    """Counts the pushes of this subscription from 1, by 1."""
    dropped: int = 0
    """Items (events) or pictures (agents, vitals) left out since the push before."""
    data: dict[str, Any]


class Event(Told):
    """Something that happened on the node."""

    seq: int
    at: float
    kind: str
    """`spawn`, `exit`, `crash`, `restart`, `finding`, `rung`, `limit`, `governed` or `node`."""
    pid: int = 0
    name: str | None = None
    class_name: str | None = Field(default=None, validation_alias="class", serialization_alias="class")
    text: str
    """A line for people."""
    reason: str | None = None
    fingerprint: str | None = None


class Events(Told):
    """The data of a push of an `events` watch."""

    events: list[Event]


class TapePiece(Told):
    """The data of a push of a `tape` watch."""

    records: bytes
    """The next bytes of a recording, without the eight at its beginning."""


VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {
    "watch": ("viewer", WatchArgs),
    "rewatch": ("viewer", RewatchArgs),
    "credit": ("viewer", CreditArgs),
    "unwatch": ("viewer", UnwatchArgs),
}
