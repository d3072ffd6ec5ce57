"""In development: reloads modules when their files are saved.

Files are looked at twice a second, in a thread: some dozens of `stat` calls. That needs no library, works on every file
system, and a person who has just saved looks up later than that.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from observe.runtime.errors import ReloadRefused
from observe.runtime.reload import source as sources

if TYPE_CHECKING:
    from observe.runtime.node import Node

logger = logging.getLogger("observe.runtime")

LOOK_S: Final = 0.5


class Watching:
    """Of one node, from its start to its end."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._stamps: dict[str, tuple[int, int]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from here on. On the node's loop."""
        self._task = self._node.loop.create_task(self._run(), name="observe:watch")

    async def stop(self) -> None:
        """Look no more; a reload under way ends first or is undone."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self) -> None:
        await asyncio.to_thread(self._changed)  # how they are now is how they are loaded
        while True:
            await asyncio.sleep(LOOK_S)
            names = await asyncio.to_thread(self._changed)
            if names:
                await self._reload(names)

    def _changed(self) -> list[str]:
        """Modules whose files are others than at the look before, and hold another text than the one that is loaded."""
        sources.remember_all()
        found = []
        for module in sources.remembered():
            name = module.__name__
            try:
                facts = sources.file_of(module).stat()
                stamp = facts.st_mtime_ns, facts.st_size
                if self._stamps.get(name, stamp) != stamp and sources.read_source(module) != sources.text_of(
                    module
                ):
                    found.append(name)
            except (OSError, ReloadRefused):
                continue  # it is being saved, perhaps: the next look will tell
            self._stamps[name] = stamp
        return found

    async def _reload(self, names: list[str]) -> None:
        try:
            done = await self._node.reloader.reload(names)
        except ReloadRefused as error:
            logger.warning("%s not reloaded: %s", ", ".join(names), error)
        except Exception:
            logger.exception("%s not reloaded", ", ".join(names))
        else:
            what = ", ".join(f"{name} {number}" for name, number in done.versions.items())
            logger.warning("reloaded %s: %d agents, %d migrated", what, done.agents, done.migrated)
