"""The key of a log changes: what was signed before stays proven, and a lost or stolen key is said plainly."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from observe.audit import segments as files
from observe.audit.errors import AuditUnavailable
from observe.audit.faults import Kind
from observe.audit.keyring import Keyring, read_rotation, rotations_of, state_rotation
from observe.audit.notes import BadNote, Signer, Verifier, WrongKey, read_note, read_notes
from observe.audit.reading import read_all
from observe.audit.verify import verify
from tests.audit.logs import NODE, Attacker, append, key_of, opened

NAME = f"observe/{NODE}"


def turned(directory: Path, *whys: Any, **options: Any) -> list[str]:
    """A log whose key has changed so often, with records before, between and after; the checkpoints meanwhile."""
    log = opened(directory, **options)
    append(log)
    notes = [log.checkpoint]
    for why in whys:
        log.rotate(why)
        append(log)
        notes.append(log.checkpoint)
    log.close()
    return notes


def kinds(directory: Path, key: Verifier | None = None, anchors: Any = ()) -> set[str]:
    return {one.kind.name for one in verify(directory, key, anchors).faults}


def test_a_log_is_proven_across_changes_of_its_key_from_either_end(tmp_path: Path) -> None:
    """Whoever knows only the first key, or only the last, needs nothing else; and old anchors stay good."""
    directory = tmp_path / "log"
    notes = turned(directory, "routine", "routine", segment_bytes=1500)
    assert len(files.segments(directory)) > 1
    rotations, recorded = rotations_of(directory)
    assert [one.note in recorded for one in rotations] == [True, True]
    first, last = rotations[0].old, rotations[-1].new
    assert first is not None
    assert key_of(directory) == last
    for key in (None, first, rotations[0].new, last):
        report = verify(directory, key, notes)
        assert (report.faults, len(report.remarks), report.key) == ([], 2, last.vkey)
    both = next(one for one in read_notes(_all_notes(directory)) if one.size == rotations[0].record)
    assert first.open(both.note) == rotations[0].new.open(both.note)
    assert kinds(directory, Signer(NAME).verifier) == {"WRONG_KEY"}
    (directory / files.ROTATIONS).unlink()  # it is derived: the records say the same
    assert kinds(directory, first) == set()
    with pytest.raises(BadNote):
        Verifier.parse(first.vkey).check(rotations[0].note.replace("routine", "lost"))


def _all_notes(directory: Path) -> str:
    return "".join(one.read_notes() for one in files.segments(directory))


def test_the_key_before_is_gone_and_what_it_would_sign_now_does_not_count(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    log = opened(directory)
    append(log)
    stolen = Signer.of_file(directory.with_name("log.key"), NAME)
    log.rotate("routine")
    append(log)
    log.close()
    assert Signer.of_file(directory.with_name("log.key"), NAME).verifier != stolen.verifier
    assert not directory.with_name("log.key.next").exists()
    newest = read_note(log.checkpoint)
    anchor = stolen.sign(newest.size, newest.root)
    report = verify(directory, None, [anchor])
    assert report.verdict is Kind.WRONG_KEY
    assert "was given up at record" in report.faults[0].text
    thief = state_rotation(stolen, stolen.verifier, Signer(NAME), newest.size, "routine", 1.0)
    with (directory / files.ROTATIONS).open("a") as file:
        file.write(thief.note + "\n")
    assert "FORGED" in kinds(directory, stolen.verifier)


def test_a_revoked_key_vouches_for_nobody(tmp_path: Path) -> None:
    """A thief could have named a successor as well: the new key has to come another way."""
    directory = tmp_path / "log"
    turned(directory, "compromised")
    old = rotations_of(directory)[0][0].old
    assert old is not None
    assert kinds(directory, old) == {"KEY_REVOKED"}
    report = verify(directory, key_of(directory))
    assert (report.exit_code, "revoked as compromised" in report.remarks[0]) == (0, True)


@pytest.mark.parametrize("how", ["removed", "another"])
def test_a_lost_key_is_said_plainly_and_the_log_goes_on(tmp_path: Path, how: str) -> None:
    directory = tmp_path / "log"
    [anchor] = turned(directory)
    old = key_of(directory)
    key = directory.with_name("log.key")
    key.unlink()
    if how == "another":
        Signer(NAME).write(key)
    log = opened(directory)
    append(log)
    log.close()
    records, _ = read_all(directory)
    [said] = [one for one in records if one.what == "key"]
    assert (said.target["why"], said.target["from"]) == ("lost", old.vkey)
    for trusted in (None, old):
        report = verify(directory, trusted)
        assert {one.kind for one in report.faults if one.kind is not Kind.WRONG_KEY} == {Kind.KEY_LOST}
        assert any(f"from record {said.seq} on" in one.text for one in report.faults)
    report = verify(directory, key_of(directory), [anchor])
    assert (report.exit_code, len(report.remarks)) == (0, 1)


@pytest.mark.parametrize("place", ["before its record", "after its record"])
def test_a_crash_while_the_key_changes_leaves_one_of_the_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The record decides: without it the new key was never used, with it the new key follows."""
    directory = tmp_path / "log"
    log = opened(directory)
    append(log)
    old = log.vkey

    class Crash(BaseException):
        """The process ends here."""

    def crash(*_: object) -> None:
        raise Crash

    monkeypatch.setattr(log, "_note_key" if place == "before its record" else "_sign", crash)
    if place == "after its record":
        monkeypatch.setattr(log._key, "_put_in_place", crash)
    with pytest.raises(Crash):
        log.rotate()
    monkeypatch.undo()
    log._let_go()
    assert directory.with_name("log.key.next").exists()
    again = opened(directory)
    append(again)
    again.close()
    assert (again.vkey == old) is (place == "before its record")
    assert not directory.with_name("log.key.next").exists()
    assert kinds(directory, Verifier.parse(old)) == set()


def test_a_key_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    (tmp_path / "keys").mkdir()
    log = opened(directory, key=tmp_path / "keys" / "x.key")
    append(log)
    before = log.vkey
    (tmp_path / "keys" / "x.key.next").mkdir()
    with pytest.raises(AuditUnavailable, match="cannot be written"):
        log.rotate()
    append(log)
    log.close()
    assert (log.vkey, kinds(directory)) == (before, set())


def test_what_is_no_rotation_says_nothing() -> None:
    one, other, third = Signer(NAME), Signer(NAME), Signer(NAME)
    good = state_rotation(one, one.verifier, other, 7, "routine", 5.0)
    assert read_rotation(good.note) == good
    for bad in (
        good.note.replace("record 7", "record 8"),
        good.note.replace("routine", "whatever"),
        "\n".join(line for at, line in enumerate(good.note.split("\n")) if at != 7),
        good.note.replace(other.verifier.vkey, third.verifier.vkey),
        one.sign(7, b"x" * 32),
        "",
    ):
        with pytest.raises(BadNote):
            read_rotation(bad)
    ring = Keyring(one.verifier, [good])
    assert ring.newest == other.verifier
    root = os.urandom(32)
    assert (ring.open(one.sign(7, root)).size, ring.open(other.sign(7, root)).size) == (7, 7)
    for note in (one.sign(8, root), other.sign(6, root), third.sign(7, root)):
        with pytest.raises(WrongKey):
            ring.open(note)


def test_a_rotation_that_the_log_does_not_tell_of_is_found(tmp_path: Path) -> None:
    """Beside the log stands what only its thief has signed."""
    directory = tmp_path / "log"
    turned(directory)
    own = Signer.of_file(directory.with_name("log.key"), NAME)
    forged = state_rotation(own, own.verifier, Signer(NAME), 3, "routine", 1.0)
    (directory / files.ROTATIONS).write_text(forged.note + "\n")
    assert "FORGED" in kinds(directory)
    Attacker(directory).change(lambda lines: lines.pop(2))
    assert "REMOVED" in kinds(directory, own.verifier) | kinds(directory)
