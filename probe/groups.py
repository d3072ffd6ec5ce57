"""Agents in groups, with sums: one pass a column over the table, whatever the number of agents. Pure."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from observe.probe.figures import Rows, numbers
from observe.probe.filters import quote
from observe.probe.matching import matching
from observe.probe.queries import window
from observe.probe.table import Table
from observe.probe.wire_console import GroupLine, GroupList, GroupsArgs
from observe.probe.wire_table import STATUS_NAMES

SUMS: Final = ("mailbox", "handled", "rate", "reductions", "load", "restarts", "crashes", "tokens", "cost")

FRACTIONS: Final = ("rate", "load", "cost")
"""Those of which parts count."""


def grouped(table: Table, args: GroupsArgs, now_us: int, at: float) -> GroupList:
    """The groups that `args` asks for, as of monotonic `now_us`; `at` is when the telemetry was gathered.

    Groups that tie stand in the order of what they have in common.

    Raises:
        Refusal: the filter cannot be read.
    """
    rows = matching(table, args.filter, now_us)
    keys, group = np.unique(table.ints(args.by)[rows], return_inverse=True)
    sums: dict[str, NDArray[Any]] = {"agents": np.bincount(group, minlength=len(keys))}
    for column in SUMS:
        sums[column] = np.bincount(group, numbers(table, column, rows, now_us), minlength=len(keys))
    order = -sums[args.sort] if args.descending else sums[args.sort]
    shown = window(order, 0, args.limit)
    statuses = _statuses(table, rows, group, shown)
    lines = [
        _line(table, args.by, int(keys[index]), {name: column[index].item() for name, column in sums.items()}, by_status)
        for index, by_status in zip(shown.tolist(), statuses, strict=True)
    ]  # fmt: skip
    return GroupList(lines=lines, groups=len(keys), matched=len(rows), total=len(table), at=at)


def _statuses(table: Table, rows: Rows, group: NDArray[Any], shown: Rows) -> list[dict[str, int]]:
    """How many are in each status, of the groups shown alone: there may be a group an agent."""
    place = np.full(int(group.max()) + 1 if len(group) else 0, -1, dtype=np.int64)
    place[shown] = np.arange(len(shown))
    of = place[group]
    kept = of >= 0
    many = len(STATUS_NAMES)
    counts = np.bincount(of[kept] * many + table.ints("status")[rows][kept], minlength=many * len(shown))
    return [
        {STATUS_NAMES[status]: int(count) for status, count in enumerate(line) if count}
        for line in counts.reshape(len(shown), many)
    ]


def _line(table: Table, by: str, key: int, sums: dict[str, Any], by_status: dict[str, int]) -> GroupLine:
    text, shows = _called(table, by, key)
    counts = {name: sums[name] if name in FRACTIONS else round(sums[name]) for name in sums}
    return GroupLine(key=text, filter=shows, by_status=by_status, **counts)


def _called(table: Table, by: str, key: int) -> tuple[str, str]:
    """How people call what they have in common, and the filter that shows them."""
    match by:
        case "status":
            return STATUS_NAMES[key], f"status={STATUS_NAMES[key]}"
        case "supervisor":
            row = table.row_of(key)
            name = table.text("name", row) or table.text("child", row) if row is not None else None
            return (f"{name} #{key}" if name else f"#{key}" if key else ""), f"supervisor={key}"
        case "process":
            return (f"worker {key}" if key else "the node's own"), f"process={key}"
        case _:
            text = table.strings.text(key) or ""
            return text, f"{by}={quote(text)}"
