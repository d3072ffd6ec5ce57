"""Drift: what an agent's newest activities are like, against what its class has done before at the same goal. Told as a concern.

    an activity ends --> the agent's window of the newest 100 --(what leaves it)--> the baseline of class and goal
                               |
                               +--> every 25th: compare --> drifts: told with the figures

Five things are compared (`observe.probe.drift_figures`), each with a limit that chance does not reach:

    mix        Jensen-Shannon divergence (base 2, from 0 to 1) of the shares of activity names; from 0.40
    order      which one follows which: a likelihood-ratio test of the transitions; from 0.3 bits each, and 8 standard errors
    failures   the share that failed, at least 0.2 above that of the baseline, and 5 standard errors
    durations  the mean of the logarithms differs by a factor of 4 or more, and 6 standard errors
    tokens     the same of activities that used any, by a factor of 3

The baseline is strictly older than the window, and takes in nothing of agents that drift. Until it has 500 activities
nothing is said. The goal is what the agent says in its attribute `goal`: another goal is another window and another baseline, so
whoever says what it is at may do something else, and whoever does something else without saying so drifts.
Belongs to the scheduler's thread; some two microseconds an activity, a kilobyte for each agent and goal that has any.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from observe.probe.drift_baseline import BASELINE, FAILED, WINDOW, Baseline, Window
from observe.probe.drift_figures import Found, compare

EVERY: Final = 25

CLASSES: Final = 200
GOALS: Final = 16
"""Of one class that are told apart; the others are one. A goal is a kind of task, and not the task in all its words."""

AGENTS: Final = 10_000
"""Followed at one time; of more, the one whose last activity is longest ago is forgotten."""
WINDOWS: Final = 20_000
"""Of all of them together."""

OTHERS: Final = "others"

OVER: Final = 0.8
"""It is over when all figures are below this share of their limits: what stands at a limit is one finding, not many."""


@dataclass(slots=True)
class Followed:
    """An agent that has had activities."""

    goal: str
    now: Window
    windows: dict[str, Window] = field(default_factory=dict)
    """By goal, the present one included."""
    told: Window | None = None
    """Which one was told to drift."""


class Drift:
    """Follows the agents of one node."""

    def __init__(self) -> None:
        self._classes: dict[str, dict[str, Baseline]] = {}
        """By class and goal."""
        self._agents: OrderedDict[int, Followed] = OrderedDict()
        self._windows = 0
        self.compared = 0
        """How often an agent was compared with a baseline."""

    def statistics(self) -> dict[str, int]:
        """How much is kept."""
        return {"drift_followed": len(self._agents)}

    def ended(self, pid: int) -> None:
        """An agent is gone. As long as its class has no baseline, what it did is a part of it."""
        followed = self._agents.pop(pid, None)
        if followed is None:
            return
        self._windows -= len(followed.windows)
        for window in followed.windows.values():
            if not window.drifts and window.baseline.total < 10 * BASELINE:
                window.give()

    def activity(
        self, pid: int, class_name: str, name: str, failed: bool, took_us: int, tokens: int, goal: str = ""
    ) -> Found | bool | None:
        """Take in an activity that has ended. What is found now and then: how the agent drifts, False that it does not any more;
        None: nothing is news."""
        followed = self._agents.get(pid)
        if followed is None or followed.goal != goal:
            followed = self._at_goal(pid, class_name, goal, followed)
            if followed is None:
                return None
        elif len(self._agents) >= AGENTS:
            self._agents.move_to_end(pid)
        window = followed.now
        found = self._take(window, name, failed, took_us, tokens)
        if isinstance(found, tuple):
            followed.told = window
        elif found is False or (followed.told is not None and followed.told is not window):
            followed.told = None  # at another goal it is another question
            return False
        return found

    def _take(
        self, window: Window, name: str, failed: bool, took_us: int, tokens: int
    ) -> Found | bool | None:
        place = window.seen % WINDOW
        baseline = window.baseline
        if window.seen >= WINDOW and not window.drifts:
            following = window.events[(place + 1) % WINDOW]
            baseline.take(window.events[place], window.durations[place], window.tokens[place], following)
        window.events[place] = baseline.number(name) | (FAILED if failed else 0)
        window.durations[place] = math.log2(took_us + 1)
        window.tokens[place] = math.log2(tokens + 1) if tokens else 0.0
        window.seen += 1
        if window.seen < WINDOW or window.seen % EVERY or baseline.total < BASELINE:
            return None
        self.compared += 1
        far = compare(window)[0]
        if far >= 1.0 or (window.drifts and far >= OVER):
            window.drifts = True
            return compare(window, self._goals_beside(baseline))
        was, window.drifts = window.drifts, False
        return False if was else None

    def _goals_beside(self, baseline: Baseline) -> list[Baseline]:
        for goals in self._classes.values():
            if goals.get(baseline.goal) is baseline:
                return list(goals.values())
        return []

    def _at_goal(self, pid: int, class_name: str, goal: str, followed: Followed | None) -> Followed | None:
        """The agent begins, or is at another goal than before."""
        baseline = self._baseline(class_name, goal)
        if baseline is None:
            return None
        window = followed.windows.get(baseline.goal) if followed is not None else None
        if window is None:
            window = Window(baseline)
            self._windows += 1
        if followed is None:
            followed = self._agents[pid] = Followed(goal, window)
        followed.goal, followed.now = goal, window
        followed.windows[baseline.goal] = window
        self._agents.move_to_end(pid)
        while len(self._agents) > 1 and (len(self._agents) > AGENTS or self._windows > WINDOWS):
            _, forgotten = self._agents.popitem(last=False)
            self._windows -= len(forgotten.windows)
        return followed

    def _baseline(self, class_name: str, goal: str) -> Baseline | None:
        goals = self._classes.get(class_name)
        if goals is None:
            if len(self._classes) >= CLASSES:
                return None
            goals = self._classes[class_name] = {}
        found = goals.get(goal)
        if found is None:
            if len(goals) >= GOALS:
                goal = OTHERS
            found = goals.setdefault(goal, Baseline(goal))
        return found
