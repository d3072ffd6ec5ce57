"""The past: a recording applied to a picture, from a keyframe to any moment. No sockets, no clock of its own."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError

from observe.probe.codec import decode
from observe.probe.config import Config
from observe.probe.coroner import open_spans_of
from observe.probe.deaths import BusyAgent, Death, OpenSpanTold
from observe.probe.errors import BadFrame
from observe.probe.feed import Feed, read_frame
from observe.probe.frames import CrashFrame
from observe.probe.key_job import KEYFRAME_LIMIT_BYTES
from observe.probe.keyframe import restore
from observe.probe.picture import MAX_CRASHES, Picture
from observe.probe.recording import (
    DEATH,
    EVENTS,
    FRAME,
    KEY,
    MAGIC,
    META,
    SAMPLE,
    Damage,
    NotARecording,
    Record,
    Segment,
    segments_at,
)
from observe.probe.streams import EventItem
from observe.probe.wire import Held
from observe.probe.wire_base import Told
from observe.probe.wire_watches import Event

KEPT_EVENTS: Final = 10_000
MAX_MARKS: Final = 100_000
"""Crashes of a recording that one can go to."""

WARM_US: Final = 15_000_000
"""A place is reached from a keyframe this long before it, where there is one: findings need a while to see what lasts."""

CRASH_SIGN: Final = b"\xa5crash"
"""In the first bytes of a frame that may tell of a crash: the word as msgpack has it."""

GROWN_AT: Final = 10
"""A mailbox that grew by fewer messages is not worth a line."""
SHOWN: Final = 20


class Grown(BusyAgent):
    """An agent whose mailbox grew."""

    before: int
    """Messages that waited at the beginning; `mailbox` is at the end."""


class Crashed(Told):
    """Crashes of one kind."""

    fingerprint: str
    text: str
    """The newest, for people."""
    count: int


class HeldFor(Told):
    """Who held the scheduler, and in how many of the seconds."""

    who: str
    seconds: int


class Autopsy(Told):
    """What was wrong in the last while of a recording."""

    node: str
    incarnation: str
    from_at: float
    to_at: float
    crashed: list[Crashed] = Field(default_factory=list)
    grew: list[Grown] = Field(default_factory=list)
    held: list[HeldFor] = Field(default_factory=list)
    events: list[Event] = Field(default_factory=list)
    open_spans: list[OpenSpanTold] = Field(default_factory=list)
    """Spans that were open at the end, the longest first."""
    open_spans_total: int = 0
    death: Death | None = None
    damage: list[str] = Field(default_factory=list)
    """Where the recording could not be read."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a recording."""

    wall_us: int
    segment: int
    offset: int
    text: str = ""
    """What happened there, for people."""


class Past:
    """A recording at one moment. Made at its end; `seek` goes anywhere, `advance` onwards."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            NotARecording: there is none there, or nothing of it can be read.
        """
        self.path = path
        self.damage: list[Damage] = []
        self.events: deque[EventItem] = deque(maxlen=KEPT_EVENTS)
        self.death: Death | None = None
        self.deaths: list[Mark] = []
        self.crashes: list[Mark] = []
        """All crashes in it, and the deaths of the node, oldest first: `MAX_MARKS` at most."""
        self.held: Counter[str] = Counter()
        self.on_events: Callable[[list[EventItem]], None] | None = None
        """Hears what happens while it goes on."""
        self.on_sample: Callable[[float, float], None] | None = None
        """Called once a second of the recording, with its monotonic and its Unix time."""
        self.wants_events = False
        """Whether starts and ends of agents become events as well."""
        self._keys: list[Mark] = []
        self._metas: list[dict[str, Any]] = []
        """What each segment says of itself at its beginning."""
        self._segments: list[Segment] = []
        self.end_us = 0
        for segment in segments_at(path):
            self._index(segment)
        if not self._segments:
            why = f": {self.damage[0]}" if self.damage else ""
            raise NotARecording(f"nothing of {path} can be read{why}")
        self.crashes.sort(key=lambda mark: mark.wall_us)
        self._place = (0, len(MAGIC))
        """Segment and byte of the next record."""
        self._is_whole = False
        """Whether what follows can be applied to the picture as it is; if not, the next keyframe is needed."""
        self._mono_us = 0
        self.at_us = self.start_us
        self._meta: dict[str, Any] = {}
        self.picture, self._feed = self._empty({})
        self.seek(self.end_us / 1e6)

    def _index(self, segment: Segment) -> None:
        number = len(self._segments)
        first: Record | None = None
        meta: dict[str, Any] = {}
        for record in segment:
            if first is None:
                first = record
                self.start_us = min(getattr(self, "start_us", record.wall_us), record.wall_us)
            self.end_us = max(self.end_us, record.wall_us)
            if record.kind == META:
                meta = _decoded(record)
            elif record.kind == KEY:
                self._keys.append(Mark(record.wall_us, number, record.offset))
            elif record.kind == DEATH or (record.kind == FRAME and CRASH_SIGN in record.payload[:64]):
                self._remember(record, number)
        if segment.damage is not None:
            self.damage.append(segment.damage)
        if first is not None:
            self._segments.append(segment)
            self._metas.append(meta)

    def _remember(self, record: Record, number: int) -> None:
        try:
            if record.kind == DEATH:
                text = f"the node died: {Death.from_wire(decode(record.payload)).cause}"
            else:
                crash = read_frame(record.payload)
                if not isinstance(crash, CrashFrame):
                    return
                text = f"{crash.name or crash.class_name} (pid {crash.pid}): {crash.reason}"
        except (BadFrame, ValidationError):
            return
        mark = Mark(record.wall_us, number, record.offset, text)
        if record.kind == DEATH:
            self.deaths.append(mark)
        if len(self.crashes) < MAX_MARKS:
            self.crashes.append(mark)

    @property
    def incarnation(self) -> str:
        """Of the node at this moment."""
        return str(self._meta.get("incarnation", ""))

    # -- going somewhere ------------------------------------------------------------------------------------------------

    def seek(self, at: float) -> None:
        """Show the node as it was at this Unix time, or as near to it as the recording goes."""
        for _ in self.seeking(at):
            pass

    def seeking(self, at: float) -> Iterator[None]:
        """As `seek`, a record at a time, for those who have other things to do in between."""
        at_us = min(max(int(at * 1e6), self.start_us), self.end_us)
        before = [key for key in self._keys if key.wall_us <= at_us]
        early = [key for key in before if key.wall_us <= at_us - WARM_US]
        key = (early or before[:1] or self._keys[:1] or [Mark(self.start_us, 0, len(MAGIC))])[-1]
        self._place = (key.segment, key.offset)
        self._is_whole = False
        self._mono_us = 0
        self.death = None
        self._meta = self._metas[key.segment]
        self.events.clear()
        self._begin({})
        yield from self.advancing(at_us / 1e6)

    def advance(self, at: float) -> None:
        """Go on to a later Unix time, keeping what is collected on the way."""
        for _ in self.advancing(at):
            pass

    def advancing(self, at: float) -> Iterator[None]:
        """As `advance`, a record at a time."""
        until_us = min(int(at * 1e6), self.end_us)
        number, offset = self._place
        while number < len(self._segments):
            segment = self._segments[number]
            damage, segment.damage = segment.damage, None
            for record in segment.read(offset):
                if record.wall_us > until_us:
                    segment.damage = damage
                    self._place = (number, record.offset)
                    return
                self._place = (number, record.end)
                self._take(record, number)
                yield
            if segment.damage is not None:
                self._is_whole = False  # what followed there is lost
            number, offset = number + 1, len(MAGIC)
            self._place = (number, offset)

    def _take(self, record: Record, number: int) -> None:
        """Apply a record, unless the picture holds what it says already."""
        if record.kind == META:
            meta = _decoded(record)
            if record.offset > len(MAGIC):
                self._is_whole = False  # in the middle of a file: something was left out before it
            if meta.get("incarnation") != self._meta.get("incarnation"):
                self._is_whole = False
                self._mono_us = 0
                self.death = None
            self._meta = meta
            return
        if record.kind == KEY:
            if not (self._is_whole and self._feed.is_synced and self._feed.is_settled):
                self._mono_us = 0  # it shows the moment for which it was made
                self._apply(record)
                self._take_crashes_before(record, number)
                self._is_whole = True
        elif record.mono_us > self._mono_us:
            self._apply(record)
        else:
            return  # said again behind a keyframe, for those who begin there
        self._mono_us = max(self._mono_us, record.mono_us)
        self.at_us = record.wall_us

    def _take_crashes_before(self, key: Record, number: int) -> None:
        """A keyframe has no crashes: those before it are read where they were told."""
        told = list(self.events)
        before = [mark for mark in self.crashes if mark.wall_us <= key.wall_us and mark.segment <= number]
        for mark in before[-MAX_CRASHES:]:
            if self._metas[mark.segment].get("incarnation") != self._meta.get("incarnation"):
                continue
            record = next(iter(self._segments[mark.segment].read(mark.offset)), None)
            if record is not None and record.kind == FRAME:
                crash = read_frame(record.payload)
                if isinstance(crash, CrashFrame):
                    self.picture.crashed(crash, len(record.payload))
        self.events.clear()  # those crashes have been told, if they belong to what is looked at
        self.events.extend(told)

    def _apply(self, record: Record) -> None:
        # The clocks of the picture stand at the record before it is applied: what it makes is told with its time.
        self.picture.stand_at(record.mono_us, record.wall_us)
        try:
            if record.kind == KEY:
                self._begin(_decoded(record))
            elif record.kind == FRAME:
                self._feed.wants_events = self.wants_events
                self._feed.receive(record.payload)
                self._feed.settle(record.mono_us / 1e6)
            elif record.kind == SAMPLE:
                self._sample(decode(record.payload), record)
            elif record.kind == EVENTS:
                self._took(decode(record.payload)["events"], 0)
            elif record.kind == DEATH:
                self.death = Death.from_wire(decode(record.payload))
                self.picture.cause = self.death.cause
                self.picture.end("dead")
        except (BadFrame, ValidationError, ValueError, KeyError, TypeError):
            return  # whole, and of a later version: the rest can still be read
        finally:
            self.picture.stand_at(record.mono_us, record.wall_us)

    def _empty(self, key: dict[str, Any]) -> tuple[Picture, Feed]:
        known = {
            name: self._meta[name] for name in ("node", "host", "incarnation", "pid") if name in self._meta
        }
        keys = dict.fromkeys(("feed", "control", "directory", "server_public", "server_secret"), "")
        keys |= dict.fromkeys(("client_public", "client_secret"), "")
        config = Config.model_validate({"node": "", "host": "", "incarnation": "", "pid": 0} | keys | known)
        picture = Picture(config, self._took)
        picture.stand_at(self._mono_us, self.at_us)
        expected = restore(key, picture) if key else None
        feed = Feed(
            picture, expected, clock=lambda: self._now_us() / 1e6, wall=lambda: self.picture.info().now
        )
        return picture, feed

    def _now_us(self) -> int:
        return self.picture.now_us() if hasattr(self, "picture") else 0

    def _begin(self, key: dict[str, Any]) -> None:
        picture, self._feed = self._empty(key)
        self.picture.take_over(picture)
        self._feed.picture = self.picture

    def _sample(self, sample: dict[str, Any], record: Record) -> None:
        picture = self.picture
        picture.vitals.memory, picture.vitals.cpu = sample["memory"], sample["cpu"]
        picture.held = None if sample["held"] is None else Held.from_wire(sample["held"])
        if picture.held is not None:
            self.held[picture.held.name or picture.held.class_name] += 1
        picture.table.rotate(record.mono_us)
        picture.vitals.sample(record.wall_us / 1e6, picture.state, len(picture.table), picture.held)
        if self.on_sample is not None:
            self.on_sample(record.mono_us / 1e6, record.wall_us / 1e6)

    def _took(self, items: list[EventItem], _omitted: int) -> None:
        self.events.extend(items)
        if self.on_events is not None:
            self.on_events(items)

    def autopsy(self, last_s: float = 60.0) -> Autopsy:
        """What was wrong in the last so many seconds."""
        end = self.end_us / 1e6
        self.seek(end - last_s)
        begun = self.at_us / 1e6
        before = self._mailboxes()
        self.events.clear()
        self.held.clear()
        self.advance(end)
        crashes = [item for item in self.events if item["kind"] == "crash"]
        groups = Counter(item.get("fingerprint") or "" for item in crashes)
        newest = {item.get("fingerprint") or "": item["text"] for item in crashes}
        told = [item for item in self.events if item["kind"] not in ("spawn", "exit", "crash")]
        spans, total = open_spans_of(self.picture.spans, end)
        return Autopsy(
            node=f"{self.picture.config.node}@{self.picture.config.host}",
            incarnation=self.picture.config.incarnation,
            from_at=begun,
            to_at=end,
            crashed=[
                Crashed(fingerprint=mark, text=newest[mark], count=n) for mark, n in groups.most_common(SHOWN)
            ],
            grew=self._grown(before),
            held=[HeldFor(who=who, seconds=n) for who, n in self.held.most_common(SHOWN)],
            events=[Event.from_wire(item) for item in told[-SHOWN:]],
            open_spans=spans,
            open_spans_total=total,
            death=self.death,
            damage=[str(one) for one in self.damage],
        )

    def _mailboxes(self) -> dict[int, int]:
        table = self.picture.table
        rows = table.alive()
        return dict(zip(table.ints("pid")[rows].tolist(), table.ints("mailbox")[rows].tolist(), strict=True))

    def _grown(self, before: dict[int, int]) -> list[Grown]:
        now = self._mailboxes()
        grown = {pid: count - before.get(pid, 0) for pid, count in now.items()}
        worst = sorted((pid for pid in grown if grown[pid] >= GROWN_AT), key=lambda pid: -grown[pid])
        found = []
        for pid in worst[:SHOWN]:
            line = self.picture.agent(self.picture.row(pid))
            facts = {key: line[key] for key in ("pid", "name", "class", "status", "activity", "mailbox")}
            found.append(Grown.from_wire(facts | {"for_s": line["status_s"], "before": before.get(pid, 0)}))
        return found


def _decoded(record: Record) -> dict[str, Any]:
    """The map of a META or KEY; an empty one for what cannot be read."""
    try:
        return decode(record.payload, limit_bytes=KEYFRAME_LIMIT_BYTES)
    except BadFrame:
        return {}
