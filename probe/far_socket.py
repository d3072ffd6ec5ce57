"""Where worker processes tell the probe of their agents: a Unix datagram socket in the node's directory."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FRAME_BYTES: Final = 1 << 20
"""The largest frame that is read; workers send some 40 kB at a time."""


class FarSocket:
    """The receiving end. Nothing is bound where the path is empty."""

    def __init__(self, path: str) -> None:
        """
        Raises:
            OSError: the path cannot be bound.
        """
        self._path = path
        self._socket: socket.socket | None = None
        if path:
            Path(path).unlink(missing_ok=True)  # of a probe before this one
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._socket.bind(path)  # in a directory of mode 0700

    def fileno(self) -> int:
        """To wait for; -1 where nothing is bound."""
        return self._socket.fileno() if self._socket is not None else -1

    def frames(self, most: int) -> Iterator[bytes]:
        """What has come, at most so many frames."""
        for _ in range(most if self._socket is not None else 0):
            try:
                yield self._socket.recv(FRAME_BYTES)  # type: ignore[union-attr]  # as tested
            except BlockingIOError:
                return

    def close(self) -> None:
        """Close and remove it. Doing so twice has no effect."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            Path(self._path).unlink(missing_ok=True)
