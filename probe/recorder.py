"""The flight recorder: what the probe hears and sees, in segment files that a `kill -9` leaves whole.

Every record is handed to the operating system within a turn of the probe's loop, so that neither the service's death nor
the probe's loses what came before. (A machine that loses its power may lose the last seconds: nothing is synced but
finished segments.) All segments of a node together stay below `keep_bytes`; the oldest go first.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from observe.probe.codec import encode
from observe.probe.recording import FRAME, KEY, MAGIC, META, SUFFIX, pack

logger = logging.getLogger("observe.probe")

SEGMENTS: Final = 8
"""The budget is about so many segments."""

LEAST_KEEP_BYTES: Final = 1 << 20

KEY_AFTER_S: Final = 60.0
KEY_FACTOR: Final = 4
"""A keyframe follows when a minute has passed and so many times its own size has been written since the last."""

RETRY_S: Final = 30.0
"""After a disk has refused: this long until it is tried again."""

KEYFRAME_LIMIT_BYTES: Final = 512 << 20


class Recorder:
    """Writes one node's recording. Belongs to the probe's loop."""

    def __init__(
        self, directory: Path, node: str, keep_bytes: int, meta: dict[str, Any], keyframe: Callable[[], dict[str, Any]]
    ) -> None:  # fmt: skip
        self._directory = directory
        self._node = node
        self._keep_bytes = max(keep_bytes, LEAST_KEEP_BYTES)
        self._meta = meta
        self._keyframe = keyframe
        self._file = -1
        self._path = Path()
        self._size = 0
        self._since_key = 0
        self._key_size = 0
        self._key_at = 0.0
        self._retry_at = float("-inf")
        self._waiting: list[bytes] = []
        self.lost = 0
        """Records that could not be written."""
        self.error = ""
        """Why nothing is written at the moment; empty when all is well."""

    def statistics(self) -> dict[str, Any]:
        """Where it writes, what was lost, and why."""
        return {"path": str(self._path), "bytes": self._size, "lost": self.lost, "error": self.error}

    def note(self, payload: bytes, wall_us: int, mono_us: int, kind: int = FRAME) -> None:
        """Take one record; it is written by the next `flush`."""
        if self._file < 0:
            self.lost += 1
            return
        self._waiting.append(pack(kind, payload, wall_us, mono_us))

    def flush(self, now: float, wall_us: int, mono_us: int, *, settled: bool) -> None:
        """Write what waits. Opens, and moves on to, a segment when it is time and the picture is `settled`."""
        try:
            if self._file < 0:
                if now < self._retry_at:
                    return
                self._open(now, wall_us, mono_us)
            if self._waiting:
                data, self._waiting = b"".join(self._waiting), []
                self._write(data)
            full = self._size > max(self._keep_bytes // SEGMENTS, 2 * self._key_size)
            if self._size > self._keep_bytes // 2 or (full and settled):
                self._finish()
                self._open(now, wall_us, mono_us)
            elif (
                settled and now - self._key_at > KEY_AFTER_S and self._since_key > KEY_FACTOR * self._key_size
            ):
                self._write_key(now, wall_us, mono_us)
        except (OSError, ValueError) as error:
            self._fail(error, now)

    def close(self) -> None:
        """Write what waits and finish the segment. Doing so twice has no effect."""
        try:
            if self._file >= 0 and self._waiting:
                self._write(b"".join(self._waiting))
            self._finish()
        except OSError as error:
            self._fail(error, 0.0)
        self._waiting = []

    def _open(self, now: float, wall_us: int, mono_us: int) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = self._directory / f"{self._node}~{wall_us:017d}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self._path, flags, 0o600)
        self._size = 0
        self._write(MAGIC + pack(META, encode(self._meta), wall_us, mono_us))
        self._write_key(now, wall_us, mono_us)
        self._drop_oldest()
        if self.error:
            logger.warning("the flight recorder writes again; %s records were lost", self.lost)
            self.error = ""

    def _write_key(self, now: float, wall_us: int, mono_us: int) -> None:
        data = pack(KEY, encode(self._keyframe(), limit_bytes=KEYFRAME_LIMIT_BYTES), wall_us, mono_us)
        if len(data) > self._keep_bytes // 2:
            raise ValueError(
                f"a picture of this node takes {len(data):,} bytes, more than half of what may be kept"
            )
        self._write(data)
        self._key_size, self._since_key, self._key_at = len(data), 0, now

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            count = os.write(self._file, view)
            view = view[count:]
        self._size += len(data)
        self._since_key += len(data)

    def _finish(self) -> None:
        descriptor, self._file = self._file, -1
        if descriptor >= 0:
            try:
                os.fdatasync(descriptor) if hasattr(os, "fdatasync") else os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _drop_oldest(self) -> None:
        """Make room for a whole segment: finished ones and the one being written never exceed the budget."""
        room = self._keep_bytes - self._keep_bytes // 2
        paths = sorted(self._directory.glob(f"{self._node}~*{SUFFIX}"), reverse=True)
        total = 0
        for path in paths:
            if path == self._path:
                continue
            total += path.stat().st_size
            if total > room:
                path.unlink(missing_ok=True)

    def _fail(self, error: Exception, now: float) -> None:
        self.lost += len(self._waiting)
        self._waiting = []
        if str(error) != self.error:
            logger.error("the flight recorder cannot write: %s", error)
        self.error = str(error)
        self._retry_at = now + RETRY_S
        descriptor, self._file = self._file, -1
        if descriptor >= 0:
            os.close(descriptor)
