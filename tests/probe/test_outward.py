"""What a probe takes out by itself: events to people, checkpoints of the audit log to where nobody can change them."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from observe.audit.merkle import check_consistency
from observe.audit.notes import Signer, Verifier, read_note, read_notes
from observe.audit.segments import WITNESSED
from observe.audit.verify import verify
from observe.probe import Anchor, Escalation, Probe, connect
from observe.probe.anchoring import NotAnchored
from observe.probe.courier import MOST_WAITING, TRIES, Courier, Outward
from observe.runtime import Agent, Budget, ChildSpec, Node, Supervisor
from observe.runtime.caps import Cap
from tests.audit.logs import NODE, append, key_of, opened
from tests.probe.live import eventually, private_runtime, until, wait_until


@contextmanager
def hook(refused: int = 0) -> Iterator[tuple[str, list[str]]]:
    """A webhook that says no so many times first: its URL, and what it has taken."""
    taken: list[str] = []
    left = [refused]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            if left[0]:
                left[0] -= 1
                self.send_response(503)
            else:
                taken.append(body)
                self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", taken
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_what_is_not_taken_is_tried_again_and_then_given_up_and_told_once() -> None:
    tries: list[str] = []

    def deliver(text: str) -> None:
        tries.append(text)
        if text.startswith("bad") or (text == "good" and tries.count("good") < 3):
            raise NotAnchored("they say no")

    courier = Courier("them", deliver, first_s=0.001)
    for text in ("good", "bad 1", "bad 2"):
        courier.send(text)
    wait_until(lambda: courier.failed == 2)
    assert tries.count("good") == 3
    assert tries.count("bad 1") == tries.count("bad 2") == TRIES
    assert list(courier.troubles) == ["what was to be told to them did not get there: they say no"]
    assert courier.statistics() == {"delivered": 1, "failed": 2, "dropped": 0, "waiting": 0}
    courier.close()


def test_one_that_hangs_holds_nobody_and_keeps_the_newest() -> None:
    hangs, began = threading.Event(), threading.Event()
    taken: list[str] = []

    def deliver(text: str) -> None:
        began.set()
        hangs.wait(30)
        taken.append(text)

    courier = Courier("them", deliver)
    courier.send("first")
    assert began.wait(30)
    for number in range(MOST_WAITING + 5):
        courier.send(str(number))
    assert courier.dropped == 5
    hangs.set()
    courier.close(30)
    assert taken == ["first", *map(str, range(5, MOST_WAITING + 5))]


def test_an_alarm_says_what_who_and_where_and_how_many_were_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("observe.probe.courier.time.monotonic", lambda: now[0])
    with hook(refused=1) as (url, taken):
        outward = Outward(
            "shop@h", "i", [Escalation(webhook=url, kinds=("finding",), a_minute=2)], None, print
        )
        item = {"seq": 1, "at": 5.0, "kind": "finding", "pid": 7, "name": "w", "class": "Worker"}
        for number in range(4):
            outward.take([item | {"text": f"stuck {number}"}, item | {"kind": "spawn", "text": "no"}])
        now[0] = 60.0
        outward.take([item | {"text": "again"}])
        wait_until(lambda: len(taken) == 3)
        outward.close()
    documents = [json.loads(text) for text in taken]
    assert documents[0] == {
        "node": "shop@h", "incarnation": "i", "at": 5.0, "kind": "finding", "pid": 7, "name": "w", "class": "Worker",
        "text": "stuck 0",
    }  # fmt: skip
    assert [(one["text"], one.get("left_out")) for one in documents] == [
        ("stuck 0", None), ("stuck 1", None), ("again", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("escalation", "told"),
    [
        (Escalation(webhook="http://h/"), ["daily", "loops", "stuck"]),
        (Escalation(webhook="http://h/", kinds=("governed",), policies=("dail?",)), ["daily"]),
        (Escalation(webhook="http://h/", policies=("loops",)), ["loops", "stuck"]),
        (Escalation(webhook="http://h/", agents=("Ledger",)), ["loops"]),
        (Escalation(webhook="http://h/", agents=("session-*",), policies=("daily",)), ["daily"]),
    ],
)
def test_each_is_told_what_it_is_about(escalation: Escalation, told: list[str]) -> None:
    events: list[dict[str, Any]] = [
        {"kind": "governed", "text": "daily", "reason": "daily", "name": "session-7", "class": "Session"},
        {"kind": "governed", "text": "loops", "reason": "loops", "name": None, "class": "Ledger"},
        {"kind": "finding", "text": "stuck", "reason": None, "name": None, "class": None},
        {"kind": "spawn", "text": "never", "name": "session-7", "class": "Session"},
    ]
    assert [event["text"] for event in events if escalation.is_about(event)] == told


async def test_a_cap_that_is_used_up_is_told_to_those_who_own_it() -> None:
    caps = [Cap("theirs", agents=("Spender",), tool_calls=1), Cap("others", tool_calls=100)]
    with hook(refused=1) as (url, taken), hook() as (other, left), pytest.MonkeyPatch.context() as patch:
        told = [
            Escalation(webhook=url, kinds=("governed",), policies=("theirs",)),
            Escalation(webhook=other, kinds=("governed",), policies=("others",)),
        ]
        with private_runtime(patch):
            async with (
                Node("capped", policies=caps) as node,
                Probe(node, placement="thread", tick_s=0.05, escalation=told),
            ):
                await (await node.spawn(Spender, name="spender")).call("now", timeout=30)
                await until(lambda: taken)
    [document] = map(json.loads, taken)
    assert document["text"] == "spender (pid 2) spends by theirs: agent: tool_calls 1 of 1"
    assert left == []


def test_a_trouble_with_telling_is_not_told_in_the_same_way() -> None:
    told: list[str] = []
    outward = Outward("shop@h", "i", [Escalation(webhook="http://127.0.0.1:9/")], None, told.append)
    outward._couriers[0].troubles.append("it did not get there")

    def tell(text: str) -> None:
        told.append(text)
        outward.take([{"seq": 1, "kind": "node", "text": text}])

    outward._tell = tell
    outward.look("", 0.0)
    assert told == ["it did not get there"]
    assert outward.statistics()["outward_waiting"] == 0
    outward.close()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Escalation(), "nobody is told"),
        (lambda: Escalation(webhook="chat.example"), "URL"),
        (lambda: Escalation(command="true", kinds=("spawn",)), "spawn"),
        (lambda: Escalation(command="true", a_minute=0), "a_minute"),
        (lambda: Escalation(command="true", kinds=("node",), policies=("refunds",)), "leaves out"),
        (lambda: Probe("shop", escalation=["true"]), "is an Escalation, or several"),  # type: ignore[list-item]  # the wrong kind
        (lambda: Anchor(), "nowhere"),
        (lambda: Anchor(file="x", every_s=0), "every_s"),
        (lambda: Anchor(witness="witness:8080"), "witness is a URL"),
        (lambda: Anchor(otlp="collector:4317"), "otlp is a URL"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_is_written(make: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make()


class Spender(Agent):
    async def handle(self, message: Any) -> None:
        async with self.activity("tool:buy"):
            """It counts."""


async def test_a_node_tells_of_its_troubles_and_anchors_its_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with private_runtime(monkeypatch), hook() as (url, taken):
        told, notes = tmp_path / "told", tmp_path / "notes"
        probe = {
            "escalation": Escalation(webhook=url, command=f"cat >> {told}; echo >> {told}"),
            "anchor": Anchor(file=str(notes), otlp=url, every_s=1),
        }
        async with Node("shop") as node, Probe(node, **probe), connect("shop", timeout_s=20.0) as client:  # type: ignore[arg-type]  # options by name
            budget = Budget(tool_calls=5, on_limit="suspended")
            await node.spawn(Supervisor, [ChildSpec(Spender, name="spender", budget=budget)])
            for _ in range(6):
                node.ref("spender").cast("buy")
            await until(lambda: {"limit"} <= {json.loads(text).get("kind") for text in taken})
            [limit] = [one for one in map(json.loads, taken) if one.get("kind") == "limit"]
            assert (limit["node"], limit["name"]) == (node.name, "spender")
            assert "tool_calls" in limit["text"]
            await until(lambda: told.exists() and '"limit"' in told.read_text())
            await eventually(client.agents, lambda page: page.matched > 2)
            await client.resume("spender", reason="looked at")
            head = await client.audit_head()
            await until(lambda: notes.exists() and head.checkpoint in notes.read_text())
            await until(
                lambda: any("resourceLogs" in text and json.dumps(head.checkpoint) in text for text in taken)
            )
        kept = [one.note for one in read_notes(notes.read_text())]
        report = verify(Path(head.directory), None, kept)
        assert (report.exit_code, report.anchors) == (0, len(kept))
        assert any("stopped" in json.loads(text).get("text", "") for text in taken)


@contextmanager
def witness(trusted: list[Verifier]) -> Iterator[tuple[str, list[int]]]:
    """Somebody who signs what has grown from what they know: their URL, and the sizes that they have signed."""
    signer, known, sizes = Signer("witness.example", b"w" * 32), [read_note(EMPTY)], [0]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            said, _, note = body.partition("\n\n")
            old, *proof = said.split("\n")
            new = trusted[0].open(note)
            if int(old.removeprefix("old ")) != known[0].size:
                self._answer(409, f"{known[0].size}\n")
                return
            if known[0].size:
                hashes = [base64.b64decode(one) for one in proof]
                check_consistency(known[0].size, known[0].root, new.size, new.root, hashes)
            known[0] = new
            sizes.append(new.size)
            self._answer(200, signer.line_for(new.text))

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", sizes
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


EMPTY = f"observe/shop@host\n0\n{base64.b64encode(bytes(32)).decode()}\n\nx\n"


def test_a_probe_has_a_witness_sign_its_log_as_it_grows(tmp_path: Path) -> None:
    """Nobody has to run anything beside it; and what the witness refuses is told."""
    log = opened(tmp_path / "log")
    append(log)
    said: list[str] = []
    trusted = [key_of(tmp_path / "log")]
    with witness(trusted) as (url, sizes):
        for round_ in range(2):  # a probe that begins anew learns from the witness what it knows
            outward = Outward(NODE, "i", [], Anchor(witness=url, every_s=1), said.append, tmp_path / "log")
            for at in range(2):
                append(log)
                outward.look(log.checkpoint, 100.0 * at)
                wait_until(lambda: sizes[-1] == read_note(log.checkpoint).size)
            outward.close()
            assert len(sizes) == 1 + 2 * (round_ + 1)
        kept = (tmp_path / "log" / WITNESSED).read_text()
        assert kept.startswith(log.checkpoint)
        Signer("witness.example", b"w" * 32).verifier.check(kept)
        report = verify(tmp_path / "log", None, [kept])
        assert (report.exit_code, report.anchors) == (0, 1)
    log.close()
