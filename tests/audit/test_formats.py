"""The public formats: canonical JSON, Merkle trees, signed notes; against other implementations and by brute force."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from observe.audit.canonical import MAX_INTEGER, canonical
from observe.audit.merkle import (
    EMPTY,
    BadProof,
    Peaks,
    Tree,
    check_consistency,
    check_inclusion,
    leaf_hash,
    root_of,
)
from observe.audit.notes import BadNote, Signer, Verifier, WrongKey, origin_of, read_note, read_notes

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-MAX_INTEGER, MAX_INTEGER), st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)  # fmt: skip
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
VALUES = st.recursive(
    SCALARS, lambda part: st.lists(part, max_size=4) | st.dictionaries(KEYS, part, max_size=4), max_leaves=10
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_json_is_as_rfc_8785_says(value: dict[str, Any]) -> None:
    """Another implementation writes the same bytes."""
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "number", [0.0, -0.0, 1.0, 1e-6, 1e-7, 5e-324, 1e16, 1e20, 1e21, 1.5e300, 0.1, 123.456, 3.2e-05, 1795629166.744752]
)  # fmt: skip
def test_numbers_are_as_rfc_8785_says(number: float) -> None:
    assert canonical({"n": number}) == rfc8785.dumps({"n": number})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, "\ud800", {1: 2}, {1, 2}, b"x"])
def test_what_json_has_no_form_for_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        canonical({"a": [value, "ä"]})


# -- trees ---------------------------------------------------------------------------------------------------------------

LEAVES = [leaf_hash(str(number).encode()) for number in range(600)]


def slow_root(leaves: list[bytes]) -> bytes:
    """The definition, as it stands in RFC 6962."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256().digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + slow_root(leaves[:split]) + slow_root(leaves[split:])).digest()


TREE = Tree(lambda start, end: LEAVES[start:end])


def test_the_empty_tree_and_a_known_vector() -> None:
    """The first hashes of the test vectors of Certificate Transparency."""
    assert EMPTY.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert root_of([]) == EMPTY


@given(st.integers(0, 600))
def test_a_root_is_as_defined(size: int) -> None:
    peaks = Peaks()
    for leaf in LEAVES[:size]:
        peaks.add(leaf)
    assert peaks.root() == TREE.root(size) == slow_root(LEAVES[:size])
    assert Peaks(size, peaks.hashes).root() == peaks.root()


@given(st.integers(1, 600), st.data())
def test_a_record_is_proven_to_be_there_and_no_other_is(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof, root = TREE.inclusion(index, size), TREE.root(size)
    check_inclusion(LEAVES[index], index, size, root, proof)
    other = data.draw(st.integers(0, 599).filter(lambda number: number != index))
    with pytest.raises(BadProof):
        check_inclusion(LEAVES[other], index, size, root, proof)
    with pytest.raises(BadProof):
        check_inclusion(LEAVES[index], index, size, LEAVES[0], [*proof, LEAVES[1]])


@given(st.integers(0, 600), st.data())
def test_a_log_is_proven_to_have_only_grown(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(0, size))
    proof = TREE.consistency(old, size)
    check_consistency(old, TREE.root(old), size, TREE.root(size), proof)
    if old == 0:
        return
    with pytest.raises(BadProof):
        check_consistency(old, LEAVES[0] if old > 1 else LEAVES[1], size, TREE.root(size), proof)
    with pytest.raises(BadProof):
        check_consistency(old, TREE.root(old), size, hashlib.sha256(b"other").digest(), proof)
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        broken = [*proof[:at], hashlib.sha256(proof[at]).digest(), *proof[at + 1 :]]
        with pytest.raises(BadProof):
            check_consistency(old, TREE.root(old), size, TREE.root(size), broken)
        with pytest.raises(BadProof):
            check_consistency(old, TREE.root(old), size, TREE.root(size), proof[:-1])
    if old < size:
        with pytest.raises(BadProof):
            check_consistency(size, TREE.root(size), old, TREE.root(old), proof)


def test_impossible_proofs_are_refused() -> None:
    with pytest.raises(ValueError, match="record 6 is not among the first 5"):
        TREE.inclusion(5, 5)
    with pytest.raises(ValueError, match="cannot have grown"):
        TREE.consistency(6, 5)
    with pytest.raises(ValueError, match="peaks"):
        Peaks(3, [LEAVES[0]])


# -- notes ----------------------------------------------------------------------------------------------------------------

SEED = bytes(range(32))
SIGNER = Signer("observe/shop@host", SEED)
ROOT = hashlib.sha256(b"root").digest()


def test_a_checkpoint_is_a_signed_note() -> None:
    """Signatures of Ed25519 are the same each time, so the whole note is."""
    note = SIGNER.sign(1042, ROOT)
    first, size, root, empty, signature = note.splitlines()
    assert (first, size, empty) == ("observe/shop@host", "1042", "")
    assert signature.startswith("\u2014 observe/shop@host ")
    opened = SIGNER.verifier.open(note)
    assert (opened.origin, opened.size, opened.root) == ("observe/shop@host", 1042, ROOT)
    assert note == Signer("observe/shop@host", SEED).sign(1042, ROOT)
    assert root


def test_a_key_is_one_line_of_text() -> None:
    vkey = SIGNER.verifier.vkey
    assert Verifier.parse(vkey + "\n") == SIGNER.verifier
    assert vkey.startswith("observe/shop@host+")
    for broken in (
        vkey[:-4],
        vkey.replace("shop", "shed"),
        "",
        "a+b+c",
        "observe/shop@host+00000000+" + vkey[-44:],
    ):
        with pytest.raises(BadNote):
            Verifier.parse(broken)


def test_others_may_sign_beside_us() -> None:
    """A witness adds its line; ours counts all the same."""
    note, other = SIGNER.sign(7, ROOT), Signer("witness.example", b"w" * 32)
    line = other.sign(7, ROOT).splitlines()[-1]
    assert SIGNER.verifier.open(note + line + "\n").size == 7
    with pytest.raises(WrongKey):
        other.verifier.open(note)
    with pytest.raises(WrongKey, match="is one of"):
        other.verifier.open(note + line + "\n")


def test_a_changed_note_is_not_signed() -> None:
    note = SIGNER.sign(7, ROOT)
    with pytest.raises(BadNote, match="not of its text"):
        SIGNER.verifier.open(note.replace("\n7\n", "\n8\n"))


@pytest.mark.parametrize("note", ["", "a\nb\nc\n", "a\n01\n" + "A" * 43 + "=\n\n\u2014 a AA==\n", "a\n1\nshort\n\n\u2014 a AA==\n"])  # fmt: skip
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(BadNote):
        read_note(note)


@given(st.integers(0, 5), st.integers(0, 400))
def test_a_file_of_notes_is_read_as_far_as_it_goes(count: int, cut: int) -> None:
    notes = [SIGNER.sign(number, ROOT) for number in range(count)]
    text = "\n".join(notes) + "\n" if notes else ""
    assert [one.note for one in read_notes(text)] == notes
    torn = text[: max(0, len(text) - cut)]
    left = [one.note for one in read_notes(torn)]
    assert left == notes[: len(left)]
    assert len(torn) - sum(len(one) + 1 for one in left) < len(SIGNER.sign(9, ROOT)) + 1


def test_the_key_file_is_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.key"
    made = Signer.of_file(path, "observe/shop@host")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().startswith("PRIVATE+KEY+observe/shop@host+")
    assert Signer.of_file(path, "observe/shop@host").verifier == made.verifier
    with pytest.raises(BadNote, match="key of observe/shop@host, not of"):
        Signer.of_file(path, "observe/bank@host")
    path.chmod(0o640)
    with pytest.raises(BadNote, match="may be read by others"):
        Signer.of_file(path, "observe/shop@host")
    other = tmp_path / "other.key"
    other.write_text("hello")
    other.chmod(0o600)
    with pytest.raises(BadNote, match="no key"):
        Signer.of_file(other, "observe/shop@host")


def test_an_origin_has_no_letters_that_a_key_cannot_have() -> None:
    assert origin_of("shop@my host+1") == "observe/shop@my_host_1"
