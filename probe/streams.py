"""Subscriptions: credit, conflation, and counting of what was left out. No sockets, no clock.

A console gives credit and gets at most so many pushes until it gives more. Without credit a table or the vital signs
wait: when credit comes they are sent as they are *then*. Events wait in a bounded buffer. Either way a console that has
stopped costs bounded memory, and learns how much it missed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from observe.probe.errors import Refusal
from observe.probe.wire import Query, WatchArgs

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

    def is_ready(self, now: float) -> bool:
        """Whether a push should go now."""
        return self.credit > 0 and now >= self.due_at and self.has_news

    @property
    def has_news(self) -> bool:
        """Whether there is anything to push; of a table or the vital signs there always is."""
        if self.what == "tape":
            return bool(self.waiting)
        return self.what != "events" or bool(self.events)

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
        self.dropped += push["dropped"] + (len(push["data"]["events"]) if self.what == "events" else 1)

    def take_events(self) -> list[EventItem]:
        """All events that wait."""
        taken = list(self.events)
        self.events.clear()
        return taken


class Streams:
    """All subscriptions."""

    def __init__(self) -> None:
        self._subscriptions: dict[int, Subscription] = {}
        self._last = 0
        self._watching_events = 0

    def statistics(self) -> dict[str, int]:
        """How many subscriptions there are, and how many events wait in them."""
        waiting = sum(len(subscription.events) for subscription in self._subscriptions.values())
        return {"subscriptions": len(self._subscriptions), "events_waiting": waiting}

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
        mine = sum(1 for one in self._subscriptions.values() if one.client == client)
        tapes = sum(1 for one in self._subscriptions.values() if one.what == "tape")
        if args.what == "tape" and tapes >= MAX_TAPES:
            raise Refusal("busy", f"{tapes} clients record this node already", "try again when one has ended")
        if mine >= MAX_PER_CLIENT or len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise Refusal(
                "busy", "too many subscriptions are open", "end one with unwatch, or try again later"
            )
        self._last += 1
        query = (args.query or Query()) if args.what == "agents" else None
        made = Subscription(self._last, client, args.what, query, args.interval_s, args.credit, now)
        self._subscriptions[made.sub] = made
        self._watching_events += args.what == "events"
        return made

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
        self._watching_events -= one.what == "events"

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
                one.credit == 0 and one.what not in ("events", "tape") and now >= one.due_at + one.interval_s
            ):
                # The moment for a picture has passed. `due_at` stays in the past, so that credit brings one at once.
                one.dropped += 1
                one.due_at += one.interval_s
        return ready

    def next_due(self) -> float:
        """Monotonic seconds at which the next push falls due; infinity when none will without further news."""
        moments = (one.due_at for one in self._subscriptions.values() if one.credit > 0 and one.has_news)
        return min(moments, default=float("inf"))
