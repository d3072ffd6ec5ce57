"""Dead letters: messages that reached nobody, from whom, for whom and why."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from observe.runtime.clock import wall_s
from observe.runtime.scheduler import current_agent

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.exits import ExitReason

DEAD_LETTERS_KEPT: Final = 1000

Why = Literal["ended", "no such name", "mailbox full", "refused", "dropped", "given up"]
"""Why a message reached nobody: its addressee has ended; nobody has the name; the mailbox was full; the addressee's or a policy's bounds
refused it; an operator dropped it; somebody gave it up where it was parked."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that reached nobody."""

    at: float
    """Unix time."""
    target: str
    message: Any
    number: int = 0
    """Counts the dead letters of a node from 1."""
    why: Why = "ended"
    detail: str = ""
    """The exit reason of whoever has ended."""
    target_pid: int = 0
    """0: a name that nobody has."""
    target_name: str = ""
    sender_pid: int = 0
    """The agent in whose step it was sent; 0: not known, as of messages that had waited in a mailbox."""
    sender: str = ""
    sent_to: str = ""
    """To whom it was sent again."""


class DeadLetters:
    """The newest dead letters of a node. Belongs to the scheduler's thread."""

    def __init__(self) -> None:
        self.newest: deque[DeadLetter] = deque(maxlen=DEAD_LETTERS_KEPT)
        self.count = 0
        """Dead letters since the start, kept or not."""

    def __iter__(self) -> Iterator[DeadLetter]:
        return iter(self.newest)

    def __len__(self) -> int:
        return len(self.newest)

    def add(
        self, target: Agent | str, message: Any, reason: ExitReason | None, why: Why | None, *, waited: bool
    ) -> None:
        """Keep a message; the oldest makes room for it. `waited`: it was sent before now, whoever's step this is."""
        self.count += 1
        sender = None if waited else current_agent()
        pid, name = 0, target
        if not isinstance(target, str):
            pid, name = target._o_pid, target._o_child.name or ""
        assert isinstance(name, str)
        self.newest.append(
            DeadLetter(
                wall_s(),
                target if isinstance(target, str) else target._o_text(),
                message,
                self.count,
                why or ("no such name" if not pid else "ended"),
                "" if reason is None else str(reason),
                pid,
                name,
                0 if sender is None else sender._o_pid,
                "" if sender is None else sender._o_text(),
            )
        )

    def find(self, number: int) -> DeadLetter | None:
        """The one with this number, while it is kept."""
        place = self._place(number)
        return self.newest[place] if place is not None else None

    def sent_again(self, number: int, to: str) -> None:
        """Note that somebody has it after all."""
        place = self._place(number)
        if place is not None:
            self.newest[place] = replace(self.newest[place], sent_to=to)

    def _place(self, number: int) -> int | None:
        place = len(self.newest) - 1 - (self.count - number)
        return place if 0 <= place < len(self.newest) else None
