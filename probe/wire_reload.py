"""Hot reload as it crosses the wire. No input, no output. No code either: only what is on the node's disk is loaded."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from observe.probe.wire_base import Asked, Command, Role, Told

MAX_MODULES: Final = 50


class ReloadArgs(Command):
    modules: list[Annotated[str, Field(min_length=1, max_length=256)]] = Field(
        default_factory=list, max_length=MAX_MODULES
    )
    """As in `import shop.orders`. With `rollback` empty, or those of the newest reload."""
    dry_run: bool = False
    """Only load and compare, and tell."""
    rollback: bool = False
    """Undo the newest reload."""
    timeout_s: float = Field(default=3.0, gt=0.0, le=5.0)
    """How long steps under way may take to end, before it is given up."""


class ReloadDone(Told):
    """What a reload has done, would do, or has undone."""

    done: bool
    what: str
    """One line for people."""
    modules: list[str]
    """In the order in which they were loaded."""
    versions: dict[str, int]
    """The number of each module's text from here on; 1 is the one that the service has started with."""
    agents: int
    """Live agents that it concerns."""
    classes: dict[str, int]
    """How many of each class."""
    migrated: int = 0
    """Agents whose class has a `migrate`."""
    paused_s: float = 0.0
    """For how long they took no messages."""
    took_s: float = 0.0
    dry_run: bool = False
    added: list[str] = Field(default_factory=list)
    changed: list[str] = Field(default_factory=list)
    removed: list[str] = Field(default_factory=list)
    kept: list[str] = Field(default_factory=list)
    """Values that stay as they are, because their assignment is as before."""
    refusals: list[str] = Field(default_factory=list)
    """Of a dry run: why there can be no reload."""
    diff: list[str] = Field(default_factory=list)
    """Lines of a unified diff, masked and cut, of the modules whose text before is known."""


VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {"reload": ("admin", ReloadArgs)}
