"""The service's side of what waits for a person: what is asked, masked as all that leaves the process."""

from __future__ import annotations

from typing import Any

from observe.probe.describe_names import line
from observe.probe.wire_approvals import MAX_APPROVALS
from observe.runtime.approvals import Waiting
from observe.runtime.node import Node
from observe.tracing.payload import MESSAGE, encode


def approvals_map(node: Node) -> dict[str, Any]:
    """All that wait, the longest first. On the scheduler's thread."""
    waiting = node.governing.approvals.waiting if node.governing is not None else []
    return {"approvals": [_one(one) for one in waiting[:MAX_APPROVALS]], "total": len(waiting)}


def _one(one: Waiting) -> dict[str, Any]:
    agent, asked = one.agent, one.asked
    name = agent._o_child.name
    return {
        "number": one.number,
        "pid": agent._o_pid,
        "name": None if name is None else line(name),
        "class": line(type(agent).__name__),
        "activity": line(one.name),
        "said": str(encode(dict(one.said), MESSAGE)["text"]) if one.said else "",
        "ask": line(str(encode(asked.ask, MESSAGE)["text"]).strip("'\"")) if asked.ask else "",
        "policy": line(one.policy),
        "waited_s": one.waited_s,
        "left_s": one.left_s,
        "on_timeout": asked.on_timeout,
        "approvers": [line(part) for part in asked.approvers],
        "needed": one.needed,
        "granted_by": [line(part) for part in one.granted_by.values()],
        "told": [line(part) for part in one.told],
    }
