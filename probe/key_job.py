"""A keyframe is made: beside the loop, when it is large.

A thread copies the columns, then packs the copy; for a million agents half a second and one and a half. While it copies,
the probe takes no frames of the feed, which wait in the socket, and answers clients from the table as it is. What happens
while it packs is written behind the keyframe again, so that a reader can begin there.
"""

from __future__ import annotations

import threading
from typing import Any, Final, Protocol

from observe.probe.codec import encode
from observe.probe.recording import KEY, pack

KEYFRAME_LIMIT_BYTES: Final = 512 << 20

INLINE_AGENTS: Final = 5_000
"""Up to so many agents packing takes a few milliseconds, and no thread is worth its while."""


class Source(Protocol):
    """The contents of a picture."""

    @property
    def agents(self) -> int: ...
    def copy(self) -> None: ...
    def to_map(self) -> dict[str, Any]: ...


class KeyJob:
    """One keyframe on its way. Belongs to the loop's thread."""

    def __init__(self, source: Source, wall_us: int, mono_us: int) -> None:
        self.wall_us = wall_us
        self.mono_us = mono_us
        """The moment that it shows."""
        self._record = b""
        self._error: Exception | None = None
        self._copied = threading.Event()
        self._thread: threading.Thread | None = None
        if source.agents <= INLINE_AGENTS:
            self._run(source)
        else:
            self._thread = threading.Thread(
                target=self._run, args=(source,), name="observe:keyframe", daemon=True
            )
            self._thread.start()

    def _run(self, source: Source) -> None:
        try:
            source.copy()
            self._copied.set()
            content = encode(source.to_map(), limit_bytes=KEYFRAME_LIMIT_BYTES)
            self._record = pack(KEY, content, self.wall_us, self.mono_us)
        except Exception as error:  # noqa: BLE001  # it is raised where the record is taken
            self._error = error
        finally:
            self._copied.set()

    @property
    def is_copied(self) -> bool:
        """Whether the picture may change."""
        return self._copied.is_set()

    def wait_copied(self) -> None:
        """Wait until the picture may change: half a second for a million agents."""
        self._copied.wait()

    @property
    def is_done(self) -> bool:
        """Whether `record` can be taken."""
        return self._thread is None or not self._thread.is_alive()

    def record(self) -> bytes:
        """The keyframe as a record. To be asked when it is done.

        Raises:
            ValueError: it cannot be written, or is too large.
        """
        if self._error is not None:
            raise ValueError(f"a keyframe cannot be made: {self._error}") from self._error
        return self._record
