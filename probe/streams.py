"""Subscriptions: credit, conflation, and counting of what was left out. No sockets, no clock.

A console gives credit and gets at most so many pushes until it gives more. Without credit a table or the vital signs
wait: when credit comes they are sent as they are *then*. Events wait in a bounded buffer. Either way a console that has
stopped costs bounded memory, and learns how much it missed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from observe.probe.errors import Refusal
from observe.probe.wire_table import Query
from observe.probe.wire_watches import WatchArgs

MAX_PER_CLIENT: Final = 16
"""Subscriptions of one client. A console has about four open."""

MAX_SUBSCRIPTIONS: Final = 256
"""Of all clients together."""

MAX_TAPES: Final = 4
"""Clients that record at one time: a keyframe of a million agents takes a second of a core for each."""

MAX_CREDIT: Final = 1000
"""Pushes that may be under way to one subscriber; more credit than this is not counted."""

BUFFERED_EVENTS: Final = 1000
"""Events that wait for a subscriber without credit: about 200 kB. Later ones push out earlier ones, which are counted."""

BUFFERED_TRACE: Final = 5000
"""Events of a trace session that wait: about 2 MB. They are what somebody has asked for, so there is more room."""

TRACE_PUSH: Final = 1000
"""Events of a trace session in one push."""

QUIET_S: Final = 2.0
"""After so long without an event a trace is pushed empty: only so is it noticed that nobody reads it any more."""

EventItem = dict[str, Any]


@dataclass(slots=True)
class Subscription:
    """One watch of one client."""

    sub: int
    client: bytes
    what: str
    query: Query | None
    interval_s: float
    credit: int
    due_at: float
    """Monotonic seconds from which the next push may go."""
    seq: int = 0
    dropped: int = 0
    """Left out since the last push."""
    missed: int = 0
    """Left out before that, in all."""
    events: deque[EventItem] = field(default_factory=deque)
    waiting: list[bytes] = field(default_factory=list)
    """Of a tape: pieces of records, the next one first."""

    session: int = 0
    """Of a trace: the service's number for it."""

    def is_ready(self, now: float) -> bool:
        """Whether a push should go now."""
        return self.credit > 0 and now >= self.next_at

    @property
    def lost_as(self) -> str:
        """Under which of the sums of `Lost` its losses are."""
        return "traced" if self.what == "trace" else "consoles"

    @property
    def is_stream(self) -> bool:
        """Whether it is of things that happen, and not of how things stand."""
        return self.what in ("events", "trace")

    @property
    def next_at(self) -> float:
        """Monotonic seconds at which there is something to push, given credit; infinity when only news will bring it."""
        if self.what == "tape":
            return self.due_at if self.waiting else math.inf
        if self.what == "trace" and len(self.events) >= TRACE_PUSH:
            return 0.0  # a full push need not wait for more
        if not self.is_stream or self.events:
            return self.due_at
        return self.due_at + QUIET_S if self.what == "trace" else math.inf

    def stamp(self, now: float, data: dict[str, Any]) -> dict[str, Any]:
        """Make `data` the next push: takes one credit, numbers it, says what was left out before it."""
        self.credit -= 1
        self.seq += 1
        push = {"sub": self.sub, "seq": self.seq, "dropped": self.dropped, "data": data}
        self.missed += self.dropped
        self.dropped = 0
        self.due_at = now + self.interval_s
        return push

    def undo(self, push: dict[str, Any]) -> None:
        """That push could not be sent: it counts as left out, but of a tape, where it waits on."""
        self.credit += 1
        self.seq -= 1
        if self.what == "tape":
            self.dropped = push["dropped"]
            self.waiting.insert(0, push["data"]["records"])
            return
        self.dropped += push["dropped"] + (len(push["data"]["events"]) if self.is_stream else 1)

    def take_events(self) -> list[EventItem]:
        """The events that wait, as many as fit into a push."""
        if self.what == "trace":
            return [self.events.popleft() for _ in range(min(len(self.events), TRACE_PUSH))]
        taken = list(self.events)
        self.events.clear()
        return taken


class Streams:
    """All subscriptions."""

    def __init__(self) -> None:
        self._subscriptions: dict[int, Subscription] = {}
        self._last = 0
        self._watching_events = 0
        self._gone = {"consoles": 0, "traced": 0}
        """Left out of subscriptions that are gone."""
        self.on_trace_closed: Callable[[Subscription], None] = _ignore
        """Told of a trace whose watcher has closed it or is gone."""

    def statistics(self) -> dict[str, int]:
        """How many subscriptions there are, and how many events wait in them."""
        waiting = sum(len(subscription.events) for subscription in self._subscriptions.values())
        return {"subscriptions": len(self._subscriptions), "events_waiting": waiting}

    def lost(self) -> dict[str, int]:
        """Fields of `Lost`: what was left out of all subscriptions so far, those of traces apart."""
        sums = dict(self._gone)
        for one in self._subscriptions.values():
            sums[one.lost_as] += one.missed + one.dropped
        return sums

    def __iter__(self) -> Iterator[Subscription]:
        return iter(list(self._subscriptions.values()))

    @property
    def wants_events(self) -> bool:
        """Whether anybody watches events; if not, none need be made."""
        return self._watching_events > 0

    def open(self, client: bytes, args: WatchArgs, now: float) -> Subscription:
        """Begin a subscription; its first push may go at once.

        Raises:
            Refusal: `busy`, when this client or all together have too many; `bad_request` for a query with a watch
                that takes none.
        """
        if args.query is not None and args.what != "agents":
            raise Refusal("bad_request", f"args.query: a watch of {args.what} takes no query", "leave it out")
        query = (args.query or Query()) if args.what == "agents" else None
        made = self._open(client, args.what, query, args.interval_s, args.credit, now)
        self._watching_events += args.what == "events"
        return made

    def open_trace(self, client: bytes, interval_s: float, now: float) -> Subscription:
        """A subscription for the events of a trace session, without credit: the first events may come before the client
        has been told its number. Raises `Refusal`: `busy`."""
        return self._open(client, "trace", None, interval_s, 0, now)

    def _open(
        self, client: bytes, what: str, query: Query | None, interval_s: float, credit: int, now: float
    ) -> Subscription:
        mine = sum(1 for one in self._subscriptions.values() if one.client == client)
        tapes = sum(1 for one in self._subscriptions.values() if one.what == "tape")
        if what == "tape" and tapes >= MAX_TAPES:
            raise Refusal("busy", f"{tapes} clients record this node already", "try again when one has ended")
        if mine >= MAX_PER_CLIENT or len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise Refusal(
                "busy", "too many subscriptions are open", "end one with unwatch, or try again later"
            )
        self._last += 1
        made = Subscription(self._last, client, what, query, interval_s, credit, now)
        self._subscriptions[made.sub] = made
        return made

    def discard(self, sub: int) -> None:
        """Forget a subscription of which nobody has been told."""
        self._subscriptions.pop(sub, None)

    def publish_trace(self, session: int, events: list[EventItem], left_out: int) -> None:
        """Put a session's events before whoever has asked for it."""
        for one in self._subscriptions.values():
            if one.session == session and one.what == "trace":
                surplus = max(len(one.events) + len(events) - BUFFERED_TRACE, 0)
                one.dropped += surplus + left_out
                one.events.extend(events)
                for _ in range(surplus):
                    one.events.popleft()

    def get(self, client: bytes, sub: int) -> Subscription:
        """This client's subscription.

        Raises:
            Refusal: `bad_request`, when it has none of that number.
        """
        found = self._subscriptions.get(sub)
        if found is None or found.client != client:
            raise Refusal("bad_request", f"args.sub: there is no subscription {sub}", "watch again")
        return found

    def requery(self, client: bytes, sub: int, query: Query, now: float) -> None:
        """Let a watch of agents ask something else, and push the answer at once. Raises `Refusal`."""
        found = self.get(client, sub)
        if found.what != "agents":
            raise Refusal("bad_request", f"args.sub: {sub} is a watch of {found.what} and takes no query")
        found.query = query
        found.due_at = now

    def add_credit(self, client: bytes, sub: int, count: int) -> None:
        """Allow `count` more pushes. Raises `Refusal`."""
        found = self.get(client, sub)
        found.credit = min(found.credit + count, MAX_CREDIT)

    def close(self, client: bytes, sub: int) -> None:
        """End a subscription. Raises `Refusal`."""
        self._remove(self.get(client, sub))

    def close_all_of(self, client: bytes) -> None:
        """End all subscriptions of a client that is gone."""
        for one in self:
            if one.client == client:
                self._remove(one)

    def _remove(self, one: Subscription) -> None:
        del self._subscriptions[one.sub]
        self._gone[one.lost_as] += one.missed + one.dropped
        self._watching_events -= one.what == "events"
        if one.what == "trace":
            self.on_trace_closed(one)

    def publish(self, events: list[EventItem], omitted: int = 0) -> None:
        """Put events before everybody who watches them; `omitted` more were not even made."""
        for one in self._subscriptions.values():
            if one.what != "events":
                continue
            surplus = max(len(one.events) + len(events) - BUFFERED_EVENTS, 0)
            one.dropped += surplus + omitted
            one.events.extend(events)
            for _ in range(surplus):
                one.events.popleft()

    def due(self, now: float) -> list[Subscription]:
        """The subscriptions to push to now. Counts a picture as left out where one was due and there is no credit."""
        ready = []
        for one in self._subscriptions.values():
            if one.is_ready(now):
                ready.append(one)
            elif (
                one.credit == 0
                and one.what not in ("events", "tape", "trace")
                and now >= one.due_at + one.interval_s
            ):
                # The moment for a picture has passed. `due_at` stays in the past, so that credit brings one at once.
                one.dropped += 1
                one.due_at += one.interval_s
        return ready

    def next_due(self) -> float:
        """Monotonic seconds at which the next push falls due; infinity when none will without further news."""
        moments = (one.next_at for one in self._subscriptions.values() if one.credit > 0)
        return min(moments, default=math.inf)


def _ignore(_closed: Subscription) -> None:
    """There is nobody to tell."""
