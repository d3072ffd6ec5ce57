"""The audit log: what it says has happened, has; and it is on the disk before anything happens."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from observe.audit.log import AuditLog, AuditUnavailable, read
from observe.audit.record import Record, Who

WHO = Who(key="0123456789abcdef", name="ann", role="operator", user="ann")

FIELDS = {
    "seq", "phase", "command_id", "who", "what", "target", "reason", "node", "incarnation", "wall", "monotonic", "outcome",
}  # fmt: skip


def append(log: AuditLog, phase: Any = "requested", **facts: Any) -> Record:
    known: dict[str, Any] = {
        "command_id": "c1", "who": WHO, "what": "kill", "target": {"pid": 7, "agent": "w7"}, "reason": "stuck",
        "incarnation": "i",
    }  # fmt: skip
    return log.append(phase, **(known | facts))


def test_a_record_holds_who_what_whom_why_when_and_the_outcome(tmp_path: Path) -> None:
    """Those are the questions that are asked the morning after. Fields are never renamed."""
    log = AuditLog(tmp_path / "audit.jsonl", node="shop@host", wall=lambda: 100.5, monotonic=lambda: 7.25)
    append(log)
    append(log, "completed", outcome={"done": True})
    log.close()
    first, second = map(json.loads, (tmp_path / "audit.jsonl").read_text().splitlines())
    assert set(first) == set(second) == FIELDS
    assert first == {
        "seq": 1, "phase": "requested", "command_id": "c1",
        "who": {"key": "0123456789abcdef", "name": "ann", "role": "operator", "user": "ann"},
        "what": "kill", "target": {"pid": 7, "agent": "w7"}, "reason": "stuck", "node": "shop@host", "incarnation": "i",
        "wall": 100.5, "monotonic": 7.25, "outcome": None,
    }  # fmt: skip
    assert (second["seq"], second["phase"], second["outcome"]) == (2, "completed", {"done": True})


def test_what_was_written_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, node="n")
    written = [append(log, reason=f"line\nbreak {number} \x00 ä") for number in range(5)]
    log.close()
    assert read(path) == (written, 0)


def test_numbers_go_on_when_the_log_is_opened_again(tmp_path: Path) -> None:
    """A probe that was restarted must not seem to have begun a new log."""
    path = tmp_path / "audit.jsonl"
    for expected in (1, 2, 3):
        log = AuditLog(path, node="n")
        assert append(log).seq == expected
        log.close()
        log.close()


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    """Also when it was made by something that was careless."""
    path = tmp_path / "audit.jsonl"
    path.touch(mode=0o666)
    path.chmod(0o666)
    AuditLog(path, node="n").close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_record_is_made_durable(tmp_path: Path) -> None:
    """A record that the machine forgets with the power is none."""
    path = tmp_path / "audit.jsonl"
    seen: list[int] = []
    log = AuditLog(path, node="n", sync=lambda _: seen.append(len(path.read_bytes().splitlines())))
    append(log)
    append(log)
    log.close()
    assert seen == [1, 2]


def test_a_half_line_left_by_a_crash_damages_only_itself(tmp_path: Path) -> None:
    """The records after it must stay readable, and the damage must show."""
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, node="n")
    append(log)
    log.close()
    with path.open("ab") as file:
        file.write(b'{"seq": 2, "phase": "requ')
    log = AuditLog(path, node="n")
    assert append(log).seq == 3
    log.close()
    records, damaged = read(path)
    assert [record.seq for record in records] == [1, 3]
    assert damaged == 1


def test_a_disk_that_fails_is_told_and_not_hidden(tmp_path: Path) -> None:
    """The command must then not be carried out."""

    def broken(_: int) -> None:
        raise OSError(28, "No space left on device")

    log = AuditLog(tmp_path / "audit.jsonl", node="n", sync=broken)
    with pytest.raises(AuditUnavailable, match="No space left"):
        append(log)
    log.close()


def test_a_full_device_is_told(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    log = AuditLog(tmp_path / "audit.jsonl", node="n")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log._descriptor)
    os.close(full)
    with pytest.raises(AuditUnavailable, match="cannot be written"):
        append(log)
    log.close()


@pytest.mark.parametrize("make", ["directory", "link", "fifo"])
def test_only_a_regular_file_is_a_log(tmp_path: Path, make: str) -> None:
    """A link could point to a file that is worth more."""
    path = tmp_path / "audit.jsonl"
    victim = tmp_path / "victim"
    victim.write_text("precious")
    if make == "directory":
        path.mkdir()
    elif make == "link":
        path.symlink_to(victim)
    else:
        os.mkfifo(path)
    with pytest.raises(AuditUnavailable):
        AuditLog(path, node="n")
    assert victim.read_text() == "precious"
