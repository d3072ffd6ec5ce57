"""The service's side of what waits for a person: what is asked, masked as all that leaves the process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from observe.probe.describe_names import line
from observe.probe.wire_approvals import MAX_APPROVALS, MAX_DECIDED
from observe.runtime.approvals import Waiting
from observe.runtime.approvals_decided import Decided
from observe.runtime.node import Node
from observe.tracing.payload import MESSAGE, encode


def approvals_map(node: Node) -> dict[str, Any]:
    """All that wait, the longest first, and what was decided lately. On the scheduler's thread."""
    if node.governing is None:
        return {"approvals": [], "total": 0, "decided": [], "decided_total": 0}
    approvals = node.governing.approvals
    waiting = approvals.waiting
    return {
        "approvals": [_one(one) for one in waiting[:MAX_APPROVALS]],
        "total": len(waiting),
        "decided": [_decided(one) for one in approvals.past.newest(MAX_DECIDED)],
        "decided_total": approvals.past.total,
    }


def _one(one: Waiting) -> dict[str, Any]:
    agent, asked = one.agent, one.asked
    name = agent._o_child.name
    return {
        "number": one.number,
        "pid": agent._o_pid,
        "name": None if name is None else line(name),
        "class": line(type(agent).__name__),
        "activity": line(one.name),
        "said": _said(one.said),
        "ask": _ask(asked.ask),
        "policy": line(one.policy),
        "since": one.since,
        "waited_s": one.waited_s,
        "left_s": one.left_s,
        "on_timeout": asked.on_timeout,
        "approvers": [line(part) for part in asked.approvers],
        "needed": one.needed,
        "granted_by": [line(part) for part in one.granted_by.values()],
        "told": [line(part) for part in one.told],
    }


def _decided(one: Decided) -> dict[str, Any]:
    return {
        "number": one.number,
        "pid": one.pid,
        "name": None if one.name is None else line(one.name),
        "class": line(one.class_name),
        "activity": line(one.activity),
        "said": _said(one.said),
        "ask": _ask(one.ask),
        "policy": line(one.policy),
        "outcome": one.outcome,
        "allowed": one.is_allowed,
        "by": line(one.by),
        "reason": line(one.reason),
        "waited_s": one.waited_s,
        "at": one.at,
    }


def _said(said: Mapping[str, Any]) -> str:
    return str(encode(dict(said), MESSAGE)["text"]) if said else ""


def _ask(ask: str) -> str:
    return line(str(encode(ask, MESSAGE)["text"]).strip("'\"")) if ask else ""
