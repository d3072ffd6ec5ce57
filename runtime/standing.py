"""How one agent stands: what it is tied to, its ladder, its checkpoint and its budgets. Read when somebody asks; nothing is
counted for it. On the scheduler's thread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from observe.runtime.budget import LIMITS, Budget, owners_of
from observe.runtime.clock import now_ns, wall_s
from observe.runtime.supervisor import Supervisor

if TYPE_CHECKING:
    from observe.runtime.agent import Agent


@dataclass(frozen=True, slots=True)
class Ties:
    """Whom an agent is tied to. Lists are cut at what was asked for; the totals are not."""

    links: list[Agent]
    links_total: int
    monitors: list[Agent]
    """Whose end it will be told of."""
    monitors_total: int
    monitored_by: list[Agent]
    monitored_by_total: int
    groups: dict[str, int]
    """Groups that it has joined, and how often."""
    groups_total: int
    timers: int
    """Messages that it has set to be sent later."""
    traps_exits: bool
    refused: int
    """Messages that its full mailbox turned away, or dropped."""


@dataclass(frozen=True, slots=True)
class LadderStanding:
    """Where a child stands on its ladder."""

    rungs: list[tuple[str, int]]
    """Each rung, and how many failures in a row take it."""
    failures: int
    """In a row, since it last handled a message."""
    next: int
    """The rung that the next failure takes, as an index; the number of rungs when it escalates beyond the last."""
    taken: str | None
    """The rung that was taken last, while that counts."""
    taken_s: float | None
    """How long ago."""
    reset_s: float


@dataclass(frozen=True, slots=True)
class CheckpointStanding:
    """The newest checkpoint that an agent has asked for, or came back from."""

    policy: str
    """Empty: taken only when the agent asks for it."""
    restores: bool
    generation: int
    """0: there is none."""
    age_s: float | None
    size: int | None
    """Bytes."""
    is_changed: bool
    """Messages were handled since."""
    fault: str
    """Why it is not on record; empty when it is, or will be shortly."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of a budget, or one thing that is counted without a limit."""

    name: str
    used: float
    allowed: float | None


@dataclass(frozen=True, slots=True)
class BudgetStanding:
    """What an agent, or the tree below a supervisor, has spent of its budget."""

    owner: Agent
    limits: list[Limit]
    on_limit: str


def ties(agent: Agent, limit: int) -> Ties:
    """What `agent` is tied to, at most `limit` of each."""
    bonds = agent._o_bonds
    if bonds is None:
        return Ties([], 0, [], 0, [], 0, {}, 0, 0, False, 0)
    overfull = bonds.overfull
    return Ties(
        links=list(islice(bonds.links, limit)),
        links_total=len(bonds.links),
        monitors=[made._watched for made in islice(bonds.watches, limit)],
        monitors_total=len(bonds.watches),
        monitored_by=[made._watcher for made in islice(bonds.watched_by, limit)],
        monitored_by_total=len(bonds.watched_by),
        groups=dict(islice(bonds.groups.items(), limit)),
        groups_total=len(bonds.groups),
        timers=len(bonds.timers),
        traps_exits=bonds.traps_exits,
        refused=overfull.refused + overfull.dropped if overfull is not None else 0,
    )


def ladder(agent: Agent) -> LadderStanding | None:
    """Where the agent's place stands on its ladder; None without one."""
    child = agent._o_child
    plan = child.spec.plan
    if plan is None or plan.ladder is None:
        return None
    made, past = plan.ladder, child.past
    failures, taken, taken_s = 0, None, None
    if past is not None and past.failed_ns:
        taken_s = (now_ns() - past.failed_ns) / 1e9
        failures = past.failures if taken_s <= made.reset_s else 0
        taken = str(past.rung) if past.rung is not None else None
    rung, _ = made.rung_after(failures + 1)
    return LadderStanding(
        rungs=[(type(one).__name__, one.times) for one in made.rungs],
        failures=failures,
        next=next((number for number, one in enumerate(made.rungs) if one is rung), len(made.rungs)),
        taken=taken,
        taken_s=taken_s if taken is not None else None,
        reset_s=made.reset_s,
    )


def checkpoint(agent: Agent) -> CheckpointStanding | None:
    """The agent's newest checkpoint; None when its spec asks for none. Of an agent in a worker: known there."""
    plan, bonds = agent._o_child.spec.plan, agent._o_bonds
    if plan is None or not plan.saves:
        return None
    care = bonds.care if bonds is not None else None
    has_one = care is not None and care.generation > 0
    return CheckpointStanding(
        policy=str(plan.checkpoint) if plan.checkpoint is not None else "",
        restores=plan.restore,
        generation=care.generation if care is not None else 0,
        age_s=max(0.0, wall_s() - care.taken_at) if care is not None and has_one else None,
        size=care.size_bytes if care is not None and has_one else None,
        is_changed=care is not None and care.is_changed,
        fault=str(care.fault) if care is not None and care.fault is not None else "",
    )


def budget(agent: Agent) -> BudgetStanding | None:
    """The agent's own budget; without one, what it has used of models, if anything. None when there is nothing to tell."""
    plan = agent._o_child.spec.plan
    if plan is not None and plan.budget is not None:
        return _standing(agent, plan.budget)
    limits = list(_unlimited(agent, frozenset()))
    return BudgetStanding(agent, limits, "") if limits else None


def budgets_above(agent: Agent) -> list[BudgetStanding]:
    """The budgets of the supervisors above, which the agent's spending is charged to as well; the nearest first."""
    return [_standing(owner, budget) for owner, budget in owners_of(agent, only_above=True)]


def restarts_within(supervisor: Supervisor) -> int:
    """How much of a supervisor's intensity is used up: its restarts within the last `period_s`."""
    times = supervisor._o_restart_times
    if not times:
        return 0
    since = now_ns() - supervisor.period_s * 1e9
    return sum(time_ns >= since for time_ns in times)


def _standing(owner: Agent, budget: Budget) -> BudgetStanding:
    spending = owner._o_bonds.spending if owner._o_bonds is not None else None
    limits = []
    for name in LIMITS:
        allowed = getattr(budget, name)
        if allowed is not None:
            limits.append(Limit(name, spending.used(name) if spending is not None else 0.0, float(allowed)))
    limits += _unlimited(owner, frozenset(limit.name for limit in limits))
    return BudgetStanding(owner, limits, _named(budget.on_limit))


def _unlimited(owner: Agent, limited: frozenset[str]) -> Iterator[Limit]:
    """What was counted although nothing limits it."""
    spending = owner._o_bonds.spending if owner._o_bonds is not None else None
    if spending is not None:
        for name in ("tool_calls", "tokens", "cost"):
            if name not in limited and spending.used(name):
                yield Limit(name, spending.used(name), None)


def _named(on_limit: Any) -> str:
    return str(getattr(on_limit, "__qualname__", on_limit))
