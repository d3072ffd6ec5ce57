"""What a child spec may ask for beyond OTP's, and what a place under a supervisor remembers because of it.

An agent whose spec asks for none of it has no plan, no past and no care, and pays nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from observe.runtime.errors import BadChildSpec

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.budget import Budget
    from observe.runtime.ladder import Failure, Ladder, Rung
    from observe.runtime.stores import Record

InHand = Literal["retry", "drop", "park"]


@dataclass(frozen=True, slots=True)
class Every:
    """A checkpoint `seconds` after the first change since the last one. Made by `every`."""

    seconds: float

    def __str__(self) -> str:
        return f"every {self.seconds:g} s"


def every(seconds: float) -> Every:
    """A checkpoint policy: what has changed is saved `seconds` later at the latest, between two messages.

    Raises:
        BadChildSpec: not more than 0 seconds.
    """
    if not seconds > 0:
        raise BadChildSpec(f"every() needs more than 0 seconds, not {seconds!r}")
    return Every(seconds)


Policy = Literal["each_message", "each_step"] | Every
"""When checkpoints are taken without being asked for."""


class Plan:
    """The part of a child spec that most have not.

    Raises:
        BadChildSpec: the parts contradict each other.
    """

    __slots__ = ("budget", "checkpoint", "in_hand", "ladder", "restore")

    def __init__(
        self,
        agent: type[Agent],
        restart: str,
        checkpoint: Policy | None,
        restore: bool,
        in_hand: InHand,
        ladder: Ladder | None,
        budget: Budget | None,
    ) -> None:
        if (
            checkpoint is not None
            and checkpoint not in ("each_message", "each_step")
            and type(checkpoint) is not Every
        ):
            raise BadChildSpec(
                f"checkpoint must be 'each_message', 'each_step' or every(seconds), not {checkpoint!r}"
            )
        if in_hand not in get_args(InHand):
            raise BadChildSpec(f"in_hand must be one of {', '.join(get_args(InHand))}, not {in_hand!r}")
        if ladder is not None and restart == "temporary":
            raise BadChildSpec("a ladder is about restarts, and a temporary child has none")
        if agent._o_system and (checkpoint is not None or restore or ladder is not None or in_hand != "drop"):
            raise BadChildSpec(
                f"{agent.__name__} is a supervisor: its state is its children. Checkpoints and ladders are declared "
                "in their specs, a budget may be declared here"
            )
        self.checkpoint = checkpoint
        self.restore = restore
        self.in_hand: InHand = in_hand
        self.ladder = ladder
        self.budget = budget

    @property
    def saves(self) -> bool:
        """Whether there may be something of the agent in the store."""
        return self.restore or self.checkpoint is not None or self.ladder is not None

    @property
    def keeps_message(self) -> bool:
        """Whether the message in hand matters when the agent ends."""
        return self.in_hand != "drop" or self.ladder is not None


class Past:
    """What a place remembers of those who were in it. Only places whose spec has a plan have one."""

    __slots__ = (
        "failed_ns",
        "failure",
        "failures",
        "has_message",
        "is_fresh",
        "is_parked",
        "is_told",
        "lived",
        "message",
        "record",
        "restores",
        "rung",
    )

    def __init__(self) -> None:
        self.failures = 0
        """Failures in a row, since a message was handled."""
        self.failed_ns = 0
        self.failure: Failure | None = None
        """The latest."""
        self.rung: Rung | None = None
        """The latest that was taken."""
        self.message: Any = None
        """The message that was in hand when the last one ended, to be handled again."""
        self.has_message = False
        self.restores = False
        """The next one comes back from its checkpoint, whatever the spec says."""
        self.is_fresh = False
        """The next one begins with `init`, whatever the spec says."""
        self.is_told = False
        """The next one's `on_retry` runs."""
        self.is_parked = False
        """Nobody comes back until somebody says so."""
        self.lived = False
        """An agent of this process has been in the place: the message that its record has in hand is of no
        interest any more."""
        self.record: Record | None = None
        """What the supervisor has read already for the next one to come."""

    def begin_anew(self) -> None:
        """A message was handled, or the last failure is long ago."""
        self.failures = 0
        self.restores = self.is_told = self.is_parked = False
        self.failure = self.rung = None

    def take_message(self) -> Any:
        """The message to be handled again, once."""
        message, self.message, self.has_message = self.message, None, False
        return message
