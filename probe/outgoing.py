"""What goes to clients: sent at once or not at all, and bounded for each in messages and in bytes.

ZeroMQ counts the messages that wait for a client that does not read, not their bytes, and an answer may be large. So of each
large one it is remembered when ZeroMQ has let go of it, which is when it was written to the network, or its client is gone.
"""

from __future__ import annotations

from typing import Any, Final

import zmq

LARGE_BYTES: Final = 64 << 10
"""Frames from this size on are counted; pyzmq copies smaller ones at once. 64 of those, which is all that ZeroMQ keeps for a
client (`SEND_HWM`), have 4 MiB."""

CLIENT_BYTES: Final = 4 << 20
"""When so much waits for one client already, it is sent nothing large any more until it has read."""

TOTAL_BYTES: Final = 64 << 20
"""The same for all clients together, of whom there may be 128."""


class Full(Exception):  # it says how it is, not that something is wrong
    """So many bytes wait for this client, or for all, that nothing large is added."""

    def __init__(self, waiting_bytes: int) -> None:
        super().__init__(f"{waiting_bytes:,} bytes wait to be read")
        self.waiting_bytes = waiting_bytes

    def instead_of(self, reply: dict[str, Any]) -> dict[str, Any]:
        """The reply that says so."""
        body = {
            "code": "busy",
            "message": f"this answer is not sent: {self}",
            "hint": "read the answers before, then ask again",
        }
        return {"id": reply["id"], "ok": False, "error": body}


class Outgoing:
    """The sending side of the ROUTER. Belongs to the probe's loop."""

    def __init__(self, router: zmq.Socket[bytes]) -> None:
        self._router = router
        self._waiting: dict[bytes, list[tuple[zmq.MessageTracker, int]]] = {}
        self.refused = 0
        """Large frames that were not sent because so much waited already."""

    def send(self, client: bytes, frame: bytes) -> None:
        """Send a frame at once.

        Raises:
            Full: it is large, and too much waits already.
            zmq.Again: too many messages wait for this client.
            zmq.ZMQError: with `EHOSTUNREACH`, the client is gone.
        """
        if len(frame) < LARGE_BYTES:
            self._put(client, frame)
            return
        waiting = self.waiting_bytes()
        mine = sum(size for _, size in self._waiting.get(client, ()))
        if mine >= CLIENT_BYTES or waiting + len(frame) > TOTAL_BYTES:
            self.refused += 1
            raise Full(mine or waiting)
        tracker = self._put(client, frame, copy=False, track=True)
        assert tracker is not None
        self._waiting.setdefault(client, []).append((tracker, len(frame)))

    def _put(
        self, client: bytes, frame: bytes, *, copy: bool = True, track: bool = False
    ) -> zmq.MessageTracker | None:
        try:
            self._router.send(client, zmq.NOBLOCK | zmq.SNDMORE)
        except zmq.Again:
            # A send looks for what peers have read meanwhile once a millisecond at most, so a quick client that has read
            # everything can seem to have read nothing. To be asked for its events makes the socket look now.
            self._router.getsockopt(zmq.EVENTS)
            self._router.send(client, zmq.NOBLOCK | zmq.SNDMORE)
        return self._router.send(frame, zmq.NOBLOCK, copy=copy, track=track)

    def waiting_bytes(self) -> int:
        """Bytes of large frames that wait, for all clients together."""
        for client, sent in list(self._waiting.items()):
            left = [(tracker, size) for tracker, size in sent if not tracker.done]
            if left:
                self._waiting[client] = left
            else:
                del self._waiting[client]
        return sum(size for sent in self._waiting.values() for _, size in sent)

    def statistics(self) -> dict[str, int]:
        """What waits, and what was not sent because of it."""
        return {"waiting_bytes": self.waiting_bytes(), "answers_refused": self.refused}
