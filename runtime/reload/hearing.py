"""Hears from the operating system that something in a folder was saved, by `watchfiles` where that is installed.

It only says when to look: which texts are others than those that are loaded is for whoever looks. So what an editor does to
save (write, rename, write again) does not matter, nor what the system does not tell.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Collection
from types import ModuleType
from typing import Any, Final

logger = logging.getLogger("observe.runtime")

STEP_MS: Final = 100
"""For how long nothing more may happen before a save counts as over. The library looks up as often, also for our stop."""

MOST_MS: Final = 500
"""After this long a save counts as over anyway."""


def library() -> ModuleType | None:
    """`watchfiles`, or None: `pip install observe-agents[watch]`."""
    try:
        import watchfiles  # an extra: the runtime itself needs nothing
    except ImportError:
        return None
    return watchfiles


def _is_a_module(_change: object, path: str) -> bool:
    return path.endswith(".py")  # a service may write its data beside its code


class Hearing:
    """Of one node, on its loop: a thread that waits for the system."""

    def __init__(self, watchfiles: Any) -> None:
        self._watchfiles = watchfiles
        self._loop = asyncio.get_running_loop()
        self._folders: frozenset[str] = frozenset()
        self._threads: dict[threading.Thread, threading.Event] = {}
        self._news = asyncio.Event()
        self.is_deaf = False
        """The system will tell nothing: it has no more watches to give, say."""

    def listen(self, folders: Collection[str]) -> None:
        """From here on to these folders, without those below them. Costs nothing while they are the same."""
        wanted = frozenset(folders)
        if wanted == self._folders or self.is_deaf:
            return
        self._folders = wanted
        self._end()
        if wanted:
            stop = threading.Event()
            thread = threading.Thread(
                target=self._hear, args=(sorted(wanted), stop), name="observe:hear", daemon=True
            )
            self._threads[thread] = stop
            thread.start()

    async def wait(self, most_s: float) -> None:
        """Until something was saved, or nothing will be heard any more; for `most_s` at most."""
        try:
            async with asyncio.timeout(most_s):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()

    async def close(self) -> None:
        """Hear no more, and leave no thread behind."""
        self._end()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _end(self) -> None:
        self._threads = {thread: stop for thread, stop in self._threads.items() if thread.is_alive()}
        for stop in self._threads.values():
            stop.set()

    def _hear(self, folders: list[str], stop: threading.Event) -> None:
        try:
            for _ in self._watchfiles.watch(
                *folders,
                watch_filter=_is_a_module,
                debounce=MOST_MS,
                step=STEP_MS,
                stop_event=stop,
                rust_timeout=0,
                recursive=False,
                ignore_permission_denied=True,
            ):
                self._tell(self._news.set)
        except Exception as error:  # a stranger's library: without it we look by ourselves
            self._tell(self._give_up, error)

    def _tell(self, what: Any, *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *args)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    def _give_up(self, error: Exception) -> None:
        if not self.is_deaf:
            self.is_deaf = True
            logger.warning(
                "the system does not tell what is saved, so the files are looked at more often: %s: %s",
                type(error).__name__, error,
            )  # fmt: skip
        self._news.set()
