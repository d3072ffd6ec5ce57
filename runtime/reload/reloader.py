"""Reloads modules of a running node: all or nothing.

```
 a thread                     the scheduler's thread
 read, compile, run beside
                              compare: what changes, or why there can be no reload
                              agents of the modules' classes take no further message; steps under way end on the old code
                              put the new content in place, migrate each agent, let all go on
                              whatever fails: everything as it was, and all go on
```

Other agents run meanwhile: migrating pauses every two milliseconds.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
import linecache
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.agent import EXITED, Agent
from observe.runtime.errors import ReloadRefused
from observe.runtime.holding import unpause
from observe.runtime.reload import source as sources
from observe.runtime.reload.borrowing import Lenders, borrowed
from observe.runtime.reload.comparing import Changes, Comparison
from observe.runtime.reload.concerned import Concerned
from observe.runtime.reload.holding import Held, doing
from observe.runtime.reload.journal import Journal
from observe.runtime.reload.loading import load_in_a_thread
from observe.runtime.supervisor import Supervisor
from observe.runtime.wording import counted

if TYPE_CHECKING:
    from observe.runtime.node import Node

TIMEOUT_S: Final = 5.0
"""How long steps under way may take to end before the reload is given up."""

SLICE_S: Final = 0.002
"""How long agents are migrated before others have a turn."""

LOOK_S: Final = 0.005
"""How often it is looked whether steps under way have ended."""

MAX_DIFF_LINES: Final = 500
KEEP: Final = 10
"""Reloads that can be undone, one after the other, the newest first."""


@dataclass(slots=True)
class Reloaded:
    """What a reload has done, would do, or has undone."""

    modules: list[str]
    versions: dict[str, int]
    """The number of each module's text from here on; a loaded one is 1."""
    agents: int
    """Live agents that it concerns."""
    classes: dict[str, int]
    """How many of each class."""
    changes: Changes
    diff: list[str]
    """Lines of a unified diff, where the text before is known."""
    migrated: int = 0
    """Agents whose class has a `migrate`."""
    paused_s: float = 0.0
    """For how long the agents took no messages."""
    dry_run: bool = False
    workers: int = 0
    """Worker processes that are up: they keep the code that they have loaded."""


@dataclass(slots=True)
class _Done:
    """A reload that can be undone."""

    modules: dict[str, ModuleType]
    before: dict[str, str | None]
    after: dict[str, str]
    journal: Journal
    classes: list[type]


class Reloader:
    """Of one node. On the scheduler's thread, except `remember`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._versions: dict[str, int] = {}
        self._done: list[_Done] = []
        self._is_busy = False

    def remember(self) -> None:
        """Note the texts of all project modules as they are loaded, so that a reload can tell what was changed. Call it
        early, before anybody edits a file. Any thread; some milliseconds."""
        sources.remember_all()

    def version(self, module: str) -> int:
        """The number of the module's text: 1 as it was loaded, one more with each reload."""
        return self._versions.get(module, 1)

    @property
    def undoable(self) -> list[list[str]]:
        """The modules of each reload that can be undone, one after the other, the newest last. Any thread."""
        return [list(done.modules) for done in list(self._done)]

    async def plan(self, names: Iterable[str]) -> Reloaded:
        """What a reload would do, and in `changes.refusals` why it would not. The new text runs; nothing is changed.

        Raises:
            ReloadRefused: it cannot even be loaded.
        """
        loaded, comparison = await self._load(list(names))
        made = self._told(loaded, comparison.changes)
        made.dry_run = True
        return made

    async def reload(
        self, names: Iterable[str], timeout_s: float = TIMEOUT_S, by: str = "the service"
    ) -> Reloaded:
        """Put what is on the disk in the place of what is loaded. `by`: who has ordered it, for the record; empty when whoever
        asks keeps one.

        Raises:
            ReloadRefused: it cannot be; the text says why, and everything is as it was.
        """
        names = list(names)
        try:
            told = await self._reload(names, timeout_s)
        except ReloadRefused as error:
            self._report(", ".join(names), "failed", str(error), by)
            raise
        self._report_done(told, by)
        return told

    async def _reload(self, names: list[str], timeout_s: float) -> Reloaded:
        with self._alone():
            loaded, comparison = await self._load(names)
            changes = comparison.changes
            if changes.refusals:
                raise ReloadRefused("; ".join(changes.refusals))
            told = self._told(loaded, changes)
            journal = Journal()
            modules = {one.module.__name__: one.module for one in loaded}
            names_elsewhere = await asyncio.to_thread(borrowed, modules)

            def change() -> None:
                lenders = Lenders(names_elsewhere)
                comparison.apply(journal, _project_modules())
                lenders.follow(journal)
                _refresh(changes.classes, journal)

            before = {one.module.__name__: one.before for one in loaded}
            after = {one.module.__name__: one.source for one in loaded}
            await self._exchange(told, modules, changes.classes, change, journal.undo, timeout_s)
            for name, text in after.items():
                sources.note_text(modules[name], text)
                self._versions[name] = told.versions[name]
            self._done.append(_Done(modules, before, after, journal, changes.classes))
            del self._done[:-KEEP]
            _forget_lines(modules.values())
            return told

    def _report_done(self, told: Reloaded, by: str) -> None:
        versions = ", ".join(f"{name} {number}" for name, number in told.versions.items())
        self._report(versions, "", f"{counted(told.agents, 'agent')}, {told.migrated:,} migrated", by)

    def _report(self, on: str, verdict: str, why: str, by: str) -> None:
        if by and self._node.instruments.on_governed:
            from observe.runtime.governed import report  # most nodes reload nothing

            report(self._node, None, "reload", on, verdict, why, by)

    async def rollback(
        self, names: Iterable[str] = (), timeout_s: float = TIMEOUT_S, by: str = "the service"
    ) -> Reloaded:
        """Undo the newest reload: its code is as it was before, to the last object. `names`: must be those of it.

        Raises:
            ReloadRefused: there is none, or it cannot be undone now.
        """
        told = await self._rollback(names, timeout_s)
        self._report_done(told, by)
        return told

    async def _rollback(self, names: Iterable[str], timeout_s: float) -> Reloaded:
        with self._alone():
            if not self._done:
                raise ReloadRefused("nothing was reloaded that could be undone")
            done, wanted = self._done[-1], set(names)
            if wanted and wanted != set(done.modules):
                raise ReloadRefused(f"the newest reload was of {', '.join(done.modules)}: undo that first")
            versions = {name: self.version(name) - 1 for name in done.modules}
            counts = self._count(done.classes)
            told = Reloaded(list(done.modules), versions, sum(counts.values()), counts, Changes(), [])
            await self._exchange(
                told, done.modules, done.classes, done.journal.undo, done.journal.redo, timeout_s
            )
            self._done.pop()
            for name, text in done.before.items():
                self._versions[name] = versions[name]
                sources.note_text(done.modules[name], text)
            _forget_lines(done.modules.values())
            return told

    # -- loading --------------------------------------------------------------------------------------------------------

    def _alone(self) -> _Busy:
        if self._is_busy:
            raise ReloadRefused("another reload is under way")
        return _Busy(self)

    async def _load(self, names: list[str]) -> tuple[list[sources.Loaded], Comparison]:
        if not names:
            raise ReloadRefused("no module was named")
        modules = [sources.module_of(name) for name in dict.fromkeys(names)]

        def load() -> list[sources.Loaded]:
            wanted = {module.__name__: sources.read_source(module) for module in modules}
            return sources.load_beside(wanted)

        loaded = await load_in_a_thread(load, [str(module.__file__) for module in modules])
        comparison = Comparison(loaded)
        changes = comparison.changes
        for gone in changes.gone:
            count = sum(self._count([gone]).values())
            if count:
                changes.refusals.append(f"{gone.__qualname__} is gone, and {count} agents of it live")
        concerned = Concerned(changes.classes)
        away = sum(
            one._o_away is not None and concerned.has_class(one._o_child.spec.agent)
            for one in (list(self._node.agents.values()) if self._node.workers() else ())
        )
        if away:
            changes.refusals.append(
                f"{away} of the agents run in processes of their own, which load their code when they start: restart them"
            )
        return loaded, comparison

    def _told(self, loaded: list[sources.Loaded], changes: Changes) -> Reloaded:
        names = [one.module.__name__ for one in loaded]
        diff: list[str] = []
        for one in loaded:
            if one.before is not None:
                name = one.module.__name__
                lines = one.before.splitlines(), one.source.splitlines()
                old, new = f"{name} ({self.version(name)})", f"{name} (on disk)"
                diff += difflib.unified_diff(*lines, old, new, lineterm="")
        counts = self._count(changes.classes)
        versions = {name: self.version(name) + 1 for name in names}
        made = Reloaded(names, versions, sum(counts.values()), counts, changes, diff[:MAX_DIFF_LINES])
        made.workers = len(self._node.workers())
        return made

    def _count(self, classes: list[type]) -> dict[str, int]:
        concerned = Concerned(classes)
        living = Counter(map(type, list(self._node.agents.values())))
        counts: dict[str, int] = {}
        for cls, count in living.items():
            if not issubclass(cls, Supervisor) and concerned.has_class(cls):
                counts[cls.__qualname__] = counts.get(cls.__qualname__, 0) + count
        return counts

    # -- the exchange ---------------------------------------------------------------------------------------------------

    async def _exchange(
        self,
        told: Reloaded,
        modules: dict[str, ModuleType],
        classes: list[type],
        change: Any,
        undo: Any,
        timeout_s: float,
    ) -> None:
        held = Held(Concerned(classes))
        began = time.monotonic()
        self._node.instruments.add(held)
        try:
            await self._hold(held, timeout_s)
            try:
                change()
            except Exception as error:
                undo()
                raise ReloadRefused(f"the new code could not be put in place: {_text(error)}") from error
            old_versions = {name: self.version(name) for name in modules}
            states: list[tuple[Agent, dict[str, Any]]] = []
            try:
                await self._migrate(held, old_versions, states)
            except BaseException:
                undo()
                for agent, state in states:
                    _put_state(agent, state)
                raise
            told.migrated = len(states)
        finally:
            self._node.instruments.remove(held)
            told.paused_s = time.monotonic() - began
            await self._release(held)
        for hook in self._node.instruments.on_reload:
            hook(told, list(held.agents.values()))

    async def _hold(self, held: Held, timeout_s: float) -> None:
        until = time.monotonic() + timeout_s
        turn = time.monotonic() + SLICE_S
        if not held.concerned:
            return
        for agent in list(self._node.agents.values()):
            held.take(agent)
            if time.monotonic() > turn:
                await asyncio.sleep(0)
                turn = time.monotonic() + SLICE_S
        while not held.look():
            if time.monotonic() > until:
                one = held.waiting[0]
                more = f" and {len(held.waiting) - 1} more" if len(held.waiting) > 1 else ""
                raise ReloadRefused(
                    f"the step of {one._o_text()}{more} did not end within {timeout_s:g} s, so there was no safe moment: "
                    f"{doing(one)}"
                )
            await asyncio.sleep(LOOK_S)

    async def _migrate(
        self, held: Held, versions: dict[str, int], states: list[tuple[Agent, dict[str, Any]]]
    ) -> None:
        turn = time.monotonic() + SLICE_S
        for agent in list(held.agents.values()):
            migrate = getattr(agent, "migrate", None)
            if migrate is None or agent._o_status == EXITED:
                continue
            version = versions.get(type(agent).__module__)
            if version is None:  # a subclass of another module
                version = next(
                    (
                        versions[base.__module__]
                        for base in type(agent).__mro__
                        if base.__module__ in versions
                    ),
                    1,
                )
            before = dict(vars(agent))
            try:
                state = migrate(version, dict(before))
                if not isinstance(state, dict):
                    raise TypeError(
                        f"migrate() must return the new state, a dict, and returned {type(state).__name__}"
                    )
            except Exception as error:
                raise ReloadRefused(f"{agent._o_text()} could not be migrated: {_text(error)}") from error
            states.append((agent, before))
            _put_state(agent, state)
            if time.monotonic() > turn:
                await asyncio.sleep(0)
                turn = time.monotonic() + SLICE_S

    async def _release(self, held: Held) -> None:
        turn = time.monotonic() + SLICE_S
        left = iter(list(held.agents.values()))
        try:
            for agent in left:
                unpause(agent)
                if time.monotonic() > turn:
                    await asyncio.sleep(0)
                    turn = time.monotonic() + SLICE_S
        finally:
            for agent in left:  # whoever waits for this reload has gone: nobody may stay behind
                unpause(agent)


class _Busy:
    def __init__(self, reloader: Reloader) -> None:
        self._reloader = reloader

    def __enter__(self) -> None:
        self._reloader._is_busy = True

    def __exit__(self, *_: object) -> None:
        self._reloader._is_busy = False


def _put_state(agent: Agent, state: dict[str, Any]) -> None:
    own = vars(agent)
    own.clear()
    own.update(state)


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _project_modules() -> list[ModuleType]:
    return [
        module for module in list(sys.modules.values()) if isinstance(getattr(module, "__file__", None), str)
    ]


def _refresh(classes: Iterable[type], journal: Journal) -> None:
    """What a class of agents notes of itself when it is made, for all that inherit from a changed one as well."""
    seen: set[type] = set()
    todo = [cls for cls in classes if issubclass(cls, Agent)]
    while todo:
        cls = todo.pop()
        if cls in seen:
            continue
        seen.add(cls)
        todo += cls.__subclasses__()
        if inspect.isasyncgenfunction(cls.handle) or inspect.isgeneratorfunction(cls.handle):
            raise TypeError(f"{cls.__name__}.handle must not use yield")
        journal.attribute(cls, "_o_async", inspect.iscoroutinefunction(cls.handle))
        journal.attribute(cls, "_o_has_terminate", cls.terminate is not Agent.terminate)


def _forget_lines(modules: Iterable[ModuleType]) -> None:
    for module in modules:
        with suppress(Exception):
            linecache.checkcache(module.__file__)
