"""How one agent stands, for the control link: from the runtime's objects to the parts of **detail** in docs/protocol.md 1.4."""

from __future__ import annotations

from typing import Any, Final

from observe.probe.describe_names import line, named
from observe.runtime import standing
from observe.runtime.agent import Agent

MAX_TIES: Final = 50
"""Links, monitors and groups that are named; the rest is counted."""


def ties_map(agent: Agent) -> dict[str, Any]:
    """Whom the agent is tied to."""
    ties = standing.ties(agent, MAX_TIES)
    return {
        "links": [named(other) for other in ties.links],
        "links_total": ties.links_total,
        "monitors": [named(other) for other in ties.monitors],
        "monitors_total": ties.monitors_total,
        "monitored_by": [named(other) for other in ties.monitored_by],
        "monitored_by_total": ties.monitored_by_total,
        "groups": [{"name": line(str(name)), "times": times} for name, times in ties.groups.items()],
        "groups_total": ties.groups_total,
        "timers": ties.timers,
        "traps_exits": ties.traps_exits,
        "refused": ties.refused,
    }


def ladder_map(agent: Agent) -> dict[str, Any] | None:
    """Where it stands on its ladder."""
    ladder = standing.ladder(agent)
    if ladder is None:
        return None
    return {
        "rungs": [{"rung": line(rung), "times": times} for rung, times in ladder.rungs],
        "failures": ladder.failures,
        "next": ladder.next,
        "taken": None if ladder.taken is None else line(ladder.taken),
        "taken_s": ladder.taken_s,
        "reset_s": float(ladder.reset_s),
    }


def checkpoint_map(agent: Agent) -> dict[str, Any] | None:
    """Its newest checkpoint."""
    one = standing.checkpoint(agent)
    if one is None:
        return None
    return {
        "policy": line(one.policy),
        "restores": one.restores,
        "generation": one.generation,
        "age_s": one.age_s,
        "size": one.size,
        "is_changed": one.is_changed,
        "fault": line(one.fault),
    }


def budget_map(agent: Agent) -> dict[str, Any] | None:
    """Its own budget."""
    one = standing.budget(agent)
    return None if one is None else _budget(one)


def budgets_above_map(agent: Agent) -> list[dict[str, Any]]:
    """Those of the supervisors above."""
    return [_budget(one) for one in standing.budgets_above(agent)]


def _budget(one: standing.BudgetStanding) -> dict[str, Any]:
    return {
        "owner": named(one.owner),
        "limits": [
            {"name": limit.name, "used": float(limit.used), "allowed": limit.allowed} for limit in one.limits
        ],
        "on_limit": line(one.on_limit),
    }
