"""Dead letters as they cross the wire. No input, no output."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from observe.probe.wire_base import AgentArgument, Asked, Command, Pid, Role, Told

MAX_LETTERS: Final = 500
"""The most in one answer."""


class DeadLettersArgs(Asked):
    limit: int = Field(default=100, ge=0, le=MAX_LETTERS)
    text: str = Field(default="", max_length=256)
    """In whom it was for, who sent it, what it says or its type, whatever the case."""
    why: str = Field(default="", max_length=64)
    """Only those that reached nobody for this reason."""
    letter: int | None = Field(default=None, ge=1, lt=2**53)
    """Only this one, in full."""


class ResendArgs(Command):
    letter: int = Field(ge=1, lt=2**53)
    to: AgentArgument | None = None
    """None: whoever has its addressee's name now, else the addressee while it lives."""


class DeadLetterLine(Told):
    """A message that reached nobody."""

    number: int
    at: float
    target: str
    """For whom it was: `Session 12 (session-7)`, or a name that nobody has."""
    target_pid: Pid = 0
    sender: str = ""
    """In whose step it was sent; empty: not known, as of messages that had waited in a mailbox."""
    sender_pid: Pid = 0
    why: str
    """`ended`, `no such name`, `mailbox full`, `refused`, `dropped` or `given up`."""
    detail: str = ""
    """The exit reason of whoever has ended."""
    type: str = ""
    text: str = ""
    """The message on one line, masked."""
    heir: str = ""
    """Who would have it if it was sent again now; empty: nobody."""
    heir_pid: Pid = 0
    sent_to: str = ""
    """To whom it was sent again."""
    message: dict[str, Any] | None = None
    """A **value**: in full, of the one that was asked for."""


class LetterCount(Told):
    """How many of those that are kept have something in common."""

    key: str
    count: int
    newest: float


class DeadLetterPage(Told):
    """The result of `dead_letters`."""

    letters: list[DeadLetterLine]
    """The newest first."""
    matched: int
    kept: int
    """How many the node still has; it keeps the newest 1,000."""
    total: int
    """Since the start."""
    in_a_minute: int
    """Of those that are kept."""
    by_why: list[LetterCount] = Field(default_factory=list)
    """The most first, whatever the filter; as are those below."""
    by_target: list[LetterCount] = Field(default_factory=list)
    """Twenty at most."""
    by_sender: list[LetterCount] = Field(default_factory=list)


VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {
    "dead_letters": ("viewer", DeadLettersArgs),
    "resend": ("operator", ResendArgs),
}
