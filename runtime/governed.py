"""What was decided about agents, told to instruments, each with the name of its records in the audit log."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from observe.runtime.clock import wall_s

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.node import Node

_APPROVAL: Final = re.compile(r"\((\d+)\)$")
"""At the end of what an approval is about: `tool:refund (12)`. Its records, asked and decided, belong together."""

_process = ""

_numbers: Final = itertools.count(1)
"""Of what was decided in this process."""


@dataclass(frozen=True, slots=True)
class Governed:
    """Something that was decided about an agent. For the record."""

    at: float
    """Unix time."""
    pid: int
    name: str | None
    class_name: str
    what: str
    """`activity`, `send`, `containment`, `violation`, `cap`, `approval`, `policies` and `reload` (of the node: pid 0); or of an agent that is monitored what it does: `begin`, `end`, `handled`."""
    on: str
    """The activity, the recipient, the level."""
    verdict: str
    """`allow`, `deny`, `approve`; empty where nothing was decided."""
    reason: str
    policy: str
    """Which policy has decided; of containment who has ordered it."""
    record: str = ""
    """The `command_id` of its records in the audit log."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Of a violation: `expected`, `actual`, `state` and `sequence`; of a cap: `limit`, `used`, `allowed`, `per` and `key`."""
    trace: str = ""
    span: str = ""
    """Where an agent of a worker process was in its trace, as that process knows; of others whoever records it looks itself."""


def report(
    node: Node,
    agent: Agent | None,
    what: str,
    on: str,
    verdict: str,
    reason: str,
    policy: str,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Let instruments know; also of a node on which nothing is governed."""
    hooks = node.instruments.on_governed
    if hooks:
        event = Governed(
            at=wall_s(),
            pid=0 if agent is None else agent._o_pid,
            name=None if agent is None else agent._o_child.name,
            class_name="" if agent is None else type(agent).__name__,
            what=what,
            on=on,
            verdict=verdict,
            reason=reason,
            policy=policy,
            record=record_of(what, on),
            facts=facts or {},
        )
        for hook in hooks:
            hook(event)


def record_of(what: str, on: str) -> str:
    """The `command_id` of its records in the audit log."""
    asked = _APPROVAL.search(on) if what == "approval" else None
    return f"approval-{asked[1]}" if asked else f"governed-{_process}{next(_numbers)}"


def tell_apart(serial: int) -> None:
    """In a worker process: its records are called otherwise than those of the others."""
    global _process
    _process = f"w{serial}-"
