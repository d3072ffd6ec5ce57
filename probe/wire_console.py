"""What consoles ask beside the tables: agents in groups with totals, and that somebody takes control. No input, no output."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from observe.probe.wire_base import Asked, Command, Role, Told

GroupBy = Literal["class", "supervisor", "status", "activity", "process"]
GroupSort = Literal[
    "agents", "mailbox", "handled", "rate", "reductions", "load", "restarts", "crashes", "tokens", "cost"
]  # fmt: skip

MAX_GROUPS: Final = 500
"""The most groups in one answer. More are not read by anybody; `groups` counts all."""


class GroupsArgs(Asked):
    """Which agents to group, and by what."""

    by: GroupBy = "class"
    filter: str = Field(default="", max_length=1024)
    """Of agents, as in a query."""
    sort: GroupSort = "agents"
    descending: bool = True
    limit: int = Field(default=100, ge=0, le=MAX_GROUPS)


class ControlArgs(Command):
    """Somebody takes control of the node in a console, or gives it back. Changes nothing but the record."""

    taken: bool = True
    for_s: float = Field(default=0.0, ge=0.0, le=86_400.0)
    """For how long, when it is taken."""


class GroupLine(Told):
    """Agents that have something in common, and their sums."""

    key: str
    """What they have in common, for people; empty where they have none: no activity, no supervisor."""
    filter: str
    """Shows them in the agents table."""
    agents: int
    mailbox: int
    handled: int
    rate: float
    reductions: int
    load: float
    """In cores: the sum of their shares of one."""
    restarts: int
    crashes: int
    tokens: int | None = None
    """Into models and out of them, of those who are alive; None: a node that does not sum them."""
    cost: float | None = None
    by_status: dict[str, int]


class GroupList(Told):
    """The result of `groups`."""

    lines: list[GroupLine]
    groups: int
    """How many there are, shown or not."""
    matched: int
    """Agents that pass the filter."""
    total: int
    at: float
    """When the newest telemetry in it was gathered."""


VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {
    "groups": ("viewer", GroupsArgs),
    "control": ("operator", ControlArgs),
}
