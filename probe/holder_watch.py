"""Tells who holds the scheduler, since when and where: from the words, which a thread that is stuck leaves as they are."""

from __future__ import annotations

import time

from observe.probe.asks import Answer, Asks
from observe.probe.errors import Refusal
from observe.probe.held_where import SYSTEM
from observe.probe.holding import describe_holder, held_by
from observe.probe.node_watch import Holding, NodeWatch
from observe.probe.picture import Picture, monotonic_us
from observe.probe.wire_agent import Stack


class HolderWatch:
    """Looks again and again, keeps `Picture.held` true, and tells when it begins and ends."""

    def __init__(self, picture: Picture, watch: NodeWatch, asks: Asks) -> None:
        self._picture = picture
        self._watch = watch
        self._asks = asks

    def look(self, now: float) -> None:
        """Look once."""
        picture, before = self._picture, self._picture.held
        holding = self._watch.look(time.monotonic_ns())
        if holding is None:
            picture.held = None
            if before is not None:
                text = f"the scheduler is free again; {describe_holder(before)} held it"
                picture.event("node", time.time(), text, pid=before.pid, name=before.name)
            return
        self._watch.collect()
        if holding.where != "stopped" and self._watch.wants_stack(now):
            self._ask_for_stack(holding, now)
        if holding.where in SYSTEM and before is not None and before.where not in SYSTEM:
            picture.event("node", time.time(), f"the scheduler is held by {SYSTEM[holding.where]}")
        picture.held = held_by(holding, self._watch.frames(), picture, monotonic_us(), self._watch.who())
        if before is None or before.pid != holding.pid:
            picture.table.note_running(holding.pid, holding.since_ns // 1000)
        if before is None:
            text = f"the scheduler is held by {describe_holder(picture.held)}"
            picture.event("node", time.time(), text, pid=holding.pid, name=picture.held.name)

    def _ask_for_stack(self, holding: Holding, now: float) -> None:
        if holding.where == "c":
            self._watch.send_signal()
            return

        def done(answer: Answer) -> None:
            try:
                stack = None if isinstance(answer, Refusal) else Stack.from_wire(answer)
            except ValueError:
                stack = None
            if stack is not None and stack.frames:
                self._watch.remember(stack.frames, holding, "" if holding.pid else stack.note)
            else:
                self._watch.send_signal()

        self._asks.ask("stack", {"pid": holding.pid}, done, now)
