"""The audit log when something goes wrong: a crash, a disk that fails or is full, a place that is no log's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from observe.audit import segments as files
from observe.audit.errors import AuditDelayed, AuditUnavailable
from observe.audit.faults import Kind
from observe.audit.reading import read, read_all
from observe.audit.verify import verify
from tests.audit.logs import Attacker, append, filled, opened

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("half", [b'{"seq": 2, "phase": "requ', b"\x00" * 400, b"{"])
def test_a_half_line_left_by_a_crash_is_cut_off_and_noted(tmp_path: Path, half: bytes) -> None:
    """It was never acknowledged. The records after it stay readable, and that it was there is on record."""
    directory = tmp_path / "audit"
    filled(directory, 1)
    Attacker(directory).change(lambda lines: lines.append(half))
    log = opened(directory)
    append(log)
    log.close()
    records, damaged = read_all(directory)
    assert damaged == 0
    assert [record.what for record in records[4:]] == ["repaired", "opened", "kill", "closed"]
    assert records[4].target["bytes"] == len(half)
    assert verify(directory).exit_code == 0


def test_derived_files_are_made_again(tmp_path: Path) -> None:
    """A crash may come between a record and its hash, and in the middle of a checkpoint."""
    directory = tmp_path / "audit"
    filled(directory, 5)
    segment = files.segments(directory)[0]
    segment.hashes.write_bytes(segment.hashes.read_bytes()[:-50])
    with segment.notes.open("a") as file:
        file.write("observe/shop@host\n12\nabc")
    assert filled(directory, 1)
    assert verify(directory).exit_code == 0
    segment.hashes.unlink()
    filled(directory, 1)
    assert verify(directory).exit_code == 0


def test_a_disk_that_fails_is_told_and_not_hidden(tmp_path: Path) -> None:
    """The command must then not be carried out, and nothing of it is left behind. Later it may work again."""
    broken = False

    def sync(_: int) -> None:
        if broken:
            raise OSError(28, "No space left on device")

    log = opened(tmp_path / "audit", sync=sync)
    append(log)
    broken = True
    for _ in range(3):
        with pytest.raises(AuditUnavailable, match="No space left"):
            append(log, reason="not this one")
    assert log.statistics()["failed"] == 3
    broken = False
    append(log)
    log.close()
    assert verify(tmp_path / "audit").exit_code == 0
    assert [record.reason for record in read(tmp_path / "audit")[0]] == ["stuck", "stuck"]
    [resumed] = [record for record in read_all(tmp_path / "audit")[0] if record.what == "resumed"]
    assert resumed.target["records"] == 3
    assert "No space left" in resumed.target["why"]


def test_a_disk_that_is_full_no_more_is_found_without_another_record(tmp_path: Path) -> None:
    """Or the finding would stay until somebody tries something."""
    broken = False

    def sync(_: int) -> None:
        if broken:
            raise OSError(28, "No space left on device")

    log = opened(tmp_path / "audit", sync=sync)
    append(log)
    broken = True
    with pytest.raises(AuditUnavailable):
        append(log)
    log.tick()
    assert "No space left" in log.problem
    broken = False
    log.tick()
    assert log.problem == ""
    assert log.statistics() == {"records": 4, "unsigned": 0, "failed": 1}  # segment, opened, ours, resumed
    log.close()
    assert verify(tmp_path / "audit").exit_code == 0


def test_what_has_happened_already_is_written_when_there_is_room_again(tmp_path: Path) -> None:
    """With the time at which it did: an intent without its outcome would leave open what became of it."""
    now, broken = 1000.0, False

    def sync(_: int) -> None:
        if broken:
            raise OSError(28, "No space left on device")

    log = opened(tmp_path / "audit", sync=sync, wall=lambda: now)
    append(log, phase="requested", command_id="a")
    broken = True
    with pytest.raises(AuditDelayed):
        append(log, phase="completed", command_id="a", owed=True)
    now += 60.0
    with pytest.raises(AuditUnavailable) as refused:
        append(log, phase="requested", command_id="b")
    assert not isinstance(refused.value, AuditDelayed)
    broken = False
    log.tick()
    append(log, phase="requested", command_id="c")
    log.close()
    records = read_all(tmp_path / "audit")[0]
    assert [(one.command_id or one.what, one.phase, one.wall) for one in records[2:-1]] == [
        ("a", "requested", 1000.0),
        ("resumed", "noted", 1060.0),
        ("a", "completed", 1000.0),
        ("c", "requested", 1060.0),
    ]
    assert records[3].target["records"] == 2
    assert records[3].target["owed"] == 1
    assert verify(tmp_path / "audit").exit_code == 0


def test_no_more_than_so_many_records_are_owed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A monitored agent goes on while the disk is full."""
    monkeypatch.setattr("observe.audit.gap.MOST_OWED", 3)
    broken = False

    def sync(_: int) -> None:
        if broken:
            raise OSError(28, "No space left on device")

    log = opened(tmp_path / "audit", sync=sync)
    append(log)
    broken = True
    for number in range(5):
        with pytest.raises(AuditUnavailable) as refused:
            append(log, owed=True)
        assert isinstance(refused.value, AuditDelayed) is (number < 3)
    broken = False
    log.tick()
    log.close()
    assert len(read(tmp_path / "audit")[0]) == 4
    assert verify(tmp_path / "audit").exit_code == 0


def test_a_full_device_is_told(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    log = opened(tmp_path / "audit")
    append(log)
    full = os.open("/dev/full", os.O_WRONLY)
    assert log._open is not None
    os.dup2(full, log._open._records)
    os.close(full)
    with pytest.raises(AuditUnavailable, match="cannot be written"):
        append(log)
    log.close()
    assert verify(tmp_path / "audit").verdict in (None, Kind.UNSIGNED_TAIL)


@pytest.mark.parametrize("make", ["file", "link", "fifo"])
def test_only_a_directory_of_ours_is_a_log(tmp_path: Path, make: str) -> None:
    """A link could point to a place that is worth more."""
    path = tmp_path / "audit"
    victim = tmp_path / "victim"
    victim.mkdir()
    if make == "file":
        path.touch()
    elif make == "link":
        path.symlink_to(victim)
    else:
        os.mkfifo(path)
    with pytest.raises(AuditUnavailable):
        opened(path)
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize("make", ["link", "fifo"])
def test_only_a_regular_file_is_a_segment(tmp_path: Path, make: str) -> None:
    directory = tmp_path / "audit"
    filled(directory, 1)
    path = files.segments(directory)[0].records
    victim = tmp_path / "victim"
    victim.write_bytes(path.read_bytes())
    path.unlink()
    if make == "link":
        path.symlink_to(victim)
    else:
        os.mkfifo(path)
    before = victim.read_bytes()
    with pytest.raises(AuditUnavailable):
        opened(directory)
    assert victim.read_bytes() == before


def test_nothing_is_appended_to_a_log_that_was_tampered_with(tmp_path: Path) -> None:
    """A record behind a gap would make the gap look like a part of the log."""

    def cut(lines: list[bytes]) -> None:
        del lines[-3:]

    directory = tmp_path / "audit"
    filled(directory)
    Attacker(directory).change(cut)
    with pytest.raises(AuditUnavailable, match="3 signed records at its end are missing"):
        opened(directory)


def test_writers_that_are_killed_lose_nothing_that_they_acknowledged(tmp_path: Path) -> None:
    """`kill -9` at any moment. The long run is `python -m tests.audit.crashing 1000`."""
    code = "import sys; from pathlib import Path; from tests.audit.crashing import crash; "
    code += "print(crash(Path(sys.argv[1]), 15)['killed'])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "audit")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert (done.stdout.strip(), done.returncode) == ("15", 0), done.stderr
