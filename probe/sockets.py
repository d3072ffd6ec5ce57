"""The probe's sockets and what each is told at the start. `tests/probe/test_socket_rules.py` has the rules and why."""

from __future__ import annotations

from typing import Final

import zmq

from observe.probe.codec import REPLY_LIMIT_BYTES
from observe.probe.config import Config
from observe.probe.keys import ZAP_DOMAIN

MAX_MESSAGE_BYTES: Final = 2 << 20
"""libzmq hangs up on a client that sends more. Between this and the protocol's 1 MiB there is an answer instead."""

SEND_HWM: Final = 64
"""Messages that wait for one client. One that does not read so many loses its place."""

HEARTBEAT_MS: Final = 2000
"""How often a silent client is asked whether it is still there."""

HEARTBEAT_TIMEOUT_MS: Final = 6000
"""Silence after which it is not: nobody sends a FIN when a laptop is closed."""

HANDSHAKE_MS: Final = 3000
"""Time for the key exchange; who says nothing is hung up on."""

Socket = zmq.Socket[bytes]


def prepare_router(router: Socket, config: Config) -> None:
    """That of the attach protocol, before it is bound: encrypted, and only for whom the ZAP handler lets in."""
    router.curve_server = True
    router.curve_publickey = config.server_public.encode()
    router.curve_secretkey = config.server_secret.encode()
    router.zap_domain = ZAP_DOMAIN
    for option, value in {
        zmq.ZAP_ENFORCE_DOMAIN: 1,
        zmq.ROUTER_MANDATORY: 1,
        zmq.MAXMSGSIZE: MAX_MESSAGE_BYTES,
        zmq.SNDHWM: SEND_HWM,
        zmq.RCVHWM: 1000,
        zmq.LINGER: 0,
        zmq.HEARTBEAT_IVL: HEARTBEAT_MS,
        zmq.HEARTBEAT_TTL: HEARTBEAT_TIMEOUT_MS,
        zmq.HEARTBEAT_TIMEOUT: HEARTBEAT_TIMEOUT_MS,
        zmq.HANDSHAKE_IVL: HANDSHAKE_MS,
        zmq.TCP_KEEPALIVE: 1,
        zmq.IPV6: 1 if "[" in config.listen else 0,
    }.items():
        router.setsockopt(option, value)


def bind_zap(zap: Socket) -> None:
    """Where libzmq asks who may in."""
    zap.linger = 0
    zap.bind("inproc://zeromq.zap.01")


def connect_feed(feed: Socket, config: Config) -> None:
    """The service's telemetry."""
    feed.setsockopt(zmq.RCVHWM, 2000)
    feed.setsockopt(zmq.MAXMSGSIZE, REPLY_LIMIT_BYTES)
    feed.linger = 0
    feed.connect(config.feed)


def connect_control(control: Socket, config: Config) -> None:
    """Questions to the service, and its answers."""
    control.setsockopt(zmq.SNDHWM, 1000)
    control.setsockopt(zmq.RCVHWM, 1000)
    control.setsockopt(zmq.MAXMSGSIZE, REPLY_LIMIT_BYTES)
    control.linger = 0
    control.connect(config.control)
