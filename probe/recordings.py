"""What records a node: its flight recorder, and the tapes that consoles have asked for. Both get the same, in the same order."""

from __future__ import annotations

import time
from pathlib import Path

from observe.probe import keyframe
from observe.probe.config import Config
from observe.probe.feed import Feed
from observe.probe.key_job import KeyJob
from observe.probe.picture import Picture, monotonic_us
from observe.probe.recorder import Recorder
from observe.probe.streams import Streams
from observe.probe.tapes import Tapes


class Recordings:
    """Of one probe. Belongs to its loop.

    Raises:
        OSError: the directory of the flight recorder cannot be written.
    """

    def __init__(self, config: Config, streams: Streams, picture: Picture, feed: Feed) -> None:
        self._picture = picture
        self._feed = feed
        meta = {key: getattr(config, key) for key in ("node", "host", "incarnation", "pid")} | {"format": 1}
        self._recorder: Recorder | None = None
        if config.record:
            self._recorder = Recorder(
                Path(config.record), config.node, config.keep_bytes, meta, self._snapshot
            )
            self._recorder.flush(time.monotonic(), time.time_ns() // 1000, monotonic_us(), settled=True)
        self._tapes = Tapes(streams, meta, self._snapshot)

    def _snapshot(self) -> keyframe.Snapshot:
        return keyframe.snapshot(self._picture, self._feed)

    def __bool__(self) -> bool:
        """Whether anything records."""
        return self._recorder is not None or bool(self._tapes)

    @property
    def lost(self) -> int:
        """Records that the flight recorder could not write."""
        return self._recorder.lost if self._recorder is not None else 0

    @property
    def copying(self) -> KeyJob | None:
        """A keyframe is being copied: the picture must not change."""
        return (self._recorder and self._recorder.copying) or self._tapes.copying

    def note(self, kind: int, payload: bytes) -> None:
        """Something has happened now; `kind` is one of `observe.probe.recording`."""
        wall_us, mono_us = time.time_ns() // 1000, monotonic_us()
        if self._recorder is not None:
            self._recorder.note(payload, wall_us, mono_us, kind)
        if self._tapes:
            self._tapes.note(payload, wall_us, mono_us, kind)

    def flush(self, now: float) -> None:
        """Write what is due."""
        settled = self._feed.is_settled and self._feed.is_synced
        wall_us, mono_us = time.time_ns() // 1000, monotonic_us()
        if self._recorder is not None:
            self._recorder.flush(now, wall_us, mono_us, settled=settled)
        self._tapes.flush(wall_us, mono_us, settled=settled or self._picture.ended is not None)

    def close(self) -> None:
        """The probe ends."""
        if self._recorder is not None:
            self._recorder.close()
