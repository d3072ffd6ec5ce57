"""A link between the node's process and one worker: frames in both directions, in order, over a stream socket.

    send(frame) --> waiting --(once per turn of the loop)--> 4 bytes of length, marshal([frame, …]) --> the other end

A frame is a tuple of plain values; what is the user's is in it as bytes (packing.py). All frames of a turn go out in one
piece: a message costs a microsecond or two of this module, not a system call.
"""

from __future__ import annotations

import asyncio
import logging
import marshal
from collections.abc import Callable
from typing import Any, Final, cast

logger = logging.getLogger("observe.runtime")

PIECE_BYTES: Final = 2**20
"""A piece is sent when it has about so many bytes, whether the turn is over or not."""

PENDING_LIMIT_BYTES: Final = 64 * 2**20
"""Bytes that may wait for one process: written and not read yet, or not written yet. More, and senders are told that
there is no room."""

Frame = tuple[Any, ...]


class Link(asyncio.Protocol):
    """One end. Frames may be sent before it is connected; they wait."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_frame: Callable[[Frame], None], on_lost: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._waiting: list[Frame] = []
        self._is_armed = False
        self._is_paused = True
        self._is_closed = False
        self._received = bytearray()
        self.waiting_bytes = 0
        """Bytes of users' messages that have not been written to the socket."""
        self.sent = 0
        """Frames given to the socket."""
        self.faults = 0
        """Frames that could not be used. Above 0, something is wrong with us."""

    # -- Out

    def send(self, frame: Frame, size_bytes: int = 0) -> None:
        """Send a frame with the others of this turn. To a link that is closed: it goes nowhere."""
        if self._is_closed:
            return
        self._waiting.append(frame)
        self.waiting_bytes += size_bytes
        if not self._is_armed and not self._is_paused:
            self._is_armed = True
            self._loop.call_soon(self._flush)

    @property
    def is_connected(self) -> bool:
        """Whether there is, or was, somebody at the other end."""
        return self._transport is not None

    @property
    def has_room(self) -> bool:
        """Whether the other end reads fast enough."""
        return self.waiting_bytes < PENDING_LIMIT_BYTES

    def _flush(self) -> None:
        self._is_armed = False
        if self._transport is None or self._is_closed:
            return
        waiting = self._waiting
        begin = 0
        while begin < len(waiting) and not self._is_paused:
            end, size = begin, 0
            while end < len(waiting) and size < PIECE_BYTES and end - begin < 10_000:
                size += _size_of(waiting[end])
                end += 1
            body = marshal.dumps(waiting[begin:end])
            self.sent += end - begin
            begin = end
            self._transport.write(len(body).to_bytes(4, "little") + body)  # may pause us
        del waiting[:begin]
        self.waiting_bytes = sum(map(_size_of, waiting)) if waiting else 0

    def flush(self) -> None:
        """Hand over what waits, now."""
        self._flush()

    def close(self) -> None:
        """Close the socket when what was sent has been written."""
        self._flush()
        self._is_closed = True
        if self._transport is not None:
            self._transport.close()

    # -- The protocol of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio's
        self._transport.set_write_buffer_limits(high=4 * PIECE_BYTES)
        self._is_paused = False
        self._flush()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._flush()

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        at = 0
        while len(received) - at >= 4:
            size = int.from_bytes(received[at : at + 4], "little")
            if len(received) - at - 4 < size:
                break
            frames = marshal.loads(memoryview(received)[at + 4 : at + 4 + size])
            at += 4 + size
            for frame in frames:
                try:
                    self._on_frame(frame)
                except Exception:  # the edge of the process: a fault in a frame must not end the link
                    self.faults += 1
                    logger.exception(
                        "a frame %.100r between the node's processes could not be used", frame[:2]
                    )
        if at:
            del received[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closed = True
        self._waiting.clear()
        self._on_lost()


def _size_of(frame: Frame) -> int:
    return 32 + sum(len(part) for part in frame if type(part) is bytes)
