"""The vital signs of a node and their history: one value a second, for ten minutes.

Rates are made from the totals of the feed, so that a lost frame costs resolution and never truth. No clock, no I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from pydantic import ValidationError

from observe.probe.frames import VitalsFrame
from observe.probe.wire import MAX_HISTORY_S, Held, Vitals
from observe.probe.wire_lost import Lost, SpanAccount

NUMBERS: Final = (
    "at", "agents", "rate", "run_queue", "use", "lag_s", "memory", "cpu", "crashes_min", "restarts_min", "spawned",
    "exited", "probe_cost", "probe_cpu", "tokens_min", "cost_min",
)  # fmt: skip
"""Names of the numbers in **vitals**, each of which has a history."""

MINUTE: Final = 60
"""Samples, one a second, over which crashes and restarts are counted."""


class VitalSigns:
    """Takes the feed's totals as they come and the process's use of the machine once a second; tells the vital signs."""

    def __init__(self) -> None:
        self._newest: VitalsFrame | None = None
        self._then: VitalsFrame | None = None
        """The frame that the sample before was made from: rates are over the time since."""
        self._failures: deque[tuple[int, int]] = deque(maxlen=MINUTE + 1)
        """Totals of crashes and restarts at the last samples, oldest first."""
        self._spent: deque[tuple[int, float]] = deque(maxlen=MINUTE + 1)
        """Totals of tokens and cost at the last samples, likewise."""
        self._samples: deque[Vitals] = deque(maxlen=int(MAX_HISTORY_S))
        self.memory = 0
        self.cpu = 0.0
        self.budget = 0.0
        self.probe_cpu = 0.0
        self.spent: Callable[[], tuple[int, float]] = lambda: (0, 0.0)
        """Tokens and cost so far."""
        self.lost_here: Callable[[], dict[str, int]] = dict
        """What the probe itself has left out: fields of `Lost`."""

    @property
    def announced(self) -> int:
        """Live agents as the service counts them; 0 before it has said so."""
        return self._newest.agents if self._newest else 0

    @property
    def newest(self) -> VitalsFrame | None:
        """The newest totals."""
        return self._newest

    def samples(self, most: int) -> list[Vitals]:
        """The last samples, oldest first."""
        return list(self._samples)[-most:]

    def remember(self, sample: Vitals) -> None:
        """Take a sample that was made elsewhere."""
        self._samples.append(sample)

    def take(self, frame: VitalsFrame) -> None:
        """Totals from the feed."""
        if self._then is None:
            self._then = frame
            self._failures.append((frame.crashes, frame.restarts))
        self._newest = frame

    def sample(self, at: float, state: str, agents: int, held: Held | None) -> Vitals:
        """Make the vital signs of this second from what has come since the last call, and remember them."""
        newest, then = self._newest, self._then
        passed_us = newest.mono_us - then.mono_us if newest and then else 0
        vitals = Vitals(
            at=at, state=state, agents=agents, rate=0.0, run_queue=0, use=0.0, lag_s=0.0, memory=self.memory,
            cpu=self.cpu, crashes_min=0, restarts_min=0, spawned=0, exited=0, probe_cost=0.0,
            probe_cpu=self.probe_cpu, probe_budget=self.budget,
        )  # fmt: skip
        if newest:
            self._failures.append((newest.crashes, newest.restarts))
            crashes, restarts = self._failures[0]
            vitals.crashes_min = max(newest.crashes - crashes, 0)
            vitals.restarts_min = max(newest.restarts - restarts, 0)
            vitals.probe_tick_s = newest.pause_us / 1e6
            vitals.spawned, vitals.exited = newest.spawned, newest.exited
            vitals.run_queue, vitals.lag_s = newest.run_queue, newest.lag_us / 1e6
        if newest and then and passed_us > 0:
            vitals.rate = max(newest.handled - then.handled, 0) * 1e6 / passed_us
            vitals.use = min(max(newest.busy_us - then.busy_us, 0) / passed_us, 1.0)
            vitals.probe_cost = max(newest.cost_us - then.cost_us, 0) / passed_us
            self._then = newest
        tokens, cost = self.spent()
        if not self._spent:
            self._spent.append((tokens, cost))
        self._spent.append((tokens, cost))
        vitals.tokens_min = max(tokens - self._spent[0][0], 0)
        vitals.cost_min = max(cost - self._spent[0][1], 0.0)
        vitals = vitals.model_copy(update=_of_held(vitals, held))
        self._samples.append(vitals)
        return vitals

    def current(
        self, at: float, state: str, agents: int, held: Held | None, history_s: float = 0.0
    ) -> Vitals:
        """The vital signs of the last sample, with what is known at once brought up to date."""
        last = self._samples[-1] if self._samples else self.sample(at, state, agents, held)
        update = {"at": at, "state": state, "agents": agents, "held": held} | _of_held(last, held)
        return last.model_copy(update=update | {"history": self.history(history_s), "lost": self._lost()})

    def _lost(self) -> Lost | None:
        newest = self._newest
        if newest is None or newest.lost is None:
            return None
        here = dict.fromkeys(("consoles", "traced", "records"), 0) | self.lost_here()
        return Lost(
            telemetry=newest.lost, facts=newest.dropped_facts or 0, spans=_account(newest.spans), **here
        )

    def history(self, history_s: float) -> dict[str, list[float]]:
        """For each number its values in the last `history_s` seconds, oldest first; nothing for 0."""
        count = min(int(history_s), len(self._samples))
        if count <= 0:
            return {}
        samples = list(self._samples)[-count:]
        return {name: [getattr(sample, name) for sample in samples] for name in NUMBERS}


def _account(spans: dict[str, Any] | None) -> SpanAccount | None:
    try:
        return None if spans is None else SpanAccount.from_wire(spans)
    except ValidationError:
        return None


def _of_held(vitals: Vitals, held: Held | None) -> dict[str, float]:
    """Nothing is heard from a scheduler that is held; but it is busy, and late by as long as it has been held."""
    return {"use": 1.0, "lag_s": max(vitals.lag_s, held.since_s)} if held is not None else {}
