"""Applies the frames of the feed to the picture. Bytes in; no sockets.

A frame that cannot be read, or a gap in the numbers, makes the table doubtful: the probe asks for everything anew, and
shows what it has until that has come. Nothing that arrives here can end the probe.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from observe.probe.codec import decode
from observe.probe.errors import BadFrame
from observe.probe.event_kinds import EventKind
from observe.probe.far_feed import FarFeed
from observe.probe.frames import (
    FEED_FRAMES,
    LODGERS,
    AuditedFrame,
    ByeFrame,
    ConcernFrame,
    CrashFrame,
    DurationsFrame,
    ExitFrame,
    FarRowsFrame,
    FeedFrame,
    FindingFrame,
    GovernedFrame,
    HelloFrame,
    LimitFrame,
    RestartFrame,
    RisksFrame,
    RowsFrame,
    RungFrame,
    SpansFrame,
    SpawnFrame,
    SpentFrame,
    StringsFrame,
    TraceFrame,
    VitalsFrame,
    WorkersFrame,
)
from observe.probe.governed import NEWS, policy_of, said
from observe.probe.picture import Picture
from observe.probe.streams import BUFFERED_EVENTS
from observe.probe.table import Malformed, Table

logger = logging.getLogger("observe.probe")

TABLE_FRAMES: Final = (StringsFrame, SpawnFrame, RowsFrame, ExitFrame)
"""Frames that mean nothing without those before them."""

RESYNC_FIRST_S: Final = 0.5
RESYNC_MOST_S: Final = 30.0
"""How long to wait for an answer to `resync` before asking again; doubles each time, so that a service that sends
nonsense is not also kept busy sending all of it again."""

FILL_MOST_S: Final = 2.0
"""How long the table of before a resync is shown while the one after it fills up."""


class Feed:
    """The receiving end of the feed."""

    def __init__(
        self,
        picture: Picture,
        expected: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`expected` is the number of the next frame, when the picture is whole up to there. The clocks are others for
        a feed of the past."""
        self._clock = clock
        self._wall = wall
        self.picture = picture
        self.frames = 0
        self.malformed = 0
        self.gaps = 0
        self.resyncs = 0
        self.bye: ByeFrame | None = None
        """The last word of the service, once it has been said."""
        self.is_greeted = False
        """Whether the service has said hello."""
        self.on_trace: Callable[[TraceFrame], None] = _nobody
        """Takes the events of trace sessions."""
        self.on_audited: Callable[[AuditedFrame], None] = _nobody
        """Takes changes of audited fields, for the record."""
        self.on_governed: Callable[[GovernedFrame], None] = _nobody
        """Takes what was decided about agents, for the record."""
        self.wants_events = False
        """Whether anybody watches events: they are not made otherwise."""
        self._filling = picture.table
        self._filling_since: float | None = None
        self._expected = expected
        """The number of the next frame; None before the first and after a fault, until a `hello`."""
        self._ask_at = clock() + RESYNC_FIRST_S
        self._patience_s = RESYNC_FIRST_S
        self._highest_pid = 0
        """That the node's own process has given."""
        self.far = FarFeed()
        """What worker processes tell themselves."""

    def statistics(self) -> dict[str, int]:
        """What came and what was wrong with it."""
        return {
            "frames": self.frames,
            "malformed": self.malformed,
            "gaps": self.gaps,
            "resyncs": self.resyncs,
            "strays": self.picture.table.strays,
        }

    @property
    def expected(self) -> int | None:
        """The number of the next frame, when the table can be trusted."""
        return self._expected

    @property
    def is_settled(self) -> bool:
        """Whether the table that is shown is the one that is filled."""
        return self._filling_since is None

    @property
    def is_synced(self) -> bool:
        """Whether the table can be trusted."""
        return self._expected is not None

    def needs_resync(self, now: float) -> bool:
        """Whether to ask the service for everything now. Saying yes counts as having asked."""
        if self.is_synced or self.bye is not None or now < self._ask_at:
            return False
        self.resyncs += 1
        self._patience_s = min(self._patience_s * 2, RESYNC_MOST_S)
        self._ask_at = now + self._patience_s
        return True

    def settle(self, now: float) -> None:
        """Show the table that fills up after a resync as soon as it is complete, or has taken too long."""
        if self._filling_since is None:
            return
        filled, shown = len(self._filling), len(self.picture.table)
        complete = filled >= self.picture.vitals.announced > 0
        late = now - self._filling_since > FILL_MOST_S and (not self.picture.ended or filled >= shown)
        if complete or late or not shown:
            self._filling.inherit(self.picture.table)
            self.picture.show(self._filling)
            self._filling_since = None

    def receive(self, data: bytes) -> None:
        """Apply one frame, whatever it is."""
        self.frames += 1
        try:
            frame = read_frame(data)
            self._apply(frame, len(data))
        except (BadFrame, ValidationError, Malformed, ValueError, OverflowError) as error:
            self.malformed += 1
            self._doubt(f"a frame of the feed cannot be used: {str(error).splitlines()[0][:300]}")
        except Exception:  # the edge of the process: a fault in a frame must not end the probe
            self.malformed += 1
            logger.exception("a frame of the feed could not be applied")
            self._doubt("a frame of the feed could not be applied")

    def _doubt(self, why: str) -> None:
        if self._expected is not None:
            logger.warning("%s; asking for everything anew", why)
            self._ask_at = self._clock()
        self._expected = None

    def _apply(self, frame: FeedFrame, size_bytes: int) -> None:
        if isinstance(frame, HelloFrame):
            self._begin(frame)
            return
        if isinstance(frame, FarRowsFrame):
            self.far.rows(frame, self._filling)
            return
        if self._expected is not None and frame.seq != self._expected:
            self.gaps += 1
            self._doubt(f"the feed went from {self._expected - 1} to {frame.seq}")
        elif self._expected is not None:
            self._expected += 1
        if self._expected is None and isinstance(frame, TABLE_FRAMES):
            return
        match frame:
            case RowsFrame():
                self._filling.update(frame.n, frame.data, frame.mono_us)
            case VitalsFrame():
                self.picture.vitals.take(frame)
                self._filling.newest_us = max(self._filling.newest_us, frame.mono_us)
                self._patience_s = RESYNC_FIRST_S if self.is_synced else self._patience_s
            case WorkersFrame():
                self.picture.processes.take(frame.workers)
            case StringsFrame():
                self._filling.strings.add(frame.base, frame.texts)
            case SpawnFrame():
                self._spawned(frame)
            case ExitFrame():
                self._exited(frame)
            case CrashFrame():
                self.picture.crashed(frame, size_bytes)
            case RestartFrame():
                self._restarted(frame)
            case ConcernFrame():
                self.picture.troubles.concern(frame)
            case DurationsFrame():
                self.picture.doings.take(frame)
            case SpentFrame():
                self._filling.spent(frame.pids, frame.tokens, frame.costs)
            case RisksFrame():
                self.picture.risks.take(frame.classes)
            case FindingFrame():
                self.picture.troubles.found(frame)
                facts = self._named(self.picture.table, frame.pid)
                self.picture.event("finding", frame.at, frame.text, pid=frame.pid, reason=frame.kind, **facts)
            case RungFrame():
                facts = self._named(self.picture.table, frame.pid)
                self.picture.event("rung", frame.at, frame.text, pid=frame.pid, reason=frame.rung, **facts)
            case LimitFrame():
                facts = self._named(self.picture.table, frame.pid)
                self.picture.event("limit", frame.at, frame.text, pid=frame.pid, reason=frame.limit, **facts)
            case AuditedFrame():
                self.on_audited(frame)
            case GovernedFrame():
                self._governed(frame)
            case TraceFrame():
                self.on_trace(frame)
            case SpansFrame():
                self.picture.spans.take(frame)
            case ByeFrame():
                self.bye = frame

    def _governed(self, frame: GovernedFrame) -> None:
        if frame.what == "containment":
            self._filling.contain(frame.pid, frame.on)
        if frame.standing:
            return
        if frame.verdict or frame.what in NEWS:  # what monitored agents do is for the record alone
            facts = self._named(self.picture.table, frame.pid)
            self.picture.event(
                "governed", frame.at, said(frame), pid=frame.pid, reason=policy_of(frame), **facts
            )
        self.on_governed(frame)

    def _begin(self, hello: HelloFrame) -> None:
        if hello.incarnation != self.picture.config.incarnation or hello.pid != self.picture.config.pid:
            raise Malformed("the feed speaks for another process")  # as a fork of the service would
        self.is_greeted = True
        self.picture.troubles.begin_anew()
        self.far.forget()
        self._expected = hello.seq + 1
        self._filling = Table()
        self._filling_since = self._clock()
        self.picture.introduce(hello)
        self.settle(self._filling_since)

    def _spawned(self, frame: SpawnFrame) -> None:
        now_us = self.picture.now_us()
        pids = self._filling.spawn(frame.n, frame.data, now_us)
        if not len(pids):
            return
        self.far.spawned(pids, self._filling, now_us)
        fresh = pids[
            np.searchsorted(pids, self._highest_pid, side="right") :
        ]  # a resync tells of old ones again
        own = int(np.searchsorted(pids, LODGERS))
        if own:
            self._highest_pid = max(self._highest_pid, int(pids[own - 1]))
        if self._filling_since is None:
            self._tell("spawn", "started", np.searchsorted(self._filling.ints("pid"), fresh))

    def _exited(self, frame: ExitFrame) -> None:
        rows = self._filling.exit(frame.n, frame.data)
        self._tell("exit", "ended", rows)
        self._filling.tidy()

    def _tell(self, kind: EventKind, verb: str, rows: NDArray[np.intp]) -> None:
        """Make events for these rows, but no more than anybody could be sent."""
        if not self.wants_events:
            self.picture.skip_events(len(rows))
            return
        omitted = max(len(rows) - BUFFERED_EVENTS, 0)
        self.picture.skip_events(omitted)
        at, table = self._wall(), self._filling
        items = []
        for row in rows[omitted:].tolist():
            pid = int(table.ints("pid")[row])
            name, class_name = table.text("name", row), table.text("class", row)
            text = f"{name or class_name or 'agent'} (pid {pid}) {verb}"
            items.append(self.picture.event_item(kind, at, text, pid=pid, name=name, class_name=class_name))
        self.picture.events(items, omitted)

    def _restarted(self, frame: RestartFrame) -> None:
        self.picture.restarted(frame.old, frame.pid)
        facts = self._named(self._filling, frame.pid)
        label = facts["name"] or facts["class_name"] or "agent"
        text = f"{label} was restarted: pid {frame.pid} in the place of {frame.old}"
        self.picture.event("restart", frame.at, text, pid=frame.pid, **facts)

    @staticmethod
    def _named(table: Table, pid: int) -> dict[str, Any]:
        row = table.row_of(pid)
        if row is None:
            return {"name": None, "class_name": None}
        return {"name": table.text("name", row), "class_name": table.text("class", row)}


def _nobody(_frame: object) -> None:
    """Of a recording, say: nobody is left who asked for them."""


def read_frame(data: bytes) -> FeedFrame:
    """One frame of the feed.

    Raises:
        BadFrame: it is no message, or has no type that we know.
        ValidationError: a field is missing or wrong.
    """
    message = decode(data)
    kind = message.pop("t", None)
    model = FEED_FRAMES.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise BadFrame(f"a frame of unknown type {str(kind)[:50]!r}")
    return model.model_validate(message)
