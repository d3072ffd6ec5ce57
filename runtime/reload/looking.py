"""What of the project is loaded, and what of it is another on the disk by now. Nothing is run and nothing changed.

A look may be made in any thread. Texts are read again only where size or time of their file differ from the look before.
"""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from types import ModuleType
from typing import TYPE_CHECKING, Final, Literal

from observe.runtime.agent import Agent
from observe.runtime.errors import ReloadRefused
from observe.runtime.reload import source as sources
from observe.runtime.supervisor import Supervisor

if TYPE_CHECKING:
    from observe.runtime.node import Node

ModuleState = Literal["same", "changed", "missing"]

AT_ONCE: Final = 20_000
"""Agents counted in one go: a millisecond, after which other threads have a turn."""

MOST_COMPARED: Final = 20_000
"""Lines up to which what was added and removed is counted: to compare longer texts takes seconds."""


@dataclass(slots=True)
class ModuleFacts:
    """A module of the project."""

    name: str
    file: str
    version: int
    """The number of the text that is loaded: 1 as the service has started with it."""
    lines: int
    """Of that text."""
    state: ModuleState
    """`changed`: another text is on the disk; `missing`: its file cannot be read."""
    changed_at: float | None = None
    """Unix time at which the file was last written, where it is another text."""
    added: int | None = None
    """Lines by which the text on the disk has more; None when that was not counted."""
    removed: int | None = None
    classes: dict[str, int] = field(default_factory=dict)
    """Its classes of agents, by qualified name, and how many live of each; those with most first."""


@dataclass(slots=True)
class _Seen:
    """What the look before has found."""

    stamp: tuple[int, int]
    loaded: str
    facts: tuple[ModuleState, int | None, int | None]


class CodeLook:
    """Of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._seen: dict[str, _Seen] = {}

    def modules(self) -> list[ModuleFacts]:
        """All modules of the project that are loaded: those that have changed first, then by name. Reads files."""
        sources.remember_all()
        modules = sources.remembered()
        counts = self._living()
        found = [self._facts(module, counts) for module in modules]
        self._seen = {one.name: self._seen[one.name] for one in found if one.name in self._seen}
        return sorted(found, key=lambda one: (one.state == "same", one.name))

    def difference(self, name: str, most: int) -> list[str]:
        """Lines of a unified diff from what is loaded to what is on the disk. Reads a file.

        Raises:
            ReloadRefused: no such module is loaded, or its file cannot be read.
        """
        module = sources.module_of(name)
        before = sources.text_of(module)
        if before is None:
            raise ReloadRefused(f"the text of {name} is not known: it was loaded before anybody looked")
        old, new = f"{name} ({self._node.reloader.version(name)})", f"{name} (on disk)"
        lines = difflib.unified_diff(
            before.splitlines(), sources.read_source(module).splitlines(), old, new, lineterm=""
        )
        return list(islice(lines, most))

    def _living(self) -> Counter[type]:
        counts: Counter[type] = Counter()
        agents = list(self._node.agents.values())
        for start in range(0, len(agents), AT_ONCE):
            counts.update(map(type, agents[start : start + AT_ONCE]))
        return counts

    def _facts(self, module: ModuleType, counts: Counter[type]) -> ModuleFacts:
        name, loaded = module.__name__, sources.text_of(module) or ""
        made = ModuleFacts(
            name, str(module.__file__), self._node.reloader.version(name), loaded.count("\n"), "same"
        )
        made.classes = _classes(module, counts)
        try:
            facts = sources.file_of(module).stat()
            stamp = facts.st_mtime_ns, facts.st_size
            seen = self._seen.get(name)
            if seen is None or seen.stamp != stamp or seen.loaded is not loaded:
                seen = self._seen[name] = _Seen(stamp, loaded, _compared(loaded, sources.read_source(module)))
        except (OSError, ReloadRefused):
            made.state = "missing"
            return made
        made.state, made.added, made.removed = seen.facts
        if made.state == "changed":
            made.changed_at = facts.st_mtime
        return made


def _compared(before: str, now: str) -> tuple[ModuleState, int | None, int | None]:
    if before == now:
        return "same", None, None
    old, new = before.splitlines(), now.splitlines()
    if len(old) + len(new) > MOST_COMPARED:
        return "changed", None, None
    kinds = Counter(line[:1] for line in islice(difflib.unified_diff(old, new, lineterm="", n=0), 2, None))
    return "changed", kinds["+"], kinds["-"]


def _classes(module: ModuleType, counts: Counter[type]) -> dict[str, int]:
    found = {one.__qualname__: 0 for one in list(vars(module).values()) if _is_own(one, module.__name__)}
    for cls, count in counts.items():
        real = getattr(cls, "_o_stands_for", cls)  # of an agent in a worker process
        if _is_own(real, module.__name__):
            found[real.__qualname__] = found.get(real.__qualname__, 0) + count
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))


def _is_own(one: object, module: str) -> bool:
    return (
        isinstance(one, type)
        and issubclass(one, Agent)
        and not issubclass(one, Supervisor)
        and one.__module__ == module
    )
