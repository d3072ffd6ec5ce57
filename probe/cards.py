"""Node cards: how a console on the same machine finds a node and its keys.

```
<runtime directory>/observe/        0700, ours
    nodes/
        shop.json                   0600: address and keys of the node `shop`
        shop/                       0700: what the service and its probe share
            lock                    locked by the probe for as long as it lives
```

A card is as good as a password, so a directory that is not ours alone is refused. The lock tells whether a card is
alive: the operating system frees it when its probe ends, however it ends. A card whose lock is free is stale.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, Self

from platformdirs import user_runtime_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from observe.probe.errors import UnsafeDirectory

RUNTIME_DIRECTORY_VARIABLE: Final = "OBSERVE_RUNTIME_DIR"
"""Environment variable that puts cards elsewhere; a service and its consoles must agree."""

CARD_LIMIT_BYTES: Final = 64 * 1024
"""A card has about 700 bytes. What is larger is no card."""

NODE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""What a node may be called: its name becomes the name of a file."""


class Card(BaseModel):
    """What a client needs to attach to a node on this machine. Holds a secret key: never print it whole."""

    model_config = ConfigDict(extra="ignore")

    name: str
    """Without the host: `shop`."""
    host: str
    pid: int
    """Of the service's process."""
    probe_pid: int
    incarnation: str
    endpoint: str
    """Where the probe listens, such as `tcp://127.0.0.1:40123`."""
    server_public_key: str
    """CURVE keys are in Z85, 40 characters."""
    client_public_key: str
    client_secret_key: str = Field(repr=False)
    """Of a client with the role `role`. Whoever reads it is that client."""
    role: str = "admin"
    started_at: float
    """When the service's node started, Unix time."""
    version: str
    """Of observe."""
    protocol_versions: list[int] = Field(default_factory=lambda: [1])
    state: Literal["up", "dead", "stale"] = "up"
    """`dead`: the service is gone, its probe still shows the last picture. `stale`: the probe is gone too."""

    @property
    def full_name(self) -> str:
        """`shop@host`."""
        return f"{self.name}@{self.host}"


def check_node_name(name: str) -> str:
    """The name, when a node may have it.

    Raises:
        ValueError: it may not; the text says what a name looks like.
    """
    if not NODE_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot be a node's name: use letters, digits, dots, dashes and underscores, "
            "starting with a letter or digit, at most 63 characters"
        )
    return name


def runtime_directory() -> Path:
    """The directory `observe` of this user's runtime directory, made when it is missing.

    Raises:
        UnsafeDirectory: it belongs to somebody else, or others may enter it.
    """
    chosen = os.environ.get(RUNTIME_DIRECTORY_VARIABLE)
    if chosen:
        base = Path(chosen).expanduser()
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        return private_directory(base / "observe")
    base = _platform_directory()
    if base.is_dir() and base.stat().st_uid == os.geteuid() and os.access(base, os.W_OK | os.X_OK):
        return private_directory(base / "observe")
    return private_directory(
        private_directory(Path(tempfile.gettempdir()) / f"observe-{os.geteuid()}") / "observe"
    )


def _platform_directory() -> Path:
    """Where the platform keeps what lives as long as a user's session."""
    if sys.platform == "linux" and not os.environ.get("XDG_RUNTIME_DIR"):
        # A service started by cron and a console in a login shell must look in one place; this is where the variable
        # points when there is one. (Without it platformdirs warns on stderr.)
        return Path(f"/run/user/{os.geteuid()}")
    return user_runtime_path()


def nodes_directory() -> Path:
    """Where the cards are. Raises `UnsafeDirectory`."""
    return private_directory(runtime_directory() / "nodes")


def node_directory(name: str) -> Path:
    """The directory that the service named `name` shares with its probe, made when it is missing.

    Raises:
        ValueError: no node may have this name.
        UnsafeDirectory: the directory is not ours alone.
    """
    return private_directory(nodes_directory() / check_node_name(name))


def private_directory(path: Path) -> Path:
    """Make the directory `path` for us alone, or make sure that it is."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    facts = path.lstat()
    if not stat.S_ISDIR(facts.st_mode):
        raise UnsafeDirectory(f"{path} is not a directory; remove it, or set {RUNTIME_DIRECTORY_VARIABLE}")
    if facts.st_uid != os.geteuid():
        raise UnsafeDirectory(
            f"{path} belongs to user {facts.st_uid} and not to us ({os.geteuid()}), so it may hold forged cards; "
            f"remove it, or set {RUNTIME_DIRECTORY_VARIABLE} to a directory of your own"
        )
    if stat.S_IMODE(facts.st_mode) & 0o077:
        raise UnsafeDirectory(
            f"{path} is open to other users (mode {stat.S_IMODE(facts.st_mode):04o}) and must hold keys; "
            f"run: chmod 700 {path}"
        )
    return path


# -- one card ----------------------------------------------------------------------------------------------------------


def card_path(directory: Path) -> Path:
    """The card of the node whose directory this is: `nodes/shop` has `nodes/shop.json`."""
    return directory.with_name(directory.name + ".json")


def write_card(card: Card, directory: Path) -> Path:
    """Put the card in its place at once, readable by its owner alone. The caller holds the node's lock."""
    path = card_path(directory)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{card.name}-", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:  # mkstemp made it 0600
            file.write(card.model_dump_json(indent=1))
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def read_card(name: str) -> Card | None:
    """The card of the node `name`, or None when there is none that can be read. `state` says whether it is alive.

    Raises:
        UnsafeDirectory: the directory of cards is not ours alone.
    """
    if not NODE_NAME.fullmatch(name):
        return None
    path = nodes_directory() / f"{name}.json"
    card = _parse(path)
    if card is not None and not _is_locked(path.with_suffix("") / "lock"):
        card.state = "stale"
    return card


def list_cards() -> list[Card]:
    """The cards of all nodes whose probe is alive, by name. Stale cards are removed.

    Raises:
        UnsafeDirectory: the directory of cards is not ours alone.
    """
    cards = []
    for path in sorted(nodes_directory().glob("*.json")):
        card = _parse(path)
        directory = path.with_name(path.name.removesuffix(".json"))
        if card is not None and card.name == directory.name and _is_locked(directory / "lock"):
            cards.append(card)
        else:
            reap(directory)
    return cards


def reap(directory: Path) -> bool:
    """Remove the card of this node's directory if no probe lives there. True when it was removed.

    Done under the node's lock, so that the card of a probe that starts meanwhile is never the one removed.
    """
    if not directory.is_dir():  # somebody removed the directory: no lock can be held in it
        card_path(directory).unlink(missing_ok=True)
        return True
    with NodeLock.held(directory) as lock:
        if lock is None:
            return False
        card_path(directory).unlink(missing_ok=True)
        return True


def _parse(path: Path) -> Card | None:
    """The card in this file; None when it is gone, not ours alone, too large or no card."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) & 0o077:
            return None
        content = file.read(CARD_LIMIT_BYTES + 1)
    try:
        return Card.model_validate_json(content) if len(content) <= CARD_LIMIT_BYTES else None
    except ValidationError:
        return None


# -- the lock ----------------------------------------------------------------------------------------------------------


class NodeLock:
    """The lock of a node's directory. Whoever has it is the node's only probe, until it ends or lets go."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, directory: Path) -> Self | None:
        """The lock, or None when another process has it. The file stays for good: removing it would let two in."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(directory / "lock", flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return None
            raise
        return cls(descriptor)

    @classmethod
    @contextlib.contextmanager
    def held(cls, directory: Path) -> Iterator[Self | None]:
        """The lock for the length of a `with` block; None inside it when another process has it."""
        lock = cls.take(directory)
        try:
            yield lock
        finally:
            if lock is not None:
                lock.release()

    def release(self) -> None:
        """Let go. Doing so twice has no effect."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _is_locked(path: Path) -> bool:
    """Whether a probe lives there. Asks for a shared lock, so that two that look do not see each other."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
