"""Checks of agents that wait: for longer than is usual, or for each other. Pure, as `observe.probe.diagnosis` says."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from observe.probe.condition import Check, Condition, agents, worst_pids
from observe.probe.picture import Picture
from observe.probe.wire_table import STATUS_NAMES

ASKED_S: Final = 60.0
"""Somebody who was asked for an approval should have answered within this time."""

LONG_S: Final = 60.0
"""In one activity, or in one await outside of any, for longer: stuck, when it is not known what is usual. Activities named
`wait:…` are meant to wait, and are left out; of `approval:…` another check speaks."""

USUAL_TIMES: Final = 3.0
"""Stuck, when so many times the time has passed within which 99 of 100 such activities end;"""

LEAST_S: Final = 5.0
"""and never before that."""

WAITING: Final = STATUS_NAMES.index("waiting")

PIDS: Final = 1000

KINDS: Final = 10
"""Ways of waiting that the evidence of `stuck` tells apart."""

PREFIX: Final = "approval:"
"""Of the activity in which an agent is that waits for a person."""


def waiting_checks() -> list[Check]:
    """The checks of this module."""
    return [
        Check(
            "waiting_cycle", _waiting_cycle, 1.0,
            "none of them can go on: kill one; then let one direction cast instead of call",
        ),
        Check("stuck", _stuck, 1.0, "what it waits for may never answer: see its stack, give it a time-out"),
        Check("awaits_approval", _awaits_approval, 0.0, "`observe approvals` shows what is asked; grant or refuse it"),
    ]  # fmt: skip


def _waiting_cycle(picture: Picture, _now: float) -> Condition | None:
    table = picture.table
    circles = []
    for circle in find_circles(picture.waits):
        rows = np.array([row for pid in circle if (row := table.row_of(pid)) is not None], dtype=np.intp)
        if len(picture.allowed.without("waiting_cycle", table, rows)) == len(circle):
            circles.append(circle)
    if not circles:
        return None
    circle = max(circles, key=len)
    labels = [picture.label(pid) for pid in circle]
    shown = labels if len(labels) <= 6 else [*labels[:5], "…"]
    pids = [pid for one in circles for pid in one]
    what = (
        f"{agents(len(pids))} wait for each other" if len(circle) > 1 else "1 agent waits for its own reply"
    )
    return Condition(
        f"{what}: {' → '.join([*shown, labels[0]])}", count=len(pids), pid=circle[0], filter=worst_pids(pids),
        evidence={"cycle": labels[:100], "cycles": len(circles)}, pids=frozenset(pids),
    )  # fmt: skip


def find_circles(waits: dict[int, int]) -> list[list[int]]:
    """All circles of agents each of which waits for the next, beginning with the lowest pid."""
    circles = []
    done: set[int] = set()
    for start in waits:
        path: dict[int, int] = {}
        pid: int | None = start
        while pid is not None and pid not in done and pid not in path:
            path[pid] = len(path)
            pid = waits.get(pid)
        if pid is not None and pid in path:
            circle = list(path)[path[pid] :]
            first = circle.index(min(circle))
            circles.append(circle[first:] + circle[:first])
        done |= path.keys()
    return circles


def _stuck(picture: Picture, _now: float) -> Condition | None:
    table, now_us = picture.table, picture.now_us()
    activity, alive = table.ints("activity"), table.alive_mask()
    long_ago = now_us - int(LEAST_S * 1e6)
    since = np.where(activity > 0, table.ints("activity_since_us"), table.ints("since_us"))
    waits = (activity > 0) | ((table.ints("status") == WAITING) & (table.ints("mailbox") > 0))
    rows = np.flatnonzero(waits & (since < long_ago) & alive)
    if not len(rows):
        return None
    over, usual = _beyond(picture, rows, now_us - since[rows])
    rows, usual = rows[over], usual[over]
    kept = picture.allowed.without("stuck", table, rows)
    usual, rows = usual[np.isin(rows, kept)], kept
    if not len(rows):
        return None
    worst = int(np.argmin(since[rows]))
    row = int(rows[worst])
    pid, seconds = int(table.ints("pid")[row]), (now_us - int(since[row])) / 1e6
    name = table.text("activity", row) or "one await, with messages waiting"
    often = f", where 99 of 100 take less than {usual[worst]:,.3g} s" if usual[worst] else ""
    pids = table.ints("pid")[rows[np.argsort(since[rows])[:PIDS]]].tolist()
    kinds = _kinds(picture, rows)
    apart = f"; they are in {len(kinds)} kinds of wait" if len(kinds) > 1 else ""
    return Condition(
        f"{agents(len(rows))} stuck, longest {picture.label(pid)}: {name} for {seconds:,.0f} s{often}{apart}",
        count=len(rows), pid=pid, filter=worst_pids(pids),
        evidence={
            "activity": table.text("activity", row), "seconds": seconds, "p99_s": float(usual[worst]) or None,
            "kinds": dict(list(kinds.items())[:KINDS]),
        },
        pids=frozenset(pids),
    )  # fmt: skip


def _kinds(picture: Picture, rows: NDArray[np.intp]) -> dict[str, int]:
    """How many of these agents wait in which way, by class and activity, the most first: they need not have to do with each other."""
    table = picture.table
    pairs = table.ints("class")[rows] * (1 << 32) + table.ints("activity")[rows]
    kinds, counts = np.unique(pairs, return_counts=True)
    found = {}
    for index in np.argsort(-counts, kind="stable").tolist():
        pair = int(kinds[index])
        class_name, activity = table.strings[pair >> 32], table.strings[pair & 0xFFFFFFFF]
        found[f"{class_name} in {activity or 'an await'}"] = int(counts[index])
    return found


def _awaits_approval(picture: Picture, _now: float) -> Condition | None:
    table, now_us = picture.table, picture.now_us()
    since = table.ints("activity_since_us")
    rows = np.flatnonzero(
        (table.ints("activity") > 0) & (since < now_us - int(ASKED_S * 1e6)) & table.alive_mask()
    )
    kinds = np.unique(table.ints("activity")[rows])
    asked = [kind for kind in kinds.tolist() if table.strings[kind].startswith(PREFIX)]
    rows = rows[np.isin(table.ints("activity")[rows], asked)]
    rows = picture.allowed.without("awaits_approval", table, rows)
    if not len(rows):
        return None
    rows = rows[np.argsort(since[rows])]
    row = int(rows[0])
    seconds = (now_us - int(since[row])) / 1e6
    pids = table.ints("pid")[rows[:PIDS]].tolist()
    what = (table.text("activity", row) or "").removeprefix(PREFIX)
    verb = "waits" if len(rows) == 1 else "wait"
    return Condition(
        f"{agents(len(rows))} {verb} for a person's approval, longest {picture.label(pids[0])}: {what} for {seconds:,.0f} s",
        count=len(rows), pid=pids[0], filter=worst_pids(pids),
        evidence={"activity": what, "seconds": seconds}, pids=frozenset(pids),
    )  # fmt: skip


def _beyond(
    picture: Picture, rows: NDArray[np.intp], waited_us: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which of these have waited for longer than they should, and what is usual for each; 0 where that is not known."""
    table = picture.table
    pairs = table.ints("class")[rows] * (1 << 32) + table.ints("activity")[rows]
    kinds, which = np.unique(pairs, return_inverse=True)
    limits, usuals = np.empty(len(kinds)), np.zeros(len(kinds))
    for index, pair in enumerate(kinds.tolist()):
        class_name, activity = table.strings[pair >> 32], table.strings[pair & 0xFFFFFFFF]
        usual = picture.doings.p99_s(class_name, activity) if activity else None
        usuals[index] = usual or 0.0
        limits[index] = LONG_S if usual is None else max(USUAL_TIMES * usual, LEAST_S)
        if activity.startswith(("wait:", PREFIX)):
            limits[index] = np.inf
    return waited_us / 1e6 > limits[which], usuals[which]
