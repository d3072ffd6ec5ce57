"""The trace sessions of one console: what they have heard, what they keep of it, and how they ended. Pure.

Events come by the thousand a second; a line is made of each once, and the oldest make way for the newest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from observe.console.lines import Line
from observe.console.trace_asked import Wanted
from observe.console.trace_view import event_line
from observe.probe.wire_traces import TraceEvent

KEPT: Final = 5000
"""Events that a session keeps, to be filtered, drawn and saved: some megabytes. Older ones are counted."""

MOST_SESSIONS: Final = 8
"""Sessions listed. An ended one makes way for a new one."""


@dataclass(slots=True)
class Heard:
    """An event, and how it is shown."""

    event: TraceEvent
    line: Line
    text: str
    """What a filter looks through."""


@dataclass(slots=True)
class Session:
    """One trace session."""

    number: int
    """Counts the sessions of this console from 1."""
    wanted: Wanted
    agents: int
    began_at: float
    """Unix time."""
    heard: int = 0
    dropped: int = 0
    """Left out by the node: over the rate, or because we read too slowly."""
    ended: str = ""
    """Why it has ended; empty while it goes on."""
    ended_at: float | None = None
    kept: deque[Heard] = field(default_factory=lambda: deque(maxlen=KEPT))

    @property
    def forgotten(self) -> int:
        """Heard, but not kept any more."""
        return self.heard - len(self.kept)

    def take(self, events: Iterable[TraceEvent], dropped: int) -> None:
        """More was heard; `dropped` is all that was left out so far."""
        for event in events:
            self.heard += 1
            line = event_line(event)
            self.kept.append(Heard(event, line, line.text.casefold()))
        self.dropped = dropped

    def end(self, why: str, at: float) -> None:
        """It is over; the first reason counts."""
        if not self.ended:
            self.ended, self.ended_at = why or "over", at

    def matching(self, text: str) -> Iterator[Heard]:
        """What passes the filter, the newest first: all words of it are on the line, and none that begins with `-`."""
        words = text.casefold().split()
        with_, without = [w for w in words if w[0] != "-"], [w[1:] for w in words if w[0] == "-" and w[1:]]
        for one in reversed(self.kept):
            if all(w in one.text for w in with_) and not any(w in one.text for w in without):
                yield one

    def newest(self, text: str, most: int) -> list[Heard]:
        """The newest that pass the filter, the oldest of them first."""
        return list(islice(self.matching(text), most))[::-1]


@dataclass(slots=True)
class Feed:
    """All sessions, the newest last."""

    sessions: list[Session] = field(default_factory=list)
    _last: int = 0

    @property
    def running(self) -> Sequence[Session]:
        """Those that go on."""
        return [one for one in self.sessions if not one.ended]

    @property
    def is_full(self) -> bool:
        """Whether a session has to be stopped before another one can begin."""
        return len(self.running) >= MOST_SESSIONS

    def begin(self, wanted: Wanted, agents: int, at: float) -> Session:
        """A session has begun. The oldest that has ended makes way when there are too many."""
        self._last += 1
        session = Session(self._last, wanted, agents, at)
        self.sessions.append(session)
        while len(self.sessions) > MOST_SESSIONS:
            ended = next((one for one in self.sessions if one.ended), None)
            if ended is None:
                break
            self.sessions.remove(ended)
        return session

    def numbered(self, number: int | None) -> Session | None:
        """The session with this number."""
        return next((one for one in self.sessions if one.number == number), None)

    def forget(self, session: Session) -> None:
        """Take a session off the list."""
        if session in self.sessions:
            self.sessions.remove(session)
