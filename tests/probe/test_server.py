"""The probe as its clients meet it: a real process, real keys, and a service that says what the test tells it to."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest

from observe.probe.keys import new_key_pair
from tests.probe.fake_service import FakeService
from tests.probe.patience import eventually
from tests.probe.raw_client import RawClient

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
    eventually(lambda: client.total() == 3)
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
    eventually(lambda: client.total() == 10_004)
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
    assert client.total() == 1004


# -- who may attach, and do what ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "role", "may_kill"), [(VIEWER, "viewer", False), (OPERATOR, "operator", True)]
)
def test_a_role_comes_from_the_key(
    service: FakeService, client: RawClient, keys: tuple[str, str], role: str, may_kill: bool
) -> None:
    other = service.client_with_key(*keys)
    assert other.role == role
    assert other.total() == 4
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
    records = service.commands_on_record()
    assert [(record.what, record.phase) for record in records] == [
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
    records = service.commands_on_record()
    assert [(record.phase, record.target["pid"]) for record in records] == [
        ("requested", 3),
        ("completed", 3),
    ]
    assert number


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
        assert client.total() == 4


# -- the feed ----------------------------------------------------------------------------------------------------------


def test_a_gap_in_the_feed_asks_for_everything_anew(service: FakeService, client: RawClient) -> None:
    """A lost frame may have held an exit: its agent would be shown for ever."""
    service.seq += 1
    service.exit(2)
    service.answer(service.expect("resync"), {})
    assert client.total() == 4  # the picture of before is shown until there is a better one
    service.hello()
    service.shop(5)
    service.vitals(agents=6)
    eventually(lambda: client.total() == 6)
    service.exit(2)
    eventually(lambda: client.total() == 5)


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
        assert client.total() == 4
        service.hello()
        service.shop(1)
        service.vitals(agents=2)
        eventually(lambda: client.total() == 2)


def test_a_fork_of_the_service_is_not_believed(service: FakeService, client: RawClient) -> None:
    """A child that inherited the socket speaks with the parent's voice; its hello gives it away."""
    service.hello(pid=os.getpid() + 1)
    service.exit(2, 3, 4)
    service.expect("resync")
    assert client.total() == 4


def test_resync_is_not_asked_for_again_and_again(service: FakeService, client: RawClient) -> None:
    """A service that sends nonsense must not also be kept busy sending everything."""
    service.send_raw(b"\xc1")
    service.expect("resync")
    for _ in range(200):
        service.send_raw(b"\xc1")
    time.sleep(0.3)  # nothing can be waited for: the point is what does not come
    assert client.ok("ping")
    assert not service.control.poll(0)
