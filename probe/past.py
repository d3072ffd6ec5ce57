"""The past: a recording applied to a picture, from a keyframe to any moment. No sockets, no clock of its own."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError

from observe.probe.codec import decode
from observe.probe.deaths import BusyAgent, Death
from observe.probe.errors import BadFrame
from observe.probe.feed import Feed
from observe.probe.frames import Config
from observe.probe.keyframe import restore
from observe.probe.picture import Picture
from observe.probe.recorder import KEYFRAME_LIMIT_BYTES
from observe.probe.recording import (
    DEATH,
    EVENTS,
    FRAME,
    KEY,
    META,
    SAMPLE,
    Damage,
    NotARecording,
    Record,
    Segment,
    segments_at,
)
from observe.probe.streams import EventItem
from observe.probe.wire import Event, Held, Told

KEPT_EVENTS: Final = 10_000
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
    death: Death | None = None
    damage: list[str] = Field(default_factory=list)
    """Where the recording could not be read."""


class Past:
    """A recording at one moment. Made at its end; `seek` goes anywhere."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            NotARecording: there is none there, or nothing of it can be read.
        """
        self._segments = segments_at(path)
        self.damage: list[Damage] = []
        self.events: deque[EventItem] = deque(maxlen=KEPT_EVENTS)
        self.death: Death | None = None
        self.held: Counter[str] = Counter()
        self._starts: list[int] = []
        """Wall clock of the first record of each segment that can be read."""
        readable: list[Segment] = []
        self.end_us = 0
        for segment in self._segments:
            first = 0
            for record in segment:
                first = first or record.wall_us
                self.end_us = record.wall_us
            if segment.damage is not None:
                self.damage.append(segment.damage)
            if first:
                readable.append(segment)
                self._starts.append(first)
        if not readable:
            why = f": {self.damage[0]}" if self.damage else ""
            raise NotARecording(f"nothing of {path} can be read{why}")
        self._segments = readable
        self.start_us = self._starts[0]
        self.picture, self._feed = self._empty({})
        self.seek(self.end_us / 1e6)

    def seek(self, at: float) -> None:
        """Show the node as it was at this Unix time, or as near to it as the recording goes."""
        at_us = min(max(int(at * 1e6), self.start_us), self.end_us)
        first = max(bisect_right(self._starts, at_us) - 1, 0)
        for _ in self._records(first, 0, at_us):
            pass

    def advance(self, at: float) -> None:
        """Go on to a later Unix time, keeping what is collected on the way."""
        after_us, until_us = self.at_us, min(int(at * 1e6), self.end_us)
        first = max(bisect_right(self._starts, after_us) - 1, 0)
        for _ in self._records(first, after_us, until_us):
            pass

    def _records(self, first: int, after_us: int, until_us: int) -> Iterator[Record]:
        for number, segment in enumerate(self._segments[first:]):
            for record in segment:
                if record.wall_us > until_us:
                    return
                if after_us and number == 0 and record.wall_us <= after_us:
                    continue
                self._apply(record, fresh=not after_us)
                self.at_us = record.wall_us
                yield record

    def _apply(self, record: Record, *, fresh: bool) -> None:
        try:
            if record.kind == META:
                self._meta = decode(record.payload)
            elif record.kind == KEY:
                self._begin(decode(record.payload, limit_bytes=KEYFRAME_LIMIT_BYTES))
            elif record.kind == FRAME:
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
        self.picture.stand_at(record.mono_us)

    def _empty(self, key: dict[str, Any]) -> tuple[Picture, Feed]:
        meta = getattr(self, "_meta", {})
        known = {name: meta[name] for name in ("node", "host", "incarnation", "pid") if name in meta}
        keys = dict.fromkeys(("feed", "control", "directory", "server_public", "server_secret"), "")
        keys |= dict.fromkeys(("client_public", "client_secret"), "")
        config = Config.model_validate({"node": "", "host": "", "incarnation": "", "pid": 0} | keys | known)
        picture = Picture(config, self._took)
        return picture, restore(key, picture) if key else Feed(picture)

    def _begin(self, key: dict[str, Any]) -> None:
        self.picture, self._feed = self._empty(key)
        self._feed.wants_events = False

    def _sample(self, sample: dict[str, Any], record: Record) -> None:
        picture = self.picture
        picture.vitals.memory, picture.vitals.cpu = sample["memory"], sample["cpu"]
        picture.held = None if sample["held"] is None else Held.from_wire(sample["held"])
        if picture.held is not None:
            self.held[picture.held.name or picture.held.class_name] += 1
        picture.table.rotate(record.mono_us)
        picture.vitals.sample(record.wall_us / 1e6, picture.state, len(picture.table), picture.held)

    def _took(self, items: list[EventItem], _omitted: int) -> None:
        self.events.extend(items)

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
