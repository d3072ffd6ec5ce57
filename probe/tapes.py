"""Recordings over the wire: a `tape` watch gets the records that a flight recorder would write, from a keyframe on.

```
note(kind, payload) --> records of this turn --> each tape's queue --> pushes, as credit allows
                        keyframe when it is packed, and what came behind it -^
```

A client that reads too slowly loses what waits for it, is told how many records that were, and begins anew with a keyframe:
so its file has a gap and never a picture that is wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from observe.probe.codec import encode
from observe.probe.key_job import KeyJob, Source
from observe.probe.recording import META, pack
from observe.probe.streams import Subscription

logger = logging.getLogger("observe.probe")

WAITING_BYTES: Final = 32 << 20
"""Records that wait for one client, besides its keyframe."""

CHUNK_BYTES: Final = 1 << 20
"""Bytes of records in one push."""


@dataclass(slots=True)
class Tape:
    """What waits for one client."""

    sub: int
    chunks: list[bytes] = field(default_factory=list)
    """The subscription takes them from the front."""
    marks: list[tuple[bool, int]] = field(default_factory=list)
    """Of each chunk whether a record ends where it ends, and how many records came with it."""
    is_amid: bool = False
    """Whether the last chunk that was taken ended in the middle of a record."""
    runs: bool = False
    """Whether it has had its keyframe; if not, it waits for one."""

    def put(self, data: bytes, records: int) -> None:
        """Let these whole records wait for it."""
        chunks = [data[first : first + CHUNK_BYTES] for first in range(0, len(data), CHUNK_BYTES)]
        self.chunks += chunks
        self.marks += [(False, 0)] * (len(chunks) - 1) + [(True, records)]

    def notice_taken(self) -> None:
        """Bring the marks in line with the chunks that are left."""
        for ends, _ in self.marks[: len(self.marks) - len(self.chunks)]:
            self.is_amid = not ends
        del self.marks[: len(self.marks) - len(self.chunks)]

    @property
    def waiting_bytes(self) -> int:
        """How much waits."""
        return sum(map(len, self.chunks))

    def drop(self) -> int:
        """Forget all that waits but the rest of a record of which a part was taken; it needs a keyframe again. Returns
        how many records that were."""
        kept = 0
        if self.is_amid:
            kept = next((number for number, (ends, _) in enumerate(self.marks) if ends), -1) + 1
        lost = sum(records for _, records in self.marks[kept:])
        del self.chunks[kept:], self.marks[kept:]
        self.runs = False
        return lost


class Tapes:
    """All tapes. Belongs to the probe's loop."""

    def __init__(
        self, subscriptions: Iterable[Subscription], meta: dict[str, Any], keyframe: Callable[[], Source]
    ) -> None:
        """`subscriptions` are all that there are, whenever it is asked."""
        self._subscriptions = subscriptions
        self._meta = meta
        self._keyframe = keyframe
        self._tapes: dict[int, Tape] = {}
        self._job: KeyJob | None = None
        self._job_for: list[Tape] = []
        self._behind: list[bytes] = []
        self._turn: list[bytes] = []
        self._last_us = 0
        self._key_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._tapes)

    @property
    def copying(self) -> KeyJob | None:
        """The keyframe for which the picture must stay as it is."""
        return self._job if self._job is not None and not self._job.is_copied else None

    def note(self, payload: bytes, wall_us: int, mono_us: int, kind: int) -> None:
        """Take one record."""
        self._last_us = max(mono_us, self._last_us + 1)
        self._turn.append(pack(kind, payload, wall_us, self._last_us))

    def flush(self, wall_us: int, mono_us: int, *, settled: bool) -> None:
        """Hand out the records of this turn, and keyframes to those who wait for one. Call it every turn."""
        watched = {one.sub: one for one in self._subscriptions if one.what == "tape"}
        if not watched and not self._tapes:
            return
        for sub in [sub for sub in self._tapes if sub not in watched]:
            del self._tapes[sub]
        for sub in watched:
            self._tapes.setdefault(sub, Tape(sub))
        self._hand_out(watched)
        if self._job is not None and self._job.is_done:
            self._place_key()
        if self._job is None and settled and not all(tape.runs for tape in self._tapes.values()):
            self._last_us = max(mono_us, self._last_us)
            self._job = KeyJob(self._keyframe(), wall_us, self._last_us)
            self._job_for = [tape for tape in self._tapes.values() if not tape.runs]
        for sub, tape in self._tapes.items():
            watched[sub].waiting = tape.chunks

    def _hand_out(self, watched: dict[int, Subscription]) -> None:
        count, data = len(self._turn), b"".join(self._turn)
        self._turn = []
        if self._job is not None and count:
            self._behind.append(data)
        for sub, tape in self._tapes.items():
            tape.notice_taken()
            if not tape.runs:
                continue
            if count:
                tape.put(data, count)
            if tape.waiting_bytes > WAITING_BYTES + self._key_bytes:
                watched[sub].dropped += tape.drop()

    def _place_key(self) -> None:
        job, self._job = self._job, None
        behind, self._behind = self._behind, []
        assert job is not None
        try:
            key = job.record()
        except ValueError as error:
            logger.error("a recording over the wire cannot begin: %s", error)
            return  # it is tried again
        self._key_bytes = len(key)
        head = pack(META, encode(self._meta), job.wall_us, job.mono_us)
        for tape in self._job_for:
            if tape.sub in self._tapes:
                tape.put(head + key + b"".join(behind), 0)
                tape.runs = True
