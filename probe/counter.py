"""What the desk hands to the modules that answer its verbs (`desk.MODULES`), and what they share.

A module of verbs has `handlers(hands)`, which returns one function a verb:

    def handlers(hands: Hands) -> dict[str, Handler]:
        return {"budget": partial(_budget, hands)}

The verb's arguments and role stand in a module `wire_*.py`, whose table `wire.VERBS` takes in. A handler gets arguments
that have been read already, from a client whose role is enough; a command's goes to `hands.commands.submit`, which
checks the role itself and records what it refuses. What it raises as `Refusal` becomes an error reply.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from observe.probe.asks import Answer, Asks
from observe.probe.commands import CommandGate
from observe.probe.deaths import Deaths
from observe.probe.errors import Refusal
from observe.probe.keys import KeyHolder
from observe.probe.picture import Picture
from observe.probe.standing import Standing
from observe.probe.streams import Streams

logger = logging.getLogger("observe.probe")

Reply = Callable[[Answer], None]


@dataclass(slots=True)
class Client:
    """A connection that has said hello."""

    id: bytes
    holder: KeyHolder
    version: int
    since: float
    """Monotonic seconds at which it said hello."""
    program: str = ""
    """What it calls itself."""
    seen_at: float = 0.0
    """Monotonic seconds of its last request."""
    looked_at: float = 0.0
    """Monotonic seconds at which it was last heard of or looked after."""

    def __post_init__(self) -> None:
        self.seen_at = self.looked_at = self.since


Handler = Callable[[Client, Any, Reply, float], None]
"""Called with the client, the verb's arguments, what takes the answer, and the monotonic time."""


@dataclass(frozen=True, slots=True)
class Hands:
    """What handlers work with."""

    picture: Picture
    """The node as telemetry tells it."""
    streams: Streams
    commands: CommandGate
    """Lets commands through once, and never without a record."""
    asks: Asks
    """Questions to the service."""
    standing: Standing
    """What the node has diagnosed of itself."""
    deaths: Callable[[int], Deaths]
    """Reads so many of the newest reports of the node's deaths."""
    make_way: Callable[[], None]
    """Ends the probe."""
    attached: Mapping[bytes, Client]
    """Who has said hello."""
    statistics: Callable[[], dict[str, int]]
    """What the desk and the sockets have counted."""


def explain_fault(error: ValidationError, where: str = "") -> str:
    """The first fault of an invalid message, as one line: `args.limit: Input should be less than or equal to 1000`."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ".".join(str(part)[:64] for part in (*([where] if where else ()), *fault["loc"][:6]))
    return f"{path or 'the message'}: {fault['msg']}"[:500]


def unreadable(op: str, error: ValidationError) -> Refusal:
    logger.warning("the service's answer to %s cannot be read: %s", op, explain_fault(error))
    return Refusal("internal", f"the node's answer to {op} cannot be read: {explain_fault(error)}")
