"""What agents may do by the node's policies, as it crosses the wire. No input, no output."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from observe.probe.wire_base import Asked, Command, Role, Told

MAX_RULES: Final = 1000
"""The most in one answer; a file has no more."""


class PoliciesArgs(Asked):
    """It takes none."""


class ReloadPoliciesArgs(Command):
    """Has the node read its file of policies again, now."""


class HeldRule(Told):
    """One rule that holds."""

    policy: str
    effect: str
    """`allow`, `deny`, `approve` or `contain`."""
    kind: str = "activity"
    """`activity` or `send`."""
    on: str
    agents: list[str] = Field(default_factory=list)
    where: dict[str, str] = Field(default_factory=dict)
    hours: str = ""
    reason: str = ""
    level: str = ""
    """Of `contain`."""
    fitted: int = 0
    """How often it has decided, since the node's start."""
    denied: int = 0
    """How often that came to a denial; of `approve`, because a person refused or nobody answered."""


class HeldMachine(Told):
    """One machine that holds."""

    policy: str
    effect: str
    """`report`, `deny` or `contain`."""
    level: str = ""
    agents: list[str] = Field(default_factory=list)
    states: int
    """How many it has."""
    per: str = ""
    reason: str = ""
    violations: int = 0
    """How many it has seen, since the node's start."""
    denied: int = 0


class SpentOfCap(Told):
    """What one tenant, run, agent or the node has spent of a cap."""

    key: str
    """The tenant or run; the agent's name; empty for the whole node."""
    pid: int = 0
    """Of a cap per agent or step."""
    tool_calls: int = 0
    tokens: int = 0
    cost: float = 0.0
    share: float = 0.0
    """How much of the limit that is used up furthest."""


class HeldCap(Told):
    """What may be spent."""

    policy: str
    per: str
    """`agent`, `step`, `node`, or an attribute."""
    agents: list[str] = Field(default_factory=list)
    limits: dict[str, float] = Field(default_factory=dict)
    """`tool_calls`, `tokens`, `cost`, as far as they bind."""
    of: list[str] = Field(default_factory=list)
    """Patterns of the activities that `tool_calls` counts."""
    every_s: float = 0.0
    """After so many seconds counters begin anew; 0: never."""
    effect: str
    """`report`, `deny` or `contain`."""
    level: str = ""
    warn_at: float
    warn_level: str = ""
    reason: str = ""
    denied: int = 0
    """How often, since the node's start."""
    worst: list[SpentOfCap] = Field(default_factory=list)
    """Who has used up most of it, the worst first. What agents of worker processes spend each by itself is not known here."""


class HeldFinding(Told):
    """A finding whose agents are contained."""

    policy: str
    check: str
    level: str
    agents: list[str] = Field(default_factory=list)
    reason: str = ""
    contained: int = 0
    """How many agents were, since the node's start."""


class HeldPolicies(Told):
    """The result of `policies`."""

    source: str
    """The file, or `the service`; empty where the node has no policies."""
    version: str = ""
    """The beginning of the SHA-256 of the file."""
    since: float = 0.0
    """Unix time from which on they hold."""
    loads: int = 0
    """How often policies were taken since the node's start."""
    refused: str = ""
    """Why the file as it stands now does not hold; empty when it does."""
    judges: int = 0
    """Further judges that the service has set in Python, which are not listed."""
    rules: list[HeldRule] = Field(default_factory=list)
    """In the order in which they are asked: the first that fits decides."""
    machines: list[HeldMachine] = Field(default_factory=list)
    """What agents should do, in which order: docs/conformance.md."""
    caps: list[HeldCap] = Field(default_factory=list)
    """What may be spent."""
    findings: list[HeldFinding] = Field(default_factory=list)
    forgotten: int = 0
    """Conversations that machines have forgotten because one agent had too many."""


VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {
    "policies": ("viewer", PoliciesArgs),
    "reload_policies": ("admin", ReloadPoliciesArgs),
}
