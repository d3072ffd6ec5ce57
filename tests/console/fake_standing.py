"""How the agents of the fake node stand: a budget that is nearly used up, a ladder half climbed, ties."""

from __future__ import annotations

from typing import Any

from observe.probe.wire_base import AgentName
from observe.probe.wire_standing import (
    BudgetLine,
    CheckpointLine,
    GroupTie,
    LadderLine,
    LimitLine,
    PastActivity,
    RungLine,
    TieLines,
)


def standing_of(row: dict[str, Any]) -> dict[str, Any]:
    """Parts of a detail, the same at each look."""
    if not row["supervisor"]:
        return {"ties": TieLines(), "past_for_s": 60.0}
    own = AgentName(pid=row["pid"], name=row["name"], class_name=row["class"])
    team = AgentName(pid=row["supervisor"], name="sessions", class_name="Supervisor")
    return {
        "past": [
            PastActivity(name="tool:lookup_order", pid=row["pid"], ended_s=1.0, took_s=4.0),
            PastActivity(name="model:chat", pid=row["pid"], ended_s=5.5, took_s=12.5, tokens=1830, cost=0.012),
            PastActivity(name="tool:lookup_order", pid=9, ended_s=20.0, took_s=20.0, error="TimeoutError: 20 s"),
        ],
        "past_for_s": 75.0,
        "ties": TieLines(
            links=[AgentName(pid=3, name="cart", class_name="Cart")], links_total=1,
            monitored_by=[AgentName(pid=4, name=None, class_name="Janitor")], monitored_by_total=1,
            groups=[GroupTie(name="region:eu"), GroupTie(name="vip", times=2)], groups_total=2, timers=1,
        ),
        "ladder": LadderLine(
            rungs=[RungLine(rung="Retry", times=2), RungLine(rung="Restore"), RungLine(rung="Park")], failures=2,
            next=1, taken="Retry x2", taken_s=12.0, reset_s=300.0,
        ),
        "checkpoint": CheckpointLine(
            policy="each_message", restores=True, generation=17, age_s=42.0, size=1234, is_changed=True
        ),
        "budget": BudgetLine(
            owner=own, on_limit="exit",
            limits=[LimitLine(name="tool_calls", used=36.0, allowed=40.0), LimitLine(name="wall_s", used=75.0, allowed=600.0),
                    LimitLine(name="cost", used=0.0613)],
        ),
        "budgets_above": [
            BudgetLine(owner=team, on_limit="suspended", limits=[LimitLine(name="cost", used=12.5, allowed=12.0)])
        ],
    }  # fmt: skip
