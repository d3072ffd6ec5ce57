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
from observe.probe.key_job import KeyJob, Source
from observe.probe.recording import FRAME, MAGIC, META, SUFFIX, pack

logger = logging.getLogger("observe.probe")

SEGMENTS: Final = 8
"""The budget is about so many segments."""

LEAST_KEEP_BYTES: Final = 1 << 20

KEY_AFTER_S: Final = 60.0
KEY_FACTOR: Final = 4
"""A keyframe follows when a minute has passed and so many times its own size has been written since the last."""

RETRY_S: Final = 30.0
"""After a disk has refused: this long until it is tried again."""

BEHIND_LIMIT_BYTES: Final = 64 << 20
"""What may come while a keyframe is made. More, and the keyframe is tried again later."""


class Recorder:
    """Writes one node's recording. Belongs to the probe's loop."""

    def __init__(
        self, directory: Path, node: str, keep_bytes: int, meta: dict[str, Any], keyframe: Callable[[], Source]
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
        self._last_us = 0
        self._waiting: list[bytes] = []
        self._job: KeyJob | None = None
        """The keyframe that is being made."""
        self._job_is_for_new = False
        self._behind: list[bytes] = []
        """What came since the moment of that keyframe: written behind it as well."""
        self._behind_bytes = 0
        self._unwritten = 0
        """Records that are in `_behind` alone."""
        self.lost = 0
        """Records that could not be written."""
        self.error = ""
        """Why nothing is written at the moment; empty when all is well."""

    def statistics(self) -> dict[str, Any]:
        """Where it writes, what was lost, and why."""
        return {"path": str(self._path), "bytes": self._size, "lost": self.lost, "error": self.error}

    @property
    def copying(self) -> KeyJob | None:
        """The keyframe for which the picture must stay as it is."""
        return self._job if self._job is not None and not self._job.is_copied else None

    def note(self, payload: bytes, wall_us: int, mono_us: int, kind: int = FRAME) -> None:
        """Take one record; it is written by the next `flush`."""
        if self._file < 0 and self._job is None:
            self.lost += 1
            return
        self._last_us = max(mono_us, self._last_us + 1)  # by which a reader knows what is said twice
        self._waiting.append(pack(kind, payload, wall_us, self._last_us))

    def flush(self, now: float, wall_us: int, mono_us: int, *, settled: bool) -> None:
        """Write what waits. Opens, and moves on to, a segment when it is time and the picture is `settled`."""
        try:
            self._write_waiting()
            if self._job is None:
                self._begin_key_if_due(now, wall_us, mono_us, settled)
            if self._job is not None and self._job.is_done:
                self._place_key(now)
        except (OSError, ValueError) as error:
            self._fail(error, now)

    def close(self) -> None:
        """Write what waits and finish the segment. Doing so twice has no effect."""
        try:
            self._drop_job()
            if self._file >= 0:
                self._write_waiting()
            self._finish()
        except OSError as error:
            self._fail(error, 0.0)
        self._waiting = []

    def _write_waiting(self) -> None:
        if not self._waiting:
            return
        count = len(self._waiting)
        data, self._waiting = b"".join(self._waiting), []
        if self._job is not None:
            self._behind.append(data)
            self._behind_bytes += len(data)
            if self._behind_bytes > BEHIND_LIMIT_BYTES:
                self._drop_job()
                return
            if self._file < 0 or self._size + len(data) > self._keep_bytes // 2:
                self._unwritten += count
                return
        self._write(data)

    def _begin_key_if_due(self, now: float, wall_us: int, mono_us: int, settled: bool) -> None:
        if self._file < 0:
            if now < self._retry_at:
                return
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            is_new = True
        else:
            full = self._size > max(self._keep_bytes // SEGMENTS, 2 * self._key_size)
            is_new = self._size > self._keep_bytes // 2 or (full and settled)
            grown = self._since_key > KEY_FACTOR * self._key_size
            if not is_new and not (settled and now - self._key_at > KEY_AFTER_S and grown):
                return
        self._last_us = max(mono_us, self._last_us)
        self._job = KeyJob(self._keyframe(), wall_us, self._last_us)
        self._job_is_for_new = is_new

    def _place_key(self, now: float) -> None:
        """Write the keyframe, and behind it what came since its moment."""
        job = self._job
        assert job is not None
        key, behind = job.record(), b"".join(self._behind)
        if len(key) > self._keep_bytes // 2:
            raise ValueError(
                f"a picture of this node takes {len(key):,} bytes, more than half of what may be kept"
            )
        if self._job_is_for_new:
            self._finish()
            self._open(job.wall_us)
            self._write(MAGIC + pack(META, encode(self._meta), job.wall_us, job.mono_us))
        self._write(key + behind)
        self._key_size, self._since_key, self._key_at = len(key), len(behind), now
        self._unwritten = 0
        self._drop_job()
        if self._job_is_for_new:
            self._drop_oldest()
        if self.error:
            logger.warning("the flight recorder writes again; %s records were lost", self.lost)
            self.error = ""

    def _drop_job(self) -> None:
        self._job = None
        self._behind, self._behind_bytes = [], 0
        self.lost += self._unwritten
        self._unwritten = 0

    def _open(self, wall_us: int) -> None:
        self._path = self._directory / f"{self._node}~{wall_us:017d}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self._path, flags, 0o600)
        self._size = 0

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
        self._drop_job()
        self.lost += len(self._waiting)
        self._waiting = []
        if str(error) != self.error:
            logger.error("the flight recorder cannot write: %s", error)
        self.error = str(error)
        self._retry_at = now + RETRY_S
        descriptor, self._file = self._file, -1
        if descriptor >= 0:
            os.close(descriptor)
