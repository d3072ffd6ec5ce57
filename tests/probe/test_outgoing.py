"""What is sent to clients, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import zmq

from observe.probe.outgoing import Outgoing
from observe.probe.sockets import SEND_HWM

PATIENCE_MS = 20_000
CLIENT = b"client"


@pytest.fixture
def sockets() -> Iterator[tuple[zmq.Socket[bytes], zmq.Socket[bytes]]]:
    """A ROUTER as the probe has it, and a DEALER that has said something to it."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router, context.socket(zmq.DEALER) as dealer:
        router.linger = dealer.linger = 0
        router.sndhwm = SEND_HWM
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        dealer.routing_id = CLIENT
        router.bind("tcp://127.0.0.1:*")
        dealer.connect(router.getsockopt_string(zmq.LAST_ENDPOINT))
        dealer.send(b"here")
        assert router.poll(PATIENCE_MS)
        router.recv_multipart()
        yield router, dealer


def test_a_quick_client_that_reads_everything_is_never_taken_for_one_that_does_not(
    sockets: tuple[zmq.Socket[bytes], zmq.Socket[bytes]],
) -> None:
    """ZeroMQ hears of what was read a millisecond late, in which a quick client reads more than may wait for it."""
    router, dealer = sockets
    outgoing = Outgoing(router)
    for _ in range(500):
        for number in range(20):
            outgoing.send(CLIENT, b"%d" % number)
        for number in range(20):
            assert dealer.poll(PATIENCE_MS)
            assert dealer.recv() == b"%d" % number


def test_to_one_that_reads_nothing_only_so_much_can_be_sent(
    sockets: tuple[zmq.Socket[bytes], zmq.Socket[bytes]],
) -> None:
    router, _ = sockets
    outgoing = Outgoing(router)
    with pytest.raises(zmq.Again):
        for _ in range(100_000):
            outgoing.send(CLIENT, b"x" * 60_000)
