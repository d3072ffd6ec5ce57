"""The figures of a node as metrics: from the picture to readings, with a bounded number of series. No I/O, no SDK.

Names follow OpenTelemetry's conventions: its own where there are some (`process.…`, `gen_ai.token.type`), else below
`observe.`; units as UCUM has them. docs/metrics.md lists them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np

from observe.probe.metrics import Metrics
from observe.probe.picture import Picture
from observe.probe.wire_table import STATUS_NAMES
from observe.tracing.readings import Described, Reading, Readings

OTHER: Final = "other"

CLASS: Final = "observe.agent.class"
STATUS: Final = "observe.agent.status"
NAME: Final = "observe.agent.name"
ACTIVITY: Final = "observe.activity.name"
CHECK: Final = "observe.finding.check"
TOKENS: Final = "gen_ai.token.type"

METRICS: Final[dict[str, Described]] = {
    "observe.agent.count": Described("updown", "{agent}", "Live agents, by class and status."),
    "observe.agent.started": Described("counter", "{agent}", "Agents that were started."),
    "observe.agent.exited": Described("counter", "{agent}", "Agents that have ended."),
    "observe.agent.crashes": Described("counter", "{crash}", "Crashes, by class of those that the probe has seen."),
    "observe.agent.restarts": Described("counter", "{restart}", "Restarts by supervisors."),
    "observe.agent.load": Described("gauge", "1", "Share of a core that the agents of a class take."),
    "observe.agent.message.rate": Described("gauge", "{message}/s", "Messages handled a second, by class."),
    "observe.mailbox.waiting": Described("updown", "{message}", "Messages that wait in mailboxes, by class."),
    "observe.mailbox.fullest": Described("gauge", "{message}", "Messages in the fullest mailbox."),
    "observe.message.handled": Described("counter", "{message}", "Messages handled."),
    "observe.message.dead_letters": Described("counter", "{message}", "Messages that reached nobody."),
    "observe.scheduler.utilization": Described("gauge", "1", "Share of time for which the scheduler is busy."),
    "observe.scheduler.run_queue": Described("gauge", "{agent}", "Agents that wait for a slice."),
    "observe.eventloop.lag": Described("gauge", "s", "How late the event loop ran its last timer."),
    "observe.asyncio.task.count": Described("updown", "{task}", "Tasks of asyncio in the service."),
    "observe.activity.completed": Described("counter", "{activity}", "Activities that have ended, failed or not."),
    "observe.activity.failed": Described("counter", "{activity}", "Activities that have ended with an exception."),
    "observe.activity.time": Described("counter", "s", "Time spent in activities that have ended."),
    "observe.activity.duration.p99": Described("gauge", "s", "Within which 99 of 100 activities end."),
    "observe.activity.token.usage": Described("counter", "{token}", "Tokens of models, as agents report them."),
    "observe.activity.cost": Described("counter", "{currency}", "Money, in the currency in which agents report it."),
    "observe.finding.count": Described("gauge", "{agent}", "Agents concerned by a finding that stands."),
    "observe.telemetry.utilization": Described("gauge", "1", "Share of a core that telemetry takes of the scheduler."),
    "observe.probe.cpu.utilization": Described("gauge", "1", "Share of a core that the probe takes beside it."),
    "process.memory.usage": Described("updown", "By", "Resident memory of the service."),
    "process.cpu.utilization": Described("gauge", "1", "Share of a core that the service takes."),
    "observe.agent.mailbox": Described("gauge", "{message}", "Messages that wait, of agents asked for by name."),
    "observe.agent.handled": Described("counter", "{message}", "Messages handled, of agents asked for by name."),
}  # fmt: skip
"""All metrics."""


class Chosen:
    """Keys with series of their own. Once chosen, a key stays: a counter that moves to `other` and back is none."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys: set[Any] = set()

    def choose(self, by_size: Counter[Any]) -> None:
        """Fill the free places with the largest."""
        for key, _ in by_size.most_common(self._most):
            if len(self._keys) >= self._most:
                return
            self._keys.add(key)

    def has(self, key: Any) -> bool:
        """Whether this one has series of its own."""
        return key in self._keys


class Meter:
    """Makes readings of one node."""

    def __init__(self, settings: Metrics) -> None:
        self._settings = settings
        self._classes = Chosen(settings.classes)
        self._activities = Chosen(settings.activities)

    def read(self, picture: Picture, findings: dict[str, int]) -> Readings:
        """All figures as they are now. `findings` tells for each check that stands how many agents it is about."""
        readings: dict[str, list[Reading]] = {}
        self._read_node(picture, readings)
        self._read_classes(picture, readings)
        self._read_activities(picture, readings)
        self._read_agents(picture, readings)
        readings["observe.finding.count"] = [
            Reading(count, {CHECK: check}) for check, count in findings.items()
        ]
        return readings

    @staticmethod
    def _read_node(picture: Picture, into: dict[str, list[Reading]]) -> None:
        vitals, totals = picture.current_vitals(), picture.vitals.newest
        figures: dict[str, float] = {
            "observe.scheduler.utilization": vitals.use,
            "observe.scheduler.run_queue": vitals.run_queue,
            "observe.eventloop.lag": vitals.lag_s,
            "observe.telemetry.utilization": vitals.probe_cost,
            "observe.probe.cpu.utilization": vitals.probe_cpu,
            "process.memory.usage": vitals.memory,
            "process.cpu.utilization": vitals.cpu,
        }
        if totals is not None:
            figures |= {
                "observe.agent.started": totals.spawned,
                "observe.agent.exited": totals.exited,
                "observe.agent.restarts": totals.restarts,
                "observe.message.handled": totals.handled,
                "observe.message.dead_letters": totals.dead_letters,
                "observe.asyncio.task.count": totals.tasks,
            }
        for name, value in figures.items():
            into[name] = [Reading(value)]

    def _class(self, name: str) -> str:
        return name if self._classes.has(name) else OTHER

    def _read_classes(self, picture: Picture, into: dict[str, list[Reading]]) -> None:
        table = picture.table
        rows = table.alive()
        numbers = table.ints("class")[rows]
        counts = np.bincount(numbers)
        kinds = np.flatnonzero(counts)
        names = [table.strings[number] for number in kinds.tolist()]
        self._classes.choose(Counter(dict(zip(names, counts[kinds].tolist(), strict=True))))
        place = np.zeros(len(counts), dtype=np.int64)
        place[kinds] = np.arange(len(kinds))
        which = place[numbers]
        of_class = [self._class(name) for name in names]
        waiting = table.ints("mailbox")[rows]
        for metric, column in (
            ("observe.mailbox.waiting", waiting),
            ("observe.agent.load", table.floats("load")[rows]),
            ("observe.agent.message.rate", table.floats("rate")[rows]),
        ):
            sums: Counter[str] = Counter()
            added = np.bincount(which, weights=column, minlength=len(kinds))
            for name, value in zip(of_class, added.tolist(), strict=True):
                sums[name] += value
            into[metric] = [Reading(value, {CLASS: name}) for name, value in sums.items()]
        statuses: Counter[tuple[str, str]] = Counter()
        width = len(STATUS_NAMES)
        by_status = np.bincount(which * width + table.ints("status")[rows], minlength=len(kinds) * width)
        for index in np.flatnonzero(by_status).tolist():
            statuses[of_class[index // width], STATUS_NAMES[index % width]] += int(by_status[index])
        into["observe.agent.count"] = [
            Reading(count, {CLASS: name, STATUS: status}) for (name, status), count in statuses.items()
        ]
        into["observe.mailbox.fullest"] = [Reading(int(waiting.max()) if len(waiting) else 0)]
        crashes: Counter[str] = Counter()
        for name, count in picture.crashes_by_class.items():
            crashes[self._class(name)] += count
        into["observe.agent.crashes"] = [Reading(count, {CLASS: name}) for name, count in crashes.items()]

    def _read_activities(self, picture: Picture, into: dict[str, list[Reading]]) -> None:
        doings = picture.doings.by_key
        self._activities.choose(Counter({key: sum(one.counts.values()) for key, one in doings.items()}))
        sums: dict[str, Counter[tuple[tuple[str, str], ...]]] = {}

        def add(metric: str, value: float, **more: str) -> None:
            attributes = (
                (CLASS, class_name),
                (ACTIVITY, activity),
                *((TOKENS, one) for one in more.values()),
            )
            sums.setdefault(metric, Counter())[attributes] += value  # type: ignore[assignment]  # floats add up as well

        usual: list[Reading] = []
        for key, one in doings.items():
            class_name, activity = key if self._activities.has(key) else (OTHER, OTHER)
            add("observe.activity.completed", sum(one.counts.values()))
            add("observe.activity.failed", one.errors)
            add("observe.activity.time", one.total_us / 1e6)
            if one.input_tokens or one.output_tokens:
                add("observe.activity.token.usage", one.input_tokens, kind="input")
                add("observe.activity.token.usage", one.output_tokens, kind="output")
            if one.cost:
                add("observe.activity.cost", one.cost)
            p99_s = one.p99_s()
            if p99_s is not None and activity != OTHER:
                usual.append(Reading(p99_s, {CLASS: class_name, ACTIVITY: activity}))
        for metric, values in sums.items():
            into[metric] = [Reading(value, dict(attributes)) for attributes, value in values.items()]
        into["observe.activity.duration.p99"] = usual

    def _read_agents(self, picture: Picture, into: dict[str, list[Reading]]) -> None:
        table = picture.table
        for name in self._settings.agents:
            row = table.row_named(name)
            if row is None:
                continue
            for metric, column in (
                ("observe.agent.mailbox", "mailbox"),
                ("observe.agent.handled", "handled"),
            ):
                into.setdefault(metric, []).append(Reading(int(table.ints(column)[row]), {NAME: name}))


def resource_of(picture: Picture) -> dict[str, Any]:
    """What the figures are about: the service, not its probe."""
    info = picture.info()
    return {
        "service.name": picture.config.node,
        "service.instance.id": info.incarnation,
        "host.name": info.host,
        "process.pid": info.pid,
        "observe.node": info.name,
    }
