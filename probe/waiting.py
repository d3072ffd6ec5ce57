"""Asks the service which agents wait for whose reply: only while some have waited for a while, and few at a time."""

from __future__ import annotations

from typing import Final

import numpy as np

from observe.probe.asks import Answer, Asks
from observe.probe.checks_waiting import WAITING, find_circles
from observe.probe.errors import Refusal
from observe.probe.picture import Picture

WAITED_S: Final = 1.0
"""A reply usually takes less. Most calls give up after five seconds, so this cannot be much longer."""

ASKED: Final = 250
"""Agents asked about in one second. Of more, others are asked about in the next one."""

MOST_EDGES: Final = 5000


class WaitingFor:
    """Keeps `picture.waits` current. Belongs to the probe's loop."""

    def __init__(self, picture: Picture, asks: Asks) -> None:
        self._picture = picture
        self._asks = asks
        self._next = 0
        self._is_asking = False

    def look(self, now: float) -> None:
        """Ask, if there is anything to ask. Call it about once a second."""
        picture = self._picture
        if self._is_asking or picture.ended or picture.held is not None:
            return
        table = picture.table
        waited = table.ints("since_us") < picture.now_us() - int(WAITED_S * 1e6)
        rows = np.flatnonzero((table.ints("status") == WAITING) & waited & table.alive_mask())
        if not len(rows):
            picture.waits = {}
            return
        known = [pid for circle in find_circles(picture.waits) for pid in circle][:ASKED]
        first = self._next % len(rows)
        chosen = np.concatenate([rows[first:], rows[:first]])[:ASKED]
        self._next = first + len(chosen)
        pids = list(dict.fromkeys([*known, *table.ints("pid")[chosen].tolist()]))
        self._is_asking = True
        self._asks.ask("waits", {"pids": pids}, self._answered, now)

    def _answered(self, answer: Answer) -> None:
        self._is_asking = False
        if isinstance(answer, Refusal):
            return
        edges = answer.get("waits")
        if isinstance(edges, list):
            self._picture.waits = {
                one[0]: one[1]
                for one in edges[:MOST_EDGES]
                if isinstance(one, list) and len(one) == 2 and all(type(pid) is int for pid in one)
            }
