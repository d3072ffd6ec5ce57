"""The keys of a log, one after the other, and what says that one follows the other.

A rotation is a signed note as of https://c2sp.org/signed-note, with a text of its own that can be taken for no checkpoint:

    observe/shop@host
    key rotation at record 1042
    from observe/shop@host+ee6a1b33+AXp…
    to observe/shop@host+0a91c7d2+AYk…
    routine
    1795654321

    — observe/shop@host 7mobM…      (by the old key)
    — observe/shop@host CpHH0…      (by the new key)

What the old key has signed counts for logs of up to that many records, and what the new one has for logs of at least as
many. Where the old key is lost only the new one has signed: whoever trusts the old one has no reason to trust the new.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from observe.audit import segments as files
from observe.audit.notes import BadNote, Checkpoint, Signer, Verifier, WrongKey, read_note, signed_note
from observe.audit.record import Record

Why = Literal["routine", "compromised", "lost"]

MOST: Final = 1000
"""Rotations that are read of one log: more than a key a week for as long as a log is kept."""

ROTATION_BYTES: Final = 4096
UNKNOWN: Final = "unknown"
"""In place of the old key, when it is not even known which it was."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """One key follows another."""

    record: int
    """Number of the record that says so. The old key has signed logs of up to so many, the new one of at least."""
    old: Verifier | None
    """None when it is not known."""
    new: Verifier
    why: Why
    """`routine`; `compromised`: somebody else may have the old key; `lost`: nobody has it any more."""
    wall: int
    """Unix time."""
    note: str
    is_signed_by_old: bool


def state_rotation(
    old: Signer | None, former: Verifier | None, new: Signer, record: int, why: Why, wall: float
) -> Rotation:
    """Say that a key follows another, signed by both; by the new one alone when the old one is not there."""
    assert old is not None or why == "lost"
    name, known = new.verifier.name, former.vkey if former else UNKNOWN
    text = (
        f"{name}\nkey rotation at record {record}\nfrom {known}\nto {new.verifier.vkey}\n{why}\n{int(wall)}\n"
    )
    return read_rotation(signed_note(text, *(() if old is None else (old,)), new))


def read_rotation(note: str) -> Rotation:
    """Read one, and check that the new key has signed it, and whether the old one has.

    Raises:
        BadNote: it is none, or not signed by the key that it is about.
    """
    lines = note.partition("\n\n")[0].split("\n")
    number = lines[1].removeprefix("key rotation at record ") if len(lines) == 6 else ""
    if not number.isdigit() or len(note) > ROTATION_BYTES or lines[4] not in get_args(Why):
        raise BadNote("this says of no key that it follows another")
    if not lines[5].isdigit() or not lines[2].startswith("from ") or not lines[3].startswith("to "):
        raise BadNote("this says of no key that it follows another")
    known = lines[2].removeprefix("from ")
    old = None if known == UNKNOWN else Verifier.parse(known)
    new = Verifier.parse(lines[3].removeprefix("to "))
    if new.name != lines[0] or (old is not None and old.name != lines[0]):
        raise BadNote("the keys of this rotation are those of another log")
    new.check(note)
    by_old = False
    if old is not None:
        try:
            old.check(note)
            by_old = True
        except WrongKey:
            pass
    why: Why = lines[4]  # type: ignore[assignment]  # one of them, as was looked at
    if not by_old and why != "lost":
        raise BadNote("the old key has not signed that the new one follows it")
    return Rotation(int(number), old, new, why, int(lines[5]), note, by_old)


def read_rotations(text: str) -> list[Rotation]:
    """Those of a file that holds one after the other, an empty line between. What is none is passed over."""
    found: list[Rotation] = []
    parts = text.split("\n\n")
    for at in range(0, len(parts) - 1, 2):
        try:
            found.append(read_rotation(f"{parts[at]}\n\n{parts[at + 1].rstrip(chr(10))}\n"))
        except BadNote:
            continue
    return found[-MOST:]


def rotations_of(directory: Path) -> tuple[list[Rotation], frozenset[str]]:
    """All rotations that a log's files tell of, the oldest first; and the notes of those that stand in its records.

    Raises:
        OSError: the files cannot be read.
    """
    found: dict[str, Rotation] = {}
    try:
        text = (directory / files.ROTATIONS).read_text("utf-8", "replace")
    except FileNotFoundError:
        text = ""
    for one in read_rotations(text):
        found[one.note] = one
    recorded: set[str] = set()
    for segment in files.segments(directory):
        if not segment.records.exists() or b'"what":"key"' not in segment.records.read_bytes():
            continue
        for line, whole in segment.lines():
            if not whole or b'"what":"key"' not in line or b'"phase":"noted"' not in line:
                continue
            try:
                record = Record.from_line(line)
                one = read_rotation(str(record.target["statement"]))
            except (ValueError, KeyError):
                continue  # told as what it is, altered
            if record.what == "key" and one.record == record.seq:
                found[one.note] = one
                recorded.add(one.note)
    return sorted(found.values(), key=lambda one: one.record)[-MOST:], frozenset(recorded)


@dataclass(frozen=True, slots=True)
class _Period:
    key: Verifier
    first: int
    """Checkpoints of at least so many records are this key's."""
    last: int | None
    """And of at most so many; None for the key in use."""
    ended: Rotation | None


class Keyring:
    """A key that is trusted, and those that follow from it: before it and after."""

    def __init__(self, trusted: Verifier, rotations: Iterable[Rotation] = ()) -> None:
        self.trusted = trusted
        self.chain: list[Rotation] = []
        """What leads from one key of ours to the next, the oldest first."""
        self.ahead: list[Rotation] = []
        """The part of it that comes after the trusted key."""
        self.lost: Rotation | None = None
        """Where the chain ends because the newest trusted key was lost: another key signs from there on."""
        self.rivals: list[Rotation] = []
        """Further rotations from a key that had been followed already: somebody else has used that key."""
        known = [one for one in rotations if one.new.name == trusted.name]
        self._backward(known)
        self._forward(known)
        self._periods = self._make_periods()

    def _backward(self, known: list[Rotation]) -> None:
        key: Verifier | None = self.trusted
        while key is not None:
            before = next(
                (
                    one
                    for one in reversed(known)
                    if one.new == key and one not in self.chain and one.old != key
                ),
                None,
            )
            if before is None:
                return
            self.chain.insert(0, before)
            key = before.old

    def _forward(self, known: list[Rotation]) -> None:
        key = self.trusted
        while True:
            after = [one for one in known if one.old == key and one not in self.chain]
            signed = [one for one in after if one.is_signed_by_old]
            self.rivals += signed[1:]
            if not signed:
                self.lost = after[0] if after else None
                return
            self.chain.append(signed[0])
            self.ahead.append(signed[0])
            key = signed[0].new

    def _make_periods(self) -> list[_Period]:
        if not self.chain:
            return [_Period(self.trusted, 0, None, None)]
        made: list[_Period] = []
        first = 0
        for one in self.chain:
            if one.old is not None:
                made.append(_Period(one.old, first, one.record, one))
            first = one.record
        made.append(_Period(self.chain[-1].new, first, None, None))
        return made

    @property
    def newest(self) -> Verifier:
        """The key in use, as far as is known."""
        return self._periods[-1].key

    def open(self, note: str) -> Checkpoint:
        """The checkpoint in a note that the key of its time has signed.

        Raises:
            WrongKey: others have signed it, we have not; or a key that was not in use for a log of that size.
            BadNote: it is no checkpoint, or the signature is not of this text.
        """
        size = read_note(note).size
        wrong: WrongKey | None = None
        for period in reversed(self._periods):
            try:
                checkpoint = period.key.open(note)
            except WrongKey as error:
                wrong = wrong or error
                continue
            if size < period.first:
                wrong = WrongKey(
                    f"a checkpoint of {size} records is signed by a key that came with record {period.first}"
                )
            elif period.last is not None and size > period.last:
                assert period.ended is not None
                said = {"routine": "given up", "lost": "lost"}.get(period.ended.why, "revoked as compromised")
                wrong = WrongKey(
                    f"a checkpoint of {size} records is signed by a key that was {said} at record {period.last}"
                )
            else:
                return checkpoint
        assert wrong is not None
        raise wrong


def append_rotation(directory: Path, rotation: Rotation) -> None:
    """Keep it beside the records, which may be removed before it is not needed any more. Raises OSError."""
    path = directory / files.ROTATIONS
    known = read_rotations(path.read_text("utf-8", "replace")) if path.exists() else []
    if rotation.note not in {one.note for one in known}:
        files.replace_file(path, "".join(one.note + "\n" for one in (*known, rotation)).encode(), 0o600)
