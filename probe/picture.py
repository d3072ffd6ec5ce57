"""What the probe knows of its node: the picture that every question is answered from, and that outlives the node."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from observe.probe.allowed import Allowed
from observe.probe.config import Config
from observe.probe.doings import Doings
from observe.probe.errors import Refusal
from observe.probe.event_kinds import EventKind
from observe.probe.frames import CrashFrame, HelloFrame
from observe.probe.introduction import installed_version
from observe.probe.open_book import OpenBook
from observe.probe.processes import Processes
from observe.probe.queries import line
from observe.probe.streams import EventItem
from observe.probe.table import Table
from observe.probe.trees import Strategies, Trees
from observe.probe.troubles import Troubles
from observe.probe.vitals import VitalSigns
from observe.probe.wire import Held, NodeInfo, Vitals

RECENT_EVENTS: Final = 100
"""Events kept for a death report, without spawns and exits."""

MAX_CRASHES: Final = 1000
MAX_CRASH_BYTES: Final = 32 << 20
"""Crashes kept: so many, and so many bytes together. The oldest go first; `total` counts on."""

MOST_CLASSES: Final = 1000
"""Classes whose crashes are counted one by one."""

REPLY_CRASH_BYTES: Final = 8 << 20
"""Bytes of crashes in one reply."""


@dataclass(slots=True)
class Kept:
    """A crash as it goes to clients, and about how many bytes it takes."""

    crash: dict[str, Any]
    size_bytes: int


class Picture:
    """The node as the probe sees it. Not for threads: the probe has one."""

    def __init__(self, config: Config, publish: Callable[[list[EventItem], int], None]) -> None:
        self.config = config
        self.trees = Trees(Table())
        self.restarts = self.trees.table.chains
        self.risks = self.trees.table.risks
        self.vitals = VitalSigns()
        self.processes = Processes()
        self.vitals.budget = config.budget
        self.troubles = Troubles()
        self.doings = Doings()
        self.vitals.spent = lambda: (self.doings.tokens, self.doings.cost)
        self.spans = OpenBook()
        self.crashes_by_class: Counter[str] = Counter()
        """Since the probe began; of many classes the later ones are counted as `other`."""
        self.allowed = Allowed(config.findings_allow)
        self.waits: dict[int, int] = {}
        """Who waits for whose reply, of those that were asked last."""
        self.subscribers: Callable[[], list[tuple[int, str, int]]] = list
        """Subscriptions without credit: number, whose, and how much was left out of them."""
        self.unrecorded: Callable[[], str] = str
        """Why nothing can be put on record at the moment; empty when it can."""
        self.strategies: Strategies = {}
        self.held: Held | None = None
        self.ended: str | None = None
        """`dead` or `stopped`, once the node is."""
        self.cause = ""
        """Why it is gone, in one line."""
        self.recent: deque[EventItem] = deque(maxlen=RECENT_EVENTS)
        """What happened last, spawns and exits left out."""
        self.python = platform.python_version()
        self.version = installed_version()
        self.started_at = config.started_at or time.time()
        self._publish = publish
        self._events = 0
        self._crashes: deque[Kept] = deque()
        self._crash_bytes = 0
        self._crashes_total = 0
        self.clock_offset_us = time.time_ns() // 1000 - monotonic_us()
        self._frozen_us: int | None = None
        self._past_at: float | None = None

    @property
    def table(self) -> Table:
        """The agents."""
        return self.trees.table

    def show(self, table: Table) -> None:
        """Answer from this table from now on."""
        table.chains = self.restarts
        table.risks = self.risks
        if table is not self.trees.table:
            self.trees = Trees(table)

    @property
    def state(self) -> str:
        """`up`, `held`, `dead` or `stopped`."""
        return self.ended or ("held" if self.held else "up")

    def end(self, state: str) -> None:
        """The node is gone: its ages stand still from now on."""
        self.ended = state
        self.held = None
        self._frozen_us = monotonic_us()

    def stand_at(self, mono_us: int, wall_us: int) -> None:
        """Let the clocks stand at this moment: of a picture of the past."""
        self._frozen_us = mono_us
        self._past_at = wall_us / 1e6

    @property
    def is_past(self) -> bool:
        """Whether it is read from a recording: there is no service to ask."""
        return self._past_at is not None

    def take_over(self, other: Picture) -> None:
        """Show what `other` shows, to those who hold this one."""
        subscribers, unrecorded = self.subscribers, self.unrecorded
        vars(self).update(vars(other))
        self.subscribers, self.unrecorded = subscribers, unrecorded

    def now_us(self) -> int:
        """Monotonic microseconds for ages; the moment of its end for a node that is gone."""
        return self._frozen_us if self._frozen_us is not None else monotonic_us()

    def wall(self, mono_us: int) -> float:
        """The Unix time of a monotonic moment."""
        return (mono_us + self.clock_offset_us) / 1e6

    def introduce(self, hello: HelloFrame) -> None:
        """What the service says of itself."""
        self.python, self.version, self.started_at = hello.python, hello.version, hello.started_at
        self.clock_offset_us = int(hello.wall * 1e6) - hello.mono_us

    def info(self) -> NodeInfo:
        """The **node** of the protocol."""
        return NodeInfo(
            name=f"{self.config.node}@{self.config.host}",
            incarnation=self.config.incarnation,
            pid=self.config.pid,
            host=self.config.host,
            started_at=self.started_at,
            now=time.time() if self._past_at is None else self._past_at,
            python=self.python,
            version=self.version,
            state=self.state,
            agents=len(self.table),
            probe_pid=os.getpid(),
        )

    def current_vitals(self, history_s: float = 0.0) -> Vitals:
        """The **vitals** of the protocol, as they are now or were at the node's end."""
        now = self.vitals.current(self.wall(self.now_us()), self.state, len(self.table), self.held, history_s)
        return now.model_copy(update={"cause": self.cause}) if self.cause else now

    # -- agents ---------------------------------------------------------------------------------------------------------

    def row(self, agent: int | str) -> int:
        """The row of a live agent, by pid or name.

        Raises:
            Refusal: `no_such_agent`.
        """
        found = self.table.row_of(agent) if isinstance(agent, int) else self.table.row_named(agent)
        if found is None:
            what = f"pid {agent}" if isinstance(agent, int) else f"the name {agent[:100]!r}"
            raise Refusal(
                "no_such_agent", f"no live agent of {self.config.node} has {what}", "`observe ps` lists them"
            )
        return found

    def agent(self, row: int) -> dict[str, Any]:
        """All columns of one agent."""
        return line(self.table, row, self.now_us())

    def is_elsewhere(self, pid: int) -> bool:
        """Whether the agent runs in a worker process."""
        row = self.table.row_of(pid) if pid else None
        return row is not None and bool(self.table.ints("process")[row])

    def label(self, pid: int) -> str:
        """How to name an agent to a person: `session-3 (pid 17)`."""
        row = self.table.row_of(pid)
        if row is None:
            return f"pid {pid}"
        name = self.table.text("name", row) or self.table.text("class", row) or "agent"
        return f"{name} (pid {pid})"

    # -- crashes and events ---------------------------------------------------------------------------------------------

    def crashed(self, frame: CrashFrame, size_bytes: int) -> None:
        """Keep a crash."""
        crash = frame.model_dump(by_alias=True, exclude={"seq"}) | {"restarted": None}
        self._crashes.append(Kept(crash, size_bytes))
        self._crashes_total += 1
        known = frame.class_name in self.crashes_by_class or len(self.crashes_by_class) < MOST_CLASSES
        self.crashes_by_class[frame.class_name if known else "other"] += 1
        self._crash_bytes += size_bytes
        while len(self._crashes) > MAX_CRASHES or self._crash_bytes > MAX_CRASH_BYTES:
            self._crash_bytes -= self._crashes.popleft().size_bytes
        self.event(
            "crash", frame.at, f"{frame.name or frame.class_name} (pid {frame.pid}) crashed: {frame.reason}",
            pid=frame.pid, name=frame.name, class_name=frame.class_name, reason=frame.reason,
            fingerprint=frame.fingerprint,
        )  # fmt: skip

    def restarted(self, old: int, new: int) -> None:
        """`new` came in the place of `old`."""
        crash = next((kept.crash for kept in reversed(self._crashes) if kept.crash["pid"] == old), None)
        if crash is not None:
            crash["restarted"] = new
        self.restarts.restarted(old, new, self.now_us() / 1e6, crashed=crash is not None)

    @property
    def crashes_total(self) -> int:
        """Crashes since the probe began, also those that are not kept any more."""
        return self._crashes_total

    def crashes(self, limit: int) -> dict[str, Any]:
        """The result of `crashes`: newest first, no more than fit into a reply."""
        chosen: list[dict[str, Any]] = []
        room = REPLY_CRASH_BYTES
        for kept in reversed(self._crashes):
            room -= kept.size_bytes
            if len(chosen) >= limit or room < 0:
                break
            chosen.append(kept.crash)
        return {"crashes": chosen, "total": self._crashes_total}

    def recent_crashes(self, within_s: float) -> list[dict[str, Any]]:
        """Crashes of the last `within_s` seconds that are still held, newest first."""
        since = self.wall(self.now_us()) - within_s
        recent: list[dict[str, Any]] = []
        for kept in reversed(self._crashes):
            if kept.crash["at"] < since:
                break
            recent.append(kept.crash)
        return recent

    def last_crash_of(self, name: str | None, child: str, supervisor: int) -> dict[str, Any] | None:
        """The newest crash in the same place of the tree."""
        for kept in reversed(self._crashes):
            crash = kept.crash
            if crash["supervisor"] == supervisor and crash["child"] == child and crash["name"] == name:
                return crash
        return None

    def event(
        self,
        kind: EventKind,
        at: float,
        text: str,
        *,
        pid: int = 0,
        name: str | None = None,
        class_name: str | None = None,
        **facts: str,
    ) -> None:
        """Tell everybody who watches events."""
        self.events([self.event_item(kind, at, text, pid=pid, name=name, class_name=class_name, **facts)])

    def event_item(
        self,
        kind: EventKind,
        at: float,
        text: str,
        *,
        pid: int,
        name: str | None,
        class_name: str | None,
        **facts: str,
    ) -> EventItem:
        """An **event** of the protocol, with the next number."""
        self._events += 1
        item = {"seq": self._events, "at": at, "kind": kind, "pid": pid, "name": name, "class": class_name}
        return item | {"text": text} | facts

    def events(self, items: list[EventItem], omitted: int = 0) -> None:
        """Publish events; `omitted` earlier ones of the same frame were not made."""
        if items and items[0]["kind"] not in ("spawn", "exit"):
            self.recent.extend(items)
        self._publish(items, omitted)

    def skip_events(self, count: int) -> None:
        """Count events that nobody asked for."""
        self._events += count


def monotonic_us() -> int:
    """The clock of the feed: the same in all processes of a machine."""
    return time.monotonic_ns() // 1000
