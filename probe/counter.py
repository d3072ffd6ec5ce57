"""What the desk hands to the modules that answer some of its verbs, and the list of those modules.

A module of verbs has `handlers(hands)`, which returns one function a verb:

    def handlers(hands: Hands) -> dict[str, Handler]:
        return {"budget": partial(_budget, hands)}

The verb's arguments and role stand in a module `wire_*.py`, whose table `wire.VERBS` takes in. A handler gets arguments
that have been read already, from a client whose role is enough; a command's goes to `hands.commands.submit`, which
checks the role itself and records what it refuses. What it raises as `Refusal` becomes an error reply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from observe.probe.asks import Answer, Asks
from observe.probe.commands import CommandGate
from observe.probe.keys import KeyHolder
from observe.probe.picture import Picture
from observe.probe.streams import Streams

Reply = Callable[[Answer], None]


@dataclass(slots=True)
class Client:
    """A connection that has said hello."""

    id: bytes
    holder: KeyHolder
    version: int
    seen_at: float


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
