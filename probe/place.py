"""Takes a node's place on this machine: its lock, and with that its name.

Two live nodes cannot have one name. A probe that lingers after its node's death holds the name too, to show the last
picture; it is asked over its own attach protocol to make way for the next one.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final, Literal

import zmq

from observe.probe.cards import Card, NodeLock, read_card
from observe.probe.codec import decode, encode
from observe.probe.errors import BadFrame, NameTaken
from observe.probe.wire import PROTOCOL_VERSION, PROTOCOL_VERSIONS

CLAIM_S: Final = 4.0
"""How long to wait for a place that becomes free: a probe needs up to 1 s to end after its node said good-bye."""

ASK_S: Final = 1.0
"""How long the holder may take to answer."""

RETRY_S: Final = 0.05

Manner = Literal["leaves", "stays", "silent"]


def claim(name: str, directory: Path, *, patience_s: float = CLAIM_S) -> NodeLock:
    """The lock of this node's directory, held from now on.

    Raises:
        NameTaken: a probe has it and does not make way.
    """
    until = time.monotonic() + patience_s
    asked_at = float("-inf")
    refusals = 0
    while True:
        lock = NodeLock.take(directory)
        if lock is not None:
            return lock
        now = time.monotonic()
        card = read_card(name)
        if card is not None and card.state != "stale" and now - asked_at > ASK_S:
            asked_at = now
            refusals += ask_to_yield(card) == "stays"
        # Two refusals: at the first, its node may just have died without its noticing yet.
        if refusals > 1 or now > until:
            raise NameTaken(_taken(name, card))
        time.sleep(RETRY_S)


def _taken(name: str, card: Card | None) -> str:
    who = f" in process {card.pid}" if card is not None else ""
    return (
        f"a node named {name} is running already{who} on this machine; stop it, or give this one another name"
    )


def ask_to_yield(card: Card, *, timeout_s: float = ASK_S) -> Manner:
    """Ask the probe of this card to make way."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    try:
        socket.linger = 0
        socket.curve_serverkey = card.server_public_key.encode()
        socket.curve_publickey = card.client_public_key.encode()
        socket.curve_secretkey = card.client_secret_key.encode()
        socket.connect(card.endpoint)
        until = time.monotonic() + timeout_s
        hello = {"versions": list(PROTOCOL_VERSIONS), "client": "the next probe of this name"}
        for number, (verb, args) in enumerate((("hello", hello), ("yield", {})), start=1):
            socket.send(encode({"v": PROTOCOL_VERSION, "id": number, "verb": verb, "args": args}))
            answer = _next(socket, number, until)
            if answer is None:
                return "silent"
            if not answer.get("ok"):
                return "stays"
        return "leaves"
    except (zmq.ZMQError, ValueError, BadFrame):
        return "silent"  # a card with nonsense in it names no probe that could answer
    finally:
        socket.close()
        context.term()


def _next(socket: zmq.Socket[bytes], number: int, until: float) -> dict[str, Any] | None:
    while (left_s := until - time.monotonic()) > 0 and socket.poll(int(left_s * 1000) + 1):
        message = decode(socket.recv())
        if message.get("id") == number:
            return message
    return None
