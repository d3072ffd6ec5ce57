"""Where in the tree somebody is: who is in trouble below whom, and of a filter those that match with all above them.

The node sends of a large tree the first levels and children. What is asked here goes the other way, from agents up to the
root, a question a level: however large the tree is, it costs no more than there are agents asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from observe.console.attachment import Attachment
from observe.console.columns import (
    CHILD,
    CLASS,
    CONTAINMENT,
    CRASHES,
    MAILBOX,
    NAME,
    PID,
    RESTARTS,
    STATUS,
    SUPERVISOR,
    Row,
    row_of,
)
from observe.console.findings import Finding
from observe.probe.wire_agent import Branch
from observe.probe.wire_table import Query

MOST_MATCHES: Final = 200
"""Agents shown of those that match a filter. The table shows all."""

MOST_TROUBLED: Final = 200
"""Agents in trouble that are looked for in the tree."""

FEW: Final = 10
"""So many agents in trouble are unfolded by themselves; more would be no overview any more."""

LATELY: Final = "restarts>0 age_s<60s"
"""Who came back within the last minute."""

DEEPEST: Final = 32
A_TIME: Final = 100
"""Values that a list in a filter may have."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Who is in trouble, and below whom."""

    checks: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """By pid which finding is about it, and how bad that is."""

    below: Mapping[int, int] = field(default_factory=dict)
    """By the pid of a supervisor how many are in trouble below it."""

    cut: bool = False
    """There are more."""

    fitting: frozenset[int] = frozenset()
    """Supervisors with trouble below them whose children fit on the screen, many though they are."""

    def unfolds(self, pid: int) -> bool:
        """Whether what is below this supervisor is to be seen at first."""
        return 0 < self.below.get(pid, 0) <= FEW or pid in self.fitting


class Paths:
    """Asks for rows, and remembers who supervises whom: that of a pid never changes."""

    def __init__(self) -> None:
        self._supervisor: dict[int, int] = {}

    async def trouble(self, attachment: Attachment, findings: Sequence[Finding]) -> Trouble | None:
        """Who is in trouble now; None when the node does not answer."""
        rows = await _rows(attachment, LATELY, "crashes", MOST_TROUBLED, ["pid", "supervisor"])
        if rows is None:
            return None
        self._supervisor.update((row[PID], row[SUPERVISOR]) for row in rows)
        about: dict[int, tuple[str, str]] = {}
        for one in reversed(findings):  # the worst is told last, and stays
            concerned = await self._concerned(attachment, one)
            about |= dict.fromkeys(concerned, (one.check, one.level))
        pids = {row[PID] for row in rows} | about.keys()
        below: dict[int, int] = defaultdict(int)
        for path in await self._paths(attachment, pids):
            for pid in path:
                below[pid] += 1
        return Trouble(about, dict(below), len(rows) >= MOST_TROUBLED)

    async def _concerned(self, attachment: Attachment, finding: Finding) -> set[int]:
        """Those whom the finding is about: its worst, and all whom its filter finds now, as their pids change."""
        pids = {finding.pid} - {0}
        if finding.names_agents:
            rows = await _rows(attachment, finding.filter, finding.sort, MOST_TROUBLED, ["pid", "supervisor"])
            self._supervisor.update((row[PID], row[SUPERVISOR]) for row in rows or ())
            pids |= {row[PID] for row in rows or ()}
        return pids

    async def _paths(self, attachment: Attachment, pids: Iterable[int]) -> list[list[int]]:
        """Of each the supervisors above it, the root last; of those who are gone nothing."""
        level = set(pids)
        for _ in range(DEEPEST):
            missing = sorted(level - self._supervisor.keys())
            if missing:
                rows = await _rows_of(attachment, missing, ["pid", "supervisor"])
                self._supervisor.update((row[PID], row[SUPERVISOR]) for row in rows)
            level = {self._supervisor.get(pid, 0) for pid in level} - {0}
            if not level:
                break
        paths = []
        for pid in set(pids):
            path, at = [], self._supervisor.get(pid, 0)
            while at and at not in path:
                path.append(at)
                at = self._supervisor.get(at, 0)
            paths.append(path)
        if len(self._supervisor) > 10 * MOST_TROUBLED:
            self._supervisor.clear()
        return paths


async def matching(attachment: Attachment, filter: str, tree: Branch | None) -> tuple[Branch | None, int]:  # noqa: A002  the query's name
    """The tree of those who match a filter and of all above them, and how many match; None when the node does not answer."""
    query = Query(sort="pid", filter=filter, limit=MOST_MATCHES)
    page = await attachment.ask(lambda node: node.agents(query))
    if page is None:
        return None, 0
    held = {row[PID]: row for row in (row_of(page.columns, values) for values in page.rows)}
    for _ in range(DEEPEST):
        missing = sorted({row[SUPERVISOR] for row in held.values()} - held.keys() - {0})
        more = await _rows_of(attachment, missing)
        if not more:
            break
        held.update((row[PID], row) for row in more)
    return grown(held.values(), tree), page.matched


def grown(rows: Iterable[Row], tree: Branch | None) -> Branch | None:
    """The tree of these agents; `tree` tells the strategies of those supervisors that it has."""
    known: dict[int, Branch] = {}

    def walk(branch: Branch) -> None:
        known[branch.pid] = branch
        for child in branch.children:
            walk(child)

    if tree is not None:
        walk(tree)
    made: dict[int, Branch] = {}
    for row in rows:
        made[row[PID]] = branch = Branch(
            pid=row[PID], name=row[NAME], class_name=row[CLASS], status=row[STATUS], child=row[CHILD] or "",
            restarts=row[RESTARTS], crashes=row[CRASHES], mailbox=row[MAILBOX], containment=row[CONTAINMENT] or "none",
        )  # fmt: skip
        whole = known.get(branch.pid)
        if whole is not None:
            branch.strategy, branch.intensity = whole.strategy, whole.intensity
            branch.period_s, branch.restarts_within = whole.period_s, whole.restarts_within
    top = None
    for row in sorted(rows, key=lambda row: int(row[PID])):
        branch, above = made[row[PID]], made.get(row[SUPERVISOR])
        if above is None:
            top = branch if row[SUPERVISOR] == 0 else top
            continue
        above.children.append(branch)
        above.children_total += 1
        above.by_status[branch.status] = above.by_status.get(branch.status, 0) + 1
    return top


async def _rows_of(
    attachment: Attachment, pids: Sequence[int], columns: list[str] | None = None
) -> list[Row]:
    found: list[Row] = []
    for first in range(0, len(pids), A_TIME):
        some = ",".join(str(pid) for pid in pids[first : first + A_TIME])
        found += await _rows(attachment, f"pid={some}", "pid", A_TIME, columns) or []
    return found


async def _rows(
    attachment: Attachment,
    filter: str,  # noqa: A002  the query's name
    sort: str,
    limit: int,
    columns: list[str] | None = None,
) -> list[Row] | None:
    query = Query(sort=sort, descending=True, filter=filter, limit=limit, columns=columns)
    page = await attachment.ask(lambda node: node.agents(query))
    return None if page is None else [row_of(page.columns, row) for row in page.rows]
