"""What a check sees, and what a check is: shared by the modules of checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from observe.probe.picture import Picture

SHOWN_PIDS: Final = 50
"""Agents that a filter names one by one."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a check sees at this moment."""

    text: str
    count: int = 1
    pid: int = 0
    filter: str = ""
    cause: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)
    advice: str = ""
    """In the place of the check's, where that would be wrong."""
    pids: frozenset[int] = frozenset()
    """The agents concerned, as far as they are followed: by which one finding is told to follow from another."""
    about: frozenset[str] = frozenset()
    """Names and classes of the agents concerned, where pids cannot say it: those of before a restart are gone."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what it looks for, for how long that must have lasted, and what to do about it."""

    name: str
    look: Callable[[Picture, float], Condition | None]
    """Given the picture and monotonic seconds."""
    lasting_s: float
    advice: str
    quiet: bool = False
    """Makes no events: the service tells them itself."""


def agents(count: int) -> str:
    """`1 agent`, `1,204 agents`."""
    return "1 agent" if count == 1 else f"{count:,} agents"


def worst_pids(pids: Iterable[int]) -> str:
    """A filter that shows these agents, the first of them at most."""
    return f"pid={','.join(map(str, islice(pids, SHOWN_PIDS)))}"
