"""Drift: what an agent's newest activities are like, against what its class has done before. Told as a concern.

    an activity ends --> the agent's window of the newest 100 --(what leaves it)--> the baseline of its class
                               |
                               +--> every 25th: compare --> drifts: told with the figures

Four things are compared, each with a limit that chance does not reach:

    mix        Jensen-Shannon divergence (base 2, from 0 to 1) of the shares of activity names; from 0.40
    failures   the share that failed, at least 0.2 above that of the baseline, and 5 standard errors
    durations  the mean of the logarithms differs by a factor of 4 or more, and 6 standard errors
    tokens     the same of activities that used any, by a factor of 3

The baseline is strictly older than the window, and takes in nothing of agents that drift. Until it has 500 activities
nothing is said. Belongs to the scheduler's thread; some two microseconds an activity, a kilobyte for each agent that has any.
"""

from __future__ import annotations

import math
from array import array
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

WINDOW: Final = 100
"""Activities. Fewer have no shape, more take longer to show that it has changed."""

BASELINE: Final = 500
MOST_COUNTED: Final = 20_000
"""Beyond it the baseline is halved: it follows what the class does over days, and not over minutes."""

EVERY: Final = 25
NAMES: Final = 63
"""Activities that are told apart for one class; the others count as one."""

CLASSES: Final = 200
AGENTS: Final = 10_000
"""Followed at one time; of more, the one whose last activity is longest ago is forgotten."""

MIX: Final = 0.40
FAILURES: Final = 0.2
FAILURE_ERRORS: Final = 5.0
DURATIONS: Final = 2.0
"""As a logarithm to base 2: a factor of 4."""
TOKENS: Final = math.log2(3)
MEAN_ERRORS: Final = 6.0

OVER: Final = 0.8
"""It is over when all figures are below this share of their limits: what stands at a limit is one finding, not many."""

FAILED: Final = 128
"""Bit of an event's byte; the others are its name."""


@dataclass(slots=True)
class Mean:
    """Of some logarithms."""

    count: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.squares += value * value

    def differs(self, values: list[float], limit: float) -> tuple[float, float]:
        """By how much the mean of these is above (or below) this one, and that as a share of what is too much."""
        if self.count < BASELINE / 5 or len(values) < WINDOW / 4:
            return 0.0, 0.0
        mean = self.total / self.count
        variance = max(self.squares / self.count - mean * mean, 0.01)
        by = sum(values) / len(values) - mean
        errors = abs(by) / math.sqrt(variance / len(values))
        return by, min(abs(by) / limit, errors / MEAN_ERRORS)


@dataclass(slots=True)
class Baseline:
    """What the agents of a class have done."""

    names: dict[str, int] = field(default_factory=dict)
    """Number of each name; `NAMES` stands for all others."""
    counts: array[float] = field(default_factory=lambda: array("d", bytes(8 * (NAMES + 1))))
    total: float = 0.0
    failed: float = 0.0
    durations: Mean = field(default_factory=Mean)
    tokens: Mean = field(default_factory=Mean)

    def number(self, name: str) -> int:
        found = self.names.get(name)
        if found is None:
            if len(self.names) >= NAMES:
                return NAMES
            found = self.names[name] = len(self.names)
        return found

    def take(self, event: int, duration: float, tokens: float) -> None:
        self.counts[event & ~FAILED] += 1
        self.total += 1
        self.failed += event >= FAILED
        self.durations.add(duration)
        if tokens:
            self.tokens.add(tokens)
        if self.total >= MOST_COUNTED:
            self._halve()

    def _halve(self) -> None:
        self.counts = array("d", (one / 2 for one in self.counts))
        self.total /= 2
        self.failed /= 2
        for mean in (self.durations, self.tokens):
            mean.count, mean.total, mean.squares = mean.count / 2, mean.total / 2, mean.squares / 2


@dataclass(slots=True)
class Window:
    """The newest activities of one agent, in a ring."""

    baseline: Baseline
    events: bytearray = field(default_factory=lambda: bytearray(WINDOW))
    durations: array[float] = field(default_factory=lambda: array("f", bytes(4 * WINDOW)))
    tokens: array[float] = field(default_factory=lambda: array("f", bytes(4 * WINDOW)))
    seen: int = 0
    drifts: bool = False


Found = tuple[float, str, dict[str, Any]]
"""How far, in words, and the figures."""


class Drift:
    """Follows the agents of one node."""

    def __init__(self) -> None:
        self._classes: dict[str, Baseline] = {}
        self._agents: OrderedDict[int, Window] = OrderedDict()

    def statistics(self) -> dict[str, int]:
        """How much is kept."""
        return {"drift_followed": len(self._agents)}

    def ended(self, pid: int) -> None:
        """An agent is gone. As long as its class has no baseline, what it did is a part of it."""
        window = self._agents.pop(pid, None)
        if window is None or window.drifts or window.baseline.total >= 10 * BASELINE:
            return
        for place in range(min(window.seen, WINDOW)):
            window.baseline.take(window.events[place], window.durations[place], window.tokens[place])

    def activity(
        self, pid: int, class_name: str, name: str, failed: bool, took_us: int, tokens: int
    ) -> Found | bool | None:
        """Take in an activity that has ended. What is found now and then: how the agent drifts, False that it does not any more;
        None: nothing is news."""
        window = self._agents.get(pid)
        if window is None:
            window = self._begin(pid, class_name)
            if window is None:
                return None
        elif len(self._agents) >= AGENTS:
            self._agents.move_to_end(pid)
        place = window.seen % WINDOW
        baseline = window.baseline
        if window.seen >= WINDOW and not window.drifts:
            baseline.take(window.events[place], window.durations[place], window.tokens[place])
        window.events[place] = baseline.number(name) | (FAILED if failed else 0)
        window.durations[place] = math.log2(took_us + 1)
        window.tokens[place] = math.log2(tokens + 1) if tokens else 0.0
        window.seen += 1
        if window.seen < WINDOW or window.seen % EVERY or baseline.total < BASELINE:
            return None
        far, text, figures = compare(window)
        if far >= 1.0 or (window.drifts and far >= OVER):
            window.drifts = True
            return far, text, figures
        was, window.drifts = window.drifts, False
        return False if was else None

    def _begin(self, pid: int, class_name: str) -> Window | None:
        baseline = self._classes.get(class_name)
        if baseline is None:
            if len(self._classes) >= CLASSES:
                return None
            baseline = self._classes[class_name] = Baseline()
        if len(self._agents) >= AGENTS:
            self._agents.popitem(last=False)
        window = self._agents[pid] = Window(baseline)
        return window


def compare(window: Window) -> tuple[float, str, dict[str, Any]]:
    """How far an agent is from its baseline, as a share of what is too much: 1 and above is drift. In words, and in figures."""
    base = window.baseline
    counts = [0] * (NAMES + 1)
    failed = 0
    for event in window.events:
        counts[event & ~FAILED] += 1
        failed += event >= FAILED
    now = [one / WINDOW for one in counts]
    before = [one / base.total for one in base.counts]
    mix = divergence(now, before)
    share, usual = failed / WINDOW, base.failed / base.total
    errors = (share - usual) / math.sqrt(max(usual * (1 - usual), 1 / base.total) / WINDOW)
    slower, slower_far = base.durations.differs(list(window.durations), DURATIONS)
    more, more_far = base.tokens.differs([one for one in window.tokens if one], TOKENS)
    parts = [
        (mix / MIX, f"activities differ by {mix:.2f} (Jensen-Shannon): {_most(base, now, before)}"),
        (
            min((share - usual) / FAILURES, errors / FAILURE_ERRORS),
            f"{share:.0%} fail against {usual:.0%}",
        ),
        (slower_far, f"they take {_times(slower)} as long"),
        (more_far, f"they use {_times(more)} the tokens"),
    ]
    figures = {
        "mix": round(mix, 3), "failed": round(share, 3), "failed_before": round(usual, 3),
        "durations": round(2**slower, 3), "tokens": round(2**more, 3), "window": WINDOW, "baseline": int(base.total),
    }  # fmt: skip
    far = max(part for part, _ in parts)
    told = [text for part, text in parts if part >= min(1.0, far)]
    return far, "; ".join(told), figures


def divergence(one: list[float], other: list[float]) -> float:
    """Jensen and Shannon's, to base 2: 0 for the same shares, 1 where nothing is shared."""
    found = 0.0
    for here, there in zip(one, other, strict=True):
        middle = (here + there) / 2
        if here:
            found += here * math.log2(here / middle)
        if there:
            found += there * math.log2(there / middle)
    return max(found / 2, 0.0)


def _most(base: Baseline, now: list[float], before: list[float]) -> str:
    """The activity whose share has grown most."""
    place = max(range(len(now)), key=lambda at: now[at] - before[at])
    name = next((one for one, number in base.names.items() if number == place), "others")
    return f"{name} {now[place]:.0%} against {before[place]:.0%}"


def _times(logarithm: float) -> str:
    return f"{2**logarithm:.2g} times"
