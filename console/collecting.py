"""Python's garbage collector, kept from stopping the console under a person's hands.

A full collection looks at every object of the program: 60 to 250 ms with Textual's, every few seconds while a busy table is
on the screen, and a key that comes meanwhile waits. What there is once the first picture is shown stays for as long as the
console: it is set aside (`gc.freeze`), collections look at what came later alone, and they are made at moments of our own.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Iterator
from typing import Final

SETTLE_S: Final = 1.0
"""After the first picture: the other caches that a screen needs fill meanwhile."""

EVERY_S: Final = 2.0
"""Between two collections of what is young: a millisecond."""

FULL_EVERY: Final = 30
"""Every so-manieth of them is a full one: some milliseconds, once a minute."""

THRESHOLDS: Final = (20_000, 50, 1000)
"""What still sets off a collection by itself: a flood of objects between two of ours."""


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Everything as it was before, behind the block."""
    thresholds = gc.get_threshold()
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


async def collect_at_leisure(first_picture: asyncio.Event) -> None:
    """Take the collector over once there is a picture; until cancelled."""
    await first_picture.wait()
    await asyncio.sleep(SETTLE_S)
    with restored():
        gc.collect()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
        number = 0
        while True:
            await asyncio.sleep(EVERY_S)
            number += 1
            gc.collect(2 if number % FULL_EVERY == 0 else 1)
