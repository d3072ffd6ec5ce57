"""The checks by which a node diagnoses itself: small, over what the probe knows anyway. No I/O, no clock.

Each check looks at the picture once a second and says which condition it sees, if any: one for all agents that have
it, with their number and the worst of them. Whether it has lasted long enough to be told is not decided here but in
`observe.probe.standing`. docs/findings.md lists the checks.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from observe.probe.chains import LOOK_BACK_S
from observe.probe.checks_leaks import leak_checks
from observe.probe.checks_told import told_checks
from observe.probe.checks_waiting import waiting_checks
from observe.probe.checks_workers import worker_checks
from observe.probe.condition import Check, Condition, agents
from observe.probe.held_where import LET_RUN
from observe.probe.holding import describe_holder, stack_lines
from observe.probe.picture import Picture

MANY_WAITING: Final = 100
"""Messages in a mailbox from which on it may be said to grow."""

STILL_FULL: Final = 0.9
"""A mailbox that has fallen below this share of its fullest is on its way down."""

LOOP_RESTARTS: Final = 3
"""So many restarts of one child within a minute (`LOOK_BACK_S`) are a loop."""

ONE_CAUSE: Final = 5
"""Crashes of one fingerprint within a minute that have one cause."""

LATE_S: Final = 0.1
"""Every timer and time-out on the node is off by as much as the loop is late."""

FOLLOWED: Final = 1000
"""Agents that a check remembers from one look to the next: the worst."""


def checks() -> list[Check]:
    """All checks, each with a memory of its own."""
    return [
        Check(
            "holds_scheduler", _holds_scheduler, 0.0,
            "nothing else runs meanwhile: look at its stack; run what computes for long with isolation='process', or kill it",
        ),
        Check(
            "blocks", _blocks, 0.0,
            "await asyncio.sleep() instead of time.sleep(); one call of C code can be neither preempted nor ended before it returns: "
            "run its agent with isolation='process'",
        ),
        Check("one_cause", _one_cause, 0.0, "one fault fails them all: `observe crashes` has its traceback"),
        Check("restart_loop", _restart_loop, 0.0, "it fails again with the same input: see its last crash"),
        Check("mailbox_grows", Mailboxes().look, 5.0, "it gets more than it handles: see its stack and its load"),
        *worker_checks(),
        *waiting_checks(),
        Check("orphan", Orphans().look, 5.0, "its supervisor is gone, so nobody restarts it: report this as a fault"),
        Check("loop_lag", _loop_lag, 3.0, "sort the agents by load; what runs long delays every timer"),
        *told_checks(),
        *leak_checks(),
    ]  # fmt: skip


# -- who holds the scheduler -------------------------------------------------------------------------------------------


def _is_blocked(picture: Picture) -> bool:
    """In C code that keeps the interpreter lock, or asleep."""
    held = picture.held
    if held is None:
        return False
    inner = held.stack[-1].source if held.stack else ""
    return held.where == "c" or "sleep(" in inner


def _held(picture: Picture, check: str, verb: str) -> Condition | None:
    held = picture.held
    if held is None or picture.allowed.names(check, held.class_name, held.name):
        return None
    text = describe_holder(held, verb)
    return Condition(
        text, pid=held.pid, filter=f"pid={held.pid}" if held.pid else "", evidence={"stack": stack_lines(held)},
        pids=frozenset([held.pid]), advice=LET_RUN.get(held.where, ""),
    )  # fmt: skip


def _holds_scheduler(picture: Picture, _now: float) -> Condition | None:
    if picture.held is not None:
        return None if _is_blocked(picture) else _held(picture, "holds_scheduler", "holds the scheduler")
    found = picture.troubles.findings("holds_scheduler").values()  # the runtime sees it sooner than the probe
    told = [
        one
        for one in found
        if not picture.allowed.names("holds_scheduler", one.class_name, one.name)
        and not picture.is_elsewhere(one.pid)  # `holds_worker` is about those
    ]
    if not told:
        return None
    newest = max(told, key=lambda one: one.at)
    return Condition(
        newest.text, pid=newest.pid, filter=f"pid={newest.pid}" if newest.pid else "",
        evidence={"stack": newest.stack}, pids=frozenset([newest.pid] if newest.pid else ()),
    )  # fmt: skip


def _blocks(picture: Picture, _now: float) -> Condition | None:
    return (
        _held(picture, "blocks", "blocks the scheduler in a call that does not return")
        if _is_blocked(picture)
        else None
    )


# -- failures ----------------------------------------------------------------------------------------------------------


def _one_cause(picture: Picture, _now: float) -> Condition | None:
    recent = [
        crash
        for crash in picture.recent_crashes(60.0)
        if not picture.allowed.names("one_cause", crash["class"], crash["name"])
    ]
    counts = Counter(crash["fingerprint"] for crash in recent)
    if not counts:
        return None
    fingerprint, count = counts.most_common(1)[0]
    if count < ONE_CAUSE:
        return None
    newest = next(crash for crash in recent if crash["fingerprint"] == fingerprint)
    return Condition(
        f"{count:,} crashes in a minute have one cause: {newest['class']} {newest['reason']}"[:300],
        count=count, pid=newest["pid"], cause=newest["reason"], evidence={"fingerprint": fingerprint},
        about=frozenset(name for crash in recent if crash["fingerprint"] == fingerprint for name in _names(crash)),
    )  # fmt: skip


def _names(crash: dict[str, Any]) -> list[str]:
    return [name for name in (crash["name"], crash["class"]) if name]


def _restart_loop(picture: Picture, _now: float) -> Condition | None:
    counts = picture.restarts.lately(picture.now_us() / 1e6)
    table = picture.table
    looping = [(times, pid) for pid, times in counts.items() if times >= LOOP_RESTARTS]
    looping = [
        (times, pid)
        for times, pid in looping
        if (row := table.row_of(pid)) is None
        or not picture.allowed.names("restart_loop", table.text("class", row), table.text("name", row))
    ]
    if not looping:
        return None
    times, pid = max(looping)
    row = table.row_of(pid)
    crash = None
    if row is not None:
        place = (table.text("child", row) or "", int(table.ints("supervisor")[row]))
        crash = picture.last_crash_of(table.text("name", row), *place)
    return Condition(
        f"{agents(len(looping))} in a restart loop, worst {picture.label(pid)}: {times} restarts in a minute",
        count=len(looping), pid=pid, filter=f"restarts>={LOOP_RESTARTS} age_s<60s",
        cause=crash["reason"] if crash else "", evidence={"restarts": times},
        pids=frozenset(pid for _, pid in looping),
        about=frozenset(name for crash in picture.recent_crashes(LOOK_BACK_S) for name in _names(crash)),
    )  # fmt: skip


# -- agents that do not get on -----------------------------------------------------------------------------------------


class Mailboxes:
    """Mailboxes that are full and do not get emptier."""

    def __init__(self) -> None:
        self._fullest: dict[int, int] = {}

    def look(self, picture: Picture, _now: float) -> Condition | None:
        table = picture.table
        mailbox = table.ints("mailbox")
        rows = np.flatnonzero((mailbox >= MANY_WAITING) & table.alive_mask())
        rows = _worst(picture.allowed.without("mailbox_grows", table, rows), mailbox)
        fullest, self._fullest = self._fullest, {}
        growing: list[tuple[int, int]] = []
        for pid, waiting in zip(table.ints("pid")[rows].tolist(), mailbox[rows].tolist(), strict=True):
            most = self._fullest[pid] = max(fullest.get(pid, 0), waiting)
            if waiting >= STILL_FULL * most:
                growing.append((waiting, pid))
        if not growing:
            return None
        waiting, pid = max(growing)
        return Condition(
            f"{agents(len(growing))} with a mailbox that does not get emptier, "
            f"fullest {picture.label(pid)}: {waiting:,} messages",
            count=len(growing), pid=pid, filter=f"mailbox>={MANY_WAITING}", evidence={"mailbox": waiting},
            pids=frozenset(pid for _, pid in growing),
        )  # fmt: skip


class Orphans:
    """Agents whose supervisor is gone. Looked for when agents have come or gone since the last look."""

    def __init__(self) -> None:
        self._version = -1

    def look(self, picture: Picture, _now: float) -> Condition | None:
        table = picture.table
        if table.version == self._version:
            return None
        supervisors, alive = table.ints("supervisor"), table.alive_mask()
        first = np.flatnonzero(np.diff(supervisors, prepend=-1))  # they come in runs
        gone = [
            pid for pid in np.unique(supervisors[first]).tolist() if pid > 0 and table.row_of(pid) is None
        ]
        rows = np.flatnonzero(alive & np.isin(supervisors, gone)) if gone else np.empty(0, dtype=np.intp)
        rows = picture.allowed.without("orphan", table, rows)
        if not len(rows):
            self._version = table.version
            return None
        pid = int(table.ints("pid")[rows[0]])
        return Condition(
            f"{agents(len(rows))} without a supervisor, first {picture.label(pid)}", count=len(rows), pid=pid,
            filter=f"pid={pid}", evidence={"supervisor": int(supervisors[rows[0]])},
        )  # fmt: skip


def _loop_lag(picture: Picture, _now: float) -> Condition | None:
    lag_s = picture.current_vitals().lag_s
    if picture.held is not None or lag_s < LATE_S:
        return None
    return Condition(f"the event loop runs {lag_s:.2f} s late", evidence={"lag_s": lag_s})


def _worst(rows: NDArray[np.intp], column: NDArray[np.int64]) -> NDArray[np.intp]:
    """At most `FOLLOWED` of these rows, those with the largest values."""
    if len(rows) <= FOLLOWED:
        return rows
    return rows[np.argpartition(column[rows], -FOLLOWED)[-FOLLOWED:]]
