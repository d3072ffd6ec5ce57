"""A client without manners, for frames that the real client would never send."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types
import zmq

from observe.probe.desk import MEANS_NOTHING
from tests.probe.patience import PATIENCE_S


class Refused(AssertionError):
    """An error reply where a test expected a result."""

    def __init__(self, error: dict[str, str]) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code = error["code"]
        self.message = error["message"]
        self.hint = error["hint"]


class RawClient:
    """Sends what it is told, well-formed or not."""

    def __init__(
        self,
        endpoint: str,
        server_public: str | None,
        *,
        public: str = "",
        secret: str = "",
        rcvhwm: int = 1000,
    ) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.rcvhwm = rcvhwm
        # Who is turned away does not come again and fill the monitor with it; not -1, which loses what was not read yet.
        self.socket.reconnect_ivl = 3_600_000
        if server_public is not None:
            self.socket.curve_serverkey = server_public.encode()
            self.socket.curve_publickey = public.encode()
            self.socket.curve_secretkey = secret.encode()
        self.monitor = self.socket.get_monitor_socket()
        self.socket.connect(endpoint)
        self.node: dict[str, Any] = {}
        self.role = ""
        self.pushes: list[dict[str, Any]] = []
        self.replies: dict[int, dict[str, Any]] = {}
        self._heard: list[dict[str, Any]] = []
        self._ids = itertools.count(1)

    def close(self) -> None:
        self.socket.disable_monitor()
        self.monitor.close(linger=0)
        self.socket.close()
        self._context.term()

    def total(self) -> int:
        """How many agents the probe knows of."""
        count: int = self.ok("agents", {"limit": 0})["total"]
        return count

    def send(self, message: dict[str, Any]) -> None:
        self.send_raw(msgpack.packb(message))

    def send_raw(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def receive(self, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """The next message of any kind but the one that means nothing."""
        assert not self.hears_nothing(timeout_s), "the probe said nothing"
        return self._heard.pop(0)

    def hears_nothing(self, timeout_s: float) -> bool:
        while not self._heard and self.socket.poll(int(timeout_s * 1000)):
            message = msgpack.unpackb(self.socket.recv())
            if message != MEANS_NOTHING:
                self._heard.append(message)
        return not self._heard

    def ask(self, verb: str, args: dict[str, Any] | None = None, **envelope: Any) -> int:
        """Send a request; returns its id."""
        number = next(self._ids)
        self.send({"v": 1, "id": number, "verb": verb, "args": args or {}} | envelope)
        return number

    def has_reply(self, number: int) -> bool:
        """Whether the reply to a request is there."""
        while not self.hears_nothing(0):
            self._keep(self._heard.pop(0))
        return number in self.replies

    def reply(self, number: int) -> dict[str, Any]:
        """The reply to a request; pushes and other replies are kept."""
        while number not in self.replies:
            self._keep(self.receive())
        return self.replies.pop(number)

    def push(self, sub: int) -> dict[str, Any]:
        """The next push of a subscription."""
        while True:
            for message in self.pushes:
                if message["sub"] == sub:
                    self.pushes.remove(message)
                    return message
            self._keep(self.receive())

    def _keep(self, message: dict[str, Any]) -> None:
        if "sub" in message:
            self.pushes.append(message)
        else:
            self.replies[message["id"]] = message

    def result(self, number: int) -> dict[str, Any]:
        """The result of a request. Raises `Refused`."""
        reply = self.reply(number)
        if not reply["ok"]:
            raise Refused(reply["error"])
        result: dict[str, Any] = reply["result"]
        return result

    def ok(self, verb: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask and get the result."""
        return self.result(self.ask(verb, args))

    def error(self, verb: str, args: dict[str, Any] | None = None, **envelope: Any) -> dict[str, str]:
        """Ask and get the error."""
        reply = self.reply(self.ask(verb, args, **envelope))
        assert not reply["ok"], reply
        error: dict[str, str] = reply["error"]
        return error

    def hello(self) -> dict[str, Any]:
        welcome = self.ok("hello", {"versions": [1], "client": "a test"})
        self.node, self.role = welcome["node"], welcome["role"]
        return welcome

    def command(self, agent: int | str, /, **changes: Any) -> dict[str, Any]:
        """The arguments of a `kill`."""
        number = next(self._ids)
        facts = {
            "agent": agent,
            "incarnation": self.node["incarnation"],
            "expires_at": time.time() + 10,
            "command_id": f"command-{number}",
        }
        return facts | changes

    def handshake_event(self, events: Iterable[int]) -> int:
        """The first of these events of the transport."""
        wanted: Sequence[int] = list(events)
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if self.monitor.poll(100):
                frames = self.monitor.recv_multipart()
                event = int.from_bytes(frames[0][:2], sys.byteorder)
                if event in wanted:
                    return event
        raise AssertionError("no such event of the transport")
