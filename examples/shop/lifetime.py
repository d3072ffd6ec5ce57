"""How the demo's processes end: when they are told to, and when whoever started them is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def until_told(until_stdin_closes: bool) -> None:
    """Return at SIGINT, SIGTERM or SIGHUP, and if asked for when stdin is closed at its other end.

    A parent holds the other end of that pipe and never writes. However it ends, the operating system closes it: so
    nothing outlives a parent that was killed.
    """
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in SIGNALS:
        loop.add_signal_handler(number, told.set)
    if until_stdin_closes:
        threading.Thread(target=_drain_stdin, args=(loop, told), name="stdin", daemon=True).start()
    try:
        await told.wait()
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


def _drain_stdin(loop: asyncio.AbstractEventLoop, told: asyncio.Event) -> None:
    with contextlib.suppress(OSError):
        # The descriptor itself: the interpreter's own reader would be locked by this thread at exit.
        while os.read(sys.stdin.fileno(), 4096):
            pass
    with contextlib.suppress(RuntimeError):  # the loop has ended for another reason
        loop.call_soon_threadsafe(told.set)
