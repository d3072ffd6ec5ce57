"""Trace sessions as they cross the wire: what is asked for, and the events that come. No input, no output."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from observe.probe.wire_base import Asked, Command, Role, Told, class_name_field

Kind = Literal[
    "send", "call", "receive", "reply", "handled", "spawn", "exit", "crash", "restart", "state", "activity", "schedule"
]  # fmt: skip
"""As in `observe.tracing.sessions.KINDS`, which says what each means."""


class TraceArgs(Command):
    """Which agents, which events, and the bounds without which there is no session."""

    selector: str = Field(min_length=1, max_length=256)
    """As in `observe.tracing.selecting`."""
    events: list[Kind] | None = Field(default=None, max_length=12)
    """None: all but `state` and `schedule`."""
    where: str = Field(default="", max_length=500)
    """As in `observe.tracing.where`; empty for all."""
    max: int = Field(default=1000, ge=1, le=1_000_000)
    """Events after which it ends."""
    for_s: float = Field(default=10.0, gt=0.0, le=3600.0)
    rate: float = Field(default=1000.0, gt=0.0, le=50_000.0)
    """Events a second; more are counted and left out."""
    interval_s: float = Field(default=0.1, ge=0.02, le=60.0)
    """The shortest time between two pushes."""


class TraceStarted(Told):
    """The result of `trace`. Pushes of the subscription follow once the client gives credit; the last event in them has the
    kind `end`."""

    sub: int
    agents: int
    """How many are listened to."""


class TraceEvent(Told):
    """Something that a traced agent did, or that was done to it."""

    n: int
    """Counts the events of a session from 1."""
    at: float
    kind: str
    pid: int
    name: str | None = None
    class_name: str = class_name_field()
    peer: int = 0
    """The pid of the other agent; 0 when there is none, or the other is code outside of agents."""
    peer_name: str = ""
    way: str = ""
    """`out` or `in`, of a reply; `begin` or `end`, of an activity."""
    how: str = ""
    """`cast`, `call`, `timer` or `signal`: how a message came."""
    message: dict[str, Any] | None = None
    """A **value**."""
    value: dict[str, Any] | None = None
    error: str = ""
    took_s: float | None = None
    activity: str = ""
    changes: list[list[str]] = Field(default_factory=list)
    """Field, before, after."""
    text: str = ""
    trace_id: str = ""
    span_id: str = ""

    def to_wire(self) -> dict[str, Any]:
        """The map for a frame or a file: what does not apply is left out."""
        return self.model_dump(by_alias=True, exclude_defaults=True)


class TraceEvents(Told):
    """The data of a push of a trace session."""

    events: list[TraceEvent]


VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {"trace": ("operator", TraceArgs)}
