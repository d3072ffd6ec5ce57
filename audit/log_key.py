"""The files of a log's key: the secret one beside the log, the public one in it, and the next one while keys change.

```
<log>.key.next  made, on the disk  -->  record `key` with the statement of both  -->  log.rotations, log.vkey, <log>.key
```

The record decides. A crash before it leaves a key that was never used, which is thrown away; a crash after it leaves one
that follows, and whoever opens the log next puts it in its place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from observe.audit import segments as files
from observe.audit.keyring import Rotation, Why, append_rotation, state_rotation
from observe.audit.notes import BadNote, Signer, Verifier, WrongKey

logger = logging.getLogger("observe.audit")


class LogKey:
    """The key that signs a log. Belongs to its one writer."""

    def __init__(self, file: Path, directory: Path, origin: str) -> None:
        self.file = file
        self.former: Signer | None = None
        """The key before, as long as the next checkpoint is to be signed by both."""
        self._directory = directory
        self._origin = origin
        self._signer: Signer | None = None
        self._cannot = False
        self._next: Signer | None = None

    @property
    def _next_file(self) -> Path:
        return self.file.with_name(self.file.name + ".next")

    @property
    def vkey(self) -> str:
        """The public key; empty until it was loaded."""
        return self._signer.verifier.vkey if self._signer else ""

    def load(self) -> Signer | None:
        """The key, made when there is none. A machine without the library for signatures goes on without, and says so."""
        if self._signer is None and not self._cannot:
            try:
                self._signer = Signer.of_file(self.file, self._origin)
            except (ImportError, BadNote) as error:
                self._cannot = True
                logger.error("the audit log is not signed: %s", error)
        return self._signer

    def is_stranger(self, checkpoint: str) -> bool:
        """Whether somebody else has signed the log's newest checkpoint: the key that did is not there any more."""
        if not checkpoint or self._signer is None:
            return False
        try:
            self._signer.verifier.check(checkpoint)
        except WrongKey:
            return True
        except BadNote:
            return False  # a checkpoint that was changed: that is another fault, and told by `verify`
        return False

    def stage(self, record: int, why: Why, wall: float) -> Rotation:
        """Make the key that follows, and the statement that it does. Nothing is changed yet.

        Raises:
            OSError: it cannot be written.
        """
        assert self._signer is not None
        self._next_file.unlink(missing_ok=True)
        self._next = Signer(self._origin)
        self._next.write(self._next_file)
        files.sync_directory(self.file.parent)
        return state_rotation(self._signer, self._signer.verifier, self._next, record, why, wall)

    def unstage(self) -> None:
        """It is not on record, so it does not follow."""
        self._next = None
        self._next_file.unlink(missing_ok=True)

    def adopt(self, rotation: Rotation) -> None:
        """It is on record: sign with it from here on. What cannot be written now is made good when the log is opened."""
        assert self._next is not None
        self.former, self._signer, self._next = self._signer, self._next, None
        self._put_in_place(rotation)

    def introduce(self, checkpoint: str, record: int, wall: float) -> Rotation:
        """The statement of a key that nobody has signed for: the one before it is lost."""
        assert self._signer is not None
        former: Verifier | None = None
        try:
            former = Verifier.parse((self._directory / files.VKEY).read_text())
            former.check(checkpoint)
        except (OSError, BadNote):
            former = None
        return state_rotation(None, former, self._signer, record, "lost", wall)

    def keep(self, rotation: Rotation | None = None) -> None:
        """Write down which key is in use, and how it came to be."""
        path, line = self._directory / files.VKEY, (self.vkey + "\n").encode()
        try:
            if rotation is not None:
                append_rotation(self._directory, rotation)
            if not path.exists() or path.read_bytes() != line:
                files.replace_file(path, line, 0o600)
        except OSError as error:
            logger.error("the public key of the audit log %s could not be kept: %s", self._directory, error)

    def recover(self, newest: Callable[[], Rotation | None]) -> None:
        """After a crash while keys changed. `newest` finds the newest rotation on record.

        Raises:
            OSError: the next key cannot be read or put in its place.
        """
        try:
            following = Signer.of_file(self._next_file, self._origin, make=False)
        except FileNotFoundError:
            return
        except (ImportError, BadNote) as error:
            logger.error("a half-made key of the audit log is left alone: %s", error)
            return
        rotation = newest()
        if rotation is None or rotation.new != following.verifier:
            self._next_file.unlink()
            return
        self._signer = following
        self._put_in_place(rotation)

    def _put_in_place(self, rotation: Rotation) -> None:
        self.keep(rotation)
        try:
            self._next_file.replace(self.file)
            files.sync_directory(self.file.parent)
        except OSError as error:
            logger.error(
                "the new key of the audit log stays in %s until the log is opened anew: %s",
                self._next_file,
                error,
            )
