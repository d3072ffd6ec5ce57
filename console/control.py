"""Looking and acting: a console only looks until a person takes control, for a while, if key and options allow it. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from observe.console.columns import Piece
from observe.console.format import duration
from observe.console.keys import Action, permitted

NOT_YET = "not attached yet: what your key allows is known in a moment"

CONTROL_S = 900.0
"""Seconds for which control is taken: long enough to act on what was found, too short to be left open overnight."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Control that a person has taken."""

    reason: str
    """Goes along with each command."""

    until: float
    """By this machine's clock."""


class Hand(Protocol):
    """What the person at a console may do now, on one node or on several."""

    readonly: bool
    """Chosen at the start, for good."""

    control: Taken | None
    """None: this console only looks, whatever its key allows."""

    clock: Callable[[], float]
    """This machine's clock."""

    @property
    def role(self) -> str:
        """What the key allows; of several nodes the best, and each of them decides for itself. Empty before we are attached."""
        ...

    @property
    def only_looks(self) -> bool:
        """Whether nothing may be changed from here at the moment."""
        return self.readonly or self.control is None or self.clock() >= self.control.until

    @property
    def barred(self) -> str:
        """Why nothing may be changed from here at the moment, whatever the role; empty when something may."""
        if self.readonly:
            return "attached read-only: leave out --read-only to act"
        return "view mode: W takes control first" if self.only_looks else ""

    @property
    def mode(self) -> Piece:
        """How we are attached, for the header."""
        if self.readonly:
            return ("read-only", "dim")
        if self.control is None or self.only_looks:
            return (f"{self.role}, view" if self.role else "view", "dim")
        return (f"CONTROL {duration(self.control.until - self.clock())}", "warn")

    def why_not(self, action: Action, doing: str = "this", role: str = "") -> str:
        """Why an action may not be done now; empty when it may. `doing` is what to call it; `role` is held where it is done,
        when that is one of several nodes."""
        role = role or self.role
        if not role and not self.readonly:
            return NOT_YET
        if not self.readonly and not permitted(action, role, readonly=False):
            return f"your key has the role {role}; {doing} takes {action.role}"
        return "" if permitted(action, role, readonly=self.only_looks) else self.barred
