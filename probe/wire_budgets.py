"""What agents may spend and have spent, as it crosses the wire. No input, no output."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from observe.probe.wire_base import Asked, Pid, Role, Told
from observe.probe.wire_standing import LimitLine

BudgetsBy = Literal["owner", "class", "policy"]

BudgetsSort = Literal["share", "left_s", "cost", "tokens"]

MAX_BUDGETS: Final = 500
"""The most lines in one answer."""


class BudgetsArgs(Asked):
    by: BudgetsBy = "owner"
    """A line for each agent, and for each supervisor with a budget for its tree; or one for each class; or
    for each tenant, run, agent or the like that has spent of a policy's cap."""
    sort: BudgetsSort = "share"
    """The worst first: the largest share of a limit used, the least time left, the most spent a minute (or at all)."""
    text: str = Field(default="", max_length=256)
    """In the name or class, whatever the case."""
    limit: int = Field(default=100, ge=0, le=MAX_BUDGETS)


class SpentLimit(LimitLine):
    """One limit, how fast it is being used up, and for how long it will last."""

    rate: float | None = None
    """Used a second, over `over_s` of the answer; None: not known yet, or it does not grow with time."""
    left_s: float | None = None
    """Seconds until it is used up at this rate; None: never, or not known."""


class SpentLine(Told):
    """What one agent, all below one supervisor, or all agents of a class have spent."""

    kind: Literal["agent", "subtree", "class", "cap"]
    pid: Pid = 0
    """0: a class, or a cap that is counted for several."""
    name: str | None = None
    """Of a cap: the tenant, run or agent that has spent."""
    class_name: str = Field(default="", validation_alias="class", serialization_alias="class")
    """Of a cap: its policy."""
    members: int = 1
    """Of a class: agents that have spent or may."""
    limits: list[SpentLimit] = Field(default_factory=list)
    """The worst first. Of a class: sums of what its agents used, and of what they may."""
    on_limit: str = ""
    """What happens then; empty without a limit."""
    share: float = 0.0
    """Of the limit that is used up furthest; of a class: of its worst agent."""
    left_s: float | None = None
    """The least of its limits."""
    tool_calls: int = 0
    tokens: int = 0
    cost: float = 0.0
    tokens_min: float | None = None
    """A minute, over `over_s`; None: not known yet."""
    cost_min: float | None = None


class BudgetPage(Told):
    """The result of `budgets`."""

    lines: list[SpentLine]
    matched: int
    total: int
    """Lines that there are, whatever the filter."""
    nearly: int
    """Agents and trees that have used four fifths of a limit, or more, and who has of a cap as much as it warns at."""
    tokens: int
    """Of all live agents of the node's own process; as are those below."""
    cost: float
    tokens_min: float | None = None
    cost_min: float | None = None
    over_s: float = 0.0
    """Seconds over which rates were measured: since somebody looked, a minute at most; 0: nobody has looked lately."""
    elsewhere: int = 0
    """Agents in worker processes, of which only what their supervisors' budgets are charged is known here."""
    left_out: int = 0
    """Agents that were not looked at, because there are so many that spend."""


VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {"budgets": ("viewer", BudgetsArgs)}
