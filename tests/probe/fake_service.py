"""A service that is none: it speaks feed and control link as docs/protocol.md has them, and is told what to say.

Starts the real probe beside it.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgpack  # type: ignore[import-untyped]  # it ships no types
import zmq

from observe.audit.reading import read
from observe.audit.record import Record
from observe.probe.cards import Card, read_card
from observe.probe.frames import VitalsFrame
from observe.probe.keys import new_key_pair
from observe.probe.words import WORD_LOOP_NS, WORD_PID, WORD_SLICE_NS, WORD_THREAD_NS, Words
from tests.probe.patience import PATIENCE_S, eventually
from tests.probe.raw_client import RawClient


def monotonic_us() -> int:
    return time.monotonic_ns() // 1000


class FakeService:
    """One service with one probe. Use it as a context manager: nothing of it is left behind."""

    def __init__(self, *, runtime: Path | None = None, name: str = "shop", **config: Any) -> None:
        self._owns_runtime = runtime is None
        self.runtime = runtime or Path(tempfile.mkdtemp(prefix="obs-"))  # short: sockets' paths are limited
        self.name = name
        self.directory = self.runtime / "observe" / "nodes" / name
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for parent in (self.directory.parent, self.directory.parent.parent):
            parent.chmod(0o700)
        self.words = Words.create(self.directory / "words")
        self.loop_beats = True
        """Whether the loop's heartbeat goes on."""
        self.thread_beats = True
        """Whether the control thread's does."""
        self._closing = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()
        self.context = zmq.Context()
        number = next(_numbers)
        self.feed = self.context.socket(zmq.PUSH)
        self.control = self.context.socket(zmq.ROUTER)
        for socket, end in ((self.feed, "feed"), (self.control, "control")):
            socket.linger = 0
            socket.bind(f"ipc://{self.runtime}/{end}-{number}")
        server, client = new_key_pair(), new_key_pair()
        self.server_public = server[0]
        self.config: dict[str, Any] = {
            "node": name, "host": "host.example", "incarnation": f"incarnation-{number}", "pid": os.getpid(),
            "feed": f"ipc://{self.runtime}/feed-{number}", "control": f"ipc://{self.runtime}/control-{number}",
            "directory": str(self.directory), "listen": "tcp://127.0.0.1:*", "port": None,
            "server_public": server[0], "server_secret": server[1],
            "client_public": client[0], "client_secret": client[1],
            "dump_signal": None, "linger_s": 30.0,
        }  # fmt: skip
        self.config.update(config)
        self.probe: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, Any] = {}
        self.seq = 0
        self.pids: set[int] = set()
        """The agents that are alive, as far as the feed has told."""
        self._strings: dict[str, int] = {}
        self._probe_id = b""
        self._clients: list[RawClient] = []
        self._waiting: list[dict[str, Any]] = []

    def _beat(self) -> None:
        while not self._closing.wait(0.02):
            if self.loop_beats:
                self.words.view[WORD_LOOP_NS] = time.monotonic_ns()
            if self.thread_beats:
                self.words.view[WORD_THREAD_NS] = time.monotonic_ns()

    def hold(self, pid: int, *, since_s: float = 3.0, in_c: bool = False) -> None:
        """Let the words say that this agent holds the scheduler; 0 for other code."""
        self.loop_beats = False
        self.thread_beats = not in_c
        since_ns = time.monotonic_ns() - int(since_s * 1e9)
        self.words.view[WORD_LOOP_NS] = since_ns
        self.words.view[WORD_SLICE_NS] = since_ns
        self.words.view[WORD_PID] = pid
        if in_c:
            self.words.view[WORD_THREAD_NS] = since_ns

    def let_go(self) -> None:
        """Let the scheduler run again."""
        self.words.view[WORD_PID] = 0
        self.loop_beats = self.thread_beats = True

    # -- life -----------------------------------------------------------------------------------------------------------

    def start(self, *, hello: bool = True) -> Self:
        """Start the probe and wait for its `ready`."""
        self.launch()
        self.ready = self.expect("ready")
        self.answer(self.ready, {})
        if hello:
            self.hello()
        return self

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the probe's process."""
        self.probe = subprocess.Popen(
            [sys.executable, "-m", "observe.probe.process"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=os.environ | {"OBSERVE_RUNTIME_DIR": str(self.runtime)},
        )
        assert self.probe.stdin is not None
        self.probe.stdin.write(json.dumps(self.config).encode() + b"\n")
        self.probe.stdin.close()
        return self.probe

    def close(self) -> str:
        """End the probe and remove everything. Returns what the probe wrote to standard error."""
        errors = ""
        for client in self._clients:
            client.close()
        if self.probe is not None:
            if self.probe.poll() is None:
                self.probe.terminate()
            try:
                self.probe.wait(PATIENCE_S)
            finally:
                self.probe.kill()
                self.probe.wait()
            assert self.probe.stderr is not None
            with self.probe.stderr:
                errors = self.probe.stderr.read().decode()
            self.probe = None
        self._closing.set()
        self._heart.join()
        self.words.close()
        self.context.destroy(linger=0)
        if self._owns_runtime:
            shutil.rmtree(self.runtime, ignore_errors=True)
        return errors

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        errors = self.close()
        if error is None:
            assert "Traceback" not in errors, errors

    def card(self) -> Card:
        """The card that the probe wrote."""
        before = os.environ.get("OBSERVE_RUNTIME_DIR")
        os.environ["OBSERVE_RUNTIME_DIR"] = str(self.runtime)
        try:
            card = read_card(self.name)
        finally:
            if before is None:
                del os.environ["OBSERVE_RUNTIME_DIR"]
            else:
                os.environ["OBSERVE_RUNTIME_DIR"] = before
        assert card is not None
        return card

    # -- control link ---------------------------------------------------------------------------------------------------

    def commands_on_record(self) -> list[Record]:
        """What the audit log has, without who attached. It must be whole."""
        records, damaged = read(self.directory / "audit")
        assert damaged == 0
        return [record for record in records if record.what != "attach"]

    def expect(self, op: str) -> dict[str, Any]:
        """The next question of this kind."""
        until = time.monotonic() + PATIENCE_S
        while True:
            for message in self._waiting:
                if message["op"] == op:
                    self._waiting.remove(message)
                    return message
            left_s = until - time.monotonic()
            assert left_s > 0, f"the probe never asked {op}; it asked {self._waiting}"
            if self.control.poll(int(left_s * 1000)):
                self._probe_id, frame = self.control.recv_multipart()
                self._waiting.append(msgpack.unpackb(frame))

    def asked(self, op: str) -> bool:
        """Whether the probe has asked this and nobody has taken it with `expect`."""
        while self.control.poll(0):
            self._probe_id, frame = self.control.recv_multipart()
            self._waiting.append(msgpack.unpackb(frame))
        return any(message["op"] == op for message in self._waiting)

    def declining(self, client: RawClient, number: int) -> dict[str, Any]:
        """The reply to a request of a client, while all that the probe asks for its sake is declined."""
        poller = zmq.Poller()
        poller.register(self.control, zmq.POLLIN)
        poller.register(client.socket, zmq.POLLIN)
        until = time.monotonic() + PATIENCE_S
        while not client.has_reply(number):
            left_s = until - time.monotonic()
            assert left_s > 0, "the probe said nothing"
            if self.control in dict(poller.poll(int(left_s * 1000))):
                self._probe_id, frame = self.control.recv_multipart()
                question = msgpack.unpackb(frame)
                self.decline(question, "internal", f"no {question['op']} today")
        return client.reply(number)

    def answer(self, question: dict[str, Any], result: dict[str, Any]) -> None:
        self.send_control(msgpack.packb({"id": question["id"], "ok": True, "result": result}))

    def decline(self, question: dict[str, Any], code: str, message: str) -> None:
        error = {"code": code, "message": message}
        self.send_control(msgpack.packb({"id": question["id"], "ok": False, "error": error}))

    def send_control(self, frame: bytes) -> None:
        self.control.send_multipart([self._probe_id, frame])

    # -- feed -----------------------------------------------------------------------------------------------------------

    def send(self, kind: str, /, **fields: Any) -> None:
        """One frame with the next number."""
        self.seq += 1
        self.send_raw(msgpack.packb({"t": kind, "seq": self.seq} | fields))

    def send_raw(self, frame: bytes) -> None:
        self.feed.send(frame)

    def hello(self, **changes: Any) -> None:
        self._strings = {}
        self.pids = set()
        facts = {
            "node": self.name, "host": "host.example", "incarnation": self.config["incarnation"], "pid": os.getpid(),
            "started_at": time.time(), "python": "3.11.0", "version": "0.1.0", "mono_us": monotonic_us(),
            "wall": time.time(),
        }  # fmt: skip
        self.send("hello", **(facts | changes))

    def string(self, text: str | None) -> int:
        """The number of a text; sent when it is the first time."""
        if text is None:
            return 0
        if text not in self._strings:
            self._strings[text] = len(self._strings) + 1
            self.send("strings", base=self._strings[text], texts=[text])
        return self._strings[text]

    def spawn(self, *agents: dict[str, Any]) -> None:
        rows = array("q")
        for agent in agents:
            row = {
                "class": "Worker",
                "name": None,
                "supervisor": 1,
                "child": "",
                "restarts": 0,
                "crashes": 0,
            } | agent
            rows.extend([row["pid"], self.string(row["class"]), self.string(row["name"]), row["supervisor"]])
            rows.extend([self.string(row["child"] or None), row["restarts"], row["crashes"]])
        self.send("spawn", n=len(agents), data=rows.tobytes())
        self.pids |= {agent["pid"] for agent in agents}

    def rows(self, *agents: dict[str, Any]) -> None:
        rows = array("q")
        for agent in agents:
            row = {
                "status": 1, "mailbox": 0, "mailbox_max": 0, "handled": 0, "reductions": 0,
                "since_us": monotonic_us(), "activity": None, "activity_since_us": 0,
            } | agent  # fmt: skip
            rows.extend([row["pid"], row["status"], row["mailbox"], row["mailbox_max"], row["handled"]])
            rows.extend(
                [row["reductions"], row["since_us"], self.string(row["activity"]), row["activity_since_us"]]
            )
        self.send("rows", mono_us=monotonic_us(), n=len(agents), data=rows.tobytes())

    def exit(self, *pids: int) -> None:
        self.send("exit", n=len(pids), data=array("q", pids).tobytes())
        self.pids -= set(pids)

    def crash(self, pid: int, **changes: Any) -> None:
        facts: dict[str, Any] = {
            "at": time.time(), "pid": pid, "name": None, "class": "Worker", "child": "", "supervisor": 1,
            "reason": "ValueError: no", "kind": "ValueError", "traceback": "Traceback\nValueError: no",
            "message": None, "fingerprint": "f00d",
        }  # fmt: skip
        self.send("crash", **(facts | changes))

    def vitals(self, **changes: int) -> None:
        told = [name for name, one in VitalsFrame.model_fields.items() if one.default is not None]
        facts = dict.fromkeys(told, 0) | {"mono_us": monotonic_us()} | changes
        del facts["seq"]
        self.send("vitals", **facts)

    def shop(self, workers: int = 3) -> None:
        """A root supervisor with pid 1 and workers w2, w3, … below it."""
        self.spawn({"pid": 1, "class": "Supervisor", "name": "root", "supervisor": 0, "child": "root"})
        self.spawn(
            *({"pid": pid, "name": f"w{pid}", "child": f"c{pid}"} for pid in range(2, workers + 2)),
        )

    # -- clients --------------------------------------------------------------------------------------------------------

    def client(self, *, hello: bool = True, rcvhwm: int = 1000) -> RawClient:
        """A client with the keys of the node's card."""
        return self.client_with_key(
            self.config["client_public"], self.config["client_secret"], hello=hello, rcvhwm=rcvhwm
        )

    def client_with_key(
        self,
        public: str,
        secret: str,
        *,
        server_public: str | None = "",
        hello: bool = True,
        rcvhwm: int = 1000,
    ) -> RawClient:
        """A client with these keys. `server_public` None: without any encryption."""
        server_public = self.server_public if server_public == "" else server_public
        endpoint = self.ready["endpoint"]
        made = RawClient(endpoint, server_public, public=public, secret=secret, rcvhwm=rcvhwm)
        self._clients.append(made)
        if hello:
            made.hello()
        return made

    @classmethod
    def client_of(cls, config: dict[str, Any], endpoint: str) -> RawClient:
        """A client of a service in another process; the caller closes it."""
        made = RawClient(
            endpoint, config["server_public"], public=config["client_public"], secret=config["client_secret"]
        )
        made.hello()
        return made

    def synced_client(self) -> RawClient:
        """A client, once the probe has applied all that has been said on the feed."""
        client = self.client()
        eventually(
            lambda: client.ok("agents", {"limit": 0})["total"] == len(self.pids), "agents in the table"
        )
        return client


_numbers = itertools.count(1)
