"""Facts about single agents beside crashes and restarts: findings, rungs taken, limits reached. Told as they come."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from observe.probe.describe_names import line

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.children import Child
    from observe.runtime.errors import BudgetExceeded
    from observe.runtime.findings import Finding
    from observe.runtime.governed import Governed
    from observe.runtime.ladder import Failure, Rung
    from observe.runtime.node import Node

Report = tuple[str, dict[str, Any]]
"""The kind of frame and its fields, as docs/protocol.md, section 2, has them."""


def finding_report(finding: Finding) -> Report:
    """What the node has found out about itself, or that this is over."""
    text = f"over: {finding.text}" if finding.cleared else finding.text
    return "finding", {
        "at": time.time(),
        "kind": finding.kind,
        "pid": finding.pid,
        "text": line(text),
        "cleared": finding.cleared,
        "class": line(finding.class_name),
        "name": None if finding.name is None else line(finding.name),
        "stack": [
            line(f"{frame.function} {frame.file}:{frame.line} {frame.source}")
            for frame in finding.stack[-10:]
        ],
    }


def rung_report(child: Child, rung: Rung, failure: Failure) -> Report:
    """A ladder's answer to a failure."""
    label = child.name or child.spec.agent.__name__
    text = f"{label} (pid {failure.at_pid}) failed, attempt {failure.attempt}: {rung} ({failure.reason})"
    return "rung", {
        "at": time.time(),
        "pid": failure.at_pid,
        "supervisor": child.supervisor_pid,
        "child": line(str(child.id)),
        "rung": line(str(rung)),
        "attempt": failure.attempt,
        "text": line(text),
    }


def governed_report(event: Governed) -> Report:
    """Something that was decided about an agent."""
    return "governed", {
        "at": event.at,
        "pid": event.pid,
        "name": None if event.name is None else line(event.name),
        "class": line(event.class_name),
        "what": event.what,
        "on": line(event.on),
        "verdict": event.verdict,
        "reason": line(event.reason),
        "policy": line(event.policy),
        "record": event.record,
        "facts": {name: line(text, 400) for name, text in event.facts.items()},
    }


def containment_reports(node: Node) -> list[Report]:
    """How far agents are contained, for who has heard of nothing yet."""
    if node.governing is None:
        return []
    return [
        (
            "governed",
            {
                "at": time.time(),
                "pid": pid,
                "class": "",
                "what": "containment",
                "on": level,
                "standing": True,
            },
        )
        for pid, level in node.governing.containment.levels().items()
    ]


def limit_report(owner: Agent, error: BudgetExceeded) -> Report:
    """A budget that is used up."""
    return "limit", {
        "at": time.time(),
        "pid": owner.ref.pid,
        "limit": line(error.limit),
        "used": float(error.used),
        "allowed": float(error.allowed),
        "text": line(str(error)),
    }
