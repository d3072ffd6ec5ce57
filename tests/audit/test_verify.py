"""Whoever changes a log is found, and the place is named; with the files and a public key alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from observe.audit.errors import AuditUnavailable
from observe.audit.faults import Fault, Kind
from observe.audit.log import AuditLog
from observe.audit.notes import BadNote, Signer, origin_of
from observe.audit.verify import verify
from tests.audit.logs import NODE, Attacker, append, filled, key_of, opened

FIRST = 3
"""The first record that is not the log's own: a segment begins, the log was opened, and then."""


def only(directory: Path, *anchors: str) -> Fault:
    (fault,) = verify(directory, key_of(directory), anchors).faults
    return fault


def test_a_log_that_nobody_touched_is_proven(tmp_path: Path) -> None:
    """Over several segments, with every earlier checkpoint as an anchor."""
    log = opened(tmp_path / "audit", segment_bytes=3000)
    notes = []
    for number in range(40):
        append(log, command_id=f"c{number}")
        notes.append(log.checkpoint)
    log.close()
    report = verify(tmp_path / "audit", key_of(tmp_path / "audit"), notes)
    assert (report.faults, report.exit_code, report.trusted) == ([], 0, True)
    assert report.segments > 3
    assert report.records == report.kept == report.signed == log.size
    assert report.anchors == 40


def test_a_log_can_be_verified_while_it_is_written(tmp_path: Path) -> None:
    log = opened(tmp_path / "audit")
    for _ in range(3):
        append(log)
        assert verify(tmp_path / "audit").exit_code == 0
    append(log, control=False)
    append(log, control=False)
    assert verify(tmp_path / "audit").exit_code == Kind.UNSIGNED_TAIL.value
    log.close()
    assert verify(tmp_path / "audit").exit_code == 0


def flip(lines: list[bytes]) -> None:
    lines[7] = lines[7].replace(b"stuck", b"stock")


TAMPERINGS: list[tuple[str, Callable[[list[bytes]], object], Kind, int, int]] = [
    ("a changed field", flip, Kind.ALTERED, 8, 8),
    ("a flipped bit in the last record", lambda lines: lines.append(
        lines.pop().replace(b"closed", b"cloced")), Kind.ALTERED, 23, 23),
    ("a removed record", lambda lines: lines.pop(7), Kind.REMOVED, 8, 8),
    ("an inserted record", lambda lines: lines.insert(
        7, lines[7].replace(b"c5", b"c99")), Kind.INSERTED, 8, 8),
    ("a duplicated record", lambda lines: lines.insert(9, lines[7]), Kind.DUPLICATED, 10, 10),
    ("two records in another order", lambda lines: lines.insert(7, lines.pop(8)), Kind.REORDERED, 8, 8),
    ("a cut tail", lambda lines: lines.pop(), Kind.CUT, 23, 23),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "do", "kind", "line", "record"), TAMPERINGS, ids=[one[0] for one in TAMPERINGS]
)
def test_a_tampering_is_named_with_its_place(
    tmp_path: Path, what: str, do: Callable[[list[bytes]], object], kind: Kind, line: int, record: int
) -> None:
    directory = tmp_path / "audit"
    filled(directory)
    attacker = Attacker(directory)
    attacker.change(do)
    fault = only(directory)
    assert (fault.kind, fault.line, fault.record) == (kind, line, record), what
    assert fault.file == "000000000001.jsonl"
    with pytest.raises(AuditUnavailable, match="tampered"):
        AuditLog(directory, node=NODE)


def test_several_tamperings_are_all_named(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    filled(directory, 60, segment_bytes=3000)
    Attacker(directory, 0).change(lambda lines: lines.pop(3))
    Attacker(directory, 2).change(lambda lines: lines.__setitem__(2, lines[2].replace(b"stuck", b"stock")))
    faults = verify(directory).faults
    assert [(one.kind, one.line) for one in faults] == [(Kind.REMOVED, 4), (Kind.ALTERED, 3)]


def test_records_rewritten_with_their_hashes_contradict_the_checkpoints(tmp_path: Path) -> None:
    """Each command has a checkpoint, so the very record is named."""
    directory = tmp_path / "audit"
    filled(directory)
    attacker = Attacker(directory)
    attacker.change(flip)
    attacker.rehash()
    fault = only(directory)
    assert (fault.kind, fault.line, fault.record) == (Kind.REWRITTEN, 8, 8)


def test_a_replaced_segment_is_named(tmp_path: Path) -> None:
    directory, other = tmp_path / "audit", tmp_path / "other"
    filled(directory, 60, segment_bytes=3000)
    filled(other, 60, segment_bytes=3000)
    victim, theirs = Attacker(directory, 1), Attacker(other, 1)
    assert victim.segment.first == theirs.segment.first
    victim.segment.records.chmod(0o600)
    shutil.copy(theirs.segment.records, victim.segment.records)
    fault = only(directory)
    assert (fault.kind, fault.file) == (Kind.REPLACED, victim.segment.records.name)
    for one in ("hashes", "notes"):
        mine = getattr(victim.segment, one)
        mine.chmod(0o600)
        shutil.copy(getattr(theirs.segment, one), mine)
    assert verify(directory, key_of(directory)).verdict is Kind.WRONG_KEY


def test_a_missing_segment_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    filled(directory, 60, segment_bytes=3000)
    victim = Attacker(directory, 1).segment
    victim.records.unlink()
    fault = only(directory)
    assert (fault.kind, fault.record) == (Kind.REMOVED, victim.first)
    victim.hashes.unlink()
    victim.notes.unlink()
    assert verify(directory).verdict is Kind.REMOVED


def test_half_a_line_is_a_crash_and_no_tampering(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    filled(directory)
    Attacker(directory).change(lambda lines: lines.append(b'{"command_id":"c'))
    fault = only(directory)
    assert (fault.kind, fault.kind.is_tampering, fault.line) == (Kind.TORN, False, 24)


# -- with a checkpoint that somebody kept ----------------------------------------------------------------------------------


def test_a_tail_cut_off_with_its_checkpoints_is_found_by_an_anchor(tmp_path: Path) -> None:
    """Without one it is a log as it was a while ago; nothing in it is wrong."""
    directory = tmp_path / "audit"
    anchor = filled(directory)
    attacker = Attacker(directory)
    attacker.change(lambda lines: lines.__delitem__(slice(12, None)))
    attacker.rehash()
    attacker.keep_notes(10)
    assert verify(directory).exit_code == 0
    fault = only(directory, anchor)
    assert (fault.kind, fault.record) == (Kind.ROLLED_BACK, 13)


def test_a_tail_cut_off_behind_the_last_checkpoint_is_found_by_an_anchor(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    anchor = filled(directory)
    attacker = Attacker(directory)
    attacker.change(lambda lines: lines.__delitem__(slice(14, None)))
    attacker.rehash()
    attacker.keep_notes(10)
    assert verify(directory).verdict is Kind.UNSIGNED_TAIL
    assert verify(directory, None, [anchor]).verdict is Kind.CUT


def test_a_log_without_checkpoints_is_told_and_an_anchor_shows_the_change(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    anchor = filled(directory)
    attacker = Attacker(directory)
    attacker.change(flip)
    attacker.rehash()
    attacker.keep_notes(0)
    assert verify(directory).verdict is Kind.UNSIGNED
    assert verify(directory, None, [anchor]).verdict is Kind.FORKED


def test_who_has_the_key_is_still_found_by_an_anchor(tmp_path: Path) -> None:
    """The log is perfect in itself, and another than the one that was shown before."""
    directory = tmp_path / "audit"
    anchor = filled(directory)
    attacker = Attacker(directory)
    attacker.change(flip)
    attacker.sign_again()
    assert verify(directory).exit_code == 0
    fault = only(directory, anchor)
    assert (fault.kind, fault.record) == (Kind.FORKED, 23)


@pytest.mark.parametrize("how", ["files", "directory"])
def test_an_emptied_log_is_found_by_an_anchor(tmp_path: Path, how: str) -> None:
    directory = tmp_path / "audit"
    anchor = filled(directory)
    key = key_of(directory)
    if how == "files":
        for path in directory.iterdir():
            path.write_bytes(b"")
    else:
        shutil.rmtree(directory)
    assert verify(directory, key).exit_code == 0
    report = verify(directory, key, [anchor])
    assert report.verdict is Kind.EMPTIED


def test_the_wrong_key_is_told(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    anchor = filled(directory)
    other = Signer(origin_of(NODE)).verifier
    assert verify(directory, other).verdict is Kind.WRONG_KEY
    assert verify(directory, other, [anchor]).verdict is Kind.WRONG_KEY
    Attacker(directory).sign_again(seed=b"x" * 32)
    assert verify(directory, key_of(directory)).verdict is Kind.WRONG_KEY


def test_a_forged_checkpoint_is_told(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    filled(directory)
    notes = Attacker(directory).segment.notes
    lines = notes.read_text().splitlines(keepends=True)
    at = len(lines) - 2
    lines[at] = lines[at][:-20] + ("A" if lines[at][-20] != "A" else "B") + lines[at][-19:]
    notes.write_text("".join(lines))
    assert verify(directory, key_of(directory)).verdict is Kind.FORGED


def test_each_kind_has_its_own_exit_status() -> None:
    codes = [kind.value for kind in Kind]
    assert len(codes) == len(set(codes))
    assert not {0, 1, 2} & set(codes)


# -- whatever somebody does --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    directory = tmp_path_factory.mktemp("log") / "audit"
    anchor = filled(directory, 40, segment_bytes=4000)
    return directory, anchor


@st.composite
def tampering(draw: st.DrawFn) -> tuple[str, int, int, int]:
    what = draw(st.sampled_from(["flip", "remove", "insert", "duplicate", "swap", "truncate", "empty"]))
    return what, draw(st.integers(0, 3)), draw(st.integers(0, 2**31)), draw(st.integers(0, 2**31))


@given(case=tampering())
@example(case=("duplicate", 3, 7, 7))  # the last record of all, once more: no crash leaves that
def test_no_tampering_with_a_file_goes_unnoticed(
    original: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory, case: tuple[str, int, int, int]
) -> None:
    """Any byte, any line, any of the three files of any segment. Only a cut along a checkpoint needs an anchor."""
    what, which, a, b = case
    directory = tmp_path_factory.mktemp("copy") / "audit"
    shutil.copytree(original[0], directory)
    attacker = Attacker(directory, which % 4)
    path = attacker.segment.records
    path.chmod(0o600)
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    at, other = a % len(lines), b % len(lines)
    if what == "flip":
        place = a % len(data)
        data = data[:place] + bytes([data[place] ^ (1 << b % 8)]) + data[place + 1 :]
    elif what == "remove":
        del lines[at]
    elif what == "insert":
        lines.insert(at, lines[other].replace(b'"stuck"', b'"bored"').replace(b'"observe"', b'"nobody"'))
    elif what == "duplicate":
        lines.insert(at, lines[other])
    elif what == "swap":
        if at == other:
            return
        lines[at], lines[other] = lines[other], lines[at]
    elif what == "truncate":
        data = data[: a % len(data)]
    else:
        data = b""
    path.write_bytes(data if what in ("flip", "truncate", "empty") else b"".join(lines))
    report = verify(directory, key_of(original[0]), [original[1]])
    assert report.verdict is not None
    assert report.verdict.is_tampering
    shutil.rmtree(directory.parent)


def test_a_log_that_was_never_signed_is_told_as_such(tmp_path: Path) -> None:
    """No key beside it: a finding with its own status, and not a mistake of whoever asks. So is one that lost both."""
    filled(tmp_path / "audit")
    (tmp_path / "audit" / "log.vkey").unlink()
    with pytest.raises(BadNote, match="give the log's public key"):
        verify(tmp_path / "audit")
    for path in (tmp_path / "audit").glob("*.notes"):
        path.unlink()
    report = verify(tmp_path / "audit")
    assert (report.verdict, report.exit_code, report.key) == (Kind.UNSIGNED, 23, "")
    assert report.records == report.kept == 23
