"""The audit log: what it says has happened, has; and it is on the disk before anything happens."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from observe.audit import segments as files
from observe.audit.errors import AuditUnavailable
from observe.audit.faults import Kind
from observe.audit.merkle import check_consistency
from observe.audit.notes import Signer, Verifier
from observe.audit.reading import History, read, read_all
from observe.audit.verify import verify
from tests.audit.logs import NODE, WHO, append, filled, key_of, opened

FIELDS = {
    "seq", "phase", "command_id", "who", "what", "target", "reason", "node", "incarnation", "wall", "monotonic", "outcome",
    "trace",
}  # fmt: skip


def lines_of(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for one in files.segments(directory) for line, _ in one.lines()]


def test_a_record_holds_who_what_whom_why_when_and_the_outcome(tmp_path: Path) -> None:
    """Those are the questions that are asked the morning after. Fields are never renamed."""
    log = opened(tmp_path / "audit", wall=lambda: 100.5, monotonic=lambda: 7.25)
    append(log)
    append(log, "completed", outcome={"done": True}, trace="ab" * 16)
    log.close()
    *_, first, second, closed = lines_of(tmp_path / "audit")
    assert set(first) == set(second) == FIELDS
    assert first == {
        "seq": 3, "phase": "requested", "command_id": "c1",
        "who": {"key": "0123456789abcdef", "name": "ann", "role": "operator", "user": "ann", "address": ""},
        "what": "kill", "target": {"pid": 7, "agent": "w7"}, "reason": "stuck", "node": NODE, "incarnation": "i",
        "wall": 100.5, "monotonic": 7.25, "outcome": None, "trace": "",
    }  # fmt: skip
    assert (second["seq"], second["phase"], second["outcome"]) == (4, "completed", {"done": True})
    assert second["trace"] == "ab" * 16
    assert (closed["phase"], closed["what"]) == ("noted", "closed")


def test_the_log_notes_how_it_is_kept(tmp_path: Path) -> None:
    """A reader must know by which rule secrets were masked, when records reach the disk, and whose key signs."""
    filled(tmp_path / "audit", 1)
    segment, about = lines_of(tmp_path / "audit")[:2]
    assert (segment["what"], segment["target"]["size"], segment["target"]["peaks"]) == ("segment", 0, [])
    assert about["what"] == "opened"
    assert about["target"] == {
        "rule": "none", "sync": "never", "keep_days": 400, "key": key_of(tmp_path / "audit").vkey,
    }  # fmt: skip


def test_a_log_that_nobody_writes_to_stays_empty(tmp_path: Path) -> None:
    """A node that is only looked at needs no key and no records."""
    log = opened(tmp_path / "audit")
    assert (log.size, log.checkpoint) == (0, "")
    log.tick()
    log.close()
    assert [path.name for path in (tmp_path / "audit").iterdir()] == ["lock"]


def test_what_was_written_can_be_read(tmp_path: Path) -> None:
    log = opened(tmp_path / "audit")
    written = [append(log, reason=f"line\nbreak {number} \x00 ä 😀") for number in range(5)]
    log.close()
    assert read(tmp_path / "audit") == (written, 0)


def test_numbers_go_on_when_the_log_is_opened_again(tmp_path: Path) -> None:
    """A probe that was restarted must not seem to have begun a new log."""
    for _ in range(3):
        log = opened(tmp_path / "audit")
        append(log)
        log.close()
        log.close()
    records, _ = read_all(tmp_path / "audit")
    assert [record.seq for record in records] == list(range(1, 11))
    assert [record.what for record in records] == ["segment", *["opened", "kill", "closed"] * 3]


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    """Also when its directory was made by something that was careless."""
    directory = tmp_path / "audit"
    directory.mkdir(mode=0o777)
    directory.chmod(0o777)
    filled(directory, 2)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for path in [*directory.glob("0*"), tmp_path / "audit.key"]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_a_key_that_others_may_read_signs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "audit"
    filled(directory, 1)
    (tmp_path / "audit.key").chmod(0o644)
    before = filled(directory, 1)
    assert "may be read by others" in caplog.text
    assert Verifier.parse((directory / "log.vkey").read_text()).open(before).size == 4
    assert verify(directory).verdict is Kind.UNSIGNED_TAIL


def test_every_record_is_made_durable(tmp_path: Path) -> None:
    """A record that the machine forgets with the power is none."""
    seen: list[int] = []
    path = tmp_path / "audit" / "000000000001.jsonl"
    log = opened(tmp_path / "audit", sync=lambda _: seen.append(len(path.read_bytes().splitlines())))
    append(log)
    append(log)
    assert seen == [1, 3, 4]
    log.close()
    assert seen[3] == 5


def test_there_is_one_writer(tmp_path: Path) -> None:
    log = opened(tmp_path / "audit")
    with pytest.raises(AuditUnavailable, match="another writer"):
        opened(tmp_path / "audit")
    log.close()
    with pytest.raises(AuditUnavailable, match="closed"):
        append(log)
    opened(tmp_path / "audit").close()


def test_threads_do_not_meet(tmp_path: Path) -> None:
    log = opened(tmp_path / "audit")

    def work() -> None:
        for _ in range(50):
            append(log)
            log.tick()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert verify(tmp_path / "audit").exit_code == 0
    assert len(read(tmp_path / "audit")[0]) == 200


# -- checkpoints, segments, retention ----------------------------------------------------------------------------------


def test_a_command_is_covered_by_a_checkpoint_at_once(tmp_path: Path) -> None:
    log = opened(tmp_path / "audit")
    record = append(log)
    checkpoint = key_of(tmp_path / "audit").open(log.checkpoint)
    assert checkpoint.size == record.seq == log.size
    log.close()


def test_other_records_are_covered_after_a_thousand_or_a_minute_and_when_the_log_is_closed(
    tmp_path: Path,
) -> None:
    now = 0.0
    log = opened(tmp_path / "audit", monotonic=lambda: now)
    append(log, control=False)
    log.tick()
    assert log.checkpoint == ""
    now = 61.0
    log.tick()
    key = key_of(tmp_path / "audit")
    assert key.open(log.checkpoint).size == 3
    for _ in range(999):
        append(log, control=False)
    assert key.open(log.checkpoint).size == 3
    append(log, control=False)
    assert key.open(log.checkpoint).size == 1003
    append(log, control=False)
    assert log.statistics() == {"records": 1004, "unsigned": 1, "failed": 0}
    log.close()
    assert key.open(log.checkpoint).size == 1005


def test_a_full_segment_is_followed_by_another_and_closed_for_writing(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    filled(directory, 40, segment_bytes=3000)
    first, *_, last = files.segments(directory)
    assert stat.S_IMODE(first.records.stat().st_mode) == 0o440
    assert stat.S_IMODE(last.records.stat().st_mode) == 0o600
    filled(directory, 40, segment_bytes=3000)
    assert verify(directory).exit_code == 0


def test_an_old_segment_is_closed_although_it_is_small(tmp_path: Path) -> None:
    """Or its old records would have to be kept together with new ones."""
    day = 0.0
    log = opened(tmp_path / "audit", wall=lambda: day * 86_400)
    append(log)
    day = 31.0
    append(log)
    log.close()
    assert len(files.segments(tmp_path / "audit")) == 2


def test_a_log_that_is_kept_for_a_week_does_not_wait_a_month(tmp_path: Path) -> None:
    """Its segments are closed the sooner, so that nothing stays for much longer than it was said to."""
    day = 0.0
    directory = tmp_path / "audit"
    log = opened(directory, wall=lambda: day * 86_400, keep_days=8)
    for day in (0.0, 1.0, 2.5, 4.9, 7.2, 9.8, 11.0):
        append(log, command_id=f"day {day}")
    log.close()
    assert {one.command_id for one in read_all(directory)[0]} >= {"day 4.9", "day 11.0"}
    assert all(one.wall > 0.9 * 86_400 for one in read_all(directory)[0])
    assert verify(directory).exit_code == 0


def test_records_that_are_old_enough_are_removed_and_the_proof_stays(tmp_path: Path) -> None:
    """The log says what it removed; a checkpoint from before can still be shown to be a part of it."""
    day = 0.0
    directory = tmp_path / "audit"
    log = opened(directory, wall=lambda: day * 86_400, keep_days=400, segment_bytes=3000)
    for number in range(30):
        append(log, command_id=f"c{number}")
    early = log.checkpoint
    day = 401.0
    append(log, reason="much later")
    log.close()
    report = verify(directory, key_of(directory), [early])
    assert report.exit_code == 0
    assert report.kept < 10 < report.records
    removed = [record for record in read_all(directory)[0] if record.what == "removed"]
    assert removed[0].target["first"] == 1
    old, new = key_of(directory).open(early), key_of(directory).open(log.checkpoint)
    proof = History(directory).tree.consistency(old.size, new.size)
    check_consistency(old.size, old.root, new.size, new.root, proof)


def test_what_was_kept_for_long_enough_goes_also_while_nobody_does_anything(tmp_path: Path) -> None:
    day = 0.0
    directory = tmp_path / "audit"
    log = opened(directory, wall=lambda: day * 86_400, monotonic=lambda: day * 86_400, segment_bytes=2000)
    for _ in range(10):
        append(log)
    day = 500.0
    log.tick()
    assert len(list(directory.glob("*.jsonl"))) == 1
    log.close()
    assert verify(directory).exit_code == 0


def test_without_a_library_for_signatures_the_log_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody could stop an agent otherwise, on a machine where an installation went wrong."""

    def missing(*_: object) -> Signer:
        raise ImportError("No module named 'cryptography'")

    monkeypatch.setattr(Signer, "of_file", missing)
    log = opened(tmp_path / "audit")
    append(log)
    append(log)
    log.close()
    assert log.checkpoint == ""
    assert caplog.text.count("is not signed: No module named 'cryptography'") == 1
    assert len(read(tmp_path / "audit")[0]) == 2


# -- what may stand in a record ----------------------------------------------------------------------------------------


class Rule:
    name = "test"

    def is_secret(self, name: str, value: object) -> bool:
        return name == "password"

    def mask(self, text: str) -> str:
        return text.replace("hunter2", "<masked>")


def test_secrets_are_masked_before_they_are_written(tmp_path: Path) -> None:
    """A record is kept for a year: what is in it cannot be taken back."""
    log = opened(tmp_path / "audit", rule=Rule())
    append(
        log, "completed", reason="hunter2 again", target={"arguments": {"password": 7, "text": ["hunter2"]}},
        outcome={"password": None, "deep": {"a": "x" * 1020 + "hunter2"}},
    )  # fmt: skip
    log.close()
    (record,) = read(tmp_path / "audit")[0]
    assert record.reason == "<masked> again"
    assert record.target == {"arguments": {"password": "<masked>", "text": ["<masked>"]}}
    assert b"hunter2" not in b"".join(path.read_bytes() for path in (tmp_path / "audit").iterdir())
    assert lines_of(tmp_path / "audit")[1]["target"]["rule"] == "test"


Make = Callable[[], Any]


@pytest.mark.parametrize(
    "make",
    [
        lambda: {"text": "x" * 3_000_000},
        lambda: {"number": 10**400, "float": float("nan"), "half": "\ud800", "bytes": b"\xff", "set": {1}},
        lambda: {"many": list(range(100_000))},
        lambda: {str(number): {"deep": ["y" * 2000] * 90} for number in range(90)},
        lambda: {"deep": [[[[[[[[[[[[1]]]]]]]]]]]]},
    ],
    ids=["text", "odd", "many", "large", "deep"],
)
def test_whatever_a_command_carries_a_record_is_bounded_and_json(tmp_path: Path, make: Make) -> None:
    log = opened(tmp_path / "audit")
    append(log, "completed", target={"pid": 1, "arguments": make()}, outcome=make())
    log.close()
    assert max(len(line) for one in files.segments(tmp_path / "audit") for line, _ in one.lines()) < 65_536
    (record,) = read(tmp_path / "audit")[0]
    assert record.target["pid"] == 1
    assert record.who == WHO
    assert verify(tmp_path / "audit").exit_code == 0
