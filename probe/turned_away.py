"""Who was turned away at the door. libzmq says nothing of it by itself; here it is counted and told.

A monitor socket on the server's socket reports handshakes that failed, and the ZAP handler says whose key it was. Each
becomes an event of the node, for consoles to see, and a line in the probe's log; of a flood only the count is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import zmq
from zmq.utils.monitor import parse_monitor_message

logger = logging.getLogger("observe.probe")

TOLD_PER_MINUTE: Final = 10
"""Of more only the count is told: somebody who knocks a thousand times a second must not fill the log."""

MONITORED: Final = zmq.Event.HANDSHAKE_FAILED_NO_DETAIL | zmq.Event.HANDSHAKE_FAILED_PROTOCOL

_WHY: Final = {
    int(
        zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
    ): "the key exchange was not finished: it has another key of this node, or is no client of ours",
    int(zmq.Event.HANDSHAKE_FAILED_PROTOCOL): "it does not speak our protocol, or without encryption",
}


class TurnedAway:
    """Counts and tells. Belongs to the server's thread."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.unknown_key = 0
        """Connections whose key is not on the list."""
        self.failed_handshake = 0
        """Connections that did not get so far as to show a key."""
        self._told = 0
        self._untold = 0
        self._minute_began = float("-inf")
        self._monitor: zmq.Socket[bytes] | None = None
        self._watched: zmq.Socket[bytes] | None = None

    def watch(self, router: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
        """Begin to watch the socket; returns its monitor, to be polled."""
        self._watched = router
        self._monitor = router.get_monitor_socket(MONITORED)
        self._monitor.linger = 0
        return self._monitor

    def close(self) -> None:
        """Stop watching. Doing so twice has no effect."""
        monitor, self._monitor = self._monitor, None
        if monitor is not None and self._watched is not None:
            self._watched.disable_monitor()
            monitor.close(linger=0)

    def receive(self, now: float, limit: int) -> None:
        """Take what the monitor has to say."""
        for _ in range(limit):
            if self._monitor is None:
                return
            try:
                event: Any = parse_monitor_message(self._monitor.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            why = _WHY.get(int(event["event"]))
            if why is not None:
                self.failed_handshake += 1
                self._note(f"a connection was turned away: {why}", now)

    def refused_key(self, who: str, address: str, why: str, now: float) -> None:
        """The ZAP handler turned somebody away; `who` is the key's fingerprint."""
        self.unknown_key += 1
        self._note(f"a client at {address} was turned away: {why} ({who})", now)

    def _note(self, text: str, now: float) -> None:
        if now - self._minute_began >= 60.0:
            if self._untold:
                text += f"; and {self._untold:,} more in the minute before"
            self._minute_began, self._told, self._untold = now, 0, 0
        if self._told >= TOLD_PER_MINUTE:
            self._untold += 1
            return
        self._told += 1
        logger.warning("%s", text)
        self._tell(text)

    def statistics(self) -> dict[str, int]:
        """How many were turned away, and why."""
        return {"unknown_key": self.unknown_key, "failed_handshake": self.failed_handshake}
