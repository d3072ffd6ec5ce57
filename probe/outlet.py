"""The sending end of the feed: numbers frames and strings, and never waits.

A frame that the socket does not take at once is either kept by the caller (`offer`) or lost (`send`). A lost frame
leaves a gap in the numbers, by which the probe notices that it must ask for everything anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import zmq

from observe.probe.codec import encode
from observe.probe.errors import TooLarge
from observe.tracing.kinds import clean

QUEUED_FRAMES: Final = 256
"""Frames that may wait for the probe: half a minute of ticks, at most some 40 MB. Beyond it telemetry is dropped."""

LINGER_MS: Final = 200
"""How long the last frames may take to leave when the socket is closed."""

TEXT_CHARACTERS: Final = 256
"""Longest class, name, child id or activity that is told; the rest is cut."""

REMEMBERED_TEXTS: Final = 50_000
"""Texts whose number is remembered. A million would cost the service 100 MB, and their table would take 20 ms to grow
now and then; beyond this a text that comes again gets another number."""


class Outlet:
    """A bound PUSH socket. Belongs to the scheduler's thread."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
        """
        Raises:
            zmq.ZMQError: the address cannot be bound.
        """
        self._socket = context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        self._socket.setsockopt(zmq.SNDHWM, QUEUED_FRAMES)
        try:
            self._socket.bind(address)
        except BaseException:
            self._socket.close(linger=0)
            raise
        self._seq = 0
        self._numbers: dict[str, int] = {}
        self._fresh: list[str] = []
        self._next = 1
        self.sent = 0
        """Frames that the socket took."""
        self.lost = 0
        """Frames that it did not take and that were dropped."""

    @property
    def seq(self) -> int:
        """The number of the newest frame, or gap."""
        return self._seq

    @property
    def texts(self) -> int:
        """Strings numbered since the last `begin`."""
        return self._next - 1

    def begin(self) -> None:
        """Forget all strings, as the probe does when it reads `hello`."""
        self._numbers.clear()
        self._fresh.clear()
        self._next = 1

    def number(self, text: str | None) -> int:
        """The number that stands for a string in rows; 0 for None. Sent with the next `send_strings`."""
        if text is None:
            return 0
        known = self._numbers.get(text)
        if known is not None:
            return known
        number = self._next
        self._next = number + 1
        self._fresh.append(clean(text[:TEXT_CHARACTERS]))
        if len(self._numbers) < REMEMBERED_TEXTS:
            self._numbers[text] = number
        return number

    def offer(self, kind: str, fields: Mapping[str, Any]) -> bool:
        """Try to send a frame. False: the socket does not take it now, and nothing has happened."""
        try:
            frame = encode({"t": kind, "seq": self._seq + 1, **fields})
        except (TooLarge, ValueError):
            self.lose()  # it would fail again, so the probe has to be told by a gap
            return True
        try:
            self._socket.send(frame, zmq.NOBLOCK)
        except (
            zmq.ZMQError
        ):  # EAGAIN: no probe, or one that does not keep up; anything else: the socket is done for
            return False
        self._seq += 1
        self.sent += 1
        return True

    def offer_strings(self) -> bool:
        """Try to send the strings that have been numbered since the last time. Must come before rows that name them."""
        if not self._fresh:
            return True
        if not self.offer("strings", {"base": self._next - len(self._fresh), "texts": self._fresh}):
            return False
        self._fresh = []
        return True

    def lose(self) -> None:
        """Leave a gap in the numbers: something was dropped."""
        self._seq += 1
        self.lost += 1

    def close(self, linger_ms: int = LINGER_MS) -> None:
        """Close the socket. Closing twice has no effect."""
        self._socket.close(linger=linger_ms)
