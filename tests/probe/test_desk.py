"""What the desk does when there are too many clients, or when something of its own breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from observe.probe.asks import LATE_S, MAX_PENDING, Answer, Asks
from observe.probe.codec import REPLY_LIMIT_BYTES, decode, encode, encode_for_client
from observe.probe.commands import CommandGate
from observe.probe.config import Config
from observe.probe.deaths import Deaths
from observe.probe.desk import MAX_CLIENTS, SILENT_S, Desk
from observe.probe.errors import Refusal
from observe.probe.keys import KeyHolder, KeyRing, new_key_pair
from observe.probe.picture import Picture
from observe.probe.scribe import Scribe
from observe.probe.streams import Streams
from observe.probe.wire import VERBS

KEY = new_key_pair()[0]


class Scene:
    """A desk without sockets."""

    def __init__(self, directory: Path) -> None:
        config = Config(
            node="shop", host="h", incarnation="i", pid=1, feed="", control="", directory=str(directory),
            server_public="", server_secret="", client_public="", client_secret="",
        )  # fmt: skip
        self.sent: list[tuple[bytes, dict[str, Any]]] = []
        self.asked: list[dict[str, Any]] = []
        streams = Streams()
        self.scribe = Scribe(None)
        self.asks = Asks(lambda message: not self.asked.append(message))  # type: ignore[func-returns-value]  # None is falsy
        self.desk = Desk(
            Picture(config, streams.publish),
            KeyRing([KeyHolder("ann", KEY, "admin")]),
            streams,
            CommandGate(self.scribe, "i"),
            self.asks,
            self._send,
            lambda _limit: Deaths(deaths=[], total=0),
        )

    def _send(self, client: bytes, message: dict[str, Any]) -> bool:
        self.sent.append((client, message))
        return True

    def ask(
        self, client: bytes, verb: str, args: dict[str, Any], now: float, key: str = KEY
    ) -> dict[str, Any]:
        self.desk.receive(client, key, encode({"v": 1, "id": 5, "verb": verb, "args": args}), now)
        to, message = self.sent.pop()
        assert to == client
        return message

    def hello(self, client: bytes, now: float) -> dict[str, Any]:
        return self.ask(client, "hello", {"versions": [1]}, now)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.scribe.close()


def test_what_can_be_reached_is_what_the_table_and_the_document_list(scene: Scene) -> None:
    """Salt exposed methods by their name (CVE-2020-11651). Here a verb is answered because a table says so."""
    assert scene.desk.verbs == set(VERBS)
    document = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    section = document.partition("### 1.3")[2].partition("### 1.4")[0]
    rows = re.findall(r"^\| `(\w+)` \| (viewer|operator|admin) \|", section, re.MULTILINE)
    assert dict(rows) == {verb: role for verb, (role, _) in VERBS.items()}
    scene.hello(b"c", 0.0)
    for name in ("_hello", "receive", "__init__", "standing", "forget"):
        assert scene.ask(b"c", name, {}, 0.0)["error"]["code"] == "unknown_verb"


def test_clients_are_bounded_and_the_silent_make_room(scene: Scene) -> None:
    """A script that connects in a loop must not keep people out for ever."""
    for number in range(MAX_CLIENTS):
        assert scene.hello(number.to_bytes(2), float(number) / 1000)["ok"]
    error = scene.hello(b"late", 1.0)["error"]
    assert error["code"] == "busy"
    scene.ask((0).to_bytes(2), "watch", {"what": "vitals"}, 50.0)
    assert scene.hello(b"late", SILENT_S + 1)["ok"]
    assert scene.ask((0).to_bytes(2), "ping", {}, SILENT_S + 1)["ok"]  # it was heard of in between
    assert scene.ask((1).to_bytes(2), "ping", {}, SILENT_S + 1)["error"]["code"] == "hello_first"
    assert scene.desk.statistics()["clients"] == MAX_CLIENTS


def test_a_fault_of_the_probe_is_an_answer_without_a_traceback(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where our code breaks, the client learns that it broke, and the log learns where."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret detail")

    scene.hello(b"a", 0.0)
    monkeypatch.setattr("observe.probe.verbs_reading.answer", broken)
    error = scene.ask(b"a", "agents", {}, 0.0)["error"]
    assert error["code"] == "internal"
    assert "secret" not in str(error)
    assert "ZeroDivisionError" not in str(error)
    assert "secret detail" in caplog.text
    assert scene.ask(b"a", "ping", {}, 0.0)["ok"]


def test_a_connection_does_not_change_hands(scene: Scene) -> None:
    """A routing id is the client's own choice; who said hello under it counts only with the same key."""
    scene.hello(b"a", 0.0)
    assert scene.ask(b"a", "ping", {}, 0.0, key=new_key_pair()[0])["error"]["code"] == "forbidden"


def test_an_answer_too_large_for_a_frame_says_so() -> None:
    """Otherwise the client waits for a frame that never comes."""
    message = decode(encode_for_client({"id": 7, "ok": True, "result": {"text": "x" * REPLY_LIMIT_BYTES}}))
    assert (message["id"], message["ok"], message["error"]["code"]) == (7, False, "refused")
    assert "fewer" in message["error"]["hint"]
    assert (
        decode(encode_for_client({"id": 7, "ok": True, "result": {"what": {1, 2}}}))["error"]["code"]
        == "internal"
    )


# -- questions to the service ------------------------------------------------------------------------------------------


def test_each_question_is_answered_exactly_once(scene: Scene) -> None:
    """By the answer, the time-out or the end of the node; whatever comes after that changes nothing."""
    heard: list[Answer] = []
    for _ in range(3):
        scene.asks.ask("stack", {"pid": 1}, heard.append, 0.0)
    assert scene.asks.receive({"id": 1, "ok": True, "result": {"x": 1}})
    assert heard == [{"x": 1}]
    scene.asks.expire(1.9)
    assert len(heard) == 1
    scene.asks.expire(2.1)
    assert [answer.code for answer in heard[1:] if isinstance(answer, Refusal)] == ["node_timeout"] * 2
    assert not scene.asks.receive({"id": 2, "ok": True, "result": {}})
    scene.asks.end(Refusal("node_dead", "it died"))
    assert len(heard) == 3
    scene.asks.ask("stack", {"pid": 1}, heard.append, 0.0)
    last = heard[-1]
    assert isinstance(last, Refusal)
    assert last.code == "node_dead"


def test_a_late_answer_is_heard_by_who_must_know(scene: Scene) -> None:
    heard: list[Answer] = []
    late: list[Answer] = []
    scene.asks.ask("kill", {"pid": 1}, heard.append, 0.0, late=late.append)
    scene.asks.ask("kill", {"pid": 2}, heard.append, 0.0, late=late.append)
    scene.asks.expire(3.0)
    assert len(heard) == 2
    scene.asks.receive({"id": 1, "ok": True, "result": {"done": True}})
    assert late == [{"done": True}]
    scene.asks.expire(3.0 + LATE_S)
    assert scene.asks.statistics() == {"pending": 0}


def test_questions_under_way_are_bounded(scene: Scene) -> None:
    """A service that never answers must not fill the probe's memory."""
    heard: list[Answer] = []
    for _ in range(MAX_PENDING + 1):
        scene.asks.ask("stack", {"pid": 1}, heard.append, 0.0)
    (refusal,) = heard
    assert isinstance(refusal, Refusal)
    assert refusal.code == "busy"
