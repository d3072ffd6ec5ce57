"""What somebody woken at night wants to know first: a verdict on the node in one line, worst first. Pure.

Each trouble is a sentence, and a filter and an order of the agents table that show whom it is about. With too little
past to judge by, the verdict is "too early to say" rather than "calm".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from observe.console.columns import (
    ACTIVITY,
    ACTIVITY_S,
    LONG_ACTIVITY_S,
    MAILBOX,
    MANY_WAITING,
    RESTARTS,
    Row,
)
from observe.console.crash_groups import Group
from observe.console.format import clip, duration, one_line, percent, plural
from observe.console.state import Identity, Signs

Level = Literal["bad", "warn"]

EARLY_S: Final = 5
"""Seconds of vital signs before the node is called calm."""

LATE_S: Final = 0.1
"""From here on the loop's lateness is trouble: every timer and time-out on the node is off by as much."""

FULL: Final = 0.95
"""Share of time for which the scheduler is busy from which on nothing is left for bursts."""

RESTART_LOOP: Final = 3
"""Restarts of one agent, the last within a minute, from which on it is called a loop."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A small query whose answer may be a trouble."""

    name: str
    filter: str
    sort: str


PROBES: Final = (
    Probe("loops", f"restarts>{RESTART_LOOP - 1} age_s<60", "restarts"),
    Probe("slow", f"activity_s>{LONG_ACTIVITY_S:g}", "activity_s"),
    Probe("mailboxes", f"mailbox>{MANY_WAITING - 1}", "mailbox"),
)
"""Asked every few seconds for the worst agent and the number of agents: three rows, whatever the node's size."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to a `Probe`: how many agents, and the worst."""

    probe: Probe
    matched: int
    worst: Row | None


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong."""

    level: Level
    text: str
    filter: str = ""
    """Shows the agents concerned in the table."""

    sort: str = "crashes"


def troubles(signs: Signs, findings: Sequence[Finding], groups: Sequence[Group]) -> list[Trouble]:
    """All that is wrong, worst first."""
    found: list[Trouble] = []
    crashes = round(signs.now.get("crashes_min", 0))
    if crashes:
        text = plural(crashes, "crash", "crashes") + " in the last minute"
        if groups:
            worst = groups[0]
            text += f", most: {worst.newest.class_name} {clip(one_line(worst.newest.reason), 60)}"
        found.append(Trouble("bad", text, "crashes>0", "crashes"))
    for finding in findings:
        trouble = _judged(finding)
        if trouble is not None:
            found.append(trouble)
    lag = signs.now.get("lag_s", 0.0)
    use = signs.now.get("use", 0.0)
    if lag >= LATE_S:
        found.append(Trouble("bad", f"the loop runs {duration(lag)} late", "load>0.05", "load"))
    if use >= FULL:
        text = f"the scheduler is {percent(use)} busy, {plural(round(signs.now.get('run_queue', 0)), 'agent')} queued"
        found.append(Trouble("warn", text, "", "load"))
    return sorted(found, key=lambda trouble: trouble.level)


def _judged(finding: Finding) -> Trouble | None:
    if not finding.matched or finding.worst is None:
        return None
    worst, probe = finding.worst, finding.probe
    name = Identity.of(worst).label
    if probe.name == "loops":
        text = f"{plural(finding.matched, 'agent')} in a restart loop, worst {name}: {worst[RESTARTS]:,} restarts"
        return Trouble("bad", text, probe.filter, probe.sort)
    if probe.name == "slow":
        text = (
            f"{plural(finding.matched, 'agent')} over {LONG_ACTIVITY_S:g} s in one activity, "
            f"longest {name}: {one_line(str(worst[ACTIVITY] or '?'))} for {duration(worst[ACTIVITY_S])}"
        )
        return Trouble("warn", text, probe.filter, probe.sort)
    text = f"{plural(finding.matched, 'mailbox', 'mailboxes')} over {MANY_WAITING}, fullest {name}: {worst[MAILBOX]:,}"
    return Trouble("warn", text, probe.filter, probe.sort)


def verdict(signs: Signs, found: Sequence[Trouble]) -> str:
    """What to say when nothing is wrong."""
    if found:
        return ""
    if signs.seconds() < EARLY_S:
        return "too early to say"
    return "calm: no crash in a minute, no restart loop, no slow activity, no full mailbox"
