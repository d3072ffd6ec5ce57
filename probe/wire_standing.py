"""How one agent stands, as parts of **detail**: ties, ladder, checkpoint, budgets, past activities. No input, no output."""

from __future__ import annotations

from pydantic import Field

from observe.probe.wire_base import AgentName, Told


class GroupTie(Told):
    """A process group that the agent is a member of."""

    name: str
    times: int = 1
    """How often it has joined."""


class TieLines(Told):
    """Whom the agent is tied to. The lists are bounded; the totals tell all."""

    links: list[AgentName] = Field(default_factory=list)
    links_total: int = 0
    monitors: list[AgentName] = Field(default_factory=list)
    """Whose end it will be told of."""
    monitors_total: int = 0
    monitored_by: list[AgentName] = Field(default_factory=list)
    """Who will be told of its end."""
    monitored_by_total: int = 0
    groups: list[GroupTie] = Field(default_factory=list)
    groups_total: int = 0
    timers: int = 0
    """Messages that it has set to be sent later. They are lost with it."""
    traps_exits: bool = False
    """The end of a linked agent is a message to it, and not its own end."""
    refused: int = 0
    """Messages that its full mailbox turned away or dropped. Above 0, work was lost."""


class RungLine(Told):
    """One rung of a ladder."""

    rung: str
    times: int = 1
    """How many failures in a row take it."""


class LadderLine(Told):
    """Where the agent stands on its ladder."""

    rungs: list[RungLine] = Field(default_factory=list)
    failures: int = 0
    """In a row, since a message was handled."""
    next: int = 0
    """Index of the rung that the next failure takes; `len(rungs)`: the supervisor ends (Escalate)."""
    taken: str | None = None
    """The rung taken last, while that counts; None once a message was handled."""
    taken_s: float | None = None
    """How long ago."""
    reset_s: float = 0.0
    """After so long without a failure the next one takes the first rung."""


class CheckpointLine(Told):
    """The agent's newest checkpoint."""

    policy: str = ""
    """When one is taken: `each_message`, `each_step`, `every 5 s`; empty: when the agent asks for it."""
    restores: bool = False
    """It comes back from it at each start."""
    generation: int = 0
    """Number of the newest in its place; 0: there is none."""
    age_s: float | None = None
    size: int | None = None
    """Bytes."""
    is_changed: bool = False
    """Messages were handled since: they would be lost."""
    fault: str = ""
    """Why the newest is not on record; empty when it is."""


class LimitLine(Told):
    """One limit of a budget."""

    name: str
    """`tool_calls`, `tokens`, `cost`, `wall_s`, `steps_without_progress` or `same_call`."""
    used: float
    allowed: float | None = None
    """None: it is counted and not limited."""


class BudgetLine(Told):
    """A budget and what was spent of it."""

    owner: AgentName
    """The agent, or the supervisor for whose whole tree the budget is."""
    limits: list[LimitLine] = Field(default_factory=list)
    on_limit: str = ""
    """What happens then: `exit`, `killed`, `suspended`, a rung, or the name of a function."""


class PastActivity(Told):
    """An activity that has ended."""

    name: str
    ended_s: float
    """How long ago."""
    took_s: float
    pid: int
    """Of whom it was: the agent, or a predecessor in its place."""
    error: str | None = None
    """What ended it, in a line; None when it went well."""
    tokens: int = 0
    cost: float = 0.0


class RiskCriterion(Told):
    """One of the twelve of a risk."""

    part: str
    """`autonomy`, `adaptability`, `continuity` or `reach`."""
    name: str
    value: float
    """From 0 to 1."""
    text: str
    """What it is, for people."""


class RiskLine(Told):
    """How much an agent could do by itself (docs/risk.md)."""

    score: float
    """From 0 to 1: what was observed, and at least what its class declares."""
    tier: int
    """From 1 to 4."""
    observed: float
    declared: float
    parts: dict[str, float]
    """Means of their criteria."""
    criteria: list[RiskCriterion] = Field(default_factory=list)
    traced: float | None = None
    """Share of its messages that is traced because of it; None where the node does not trace by risk."""
