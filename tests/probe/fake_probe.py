"""A probe that says what a test wants, well-formed or not: for tests of the client."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, Self

import zmq

from observe.probe import codec
from observe.probe.cards import Card

NODE = {
    "name": "shop@here", "incarnation": "abc", "pid": 1, "host": "here", "started_at": 0.0, "now": 0.0, "python": "3", "version": "1",
    "state": "up", "agents": 0, "probe_pid": 2,
}  # fmt: skip

WELCOME = {"version": 1, "role": "admin", "node": NODE}

SAID = object()
"""What a script returns when it has said all that is to be said."""

Script = Callable[["FakeProbe", dict[str, Any]], Any]


class FakeProbe:
    """A probe that says what the test wants. `answer` gets each request; a map that it returns is the result. For None a
    `hello` is welcomed, and other requests wait."""

    def __init__(self, answer: Script | None = None, *, port: int = 0, linger_ms: int = 0) -> None:
        self.answer = answer or (lambda probe, request: None)
        self.requests: list[dict[str, Any]] = []
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = linger_ms
        self.public, secret = zmq.curve_keypair()
        self._socket.curve_server = True
        self._socket.curve_publickey, self._socket.curve_secretkey = self.public, secret
        self._socket.bind(f"tcp://127.0.0.1:{port or '*'}")
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._peer = b""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End at once. Doing so twice has no effect."""
        self._stop.set()
        self._thread.join()
        self._socket.close()
        self._context.term()

    def card(self, name: str = "shop", **changes: Any) -> Card:
        """A card that leads here."""
        public, secret = zmq.curve_keypair()
        facts: dict[str, Any] = {
            "name": name, "host": "here", "pid": os.getpid(), "probe_pid": os.getpid(), "incarnation": "abc",
            "endpoint": self.endpoint, "server_public_key": self.public.decode(), "client_public_key": public.decode(),
            "client_secret_key": secret.decode(), "started_at": 0.0, "version": "1",
        }  # fmt: skip
        return Card(**(facts | changes))

    def say(self, message: dict[str, Any] | bytes) -> None:
        """Send something of its own accord (only from within `answer`)."""
        frame = message if isinstance(message, bytes) else codec.encode(message)
        self._socket.send_multipart([self._peer, frame])

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self._socket.poll(20):
                continue
            self._peer, frame = self._socket.recv_multipart()
            request = codec.decode(frame)
            self.requests.append(request)
            result = self.answer(self, request)
            if result is None and request["verb"] == "hello":
                result = WELCOME
            if isinstance(result, dict):
                self.say({"id": request["id"], "ok": True, "result": result})
