"""An app that takes a key when the one before it has had its effect.

Textual hands each key to whoever has the focus at that moment, and goes on to the next one while the first is still on its way
up from the focused widget to the binding that knows it. Over a slow line, or from whoever types fast, several keys come at once:
of `/session`, the `/` would open the filter after the `s` had gone to the table, where it means something else. So keys wait in
a line here; behind each one goes a note, the way that the key takes and then the way that a new screen or focus takes, and when it
comes back the next key has its turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import Final

from textual import events
from textual.app import App
from textual.message_pump import MessagePump

LONGEST_S: Final = 0.5
"""So long may a key keep the next one waiting: whatever it has begun goes on, or whom it went to has gone with the note."""

MOST_TYPED: Final = 4096
"""Keys that wait at most; what is typed beyond that rings the bell."""


class KeysInTurn(App[None]):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__()
        self._typed: deque[events.Key] = deque()
        self._in_hand: asyncio.TimerHandle | None = None
        """The end of patience with the key that has its turn; None: there is none."""

    @property
    def has_keys(self) -> bool:
        """Whether a key has not yet had its effect, or waits for its turn."""
        return self._in_hand is not None and self.is_running

    async def on_event(self, event: events.Event) -> None:
        """A key waits for its turn; everything else is as Textual has it."""
        if not isinstance(event, events.Key) or event.is_forwarded:
            await super().on_event(event)
        elif self._in_hand is None:
            await self._take(event)
        elif len(self._typed) < MOST_TYPED:
            self._typed.append(event)
        else:
            self.bell()

    async def _take(self, key: events.Key) -> None:
        loop = asyncio.get_running_loop()
        turn = self._in_hand = loop.call_later(LONGEST_S, self._out_of_patience)
        up = (self.focused or self.screen).ancestors_with_self
        await super().on_event(key)
        # Once behind the key; and once behind what it made somebody say, as an `Input` says that it was submitted.
        self._follow(turn, [*up, *up])

    def _out_of_patience(self) -> None:
        if not self.call_later(self._next, self._in_hand):
            self._in_hand = None  # the app has ended

    def _follow(self, turn: asyncio.TimerHandle, way: list[MessagePump]) -> None:
        """Behind the key: at each widget on its way up to the app after it."""
        while way:
            if way.pop(0).call_later(self._follow, turn, way):
                return
        self.call_later(self._see_where_it_led, turn)

    def _see_where_it_led(self, turn: asyncio.TimerHandle) -> None:
        """The key has done what it does here. A screen that it has opened begins first, and whoever was given the focus has it."""
        if not self.screen.call_later(self.call_later, partial(self._next, turn)):
            self.call_later(self._next, turn)

    async def _next(self, turn: asyncio.TimerHandle | None) -> None:
        """The next key has its turn, unless it has had it because this one took too long."""
        if turn is None or turn is not self._in_hand:
            return
        turn.cancel()
        self._in_hand = None
        if self._typed:
            await self._take(self._typed.popleft())
