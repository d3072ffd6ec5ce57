"""One encrypted connection to one probe, driven by an asyncio loop. It carries frames and knows nothing of verbs.

A ZeroMQ socket announces itself through a file descriptor that is *edge-triggered*: it becomes readable once when
something changes, and any send or receive may swallow that edge. So after each of them the socket itself is asked
(``ZMQ_EVENTS``) before we go back to waiting. `zmq.asyncio` does the same, with a future and two tasks per message.

A connection is used once, and ZeroMQ does not reconnect it: a probe that comes back has other keys or another port, so
its card must be read again. Nothing is given to ZeroMQ before the key exchange is done, and it is closed as soon as the
connection ends, so that nothing waits there for another peer than the one that it was meant for. That is what
`ZMQ_IMMEDIATE` is for; but with it, and likewise with `ZMQ_RECONNECT_IVL` -1, libzmq 4.3.5 ends the pipe of a connection
that was lost without a delay, and what had arrived and was not read yet is gone: the last words of a probe, such as why
a request will not be answered. What ends a connection is told apart by the socket's monitor, because a refused key is
otherwise no more than silence.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import zmq
from zmq.utils.monitor import parse_monitor_message

from observe.probe.codec import REPLY_LIMIT_BYTES
from observe.probe.errors import AttachError, NodeUnreachable, NotAuthorised, ProtocolError, WrongNodeKey

HEARTBEAT_MS: Final = 2000
"""How often a silent connection is checked."""

HEARTBEAT_TIMEOUT_MS: Final = 6000
"""Silence after which the other side counts as gone, although the network did not say so."""

HANDSHAKE_MS: Final = 3000
"""Time for the key exchange, which takes 3 ms on one machine."""

NEVER_MS: Final = 3_600_000
"""ZeroMQ would reconnect after an hour; whatever ends the connection closes the socket at once. See above why not -1."""

MAX_UNSENT: Final = 1000
"""Frames that may wait for the connection. More means that the other side does not read."""

FRAMES_A_TURN: Final = 100
"""Frames handled before the loop has its turn."""

_WATCHED: Final = (
    zmq.Event.HANDSHAKE_SUCCEEDED
    | zmq.Event.HANDSHAKE_FAILED_AUTH
    | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
    | zmq.Event.CLOSED
    | zmq.Event.DISCONNECTED
)


@dataclass(frozen=True, slots=True)
class Keys:
    """What the key exchange needs, each in Z85."""

    server_public: str
    client_public: str
    client_secret: str


class Connection:
    """Frames to and from one endpoint.

    `on_frame` gets each frame that arrives; `on_lost` is called at most once, when the connection ended for any
    reason but `close`. Both run on the loop and must not raise.
    """

    def __init__(
        self,
        endpoint: str,
        keys: Keys,
        *,
        on_frame: Callable[[bytes], None],
        on_lost: Callable[[AttachError], None],
    ) -> None:
        self.endpoint = endpoint
        self._keys = keys
        self._on_frame = on_frame
        self.on_lost = on_lost
        self._unsent: deque[bytes] = deque()
        self._is_open = False
        self._was_up = False
        self._again = False

    def open(self) -> None:
        """Begin to connect. What is sent before the key exchange is done waits for it."""
        self._loop = asyncio.get_running_loop()
        self._context = zmq.Context(io_threads=1)
        self._socket = self._context.socket(zmq.DEALER)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.IPV6, 1),  # names may have addresses of both kinds
            (zmq.RECONNECT_IVL, NEVER_MS),
            (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            (zmq.HEARTBEAT_IVL, HEARTBEAT_MS),
            (zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS),
            (zmq.HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS),
            (zmq.MAXMSGSIZE, REPLY_LIMIT_BYTES),
            (zmq.SNDHWM, MAX_UNSENT),
            (zmq.RCVHWM, MAX_UNSENT),
            (zmq.CURVE_SERVERKEY, self._keys.server_public.encode("ascii")),
            (zmq.CURVE_PUBLICKEY, self._keys.client_public.encode("ascii")),
            (zmq.CURVE_SECRETKEY, self._keys.client_secret.encode("ascii")),
        ):
            self._socket.setsockopt(option, value)
        self._monitor = self._socket.get_monitor_socket(_WATCHED)
        self._readers = (_number(self._socket, zmq.FD), _number(self._monitor, zmq.FD))
        self._is_open = True
        for reader in self._readers:
            self._loop.add_reader(reader, self._pump)
        try:
            self._socket.connect(self.endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise ProtocolError(
                f"{self.endpoint!r} is no address that can be connected to: {error}"
            ) from None
        self._pump_soon()

    def send(self, frame: bytes) -> None:
        """Send it as soon as the connection takes it.

        Raises:
            NodeUnreachable: the connection is closed, or the other side has stopped reading.
        """
        if not self._is_open:
            raise NodeUnreachable(f"the connection to {self.endpoint} is closed")
        if len(self._unsent) >= MAX_UNSENT:
            raise NodeUnreachable(
                f"{self.endpoint} has stopped reading: {MAX_UNSENT} messages wait to be sent"
            )
        self._unsent.append(frame)
        self._flush()
        self._pump_soon()

    def close(self) -> None:
        """End the connection at once; what was not sent is dropped. Closing twice has no effect."""
        if not self._is_open:
            return
        self._is_open = False
        for reader in self._readers:
            self._loop.remove_reader(reader)
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)
        self._context.term()  # at once: its sockets are closed and do not linger

    # -- events --------------------------------------------------------------------------------------------------

    def _pump_soon(self) -> None:
        """Ask the sockets in the loop's next turn: the edge may be gone."""
        if not self._again:
            self._again = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._again = False
        if not self._is_open:
            return
        frames = self._receive(FRAMES_A_TURN)
        if self._is_open:
            self._read_monitor()
        if self._is_open:
            self._flush()
        if self._is_open and (frames or self._is_ready()):
            self._pump_soon()

    def _receive(self, most: int) -> int:
        """Hand on frames that have arrived; returns how many."""
        frames = 0
        while self._is_open and frames < most and _number(self._socket, zmq.EVENTS) & zmq.POLLIN:
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            frames += 1
            self._on_frame(parts[-1])
        return frames

    def _is_ready(self) -> bool:
        """Whether there is something to do now. To ask takes the edge away, so both directions count: there may be room
        again just after `_flush` found none, and nothing announces that a second time."""
        events = _number(self._socket, zmq.EVENTS)
        return bool(events & zmq.POLLIN or (self._was_up and self._unsent and events & zmq.POLLOUT))

    def _flush(self) -> None:
        while self._was_up and self._unsent:
            try:
                self._socket.send(self._unsent[0], zmq.NOBLOCK)
            except zmq.Again:
                return  # the socket's descriptor tells when there is room
            self._unsent.popleft()

    def _read_monitor(self) -> None:
        while self._is_open and _number(self._monitor, zmq.EVENTS) & zmq.POLLIN:
            try:
                event: Any = parse_monitor_message(self._monitor.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            if event["event"] == zmq.Event.HANDSHAKE_SUCCEEDED:
                self._was_up = True
                continue
            # What arrived before the end was put before us before the end was told, but perhaps after we last looked:
            # these are the last words of the other side, and closing the socket would throw them away.
            self._receive(MAX_UNSENT)
            if self._is_open:
                self._lost(self._explain(event["event"]))

    def _lost(self, error: AttachError) -> None:
        self.close()
        self.on_lost(error)

    def _explain(self, event: int) -> AttachError:
        if self._was_up:
            return NodeUnreachable(
                f"the connection to {self.endpoint} was lost",
                hint="the node or its probe has ended, or the network between is down",
            )
        if event == zmq.Event.HANDSHAKE_FAILED_AUTH:
            return NotAuthorised(
                f"the node at {self.endpoint} does not accept our key",
                hint="use a key that the node lists, or attach as the user who runs it",
            )
        if event == zmq.Event.HANDSHAKE_FAILED_NO_DETAIL:
            return WrongNodeKey(
                f"the key exchange with {self.endpoint} failed: whoever listens there does not have the key by which we "
                "know the node, or ended in the middle of it; nothing was sent to it",
                hint="a node that is just restarting: try again. A node elsewhere: its key was changed, or somebody is in "
                "between; ask who runs it before `observe keys forget`",
            )
        if event == zmq.Event.CLOSED:
            return NodeUnreachable(
                f"nobody listens at {self.endpoint}",
                hint="the node or its probe has just ended; `observe nodes` lists the nodes that are up",
            )
        return ProtocolError(
            f"what listens at {self.endpoint} is no probe of a node",
            hint="another program has taken the port, or its version is too old",
        )


def _number(socket: zmq.Socket[bytes], option: int) -> int:
    value = socket.getsockopt(option)
    assert isinstance(value, int)
    return value
