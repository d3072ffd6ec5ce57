"""Hot reload, and what is loaded, as it crosses the wire. No input, no output. No code either: only what is on the node's disk is loaded."""

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


class CodeArgs(Asked):
    diff: str = Field(default="", max_length=256)
    """A module of which the difference is wanted as well."""


class ModuleLine(Told):
    """A module of the project that is loaded."""

    name: str
    file: str
    version: int
    """The number of the text that is loaded; 1 is the one that the service has started with."""
    lines: int
    state: str
    """`same`, `changed` (another text is on the disk) or `missing` (the file cannot be read)."""
    changed_at: float | None = None
    """Unix time at which the file was written, if it has changed."""
    added: int | None = None
    """Lines that the text on the disk has more; nil when not counted."""
    removed: int | None = None
    agents: int = 0
    """Live agents of its classes."""
    classes: dict[str, int] = Field(default_factory=dict)
    """Its classes of agents and how many live of each, those with most first; at most 100."""


class LoadedCode(Told):
    """What of the project is loaded, and what has changed on the disk since."""

    modules: list[ModuleLine]
    """Those that have changed first, then by name; at most 500."""
    total: int
    changed: int
    """How many have changed or are missing."""
    undoes: list[str] = Field(default_factory=list)
    """What a rollback would undo now: the modules of the newest reload."""
    undoable: int = 0
    """How many reloads can be undone, one after the other."""
    diff: list[str] = Field(default_factory=list)
    """Of the module asked for: lines of a unified diff, masked and cut."""


VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {
    "reload": ("admin", ReloadArgs),
    "code": ("viewer", CodeArgs),
}
