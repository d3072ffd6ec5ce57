"""In development: reloads modules when their files are saved.

Files are looked at in a thread: some dozens of `stat` calls. Where the library `watchfiles` is installed it says when that is
worth it (`hearing.py`); else they are looked at twice a second, which works on every file system.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from observe.runtime.errors import ReloadRefused
from observe.runtime.reload import hearing
from observe.runtime.reload import source as sources

if TYPE_CHECKING:
    from observe.runtime.node import Node

logger = logging.getLogger("observe.runtime")

LOOK_S: Final = 0.5
"""How often files are looked at when nobody tells what is saved."""

LOOK_ANYWAY_S: Final = 2.0
"""How often when the system tells: it does not know of all, as of network file systems and of what a link leads to."""


class Watching:
    """Of one node, from its start to its end."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._folders: frozenset[str] = frozenset()
        self._stamps: dict[str, tuple[int, int]] = {}
        self._task: asyncio.Task[None] | None = None
        self._hearing: hearing.Hearing | None = None

    def start(self) -> None:
        """Look from here on. On the node's loop."""
        library = hearing.library()
        if library is not None:
            self._hearing = hearing.Hearing(library)
        self._task = self._node.loop.create_task(self._run(), name="observe:watch")

    async def stop(self) -> None:
        """Look no more; a reload under way ends first or is undone."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        if self._hearing is not None:
            await self._hearing.close()
            self._hearing = None

    async def _run(self) -> None:
        await asyncio.to_thread(self._changed)  # how they are now is how they are loaded
        while True:
            await self._until_it_is_worth_it()
            names = await asyncio.to_thread(self._changed)
            if names:
                await self._reload(names)

    async def _until_it_is_worth_it(self) -> None:
        if self._hearing is None or self._hearing.is_deaf:
            await asyncio.sleep(LOOK_S)
            return
        self._hearing.listen(self._folders)
        await self._hearing.wait(LOOK_ANYWAY_S)

    def _changed(self) -> list[str]:
        """Modules whose files are others than at the look before, and hold another text than the one that is loaded."""
        sources.remember_all()
        found = []
        folders: set[str] = set()
        for module in sources.remembered():
            name = module.__name__
            try:
                file = sources.file_of(module)
                if file.parent.is_dir():
                    folders.add(str(file.parent))
                facts = file.stat()
                stamp = facts.st_mtime_ns, facts.st_size
                if self._stamps.get(name, stamp) != stamp and sources.read_source(module) != sources.text_of(
                    module
                ):
                    found.append(name)
            except (OSError, ReloadRefused):
                continue  # it is being saved, perhaps: the next look will tell
            self._stamps[name] = stamp
        self._folders = frozenset(folders)
        return found

    async def _reload(self, names: list[str]) -> None:
        try:
            done = await self._node.reloader.reload(names, by="watch")
        except ReloadRefused as error:
            logger.warning("%s not reloaded: %s", ", ".join(names), error)
        except Exception:
            logger.exception("%s not reloaded", ", ".join(names))
        else:
            what = ", ".join(f"{name} {number}" for name, number in done.versions.items())
            logger.warning("reloaded %s: %d agents, %d migrated", what, done.agents, done.migrated)
