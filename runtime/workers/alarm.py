"""Findings of a worker's watchdog on a way of their own: they come while the worker's loop is held, not when it is free again.

worker: watchdog's thread --datagrams--> node's process: its loop, or nobody while that is held as well
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import socket
from collections.abc import Callable
from typing import Final

logger = logging.getLogger("observe.runtime")

FINDING_BYTES: Final = 200_000
"""One datagram. A finding with a hundred frames has some 15 kB."""

AT_ONCE: Final = 50
"""Datagrams read in one go; further ones wait for the next turn of the loop."""


class Alarm:
    """The node's end. Belongs to the thread of its loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_finding: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._on_finding = on_finding
        self._near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        """The end that the worker gets is closed here as soon as it has it."""
        self._near.setblocking(False)
        loop.add_reader(self._near, self._read)

    def _read(self) -> None:
        for _ in range(AT_ONCE):
            try:
                data = self._near.recv(FINDING_BYTES)
            except OSError:  # no more for now
                return
            try:
                self._on_finding(data)
            except Exception:  # the edge of the process
                logger.exception("a finding of a worker could not be used")

    def close(self) -> None:
        """Take what is there, and let go. Doing so twice has no effect."""
        if self._near.fileno() < 0:
            return
        self._read()
        if not self._loop.is_closed():
            self._loop.remove_reader(self._near)
        self._near.close()
        self.far.close()


def raise_alarm(far: socket.socket, finding: object) -> bool:
    """Send a finding, from any thread of the worker. False when there is no room, or nobody."""
    try:
        far.send(pickle.dumps(finding), socket.MSG_DONTWAIT)
    except OSError:
        return False
    return True
