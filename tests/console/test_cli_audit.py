"""`observe audit`: read and proven from a node and from files alone; each fault with its own exit status."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner

from observe.audit.faults import Kind
from observe.audit.notes import Signer, Verifier, origin_of
from observe.console.cli import main
from tests.audit.logs import NODE, Attacker, append, filled, key_of, opened
from tests.console.test_cli_actions import office
from tests.console.test_cli_data import Running

__all__ = ["office"]


@pytest.fixture(autouse=True)
def _nothing_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OBSERVE_STATE_DIR", str(tmp_path / "state"))


def observe(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["audit", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A small log with some variety."""
    now = 1_795_000_000.0

    def wall() -> float:
        nonlocal now
        now += 3600.0
        return now

    made = opened(tmp_path / "log", wall=wall)
    for number in range(6):
        append(
            made, command_id=f"c{number}", target={"pid": number, "name": f"w{number}", "agent": f"w{number}"}
        )
        outcome = {"done": True, "what": f"w{number} was killed"}
        append(
            made,
            "completed",
            command_id=f"c{number}",
            outcome=outcome,
            target={"pid": number, "name": f"w{number}"},
        )
    append(
        made,
        "denied",
        command_id="c9",
        what="edit",
        reason="",
        outcome={"code": "forbidden", "message": "no"},
    )
    made.close()
    return tmp_path / "log"


# -- from files ----------------------------------------------------------------------------------------------------------


def test_show_tells_where_a_log_stands_and_a_command_in_full(log: Path) -> None:
    status, out, _ = observe("show", log)
    assert (status, "size        16" in out, key_of(log).vkey in out) == (0, True, True)
    assert json.loads(observe("show", log, "--json")[1])["first"] == 1
    lines = observe("show", log, 5, "--json")[1].splitlines()
    assert [(one["seq"], one["phase"]) for one in map(json.loads, lines)] == [
        (5, "requested"),
        (6, "completed"),
    ]
    status, _, err = observe("show", log, 99)
    assert (status, "there are 1 to 16" in err) == (1, True)


def test_search_finds_by_text_action_person_agent_and_time(log: Path) -> None:
    def found(*arguments: object) -> list[int]:
        status, out, err = observe("search", log, *arguments, "--json")
        assert (status, err) == (0, "") if out else (0, "no such record\n")
        return [json.loads(line)["seq"] for line in out.splitlines()]

    assert found("W3", "KILLED") == [10]
    assert found("--agent", "w3") == found("--agent", "3") == [9, 10]
    assert found("--what", "edit") == found("--phase", "denied") == [15]
    assert found("--who", "eve") == []
    assert found("--who", "ann", "--limit", "2") == [14, 15]
    assert found("--what", "opened") == [2]
    assert found("--since", "1s") == []
    since = found("--since", "2026-11-18T23:30")
    assert since == found()[-len(since) :]
    assert 0 < len(since) < 13
    assert found("--until", "2020-01-01") == []
    assert "c5" in observe("search", log, "c5", "--json")[1]
    assert observe("search", log, "--since", "soon")[0] == 2


def test_the_key_of_a_log_is_changed_in_its_files(log: Path) -> None:
    """Its node need not run for that; and with one that does, the lock says so."""
    old = key_of(log).vkey
    status, out, _ = observe("rotate-key", log, "--reason", "yearly", "--json")
    new = json.loads(out)["key"]
    assert (status, json.loads(out)["former"], key_of(log).vkey) == (0, old, new)
    assert observe("verify", log, "--key", old)[0] == 0
    found = [
        json.loads(line) for line in observe("search", log, "--what", "rotate_key", "--json")[1].splitlines()
    ]
    assert [(one["phase"], one["reason"]) for one in found] == [
        ("requested", "yearly"),
        ("completed", "yearly"),
    ]
    assert "the key changed (routine)" in observe("search", log, "--what", "key")[1]
    status, out, err = observe("rotate-key", log, "--compromised")
    assert (status, "was revoked" in out, "forget" in err) == (0, True, True)
    status, out, _ = observe("verify", log, "--key", new)
    assert (status, "KEY_REVOKED" in out) == (Kind.KEY_REVOKED.value, True)
    status, out, err = observe("verify", log)
    assert (status, "revoked as compromised" in err) == (0, True)
    held = opened(log)
    try:
        status, _, err = observe("rotate-key", log)
        assert (status, "another writer" in err) == (1, True)
    finally:
        held.close()


def test_tail_shows_the_newest_for_people_and_programs(log: Path) -> None:
    status, out, _ = observe("tail", log, "-n", 2)
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["15", "16"]
    assert "ann: edit w7: denied: no" in out
    assert len(observe("tail", log, "--json")[1].splitlines()) == 16


def test_an_export_is_the_log_or_log_records_of_opentelemetry(log: Path) -> None:
    out = observe("export", log)[1]
    assert out.encode() == (log / "000000000001.jsonl").read_bytes()
    out = observe("export", log, "--format", "otlp", "--phase", "denied")[1]
    (resource,) = json.loads(out)["resourceLogs"]
    facts = {one["key"]: one["value"] for one in resource["resource"]["attributes"]}
    assert facts["service.name"] == {"stringValue": "shop"}
    (record,) = resource["scopeLogs"][0]["logRecords"]
    assert (record["severityText"], record["body"]["stringValue"]) == ("WARN", "ann: edit w7: denied: no")
    attributes = {one["key"]: one["value"] for one in record["attributes"]}
    assert attributes["observe.audit.seq"] == {"intValue": "15"}
    assert attributes["user.name"] == {"stringValue": "ann"}
    assert record["timeUnixNano"].isdigit()


@contextmanager
def receiver(status: int = 200) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """An HTTP server that keeps what it is sent."""
    got: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", got
        server.shutdown()
        thread.join()


def test_an_export_goes_to_a_collector(log: Path) -> None:
    with receiver() as (url, got):
        status, out, err = observe("export", log, "--to", url)
        assert (status, out, err) == (0, "", f"16 records sent to {url}\n")
    ((path, body),) = got
    assert path == "/v1/logs"
    assert sum(len(one["scopeLogs"][0]["logRecords"]) for one in json.loads(body)["resourceLogs"]) == 16
    with receiver(503) as (url, _):
        assert observe("export", log, "--to", url)[0] == 1
    assert observe("export", log, "--to", url)[0] == 1


# -- proving -------------------------------------------------------------------------------------------------------------


def test_verify_proves_a_log_and_says_what_it_could_not_know(log: Path, tmp_path: Path) -> None:
    status, out, err = observe("verify", log)
    assert (status, "proven" in out) == (0, True)
    assert "--key" in err
    assert "elsewhere" in err
    anchor = tmp_path / "kept.notes"
    assert observe("anchor", log, "--file", anchor)[0] == 0
    status, out, err = observe("verify", log, "--key", key_of(log).vkey, "--anchor", anchor)
    assert (status, err) == (0, "")
    assert "16 records, signed up to 16; 1 checkpoint kept elsewhere compared" in out


def attacks(directory: Path, attacker: Attacker, kind: Kind) -> None:
    lines = attacker.lines
    if kind is Kind.ALTERED:
        attacker.change(lambda lines: lines.__setitem__(7, lines[7].replace(b"stuck", b"stock")))
    elif kind is Kind.REMOVED:
        attacker.change(lambda lines: lines.pop(7))
    elif kind is Kind.REORDERED:
        attacker.change(lambda lines: lines.insert(7, lines.pop(9)))
    elif kind is Kind.DUPLICATED:
        attacker.change(lambda lines: lines.insert(7, lines[5]))
    elif kind is Kind.REWRITTEN:
        attacks(directory, attacker, Kind.ALTERED)
        attacker.rehash()
    elif kind is Kind.TORN:
        attacker.change(lambda lines: lines.append(b'{"half'))
    elif kind in (Kind.CUT, Kind.ROLLED_BACK):
        attacker.change(lambda lines: lines.__delitem__(slice(12, None)))
        attacker.rehash()
        attacker.keep_notes(10 if kind is Kind.ROLLED_BACK else 9)
    elif kind is Kind.FORKED:
        attacks(directory, attacker, Kind.ALTERED)
        attacker.rehash()
        attacker.keep_notes(0)
    else:
        assert kind is Kind.EMPTIED
        assert lines
        for path in attacker.directory.glob("0*"):
            path.write_bytes(b"")


@pytest.mark.parametrize(
    "kind",
    [
        Kind.ALTERED, Kind.REMOVED, Kind.REORDERED, Kind.DUPLICATED, Kind.REWRITTEN, Kind.TORN, Kind.CUT, Kind.ROLLED_BACK,
        Kind.FORKED, Kind.EMPTIED,
    ],
    ids=lambda kind: kind.name,
)  # fmt: skip
def test_each_of_the_ten_attacks_has_its_own_exit_status(tmp_path: Path, kind: Kind) -> None:
    """With one checkpoint that somebody kept: four of these ten are invisible to a plain chain of hashes."""
    directory, anchor = tmp_path / "log", tmp_path / "kept"
    anchor.write_text(filled(directory, 20))
    key = key_of(directory).vkey
    attacks(directory, Attacker(directory), kind)
    status, out, _ = observe("verify", directory, "--key", key, "--anchor", anchor)
    assert (status, kind.name in out) == (kind.value, True)
    document = json.loads(observe("verify", directory, "--key", key, "--anchor", anchor, "--json")[1])
    assert document["status"] == kind.value
    assert kind.name in {one["kind"] for one in document["faults"]}


def test_what_is_no_log_or_no_key_is_a_usage_error(log: Path, tmp_path: Path) -> None:
    assert observe("verify", tmp_path)[0] == 2
    assert observe("verify", log, "--key", "nonsense")[0] == 1
    assert observe("verify", log, "--anchor", tmp_path / "missing")[0] == 2
    other = Signer(origin_of(NODE)).verifier.vkey
    assert observe("verify", log, "--key", other)[0] == Kind.WRONG_KEY.value


def test_a_checkpoint_is_anchored_with_a_file_a_command_a_webhook_and_a_collector(
    log: Path, tmp_path: Path
) -> None:
    note = observe("anchor", log)[1].rstrip("\n") + "\n"
    assert Verifier.parse(key_of(log).vkey).open(note).size == 16
    kept = tmp_path / "kept"
    for _ in range(2):
        assert observe("anchor", log, "--file", kept)[0] == 0
    assert kept.read_text() == (note + "\n") * 2
    assert observe("anchor", log, "--run", f"cat > {tmp_path}/piped")[0] == 0
    assert (tmp_path / "piped").read_text() == note
    with receiver() as (url, got):
        assert observe("anchor", log, "--webhook", url + "/hook")[0] == 0
        assert observe("anchor", log, "--otlp", url)[0] == 0
    assert got[0] == ("/hook", note.encode())
    (path, body) = got[1]
    (resource,) = json.loads(body)["resourceLogs"]
    (record,) = resource["scopeLogs"][0]["logRecords"]
    assert (path, record["eventName"], record["body"]["stringValue"]) == (
        "/v1/logs",
        "observe.audit.checkpoint",
        note,
    )
    assert {"key": "service.name", "value": {"stringValue": "shop"}} in resource["resource"]["attributes"]
    assert observe("anchor", log, "--webhook", url)[0] == 1
    assert observe("anchor", log, "--otlp", url)[0] == 1
    status, _, err = observe("anchor", log, "--run", "echo full >&2; exit 3")
    assert (status, "ended with 3: full" in err) == (1, True)
    assert observe("anchor", log, "--file", "/dev/null/x")[0] == 1
    with receiver(500) as (url, _):
        assert observe("anchor", log, "--witness", url)[0] == 1


def test_one_place_that_fails_does_not_keep_a_checkpoint_from_the_others(log: Path, tmp_path: Path) -> None:
    """And it is said which has it."""
    with receiver(500) as (url, _), receiver() as (other, got):
        status, out, err = observe(
            "anchor", log, "--file", tmp_path / "kept", "--webhook", url, "--otlp", other
        )
    assert (status, out, len(got)) == (1, "", 1)
    assert f"{url} answered 500" in err
    assert f"16 records anchored in {tmp_path}/kept" in err
    assert f"16 records anchored with the collector {other}" in err
    assert (tmp_path / "kept").read_text().count("observe/") == 2  # the origin, and the name of the key


# -- from a node ---------------------------------------------------------------------------------------------------------


def test_the_log_of_a_running_node(office: Running) -> None:
    """What was done shows at once; the receipt of the command is what it is compared with."""
    office.json("send", "office", "session-3", "hello", "--text", "--reason", "for the audit")
    status, out, _ = office.observe("audit", "search", "office", "for the audit")
    assert status == 0
    assert ["requested" in out, "completed" in out] == [True, True]
    assert "send session-3" in office.observe("audit", "tail", "office")[1]
    head = office.json("audit", "show", "office")
    report = office.json("audit", "verify", "office")
    assert (report["status"], report["anchors"], report["trusted"]) == (0, 1, True)
    # Whoever asks is on record, soon: of the two who have asked here, before or after they read.
    assert 0 <= report["records"] - head["size"] <= 2
    directory = Path(head["directory"])
    copy = directory.with_name("elsewhere")
    shutil.copytree(directory, copy)
    status, out, _ = office.observe("audit", "verify", str(copy))
    assert (status, "1 checkpoint kept elsewhere compared" in out) == (0, True)
    exported = office.observe("audit", "export", "office")[1]
    assert exported.encode() == b"".join(path.read_bytes() for path in sorted(directory.glob("*.jsonl")))
    name = report["key"].partition("+")[0].removeprefix("observe/")
    assert (
        office.observe("audit", "forget", name.partition("@")[0])[0] == 0
    )  # no other host has one of this name
    assert office.observe("audit", "forget", name)[0] == 1
