"""Requests that cannot be answered, and people who may not ask: a clear error for each, and one probe that survives them all."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest
import zmq

from observe.probe.codec import REQUEST_LIMIT_BYTES
from observe.probe.keys import new_key_pair
from observe.probe.sockets import MAX_MESSAGE_BYTES
from tests.probe.fake_service import FakeService
from tests.probe.patience import PATIENCE_S
from tests.probe.raw_client import RawClient


@pytest.mark.parametrize(
    ("frame", "code", "number"),
    [
        (b"", "bad_frame", 0),
        (b"\xc1\xc1", "bad_frame", 0),
        (b"\x93\x01\x02\x03", "bad_frame", 0),
        (b"\x82\xa2id\x01\xa2id\x02", "bad_frame", 0),
        (b"\x81\xa1a" + b"\x91" * 40 + b"\x01", "bad_frame", 0),
        (msgpack.packb({"v": 1, "id": 5, "verb": "ping", "args": {"x": float("nan")}}), "bad_frame", 0),
        (b"\x00" * (REQUEST_LIMIT_BYTES + 1), "bad_frame", 0),
        (msgpack.packb({"v": 1, "id": 5}), "bad_request", 5),
        (msgpack.packb({"v": 1, "id": 0, "verb": "ping"}), "bad_request", 0),
        (msgpack.packb({"v": 1, "id": -4, "verb": "ping"}), "bad_request", 0),
        (msgpack.packb({"v": 1, "id": True, "verb": "ping"}), "bad_request", 0),
        (msgpack.packb({"v": 1, "id": "x", "verb": "ping"}), "bad_request", 0),
        (msgpack.packb({"v": 1, "id": 2**53 + 1, "verb": "ping"}), "bad_request", 0),
        (msgpack.packb({"v": "1", "id": 5, "verb": "ping"}), "bad_request", 5),
        (msgpack.packb({"v": 1, "id": 5, "verb": 7}), "bad_request", 5),
        (msgpack.packb({"v": 1, "id": 5, "verb": "ping", "args": []}), "bad_request", 5),
        (msgpack.packb({"v": 1, "id": 5, "verb": "ping", "extra": 1}), "bad_request", 5),
        (msgpack.packb({"v": 1, "id": 5, "verb": "ping", "args": {"x": 1}}), "bad_request", 5),
        (msgpack.packb({"v": 2, "id": 5, "verb": "ping"}), "unsupported_version", 5),
        (msgpack.packb({"v": 1, "id": 5, "verb": "_hello"}), "unknown_verb", 5),
        (msgpack.packb({"v": 1, "id": 5, "verb": "__class__"}), "unknown_verb", 5),
        (msgpack.packb({"v": 1, "id": 5, "verb": "receive"}), "unknown_verb", 5),
        (msgpack.packb({"v": 1, "id": 5, "verb": "agents", "args": {"sort": "nope"}}), "no_such_column", 5),
        (msgpack.packb({"v": 1, "id": 5, "verb": "agents", "args": {"filter": "nope=1"}}), "no_such_column", 5),
        (msgpack.packb({"v": 1, "id": 5, "verb": "watch", "args": {"what": "agents", "query": {"sort": "x"}}}),
         "no_such_column", 5),
        (msgpack.packb({"v": 1, "id": 5, "verb": "watch", "args": {"what": "nothing"}}), "bad_request", 5),
        (msgpack.packb({"v": 1, "id": 5, "verb": "stack", "args": {"agent": 2**63 - 1}}), "no_such_agent", 5),
        (msgpack.packb({"v": 1, "id": 5, "verb": "stack", "args": {"agent": "nobody"}}), "no_such_agent", 5),
        (msgpack.packb({"v": 1, "id": 5, "verb": "hello", "args": {"versions": []}}), "bad_request", 5),
        (msgpack.packb({"v": 9, "id": 5, "verb": "hello", "args": {"versions": [8, 9]}}), "unsupported_version", 5),
    ],
)  # fmt: skip
def test_each_bad_request_gets_its_error(
    shared: tuple[FakeService, RawClient], frame: bytes, code: str, number: int
) -> None:
    """Typed, with a sentence, without a traceback, and the next request works."""
    _, client = shared
    client.send_raw(frame)
    reply = client.receive()
    assert (reply["id"], reply["ok"], reply["error"]["code"]) == (number, False, code)
    assert reply["error"]["message"]
    assert "Traceback" not in str(reply)
    assert client.ok("ping")["now"] > 0


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[FakeService, RawClient]]:
    """One probe for many requests that must not harm it."""
    with FakeService() as service:
        service.start()
        service.shop()
        yield service, service.synced_client()


def test_an_error_names_the_argument(shared: tuple[FakeService, RawClient]) -> None:
    error = shared[1].error("watch", {"what": "agents", "query": {"limit": 5000}})
    assert error["message"] == "args.query.limit: Input should be less than or equal to 1000"


def test_a_message_of_several_frames_is_refused(shared: tuple[FakeService, RawClient]) -> None:
    """As a REQ socket would send."""
    client = shared[1]
    client.send_raw(b"", msgpack.packb({"v": 1, "id": 5, "verb": "ping"}))
    assert client.receive()["error"]["code"] == "bad_frame"


def test_hello_comes_first(shared: tuple[FakeService, RawClient]) -> None:
    client = shared[0].client(hello=False)
    assert client.error("ping")["code"] == "hello_first"
    client.hello()
    client.ok("ping")


def test_hello_is_read_in_any_version(shared: tuple[FakeService, RawClient]) -> None:
    """A later client must be able to ask whether we have a version in common, in its own words."""
    client = shared[0].client(hello=False)
    number = client.ask("hello", {"versions": [1, 7], "client": "x", "wish": 5}, v=7, mood="good")
    assert client.result(number)["version"] == 1
    error = client.error("hello", {"versions": [7]})
    assert error["code"] == "unsupported_version"
    assert "speaks 1" in error["message"]


def test_a_frame_far_too_large_ends_that_connection_alone(shared: tuple[FakeService, RawClient]) -> None:
    service, client = shared
    other = service.client()
    other.send_raw(b"\x00" * (MAX_MESSAGE_BYTES + 1))
    other.handshake_event([zmq.EVENT_DISCONNECTED])
    assert client.ok("ping")


def test_an_answer_of_the_service_that_makes_no_sense_is_an_error(
    shared: tuple[FakeService, RawClient],
) -> None:
    service, client = shared
    for result in ({"state": 5}, {"stack": {"pid": "x"}}, {"children": [1]}):
        number = client.ask("inspect", {"agent": 2})
        service.answer(service.expect("inspect"), result)
        reply = client.reply(number)
        assert reply["error"]["code"] == "internal"
        assert reply["error"]["message"].startswith("the node's answer to inspect cannot be read")


def test_what_the_service_refuses_reaches_the_client(shared: tuple[FakeService, RawClient]) -> None:
    service, client = shared
    number = client.ask("stack", {"agent": 2})
    service.decline(service.expect("stack"), "no_such_agent", "it has just ended")
    assert client.reply(number)["error"] == {
        "code": "no_such_agent",
        "message": "it has just ended",
        "hint": "",
    }
    number = client.ask("stack", {"agent": 2})
    service.decline(service.expect("stack"), "some_later_code", "why not")
    assert client.reply(number)["error"]["code"] == "refused"


def test_rubbish_on_the_control_link_is_passed_over(shared: tuple[FakeService, RawClient]) -> None:
    service, client = shared
    number = client.ask("stack", {"agent": 2})
    question = service.expect("stack")
    for frame in (
        b"",
        b"\xc1",
        msgpack.packb([]),
        msgpack.packb({"id": "x"}),
        msgpack.packb({"id": 10**6, "ok": True}),
    ):
        service.send_control(frame)
    service.answer(question, {"pid": 2, "status": "idle", "frames": []})
    assert client.result(number)["status"] == "idle"


def test_other_requests_are_answered_while_one_waits_for_the_service(
    shared: tuple[FakeService, RawClient],
) -> None:
    """One stuck agent must not freeze the console."""
    service, client = shared
    number = client.ask("inspect", {"agent": 2})
    question = service.expect("inspect")
    assert client.ok("ping")
    assert client.total() == 4
    service.answer(question, {})
    client.result(number)


def test_a_service_that_does_not_answer_is_a_time_out(shared: tuple[FakeService, RawClient]) -> None:
    service, client = shared
    began = time.monotonic()
    assert client.error("inspect", {"agent": 2})["code"] == "node_timeout"
    assert 1.5 < time.monotonic() - began < PATIENCE_S
    service.answer(service.expect("inspect"), {})  # too late, and harmless
    assert client.ok("ping")


@pytest.mark.parametrize("kind", ["unknown key", "wrong server key", "no encryption"])
def test_strangers_are_turned_away_and_nobody_notices(
    shared: tuple[FakeService, RawClient], kind: str
) -> None:
    service, client = shared
    card = (service.config["client_public"], service.config["client_secret"])
    if kind == "unknown key":
        stranger = service.client_with_key(*new_key_pair(), hello=False)
    elif kind == "wrong server key":
        stranger = service.client_with_key(*card, server_public=new_key_pair()[0], hello=False)
    else:
        stranger = service.client_with_key(*card, server_public=None, hello=False)
    stranger.ask("hello", {"versions": [1]})
    event = stranger.handshake_event(
        [
            zmq.EVENT_HANDSHAKE_FAILED_AUTH,
            zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
            zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
            zmq.EVENT_HANDSHAKE_SUCCEEDED,
            zmq.EVENT_DISCONNECTED,
        ]
    )
    assert event != zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert stranger.hears_nothing(0.2)
    assert client.ok("ping")


def test_raw_bytes_on_the_port_harm_nobody(shared: tuple[FakeService, RawClient]) -> None:
    """Port scanners and web browsers find every open port."""
    service, client = shared
    address = ("127.0.0.1", int(service.ready["endpoint"].rpartition(":")[2]))
    for rubbish in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, os.urandom(5000)):
        with socket.create_connection(address) as raw:
            raw.sendall(rubbish)
    assert client.ok("ping")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"incarnation": "yesterday's"}, "stale"),
        ({"expires_at": 1000.0}, "expired"),
        ({"expires_at": 1e12}, "bad_request"),
        ({"command_id": ""}, "bad_request"),
        ({"command_id": "x" * 65}, "bad_request"),
        ({"agent": "nobody"}, "no_such_agent"),
    ],
)
def test_a_command_that_is_not_for_here_and_now_is_refused(
    shared: tuple[FakeService, RawClient], changes: dict[str, Any], code: str
) -> None:
    service, client = shared
    assert client.error("kill", client.command(2, **changes))["code"] == code
    assert not any(question["op"] == "kill" for question in service._waiting)


def test_a_probe_whose_node_lives_does_not_make_way(shared: tuple[FakeService, RawClient]) -> None:
    error = shared[1].error("yield")
    assert error["code"] == "refused"
