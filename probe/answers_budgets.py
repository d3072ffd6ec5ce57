"""The service's side of `budgets`: what every agent may spend, has spent, and how fast. Needs no event loop.

Nothing is counted for this: the counters are those by which the runtime enforces budgets. A rate is the difference to what was
read before; so there is none when nobody has looked in the last two minutes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from observe.probe.caps_spent import CapSpent, caps_of
from observe.probe.describe_names import line
from observe.probe.spending_rates import SpendingRates, Used
from observe.runtime.agent import Agent
from observe.runtime.budget import LIMITS, NEARLY, Budget, Spending
from observe.runtime.node import Node
from observe.runtime.supervisor import Supervisor

MOST_OWNERS: Final = 50_000
"""Agents that spend and are looked at."""

AT_ONCE: Final = 500
"""Agents looked at before the interpreter lock is offered to the service."""

_COUNTED: Final = ("tool_calls", "tokens", "cost")
_NO_RATE: Final = frozenset({"steps_without_progress", "same_call"})
"""Counters that a success sets back: how long they last cannot be told."""


@dataclass(slots=True)
class Owner:
    """An agent that spends, or may."""

    agent: Agent
    budget: Budget | None
    used: Used
    limits: dict[str, tuple[float, float | None]] = field(default_factory=dict)
    rates: Used | None = None


class BudgetAnswers:
    """Answers `budgets`. May be asked by several threads."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._rates = SpendingRates()
        self._lock = threading.Lock()

    def page(self, request: dict[str, Any]) -> dict[str, Any]:
        """What was spent, the worst first."""
        with self._lock:
            owners, elsewhere, left_out = self._owners()
            caps = list(caps_of(self._node))
            used: dict[Hashable, Used] = {one.agent._o_pid: one.used for one in owners}
            over_s, rates = self._rates.measure(used | {one.key: one.used for one in caps}, time.monotonic())
        for owner in owners:
            owner.rates = rates.get(owner.agent._o_pid)
        own = [owner for owner in owners if not _is_subtree(owner)]
        if request["by"] == "policy":
            lines = [_cap_line(one, rates.get(one.key)) for one in caps]
        elif request["by"] == "class":
            lines = list(_classes(own))
        else:
            lines = [_line(owner) for owner in owners]
        text = request["text"].casefold()
        matching = [one for one in lines if text in f"{one['name'] or ''} {one['class']}".casefold()]
        matching.sort(key=_ORDERS[request["sort"]])
        return {
            "lines": matching[: request["limit"]],
            "matched": len(matching),
            "total": len(lines),
            "nearly": sum(1 for owner in owners if _share(owner) >= NEARLY)
            + sum(1 for one in caps if one.share >= one.cap.warn_at),
            "tokens": int(sum(owner.used[1] for owner in own)),
            "cost": float(sum(owner.used[2] for owner in own)),
            "tokens_min": _sum_min(own, 1),
            "cost_min": _sum_min(own, 2),
            "over_s": over_s,
            "elsewhere": elsewhere,
            "left_out": left_out,
        }

    def _owners(self) -> tuple[list[Owner], int, int]:
        owners: list[Owner] = []
        elsewhere = left_out = 0
        for number, agent in enumerate(self._agents()):
            if number % AT_ONCE == 0:
                time.sleep(0)
            if agent._o_away is not None:
                elsewhere += 1
                continue
            plan, bonds = agent._o_child.spec.plan, agent._o_bonds
            budget = plan.budget if plan is not None else None
            spending = bonds.spending if bonds is not None else None
            if budget is None and spending is None:
                continue
            if len(owners) >= MOST_OWNERS:
                left_out += 1
                continue
            owner = _owner(agent, budget, spending)
            if budget is not None or any(owner.used):
                owners.append(owner)
        return owners, elsewhere, left_out

    def _agents(self) -> list[Agent]:
        while True:
            try:
                return list(self._node.agents.values())
            except RuntimeError:  # one was started or has ended meanwhile
                continue


def _owner(agent: Agent, budget: Budget | None, spending: Spending | None) -> Owner:
    used = (0.0, 0.0, 0.0)
    if spending is not None:
        used = (float(spending.tool_calls), float(spending.tokens), float(spending.cost))
    owner = Owner(agent, budget, used)
    for name in LIMITS:
        allowed = getattr(budget, name) if budget is not None else None
        if allowed is not None:
            owner.limits[name] = (spending.used(name) if spending is not None else 0.0, float(allowed))
    return owner


def _is_subtree(owner: Owner) -> bool:
    return isinstance(owner.agent, Supervisor)


def _share(owner: Owner) -> float:
    return max((used / allowed for used, allowed in owner.limits.values() if allowed), default=0.0)


def _rate(owner: Owner, name: str) -> float | None:
    if name == "wall_s":
        return 1.0
    if name in _NO_RATE or owner.rates is None:
        return None
    return owner.rates[_COUNTED.index(name)]


def _limit(name: str, used: float, allowed: float | None, rate: float | None) -> dict[str, Any]:
    left_s = None
    if allowed is not None and rate:
        left_s = max(0.0, allowed - used) / rate
    return {"name": name, "used": float(used), "allowed": allowed, "rate": rate, "left_s": left_s}


def _line(owner: Owner) -> dict[str, Any]:
    agent, budget = owner.agent, owner.budget
    limits = [
        _limit(name, used, allowed, _rate(owner, name)) for name, (used, allowed) in owner.limits.items()
    ]
    limits.sort(key=lambda one: -(one["used"] / one["allowed"]))
    name = agent._o_child.name
    on_limit = budget.on_limit if budget is not None else ""
    return _spent([owner]) | {
        "kind": "subtree" if _is_subtree(owner) else "agent",
        "pid": agent._o_pid,
        "name": None if name is None else line(name),
        "class": line(type(agent).__name__),
        "members": 1,
        "limits": limits,
        "on_limit": line(str(getattr(on_limit, "__qualname__", on_limit))),
        "share": _share(owner),
        "left_s": _least(limits),
    }


def _cap_line(one: CapSpent, rates: Used | None) -> dict[str, Any]:
    cap = one.cap
    limits = [
        _limit(name, one.spent[name], allowed, None if rates is None else rates[_COUNTED.index(name)])
        for name, allowed in cap.limits
    ]
    limits.sort(key=lambda limit: -(limit["used"] / limit["allowed"]))
    for limit in limits if cap.per == "step" else ():
        limit["left_s"] = None  # the next step has all of it again
    return {
        "kind": "cap",
        "pid": one.pid,
        "name": line(one.who),
        "class": line(cap.policy),
        "members": 1,
        "limits": limits,
        "on_limit": f"{cap.effect} {cap.level}" if cap.level else cap.effect,
        "share": one.share,
        "left_s": _least(limits),
        "tool_calls": int(one.used[0]),
        "tokens": int(one.used[1]),
        "cost": float(one.used[2]),
        "tokens_min": None if rates is None else 60 * rates[1],
        "cost_min": None if rates is None else 60 * rates[2],
    }


def _classes(owners: list[Owner]) -> Iterator[dict[str, Any]]:
    classes: dict[str, list[Owner]] = {}
    for owner in owners:
        classes.setdefault(type(owner.agent).__name__, []).append(owner)
    for name, members in classes.items():
        limits = []
        for limit in LIMITS:
            parts = [(owner.limits[limit], _rate(owner, limit)) for owner in members if limit in owner.limits]
            if parts:
                rates = [rate for _, rate in parts if rate is not None]
                used, allowed = sum(part[0] for part, _ in parts), sum(part[1] or 0.0 for part, _ in parts)
                limits.append(_limit(limit, used, allowed, sum(rates) if rates else None))
        limits.sort(key=lambda one: -(one["used"] / one["allowed"]))
        yield _spent(members) | {
            "kind": "class",
            "pid": 0,
            "name": None,
            "class": line(name),
            "members": len(members),
            "limits": limits,
            "on_limit": "",
            "share": max(map(_share, members)),
            "left_s": _least(limits),
        }


def _spent(owners: list[Owner]) -> dict[str, Any]:
    return {
        "tool_calls": int(sum(owner.used[0] for owner in owners)),
        "tokens": int(sum(owner.used[1] for owner in owners)),
        "cost": float(sum(owner.used[2] for owner in owners)),
        "tokens_min": _sum_min(owners, 1),
        "cost_min": _sum_min(owners, 2),
    }


def _sum_min(owners: list[Owner], place: int) -> float | None:
    rates = [owner.rates[place] for owner in owners if owner.rates is not None]
    return float(60 * sum(rates)) if rates else None


def _least(limits: list[dict[str, Any]]) -> float | None:
    return min((one["left_s"] for one in limits if one["left_s"] is not None), default=None)


def _worst(one: dict[str, Any]) -> tuple[float, float]:
    return -one["share"], -one["cost"]


_ORDERS: Final[dict[str, Any]] = {
    "share": _worst,
    "left_s": lambda one: (float("inf") if one["left_s"] is None else one["left_s"], *_worst(one)),
    "cost": lambda one: (-(one["cost_min"] or 0.0), -one["cost"], *_worst(one)),
    "tokens": lambda one: (-(one["tokens_min"] or 0.0), -one["tokens"], *_worst(one)),
}
