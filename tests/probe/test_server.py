"""The probe as its clients meet it: a real process, real keys, and a service that says what the test tells it to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest
import zmq

from observe.audit.log import read
from observe.probe.codec import REQUEST_LIMIT_BYTES
from observe.probe.keys import new_key_pair
from observe.probe.sockets import MAX_MESSAGE_BYTES
from tests.probe.fake_service import PATIENCE_S, FakeService, RawClient, eventually

VIEWER, OPERATOR = new_key_pair(), new_key_pair()
CLIENTS = [
    {"name": "vera", "public_key": VIEWER[0], "role": "viewer"},
    {"name": "otto", "public_key": OPERATOR[0], "role": "operator"},
]


@pytest.fixture
def service() -> Iterator[FakeService]:
    with FakeService(clients=CLIENTS) as made:
        made.start()
        made.shop()
        yield made


@pytest.fixture
def client(service: FakeService) -> RawClient:
    return service.synced_client()


def total(client: RawClient) -> int:
    count: int = client.ok("agents", {"limit": 0})["total"]
    return count


# -- reading -----------------------------------------------------------------------------------------------------------


def test_hello_tells_who_we_are_and_where(service: FakeService) -> None:
    welcome = service.client(hello=False).hello()
    node = welcome["node"]
    assert (welcome["version"], welcome["role"]) == (1, "admin")
    assert (node["name"], node["incarnation"]) == ("shop@host.example", service.config["incarnation"])
    assert (node["pid"], node["python"]) == (os.getpid(), "3.11.0")
    assert abs(node["now"] - time.time()) < 5


def test_the_table_shows_what_the_feed_said(service: FakeService, client: RawClient) -> None:
    service.rows(
        {"pid": 3, "status": 4, "mailbox": 7, "mailbox_max": 9, "handled": 5, "activity": "tool:search"}
    )
    page = eventually(
        lambda: (
            (found := client.ok("agents", {"filter": "mailbox>6", "columns": ["pid", "status", "activity"]}))[
                "rows"
            ]
            and found
        )
    )
    assert page["rows"] == [[3, "waiting", "tool:search"]]
    assert (page["matched"], page["total"]) == (1, 4)
    service.exit(3)
    eventually(lambda: total(client) == 3)
    assert client.error("stack", {"agent": 3})["code"] == "no_such_agent"


def test_vitals_and_their_history(service: FakeService, client: RawClient) -> None:
    """The header of the console, its sparklines included."""
    service.vitals(agents=4, handled=1000, busy_us=0, crashes=5, spawned=4, mono_us=1_000_000)
    service.vitals(
        agents=4, handled=3000, busy_us=500_000, crashes=7, spawned=4, cost_us=20_000, mono_us=2_000_000
    )
    vitals = eventually(lambda: (found := client.ok("vitals", {"history_s": 600}))["rate"] and found)
    assert vitals["rate"] == 2000.0
    assert (vitals["use"], vitals["probe_cost"], vitals["crashes_min"]) == (0.5, 0.02, 2)
    assert vitals["memory"] > 1_000_000
    assert vitals["state"] == "up"
    assert vitals["history"]["rate"][-1] == 2000.0
    assert len({len(values) for values in vitals["history"].values()}) == 1


def test_inspect_joins_what_the_service_knows_with_the_table(service: FakeService, client: RawClient) -> None:
    service.crash(9, name="w2", child="c2", message={"type": "str", "text": "'x'"})
    eventually(lambda: client.ok("crashes")["total"] == 1)
    number = client.ask("inspect", {"agent": "w2", "max_items": 5})
    question = service.expect("inspect")
    assert (question["pid"], question["max_items"]) == (2, 5)
    state = {"type": "Worker", "text": "…", "items": [["count", {"type": "int", "text": "5"}]]}
    service.answer(question, {"module": "shop", "state": state, "mailbox": [], "mailbox_total": 0})
    detail = client.result(number)
    assert detail["agent"]["name"] == "w2"
    assert detail["module"] == "shop"
    assert detail["state"] == state
    assert detail["last_crash"]["reason"] == "ValueError: no"
    assert detail["last_crash"]["message"] == {"type": "str", "text": "'x'"}


def test_the_tree_has_the_strategies_that_the_service_knows(service: FakeService, client: RawClient) -> None:
    number = client.ask("tree")
    service.answer(service.expect("tree"), {"supervisors": [[1, "one_for_one", 3, 5.0, 2]]})
    tree = client.result(number)
    assert (tree["pid"], tree["strategy"], tree["restarts_within"], tree["children_total"]) == (
        1,
        "one_for_one",
        2,
        3,
    )
    assert [child["name"] for child in tree["children"]] == ["w2", "w3", "w4"]
    number = client.ask("tree", {"root": "w3"})
    service.decline(service.expect("tree"), "internal", "no")
    assert client.result(number)["pid"] == 3


def test_crashes_come_newest_first_with_their_successor(service: FakeService, client: RawClient) -> None:
    service.crash(2, name="w2")
    service.crash(3, name="w3")
    service.send("restart", at=time.time(), pid=12, old=2, supervisor=1)
    found = eventually(
        lambda: (one := client.ok("crashes"))["crashes"] and one["crashes"][-1]["restarted"] and one
    )
    assert [crash["pid"] for crash in found["crashes"]] == [3, 2]
    assert [crash["restarted"] for crash in found["crashes"]] == [None, 12]
    assert found["total"] == 2
    assert len(client.ok("crashes", {"limit": 1})["crashes"]) == 1


# -- watching ----------------------------------------------------------------------------------------------------------


def test_a_watch_pushes_as_long_as_it_has_credit(service: FakeService, client: RawClient) -> None:
    sub = client.ok("watch", {"what": "agents", "interval_s": 0.05, "credit": 2})["sub"]
    assert [client.push(sub)["seq"] for _ in range(2)] == [1, 2]
    assert client.hears_nothing(0.3)
    client.ok("credit", {"sub": sub, "n": 1})
    push = client.push(sub)
    assert push["seq"] == 3
    assert push["dropped"] > 0
    assert push["data"]["total"] == 4
    client.ok("unwatch", {"sub": sub})
    assert client.error("credit", {"sub": sub, "n": 1})["code"] == "bad_request"


def test_another_query_for_a_watch_is_answered_at_once(service: FakeService, client: RawClient) -> None:
    """Filter as you type."""
    sub = client.ok("watch", {"what": "agents", "interval_s": 3600.0, "credit": 5})["sub"]
    assert client.push(sub)["data"]["matched"] == 4
    assert client.ok("rewatch", {"sub": sub, "query": {"filter": "w3"}}) == {"sub": sub}
    assert client.push(sub)["data"]["matched"] == 1


def test_events_tell_what_happens_in_its_order(service: FakeService, client: RawClient) -> None:
    sub = client.ok("watch", {"what": "events", "interval_s": 0.05, "credit": 100})["sub"]
    service.spawn({"pid": 20, "name": "w20", "child": "c20"})
    service.crash(20, name="w20")
    service.exit(20)
    service.spawn({"pid": 21, "name": "w20", "child": "c20"})
    service.send("restart", at=time.time(), pid=21, old=20, supervisor=1)
    service.send("finding", at=time.time(), kind="restart_loop", pid=21, text="w20 keeps crashing")
    events: list[dict[str, Any]] = []
    while len(events) < 6:
        events += client.push(sub)["data"]["events"]
    kinds = [(event["kind"], event["pid"], event["name"]) for event in events]
    assert kinds == [
        ("spawn", 20, "w20"), ("crash", 20, "w20"), ("exit", 20, "w20"), ("spawn", 21, "w20"), ("restart", 21, "w20"),
        ("finding", 21, "w20"),
    ]  # fmt: skip
    assert events[1]["fingerprint"] == "f00d"
    numbers = [event["seq"] for event in events]
    assert numbers == list(range(numbers[0], numbers[0] + 6))


def test_a_flood_of_events_is_bounded_and_counted(service: FakeService, client: RawClient) -> None:
    """A console that watches while a hundred thousand agents start must cost the probe nothing much."""
    sub = client.ok("watch", {"what": "events", "interval_s": 0.05, "credit": 0})["sub"]
    for start in range(1000, 11000, 2000):
        service.spawn(*({"pid": pid} for pid in range(start, start + 2000)))
    eventually(lambda: total(client) == 10_004)
    client.ok("credit", {"sub": sub, "n": 1})
    push = client.push(sub)
    assert len(push["data"]["events"]) == 1000
    assert push["dropped"] == 9000


def test_a_console_that_stopped_costs_bounded_memory_and_no_time(
    service: FakeService, client: RawClient
) -> None:
    """It has credit for everything and reads nothing."""
    service.spawn(*({"pid": pid, "name": f"session-{pid}"} for pid in range(100, 1100)))
    stopped = service.client(rcvhwm=1)
    query = {"limit": 1000}
    for _ in range(4):
        stopped.ask("watch", {"what": "agents", "query": query, "interval_s": 0.05, "credit": 1000})
    assert service.probe is not None
    pid = service.probe.pid

    def resident() -> int:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * 4096

    before = resident()
    sub = client.ok("watch", {"what": "vitals", "interval_s": 0.05, "credit": 1000})["sub"]
    for _ in range(60):  # three seconds: 240 pages of 150 kB would be 36 MB
        client.push(sub)
    assert resident() - before < 64 << 20
    assert total(client) == 1004


# -- requests that cannot be answered ----------------------------------------------------------------------------------


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
    assert total(client) == 4
    service.answer(question, {})
    client.result(number)


def test_a_service_that_does_not_answer_is_a_time_out(shared: tuple[FakeService, RawClient]) -> None:
    service, client = shared
    began = time.monotonic()
    assert client.error("inspect", {"agent": 2})["code"] == "node_timeout"
    assert 1.5 < time.monotonic() - began < PATIENCE_S
    service.answer(service.expect("inspect"), {})  # too late, and harmless
    assert client.ok("ping")


# -- who may attach, and do what ---------------------------------------------------------------------------------------


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
    ("keys", "role", "may_kill"), [(VIEWER, "viewer", False), (OPERATOR, "operator", True)]
)
def test_a_role_comes_from_the_key(
    service: FakeService, client: RawClient, keys: tuple[str, str], role: str, may_kill: bool
) -> None:
    other = service.client_with_key(*keys)
    assert other.role == role
    assert total(other) == 4
    assert other.error("yield")["code"] == "forbidden"
    number = other.ask("kill", other.command("w2"))
    if may_kill:
        question = service.expect("kill")
        assert question["pid"] == 2
        service.answer(
            question, {"done": True, "what": "killed", "pid": 2, "reason": "killed", "took_s": 0.0}
        )
        assert other.result(number)["done"]
    else:
        assert other.reply(number)["error"]["code"] == "forbidden"
    records, _ = read(service.directory / "audit")
    assert [(record.what, record.phase) for record in records] == [
        ("attach", "completed"),
        ("kill", "requested"),
        ("kill", "completed" if may_kill else "denied"),
    ]
    assert {record.who.role for record in records} == {role}


# -- commands ----------------------------------------------------------------------------------------------------------


def test_a_kill_is_carried_out_once_however_often_it_is_sent(service: FakeService, client: RawClient) -> None:
    command = client.command("w3", reason="stuck")
    numbers = [client.ask("kill", command) for _ in range(3)]
    question = service.expect("kill")
    assert (question["pid"], question["reason"]) == (3, "stuck")
    service.answer(
        question, {"done": True, "what": "w3 was killed", "pid": 3, "reason": "killed", "took_s": 0.5}
    )
    assert [client.result(number)["what"] for number in numbers] == ["w3 was killed"] * 3
    client.ok("kill", command)
    number = client.ask("stack", {"agent": 2})
    service.expect("stack")
    assert service._waiting == []  # no second kill was asked before it
    records, damaged = read(service.directory / "audit")
    assert [(record.phase, record.target["pid"]) for record in records] == [
        ("requested", 3),
        ("completed", 3),
    ]
    assert damaged == 0
    assert number


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


def test_a_command_without_a_record_is_not_carried_out() -> None:
    """The audit log is a file where a directory should be: nothing can be written to it."""
    with FakeService() as service:
        (service.directory / "audit").touch()
        service.start()
        service.shop()
        client = service.synced_client()
        error = client.error("kill", client.command(2))
        assert error["code"] == "refused"
        assert "could not be recorded" in error["message"]
        assert total(client) == 4


def test_a_probe_whose_node_lives_does_not_make_way(shared: tuple[FakeService, RawClient]) -> None:
    error = shared[1].error("yield")
    assert error["code"] == "refused"


# -- the feed ----------------------------------------------------------------------------------------------------------


def test_a_gap_in_the_feed_asks_for_everything_anew(service: FakeService, client: RawClient) -> None:
    """A lost frame may have held an exit: its agent would be shown for ever."""
    service.seq += 1
    service.exit(2)
    service.answer(service.expect("resync"), {})
    assert total(client) == 4  # the picture of before is shown until there is a better one
    service.hello()
    service.shop(5)
    service.vitals(agents=6)
    eventually(lambda: total(client) == 6)
    service.exit(2)
    eventually(lambda: total(client) == 5)


@pytest.mark.parametrize(
    "frame",
    [
        b"\xc1",
        b"",
        msgpack.packb({"t": "nope", "seq": 99}),
        msgpack.packb({"t": 5, "seq": 99}),
        msgpack.packb({"t": "rows"}),
        msgpack.packb({"t": "rows", "seq": 99, "n": 5, "data": b"x", "mono_us": 1}),
        msgpack.packb({"t": "spawn", "seq": 99, "n": -1, "data": b""}),
        msgpack.packb({"t": "vitals", "seq": 99, "agents": -1}),
        msgpack.packb({"t": "hello", "seq": 99}),
        msgpack.packb({"t": "crash", "seq": 99, "traceback": 5}),
    ],
)
def test_a_broken_frame_of_the_feed_does_not_break_the_probe(frame: bytes) -> None:
    """A fault of the service must not take away the tool to find it."""
    with FakeService() as service:
        service.start()
        service.shop()
        client = service.synced_client()
        service.send_raw(frame)
        service.answer(service.expect("resync"), {})
        assert total(client) == 4
        service.hello()
        service.shop(1)
        service.vitals(agents=2)
        eventually(lambda: total(client) == 2)


def test_a_fork_of_the_service_is_not_believed(service: FakeService, client: RawClient) -> None:
    """A child that inherited the socket speaks with the parent's voice; its hello gives it away."""
    service.hello(pid=os.getpid() + 1)
    service.exit(2, 3, 4)
    service.expect("resync")
    assert total(client) == 4


def test_resync_is_not_asked_for_again_and_again(service: FakeService, client: RawClient) -> None:
    """A service that sends nonsense must not also be kept busy sending everything."""
    service.send_raw(b"\xc1")
    service.expect("resync")
    for _ in range(200):
        service.send_raw(b"\xc1")
    time.sleep(0.3)  # nothing can be waited for: the point is what does not come
    assert client.ok("ping")
    assert not service.control.poll(0)


# -- the end -----------------------------------------------------------------------------------------------------------


def test_a_stop_on_purpose_is_told_and_the_probe_ends() -> None:
    with FakeService() as service:
        service.start()
        service.shop()
        client = service.synced_client()
        events = client.ok("watch", {"what": "events", "interval_s": 3600.0, "credit": 100})["sub"]
        vitals = client.ok("watch", {"what": "vitals", "interval_s": 3600.0, "credit": 100})["sub"]
        assert client.push(vitals)["data"]["state"] == "up"
        service.send("bye", reason="deployed")
        assert client.push(vitals)["data"]["state"] == "stopped"
        (event,) = client.push(events)["data"]["events"]
        assert (event["kind"], event["text"]) == ("node", "shop@host.example stopped: deployed")
        assert service.probe is not None
        assert service.probe.wait(PATIENCE_S) == 0
        assert not (service.directory.parent / "shop.json").exists()


def test_who_waits_when_the_probe_ends_is_told(service: FakeService, client: RawClient) -> None:
    """And the audit log does not end with a question."""
    number = client.ask("kill", client.command("w2"))
    service.expect("kill")
    assert service.probe is not None
    service.probe.terminate()
    assert client.reply(number)["error"]["code"] == "node_timeout"
    service.probe.wait(PATIENCE_S)
    records, _ = read(service.directory / "audit")
    assert [record.phase for record in records] == ["requested", "failed"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_probe_that_is_told_to_end_takes_its_card_along(number: int) -> None:
    with FakeService() as service:
        service.start()
        assert service.card().state == "up"
        assert service.probe is not None
        service.probe.send_signal(number)
        assert service.probe.wait(PATIENCE_S) == 0
        assert not (service.directory.parent / "shop.json").exists()


def test_a_probe_that_was_killed_is_followed_by_one_at_the_same_port() -> None:
    """Consoles reconnect to where they were; the stale card is in nobody's way."""
    with FakeService() as service:
        service.start()
        endpoint = service.ready["endpoint"]
        assert service.probe is not None
        service.probe.kill()
        service.probe.wait()
        assert service.card().state == "stale"
        assert service.probe.stderr is not None
        service.probe.stderr.close()
        service.config["port"] = int(endpoint.rpartition(":")[2])
        service.start()
        service.shop()
        assert service.ready["endpoint"] == endpoint
        assert total(service.synced_client()) == 4
        assert service.card().state == "up"


def test_a_port_that_is_taken_is_not_insisted_on() -> None:
    with socket.socket() as taken, FakeService() as service:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        service.config["port"] = taken.getsockname()[1]
        service.start()
        assert service.ready["endpoint"] != f"tcp://127.0.0.1:{service.config['port']}"
        assert service.client().ok("ping")


def test_two_live_nodes_cannot_have_one_name() -> None:
    """The second is told so, and the first is not disturbed."""
    with FakeService() as first:
        first.start()
        first.shop()
        client = first.synced_client()
        with FakeService(runtime=first.runtime) as second:
            second.launch()
            ready = second.expect("ready")
            assert ready["error"]["code"] == "name_taken"
            assert f"running already in process {os.getpid()}" in ready["error"]["message"]
            assert second.probe is not None
            assert second.probe.wait(PATIENCE_S) == 3
        assert total(client) == 4
        assert first.card().incarnation == first.config["incarnation"]


@pytest.mark.parametrize("line", [b"", b"{", b"[]\n", b"{}\n", b'{"node": "../../etc"}\n', b"\xff\xfe\n"])
def test_a_configuration_that_cannot_be_read_is_one_clear_line(line: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "observe.probe.process"],
        check=False,
        input=line,
        capture_output=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert done.stdout == b""
    assert len(done.stderr.decode().splitlines()) == 1
    assert b"Traceback" not in done.stderr


def test_a_directory_that_others_may_enter_is_refused() -> None:
    with FakeService() as service:
        service.directory.chmod(0o755)
        service.launch()
        error = service.expect("ready")["error"]
        assert error["code"] == "unsafe_directory"
        assert "chmod 700" in error["message"]


def test_an_address_that_cannot_be_bound_is_told() -> None:
    with FakeService(listen="tcp://192.0.2.1:5") as service:
        service.launch()
        error = service.expect("ready")["error"]
        assert error["code"] == "cannot_serve"
        assert "192.0.2.1" in error["message"]
