"""What has become of approvals: the last of them, as facts alone, so that no agent and no value is kept alive by its past."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Outcome = Literal["granted", "refused", "expired", "given up"]

KEPT: Final = 200
"""Decisions that a node remembers: what a person wants to look up who comes to the desk. All of them are in the audit log."""

MOST_SAID: Final = 8
MOST_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True)
class Decided:
    """One activity that does not wait for a person any more."""

    number: int
    pid: int
    name: str | None
    class_name: str
    activity: str
    said: Mapping[str, Any]
    """Of what the activity was given: the plain values, cut."""
    ask: str
    policy: str
    outcome: Outcome
    """`expired`: nobody has answered in time; `given up`: its agent has ended, or was contained or cancelled."""
    is_allowed: bool
    by: str
    """Who has decided; empty where nobody has."""
    reason: str
    waited_s: float
    at: float
    """Unix time."""


class Past:
    """The newest decisions of one node."""

    def __init__(self) -> None:
        self._kept: deque[Decided] = deque(maxlen=KEPT)
        self.total = 0
        """Decisions since the node was started, those forgotten among them."""

    def newest(self, most: int) -> list[Decided]:
        """The last ones, the newest first."""
        return list(reversed(self._kept))[:most]

    def add(self, one: Decided) -> None:
        """Remember it, and forget the oldest when there are too many."""
        self.total += 1
        self._kept.append(one)


def plain(said: Mapping[str, Any]) -> dict[str, Any]:
    """What can be kept of the attributes of an activity without keeping anything else."""
    kept: dict[str, Any] = {}
    for name, value in said.items():
        if len(kept) == MOST_SAID:
            break
        if isinstance(value, str):
            kept[name] = value[:MOST_CHARACTERS]
        elif value is None or type(value) in (bool, int, float):
            kept[name] = value
    return kept
