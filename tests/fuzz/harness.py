"""A desk without sockets, with a node that never answers, for frames that nobody sane would send.

What must hold for each frame, whoever sends it: no exception leaves the desk, it takes less than `MOST_S`, every answer
can be read, and none has a path or a piece of a traceback in it.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import time
from array import array
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgpack  # type: ignore[import-untyped]  # it ships no types

from observe.audit.log import AuditLog
from observe.probe.asks import Asks
from observe.probe.codec import decode, encode, encode_for_client
from observe.probe.commands import CommandGate
from observe.probe.config import Config
from observe.probe.deaths import Deaths
from observe.probe.desk import Desk
from observe.probe.feed import Feed
from observe.probe.keys import RANK, KeyHolder, KeyRing, new_key_pair
from observe.probe.picture import Picture
from observe.probe.scribe import Scribe
from observe.probe.streams import Streams
from observe.probe.wire import VERBS
from observe.probe.wire_base import Command

MOST_S: Final = 0.05
"""A frame that takes longer is a hang: meanwhile no other console is served."""

KEYS: Final = {role: new_key_pair()[0] for role in RANK} | {"nobody": new_key_pair()[0]}
"""A key of each role, and one of none."""

LEAKS: Final = re.compile(
    rb"Traceback|File \"|\.py\b|site-packages|" + re.escape(str(Path(__file__).parents[2]).encode())
)


class Broken(AssertionError):
    """A frame that did harm."""


class Harness:
    """One desk. A context manager: nothing of it is left behind."""

    def __init__(self, most_s: float = MOST_S) -> None:
        self._most_s = most_s
        self._directory = Path(tempfile.mkdtemp(prefix="obs-fuzz-"))
        config = Config(
            node="shop", host="h", incarnation="i", pid=1, feed="", control="", directory=str(self._directory),
            server_public="", server_secret="", client_public="", client_secret="",
        )  # fmt: skip
        self.scribe = Scribe(AuditLog(self._directory / "audit", node="shop@h", sync=lambda _: None))
        self.streams = Streams()
        picture = Picture(config, self.streams.publish)
        self.asks = Asks(lambda _message: True)
        gate = CommandGate(self.scribe, "i", self.asks.on_behalf)
        ring = KeyRing(KeyHolder(role, KEYS[role], role) for role in RANK)  # type: ignore[arg-type]  # roles as text
        self.desk = Desk(
            picture, ring, self.streams, gate, self.asks, self._send, lambda _: Deaths(deaths=[], total=0)
        )
        self.answers = 0
        self.slowest_s = 0.0
        self._now = time.monotonic()
        self._settle_at = 0
        _fill(Feed(picture))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.scribe.settle(10.0)
        self.scribe.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def hello(self, who: str) -> None:
        """Let a connection of this key begin."""
        self.send(who, msgpack.packb({"v": 1, "id": 1, "verb": "hello", "args": {"versions": [1]}}))

    def send(self, who: str, frame: bytes) -> None:
        """One frame of a client with this key.

        Raises:
            Broken: it did harm; the text has the frame.
        """
        began = time.perf_counter()
        spent = time.thread_time()
        try:
            self.desk.receive(who.encode(), KEYS[who], frame, self._now)
        except Exception as error:
            raise Broken(f"{type(error).__name__} left the desk: {who} {frame[:500].hex()}") from error
        took_s = min(
            time.perf_counter() - began, time.thread_time() - spent
        )  # others use this machine as well
        self.slowest_s = max(self.slowest_s, took_s)
        if took_s > self._most_s:
            raise Broken(f"a frame took {took_s:.3f} s: {who} {frame[:500].hex()}")
        self.scribe.deliver()

    def rest(self) -> None:
        """What the server's loop does between frames; a minute passes, so that bounds by time are not all there is."""
        self._now += 61.0
        for _ in range(2):
            self.asks.expire(self._now)
            self._now += 61.0
        for subscription in self.streams.due(self._now):
            self.desk.push(subscription, self._now)

    def _send(self, _client: bytes, message: dict[str, Any]) -> bool:
        frame = encode_for_client(message)
        self.answers += 1
        found = LEAKS.search(frame)
        if found is not None:
            raise Broken(f"an answer has {found.group()!r} in it: {frame[:1000]!r}")
        decode(frame)
        return True


def _fill(feed: Feed) -> None:
    """Some agents to ask about."""
    seq = 0

    def tell(kind: str, **fields: Any) -> None:
        nonlocal seq
        seq += 1
        feed.receive(encode({"t": kind, "seq": seq} | fields))

    now_us = time.monotonic_ns() // 1000
    tell(
        "hello", node="shop", host="h", incarnation="i", pid=1, started_at=0.0, python="3", version="0",
        mono_us=now_us, wall=time.time(),
    )  # fmt: skip
    tell("strings", base=1, texts=["Supervisor", "root", *(f"w{n}" for n in range(200))])
    rows = array("q", [1, 1, 2, 0, 2, 0, 0])
    for number in range(2, 201):
        rows.extend([number, 1, number + 1, 1, number + 1, 0, 0])
    tell("spawn", n=200, data=rows.tobytes())
    feed.settle(time.monotonic() + 10)


def corpus() -> list[dict[str, Any]]:
    """A request of each verb that would be read, and answered or refused for a reason."""
    more: dict[str, dict[str, Any]] = {
        "hello": {"versions": [1], "client": "c"}, "vitals": {"history_s": 5.0},
        "agents": {"sort": "name", "filter": "w1 -class=Ghost mailbox>1", "limit": 5, "columns": ["pid", "name"]},
        "inspect": {"agent": 3}, "stack": {"agent": "w5"}, "tree": {"root": None, "depth": 3},
        "crashes": {"limit": 5}, "deaths": {"limit": 1},
        "watch": {"what": "agents", "query": {"sort": "pid"}, "interval_s": 1.0}, "rewatch": {"sub": 1, "query": {}},
        "credit": {"sub": 1, "n": 3}, "unwatch": {"sub": 1}, "where": {"node": "shop"}, "send": {"message": [1, {"a": 2}]},
        "mailbox": {"do": "drop", "oldest": 1}, "cancel_activity": {"activity": "tool:x"},
        "edit": {"field": "limits.per_day", "value": {"a": [1, 2.5, None]}}, "log_level": {"level": "INFO"},
    }  # fmt: skip
    made = []
    for number, (verb, (_, model)) in enumerate(VERBS.items(), 1):
        args = dict(more.get(verb, {}))
        if issubclass(model, Command):
            args |= {"incarnation": "i", "expires_at": time.time() + 20, "command_id": f"c{number}"}
            if "agent" in model.model_fields:
                args["agent"] = number + 1
        made.append({"v": 1, "id": number, "verb": verb, "args": args})
    return made


def resident_bytes() -> int:
    """Memory of this process now."""
    if sys.platform != "linux":
        import psutil

        return int(psutil.Process().memory_info().rss)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
