"""The verb `findings`: what the node has diagnosed of itself, as it crosses the wire."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from observe.probe.wire_base import Told


class StandingFinding(Told):
    """One diagnosis that holds now."""

    check: str
    """Which check made it, such as `mailbox_grows`."""
    text: str
    """One sentence for people."""
    advice: str
    count: int
    """How many agents (or crashes) it is about."""
    since: float
    """Unix time at which the condition was first seen."""
    pid: int = 0
    """The worst agent; 0 when it is about none."""
    filter: str = ""
    """Shows the agents concerned in the agents table, where a filter can say it."""
    cause: str = ""
    """The failure that led to this, where one did."""
    evidence: dict[str, Any] = Field(default_factory=dict)


class StandingFindings(Told):
    """The result of `findings`."""

    findings: list[StandingFinding]
    """Oldest first."""
    begun: int
    """How many have begun since the probe started, over or not."""
    untold: int
    """How many of those made no event, because the same check had told one shortly before."""
