"""One connection to one probe: what was sent gets there, whenever the key exchange ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import zmq

from observe.probe.connection import Connection, Keys
from observe.probe.errors import AttachError
from tests.probe.live import PATIENCE_S

PATIENCE_MS = int(PATIENCE_S * 1000)


class EchoPeer:
    """A ROUTER with a key that sends each frame back."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.ROUTER)
        self.socket.linger = 0
        public, secret = zmq.curve_keypair()
        self.socket.curve_server = True
        self.socket.curve_publickey, self.socket.curve_secretkey = public, secret
        self.socket.bind("tcp://127.0.0.1:*")
        self.endpoint = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        client_public, client_secret = zmq.curve_keypair()
        self.keys = Keys(public.decode(), client_public.decode(), client_secret.decode())

    def answer_one(self) -> None:
        """Wait for a frame and send it back."""
        assert self.socket.poll(PATIENCE_MS), "the peer waited in vain for a frame"
        self.socket.send_multipart(self.socket.recv_multipart())

    def close(self) -> None:
        self.socket.close(linger=0)
        self._context.term()


@pytest.fixture
def peer() -> Iterator[EchoPeer]:
    made = EchoPeer()
    yield made
    made.close()


async def test_what_is_sent_before_the_key_exchange_is_done_arrives(
    peer: EchoPeer,
) -> None:
    loop = asyncio.get_running_loop()
    came: asyncio.Future[bytes] = loop.create_future()

    def lost(error: AttachError) -> None:
        came.set_exception(error)

    connection = Connection(peer.endpoint, peer.keys, on_frame=came.set_result, on_lost=lost)
    connection.open()
    try:
        connection.send(b"hello")
        answering = loop.run_in_executor(None, peer.answer_one)
        assert await asyncio.wait_for(came, PATIENCE_S) == b"hello"
        await answering
    finally:
        connection.close()
