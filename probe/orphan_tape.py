"""A recording whose probe died with its node: which spans it leaves open, and a death at its end so that nobody finds them twice."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from observe.probe.codec import decode, encode
from observe.probe.deaths import Death
from observe.probe.errors import BadFrame
from observe.probe.feed import read_frame
from observe.probe.frames import ByeFrame, SpansFrame
from observe.probe.open_book import OpenBook
from observe.probe.recording import DEATH, FRAME, KEY, META, SUFFIX, Segment, pack

logger = logging.getLogger("observe.probe")

SIGNS: Final = (b"\xa5spans", b"\xa3bye")
"""In the first bytes of a frame that matters here: the words as msgpack has them."""

CAUSE: Final = "it ended together with its probe, so nobody saw how"


class Unfinished:
    """The newest segment of an incarnation before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.incarnation = ""
        self.book = OpenBook()

    @property
    def spans(self) -> int:
        """How many are open at its end."""
        return len(self.book)

    def finish(self) -> Death | None:
        """Read it. When it has no end, write one, which says what is known, and return it. On any thread."""
        segment = Segment(self.path)
        meta: dict[str, Any] = {}
        wall_us = mono_us = end = 0
        for record in segment:
            wall_us, mono_us, end = record.wall_us, record.mono_us, record.end
            if record.kind == META:
                meta = decode(record.payload)
            elif record.kind == DEATH:
                return None
            elif record.kind == KEY:
                self.book.restore(decode(record.payload).get("spans") or {})
            elif record.kind == FRAME and any(sign in record.payload[:64] for sign in SIGNS):
                try:
                    frame = read_frame(record.payload)
                except (BadFrame, ValidationError):
                    continue
                if isinstance(frame, ByeFrame):
                    return None
                if isinstance(frame, SpansFrame):
                    self.book.take(frame)
        if not meta or not end:
            return None
        death = Death(
            node=f"{meta.get('node')}@{meta.get('host')}", incarnation=str(meta.get("incarnation")),
            pid=int(meta.get("pid", 0)), at=wall_us / 1e6, started_at=0.0, cause=CAUSE,
        )  # fmt: skip
        self.incarnation = death.incarnation
        size = self.path.stat().st_size
        if segment.damage is not None and "middle of a record" not in segment.damage.why:
            logger.error("%s; its open spans are left", segment.damage)
            return None
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if end < size:
                os.ftruncate(descriptor, end)  # the record that the crash cut off
            os.pwrite(descriptor, pack(DEATH, encode(death.to_wire()), wall_us, mono_us + 1), end)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return death


def unfinished(directory: Path | None, node: str, incarnation: str) -> Unfinished | None:
    """The newest segment that another incarnation of the node has left; None when there is none. It may have an end."""
    if directory is None:
        return None
    try:
        paths = sorted(directory.glob(f"{node}~*{SUFFIX}"), reverse=True)
    except OSError:
        return None
    for path in paths[:1]:
        try:
            first = next(iter(Segment(path)), None)
            if (
                first is not None
                and first.kind == META
                and decode(first.payload).get("incarnation") != incarnation
            ):
                return Unfinished(path)
        except (OSError, BadFrame):
            return None
    return None
