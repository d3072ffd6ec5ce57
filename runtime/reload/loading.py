"""Runs the top level of new texts in a thread of its own, which nobody has to wait for.

A text may take for ever (`while True:` at its top level), and a thread cannot be stopped. So whoever asked is told after
`LOAD_S`, and the thread goes on for as long as it takes to import a large library, so that the next try finds that loaded.
After `END_S` it is ended at its next bytecode. It holds neither the node nor the end of the process up.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from observe.runtime.errors import ReloadRefused

T = TypeVar("T")

LOAD_S: Final = 4.0
"""How long a reload waits for its modules to be loaded. Whoever asks from elsewhere waits longer than that and for the
steps under way, so that there is an answer."""

END_S: Final = 30.0
"""How long a text may run."""


class _Ended(BaseException):
    """Ends a text that runs for too long. No `except Exception` in it catches this."""


async def load_in_a_thread(load: Callable[[], T], files: Sequence[str]) -> T:
    """What `load` returns. `files`: those that it loads, to tell where it is when it takes too long.

    Raises:
        ReloadRefused: it did not come to its end in time. And whatever `load` raises.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(put: Callable[[Any], None], what: Any) -> None:
        if not done.done():
            put(what)

    def run() -> None:
        said: tuple[Callable[[Any], None], Any]
        try:
            said = done.set_result, load()
        except BaseException as error:  # strangers' code: it is told to whoever waits
            said = done.set_exception, error
        try:
            loop.call_soon_threadsafe(tell, *said)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    thread = threading.Thread(target=run, name="observe:load", daemon=True)
    thread.start()
    try:
        async with asyncio.timeout(LOAD_S):
            return await done
    except TimeoutError:
        where = _place(thread, files)
        loop.call_later(END_S - LOAD_S, _end, thread)
        raise ReloadRefused(
            f"it was not loaded within {LOAD_S:g} s: the new text runs and has not come to its end{where}"
        ) from None


def _place(thread: threading.Thread, files: Sequence[str]) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if frame.f_code.co_filename in files:
            return f" ({Path(frame.f_code.co_filename).name}, line {frame.f_lineno})"
        frame = frame.f_back
    return ""


def _end(thread: threading.Thread) -> None:
    if thread.is_alive() and thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Ended))
