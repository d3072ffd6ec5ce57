"""Who attaches is answered once the probe has been told what had happened until then.

```
 hello --> Greetings --op `fresh`--> scheduler's loop: facts out of turn (`observe.probe.askers`)
               ^                          |       '--feed-----> table
               |                     "up to frame 4711"           |
               '-- welcome <--------------'-----------------------' once frame 4711 has been applied
```

Else `observe ps`, right after an agent was started, sees it only by luck: facts are told with the next tick, later when ticks
have moved apart. Only those that attach wait, for `Config.fresh_s` at most, and not at all while something is known to hold the scheduler.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from observe.probe.asks import Answer, Asks
from observe.probe.errors import Refusal
from observe.probe.feed import Feed

MOST_GREETINGS: Final = 128
"""Who attaches when so many wait already is answered at once."""


@dataclass(slots=True)
class Greeting:
    """An answer to a hello that waits."""

    go: Callable[[], None]
    until: float
    asked: bool = False
    """Whether the service has been asked since the hello came."""
    seq: int | None = None
    """The number of the frame up to which everything has been told; None before the service has said so."""


class Greetings:
    """The probe's end. Belongs to the probe's loop."""

    def __init__(self, feed: Feed, asks: Asks, most_s: float) -> None:
        """`most_s`: how long one waits; 0: not at all."""
        self._feed = feed
        self._asks = asks
        self._most_s = most_s
        self._waiting: list[Greeting] = []

    def wait(self, go: Callable[[], None], now: float) -> None:
        """Call `go` when the picture shows what had happened when this was called, or when that takes too long."""
        held = self._feed.picture.held is not None or bool(self._feed.picture.ended)
        if self._most_s <= 0 or held or len(self._waiting) >= MOST_GREETINGS:
            go()
            return
        self._waiting.append(Greeting(go, now + self._most_s))
        if not any(
            one.asked and one.seq is None for one in self._waiting
        ):  # else the next question is for this one
            self._ask(now)

    def look(self, now: float) -> None:
        """Answer those that have waited for long enough. To be called when frames and answers have been taken."""
        if not self._waiting:
            return
        picture = self._feed.picture
        held = picture.held is not None or bool(picture.ended)
        ready = [one for one in self._waiting if held or now >= one.until or self._is_shown(one.seq)]
        if ready:
            self._waiting = [one for one in self._waiting if one not in ready]
            for one in ready:
                one.go()
        if any(not one.asked for one in self._waiting) and not any(
            one.asked and one.seq is None for one in self._waiting
        ):
            self._ask(now)

    def _is_shown(self, seq: int | None) -> bool:
        feed = self._feed
        return seq is not None and feed.is_settled and feed.expected is not None and feed.expected > seq

    def _ask(self, now: float) -> None:
        asking = [one for one in self._waiting if not one.asked]
        for one in asking:
            one.asked = True

        def done(answer: Answer) -> None:
            seq = 0 if isinstance(answer, Refusal) else answer.get("seq")
            for one in asking:
                one.seq = seq if type(seq) is int else 0

        self._asks.ask("fresh", {}, done, now, timeout_s=self._most_s)
