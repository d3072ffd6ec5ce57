"""Keys in files, as people know them from ssh: who may attach to our nodes, and which nodes we trust.

```
<configuration directory>/observe/      0700, ours
    client.key         0600   our own key pair: who we are when we attach to a node elsewhere
    node.key           0600   the key pair of this user's nodes on this machine that listen to other machines
    authorised_keys    0600   one line a client that our nodes accept:   ROLE KEY NAME
    known_nodes        0600   one line a node elsewhere that we trust:   SUBJECT KEY
```

A public key is written as `curve:` and 43 letters of URL-safe base64: nothing in it needs quoting in a shell, as Z85
would. A file that others may write, or a secret that others may read, is refused and not repaired: somebody else may
have been there already.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from platformdirs import user_config_path
from zmq.utils import z85

from observe.probe.errors import ProbeError, UnsafeDirectory
from observe.probe.keys import KeyHolder, new_key_pair
from observe.probe.wire_base import Role

CONFIG_DIRECTORY_VARIABLE: Final = "OBSERVE_CONFIG_DIR"
"""Environment variable that puts the key files elsewhere."""

PREFIX: Final = "curve:"
FILE_LIMIT_BYTES: Final = 1 << 20
"""Some ten thousand keys. What is larger is not read: a mistake, and a way to make a probe slow."""

CLIENT_KEY: Final = "client.key"
NODE_KEY: Final = "node.key"
AUTHORISED_KEYS: Final = "authorised_keys"
KNOWN_NODES: Final = "known_nodes"

_KEY: Final = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
_NAME: Final = re.compile(r"[^\s\x00-\x1f\x7f]{1,128}")
_ROLES: Final = get_args(Role)


class BadKeyFile(ProbeError):
    """A file of keys cannot be used: others may change or read it, or it does not say what it should."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE key pair in Z85, as libzmq takes it."""

    public: str
    secret: str


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A node elsewhere, and the key that it must have."""

    subject: str
    """`shop@host:port`, `shop@host`, `host:port` or `host`: the more exact one counts."""
    key: str
    """Public, Z85."""


# -- how keys are written ----------------------------------------------------------------------------------------------


def key_text(public: str) -> str:
    """How a public key (Z85) is shown to people and written in files."""
    return PREFIX + base64.urlsafe_b64encode(z85.decode(public)).decode().rstrip("=")


def parse_key(text: str) -> str:
    """The Z85 form of a public key that somebody typed.

    Raises:
        ValueError: it is none; the text says what one looks like.
    """
    if not _KEY.fullmatch(text):
        raise ValueError(f"{text[:60]!r} is no public key; one looks like {PREFIX}, followed by 43 letters")
    try:
        raw = base64.urlsafe_b64decode(text.removeprefix(PREFIX) + "=")
    except binascii.Error:
        raise ValueError(f"{text!r} is no public key: its letters do not make 32 bytes") from None
    public = z85.encode(raw).decode("ascii")
    if (
        key_text(public) != text
    ):  # its last letter has bits that say nothing: two texts for one key are one too many
        raise ValueError(f"{text!r} is no public key: a letter was changed")
    return public


def fingerprint(public: str) -> str:
    """The fingerprint that two people compare, as ssh writes it."""
    digest = hashlib.sha256(z85.decode(public)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


# -- the directory -----------------------------------------------------------------------------------------------------


def config_directory() -> Path:
    """Where this user's key files are. It need not exist."""
    chosen = os.environ.get(CONFIG_DIRECTORY_VARIABLE)
    return Path(chosen).expanduser() if chosen else user_config_path() / "observe"


def _prepare(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_directory(directory)


def _check_directory(directory: Path) -> None:
    try:
        facts = directory.stat()
    except FileNotFoundError:
        return
    if facts.st_uid not in (os.geteuid(), 0):
        raise UnsafeDirectory(f"{directory} belongs to user {facts.st_uid}, so no key in it can be trusted")
    if stat.S_IMODE(facts.st_mode) & 0o022:
        raise UnsafeDirectory(
            f"{directory} can be written by others (mode {stat.S_IMODE(facts.st_mode):04o}), so no key in it can be "
            f"trusted; run: chmod go-w {directory}"
        )


def read_private(path: Path, *, forbidden: int) -> str | None:
    """The text of a key file; None when there is none.

    Raises:
        BadKeyFile: its owner or mode (`forbidden` bits) is wrong, or it is too large or no text.
        UnsafeDirectory: its directory can be changed by others.
    """
    _check_directory(path.parent)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadKeyFile(f"{path} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        mode = stat.S_IMODE(facts.st_mode)
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid not in (os.geteuid(), 0):
            raise BadKeyFile(f"{path} is no regular file of ours or root's, so it is not trusted")
        if mode & forbidden:
            what = "read by others" if mode & forbidden & 0o044 else "changed by others"
            raise BadKeyFile(f"{path} can be {what} (mode {mode:04o}); run: chmod 600 {path}")
        content = file.read(FILE_LIMIT_BYTES + 1)
    if len(content) > FILE_LIMIT_BYTES:
        raise BadKeyFile(f"{path} is larger than {FILE_LIMIT_BYTES:,} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise BadKeyFile(f"{path} is not text") from None


def _write(path: Path, text: str) -> None:
    """Replace the file at once, so that a reader sees the one before or this one."""
    _prepare(path.parent)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Two who change the files at once must not undo each other."""
    _prepare(directory)
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


# -- key pairs ---------------------------------------------------------------------------------------------------------


def read_key_pair(path: Path) -> KeyPair | None:
    """The key pair in a file; None when there is no such file. Raises `BadKeyFile`, `UnsafeDirectory`."""
    text = read_private(path, forbidden=0o077)
    if text is None:
        return None
    fields = dict(
        line.split(None, 1) for line in text.splitlines() if " " in line and not line.startswith("#")
    )
    public, secret = fields.get("public", "").strip(), fields.get("secret", "").strip()
    try:
        pair = KeyPair(parse_key(public), parse_key(secret))
    except ValueError:
        raise BadKeyFile(
            f"{path} does not hold a key pair; `observe keys make --force` makes a new one"
        ) from None
    import zmq

    if zmq.curve_public(pair.secret.encode()).decode("ascii") != pair.public:
        raise BadKeyFile(f"{path} is damaged: its public key does not belong to its secret one")
    return pair


def make_key_pair(path: Path, *, replace: bool = False) -> KeyPair:
    """Make a key pair and write it down, readable by its owner alone; the one that is there unless `replace`."""
    with _locked(path.parent):
        if not replace:
            found = read_key_pair(path)
            if found is not None:
                return found
        public, secret = new_key_pair()
        _write(
            path,
            f"# A secret of observe: whoever reads this file can pose as you.\n"
            f"public {key_text(public)}\nsecret {key_text(secret)}\n",
        )
        return KeyPair(public, secret)


# -- clients that our nodes accept -------------------------------------------------------------------------------------


def read_authorised(directory: Path) -> list[KeyHolder]:
    """The clients that nodes with these key files accept.

    Raises:
        BadKeyFile: others may write the file, or a line is wrong: it is named, and no line counts.
    """
    path = directory / AUTHORISED_KEYS
    holders: dict[str, KeyHolder] = {}
    for number, line in _lines(path):
        fields = line.split()
        try:
            if len(fields) != 3 or fields[0] not in _ROLES or not _NAME.fullmatch(fields[2]):
                raise ValueError(f"a line is: ROLE KEY NAME, with the role one of {', '.join(_ROLES)}")
            key = parse_key(fields[1])
            if key in holders:
                raise ValueError("this key stands in the file twice")
        except ValueError as error:
            raise BadKeyFile(f"{path}, line {number}: {error}") from None
        holders[key] = KeyHolder(fields[2], key, fields[0])  # type: ignore[arg-type]  # looked up in the roles
    return list(holders.values())


def authorise(directory: Path, public: str, role: Role, name: str) -> None:
    """Accept a client's key (Z85) with this role from now on; running nodes notice within a second.

    Raises:
        ValueError: no client can have this name.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be a name: it must be one word of at most 128 letters")
    with _locked(directory):
        holders = [one for one in read_authorised(directory) if one.key != public]
        _write_authorised(directory, [*holders, KeyHolder(name, public, role)])


def revoke(directory: Path, who: str) -> list[KeyHolder]:
    """Stop to accept the keys that have this name, text or fingerprint; returns them."""
    with _locked(directory):
        holders = read_authorised(directory)
        gone = [
            one
            for one in holders
            if who in (one.name, key_text(one.key), fingerprint(one.key), one.fingerprint)
        ]
        if gone:
            _write_authorised(directory, [one for one in holders if one not in gone])
    return gone


def _write_authorised(directory: Path, holders: list[KeyHolder]) -> None:
    head = "# Who may attach to this user's nodes. ROLE KEY NAME. `observe keys authorise` and `revoke` change it.\n"
    _write(
        directory / AUTHORISED_KEYS,
        head + "".join(f"{one.role} {key_text(one.key)} {one.name}\n" for one in holders),
    )


# -- nodes that we trust -----------------------------------------------------------------------------------------------


def read_known(directory: Path) -> list[KnownNode]:
    """The nodes elsewhere that we trust. Raises `BadKeyFile`."""
    path = directory / KNOWN_NODES
    known = []
    for number, line in _lines(path):
        fields = line.split()
        try:
            if len(fields) != 2:
                raise ValueError("a line is: SUBJECT KEY")
            known.append(KnownNode(fields[0], parse_key(fields[1])))
        except ValueError as error:
            raise BadKeyFile(f"{path}, line {number}: {error}") from None
    return known


def trust(directory: Path, subject: str, public: str, *, replace: bool = False) -> None:
    """Trust that the node or host `subject` has this key.

    Raises:
        ValueError: another key is known for it, and `replace` was not said; or it names nothing.
    """
    if not subject or len(subject) > 400 or not _NAME.fullmatch(subject[:128]) or "#" in subject:
        raise ValueError(f"{subject[:60]!r} names no node; say shop@host, shop@host:port or host")
    with _locked(directory):
        known = read_known(directory)
        other = next((one for one in known if one.subject == subject and one.key != public), None)
        if other is not None and not replace:
            raise ValueError(
                f"{subject} is known with another key, {fingerprint(other.key)}; if it was changed on purpose, "
                f"first: observe keys forget {subject}"
            )
        rest = [one for one in known if one.subject != subject]
        _write_known(directory, [*rest, KnownNode(subject, public)])


def forget(directory: Path, subject: str) -> bool:
    """Do not trust `subject` any more. False when nothing was known of it."""
    with _locked(directory):
        known = read_known(directory)
        rest = [one for one in known if one.subject != subject]
        if len(rest) == len(known):
            return False
        _write_known(directory, rest)
    return True


def _write_known(directory: Path, known: list[KnownNode]) -> None:
    head = "# Nodes elsewhere and their keys. SUBJECT KEY. `observe keys trust` and `forget` change it.\n"
    _write(directory / KNOWN_NODES, head + "".join(f"{one.subject} {key_text(one.key)}\n" for one in known))


def known_key(known: list[KnownNode], name: str, host: str, port: int | None) -> str | None:
    """The key (Z85) that `name@host:port` must have: of the most exact line that speaks of it."""
    by_subject = {one.subject: one.key for one in known}
    exact = [f"{name}@{host}:{port}"] if port is not None else []
    for subject in (*exact, f"{name}@{host}", *([f"{host}:{port}"] if port is not None else []), host):
        if subject in by_subject:
            return by_subject[subject]
    return None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    text = read_private(path, forbidden=0o022)
    for number, line in enumerate((text or "").splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line


class AuthorisedKeys:
    """The authorised keys of a running node: read again when the file changes. A broken file lets nobody in.

    The keys that were accepted before a file became unreadable may have been revoked in it: so they are not kept.
    """

    def __init__(self, directory: Path, complain: Callable[[str], None]) -> None:
        self._directory = directory
        self._complain = complain
        self._seen: object = ()

    def changed(self) -> list[KeyHolder] | None:
        """All accepted keys if the file is another one than last time, else None. One `stat`: some microseconds."""
        path = self._directory / AUTHORISED_KEYS
        try:
            facts = path.stat()
            seen: object = (facts.st_ino, facts.st_mtime_ns, facts.st_size, facts.st_mode, facts.st_uid)
        except OSError:
            seen = None
        if seen == self._seen:
            return None
        self._seen = seen
        try:
            return read_authorised(self._directory)
        except (BadKeyFile, UnsafeDirectory, OSError) as error:
            self._complain(f"{error}; until then only the node's own user may attach")
            return []
