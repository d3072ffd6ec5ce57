"""Checkpoints: how many records there are and the root over them, signed. Public formats, for other people's tools.

A checkpoint is a note as of https://c2sp.org/signed-note with the text of https://c2sp.org/tlog-checkpoint:

    observe/shop@host
    1042
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — observe/shop@host Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeO…

The key that checks it is one line of text as well, and so is the secret one, as Go's `note` package writes them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from observe.audit.merkle import HASH_BYTES

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ED25519: Final = b"\x01"
"""The kind of key, in a note's key."""

MAX_NOTE_BYTES: Final = 16_384
_NAME: Final = re.compile(r"[^\s+\x00-\x1f]{1,255}")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,15}")
_DASH: Final = "\u2014 "


class BadNote(ValueError):
    """This is no checkpoint, or its signature is not that of the key."""


class WrongKey(BadNote):
    """It is signed by somebody else."""


_OURS: Final = "observe/"


def node_of(origin: str) -> str:
    """The node whose log has this origin; the origin itself where it is none of ours."""
    return origin.removeprefix(_OURS)


def origin_of(node: str) -> str:
    """What the log of a node is called, and its key: `observe/shop@host`."""
    return _OURS + re.sub(r"[\s+\x00-\x1f]", "_", node)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a note says. Whether it is true is another matter: `Verifier.open` checks who says so."""

    origin: str
    size: int
    root: bytes
    note: str
    """The whole note, with its signatures."""

    @property
    def text(self) -> str:
        """What is signed."""
        return _text(self.origin, self.size, self.root)


def _text(origin: str, size: int, root: bytes) -> str:
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def read_note(note: str) -> Checkpoint:
    """What a note says, its signature not looked at.

    Raises:
        BadNote: it is none.
    """
    text, blank, signatures = note.partition("\n\n")
    lines = text.split("\n")
    if not blank or len(lines) < 3 or len(note) > MAX_NOTE_BYTES or not signatures.endswith("\n"):
        raise BadNote("this is no checkpoint: it must have three lines, an empty one, and its signatures")
    origin, size, root = lines[:3]
    try:
        hashed = base64.b64decode(root, validate=True)
    except binascii.Error:
        hashed = b""
    if not _NAME.fullmatch(origin) or not _SIZE.fullmatch(size) or len(hashed) != HASH_BYTES:
        raise BadNote("this is no checkpoint: it must begin with a name, a size and a hash")
    return Checkpoint(origin, int(size), hashed, note)


def read_notes(text: str) -> Iterator[Checkpoint]:
    """The notes of a file that holds one after the other, an empty line between. One cut off at the end is passed over.

    Raises:
        BadNote: something in between is none.
    """
    parts = text.split("\n\n")
    for at in range(0, len(parts) - 1, 2):
        signatures = parts[at + 1]
        if at + 2 >= len(parts) and not signatures.endswith("\n"):
            return
        yield read_note(f"{parts[at]}\n\n{signatures.rstrip(chr(10))}\n")


def _key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


@dataclass(frozen=True, slots=True)
class Verifier:
    """The public key of a log."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """The key in a text such as `observe/shop@host+ee6a1b33+AXp…`.

        Raises:
            BadNote: it is no such key.
        """
        name, _, rest = vkey.strip().partition("+")
        number, _, encoded = rest.partition("+")
        try:
            data = base64.b64decode(encoded, validate=True)
            known = bytes.fromhex(number)
        except (ValueError, binascii.Error):
            data, known = b"", b""
        if not _NAME.fullmatch(name) or len(data) != 33 or data[:1] != ED25519:
            raise BadNote(f"this is no key of a log: {vkey.strip()[:80]!r}; it looks like NAME+NUMBER+BASE64")
        if known != _key_id(name, data[1:]):
            raise BadNote("the number in this key is not that of its name and key: it was changed or cut")
        return cls(name, data[1:])

    @property
    def vkey(self) -> str:
        """The key as a line of text."""
        number = _key_id(self.name, self.public).hex()
        return f"{self.name}+{number}+{base64.b64encode(ED25519 + self.public).decode()}"

    def open(self, note: str) -> Checkpoint:
        """The checkpoint in a note that this key has signed.

        Raises:
            WrongKey: others have signed it, we have not.
            BadNote: it is no checkpoint, or the signature is not of this text.
        """
        checkpoint = read_note(note)
        if checkpoint.origin != self.name:
            raise WrongKey(f"the checkpoint is one of {checkpoint.origin}, not of {self.name}")
        self.check(note)
        return checkpoint

    def check(self, note: str) -> None:
        """Make sure that this key has signed a note, whatever it says.

        Raises:
            WrongKey: others have signed it, we have not.
            BadNote: the signature is not of this text.
        """
        mine = _key_id(self.name, self.public)
        for line in note.partition("\n\n")[2].splitlines():
            name, _, encoded = line.removeprefix(_DASH).partition(" ")
            try:
                data = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                continue
            if name == self.name and data[:4] == mine:
                self._check(data[4:], note.partition("\n\n")[0] + "\n")
                return
        raise WrongKey(f"the checkpoint is not signed by the key of {self.name} ({mine.hex()})")

    def _check(self, signature: bytes, text: str) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except InvalidSignature:
            raise BadNote("the signature of a checkpoint is not of its text") from None


class Signer:
    """The secret key of a log."""

    def __init__(self, name: str, seed: bytes | None = None) -> None:
        """Make a new key, or take that of a seed.

        Raises:
            ImportError: the library for signatures is not installed.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._seed = seed or os.urandom(32)
        self._key: Ed25519PrivateKey = Ed25519PrivateKey.from_private_bytes(self._seed)
        public: bytes = self._key.public_key().public_bytes_raw()
        self.verifier = Verifier(name, public)
        self._line = f"{_DASH}{name} "
        self._id = _key_id(name, public)

    @classmethod
    def of_file(cls, path: Path, name: str, *, make: bool = True) -> Signer:
        """The key in a file, made when it is missing unless told otherwise. Nobody else may read it.

        Raises:
            BadNote: the file is something else, or others may read it, or it is the key of another log.
            OSError: it cannot be read or made.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            if not make:
                raise
            made = cls(name)
            made.write(path)
            return made
        with os.fdopen(descriptor) as file:
            facts = os.fstat(file.fileno())
            if facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
                raise BadNote(f"{path} may be read by others: a key that is not secret proves nothing")
            text = file.read(4096).strip()
        try:
            kind, _, named, _, encoded = text.split("+", 4)
            data = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error):
            kind, named, data = "", "", b""
        if kind != "PRIVATE" or len(data) != 33 or data[:1] != ED25519:
            raise BadNote(f"{path} holds no key of a log")
        if named != name:
            raise BadNote(f"{path} holds the key of {named}, not of {name}")
        return cls(name, data[1:])

    def write(self, path: Path) -> None:
        """Put the secret key into a new file that nobody else may read, and wait until it is on the disk. Raises OSError."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self._secret() + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _secret(self) -> str:
        data = base64.b64encode(ED25519 + self._seed).decode()
        return f"PRIVATE+KEY+{self.verifier.name}+{self._id.hex()}+{data}"

    def line_for(self, text: str) -> str:
        """The signature of a text, as a line of a note."""
        signature: bytes = self._key.sign(text.encode())
        return f"{self._line}{base64.b64encode(self._id + signature).decode()}\n"

    def sign(self, size: int, root: bytes, *, also: Signer | None = None) -> str:
        """A note about a log of this key's name; `also`: another key that signs it as well, before this one."""
        return signed_note(_text(self.verifier.name, size, root), *(() if also is None else (also,)), self)


def signed_note(text: str, *signers: Signer) -> str:
    """A text, which ends with a line break, and a signature of each."""
    return text + "\n" + "".join(one.line_for(text) for one in signers)
