"""Activities that wait for a person, as they cross the wire. Granting and refusing are actions on their agents. No input, no output."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from observe.probe.wire_base import Asked, Role, Told

MAX_APPROVALS: Final = 500
"""The most in one answer: the longest waiting."""

MAX_DECIDED: Final = 50
"""The most in one answer of those that were decided: the newest."""


class ApprovalsArgs(Asked):
    """It takes none."""


class WaitingApproval(Told):
    """One activity that waits for a person."""

    number: int
    """Of this start of the node; never used twice."""
    pid: int
    name: str | None = None
    class_name: str = Field(default="", validation_alias="class", serialization_alias="class")
    activity: str
    """What is to be done: `tool:refund`."""
    said: str = ""
    """What the activity was given, masked and cut."""
    ask: str = ""
    """What the person is asked."""
    policy: str = ""
    """Which policy asks for it; empty when the agent's code does."""
    since: float = 0.0
    """Unix time since when it waits."""
    waited_s: float
    left_s: float
    """Until it ends by itself, as `on_timeout` says."""
    on_timeout: str
    """`deny` or `allow`."""
    approvers: list[str] = Field(default_factory=list)
    """Roles or names of keys that may grant it; empty for any operator."""
    needed: int = 1
    """How many people must still agree."""
    granted_by: list[str] = Field(default_factory=list)
    told: list[str] = Field(default_factory=list)
    """To whom it was escalated."""


class DecidedApproval(Told):
    """One activity that does not wait any more."""

    number: int
    pid: int
    name: str | None = None
    class_name: str = Field(default="", validation_alias="class", serialization_alias="class")
    activity: str
    said: str = ""
    ask: str = ""
    policy: str = ""
    outcome: str
    """`granted`, `refused`, `expired` (nobody has answered in time) or `given up` (its agent has ended, or was cancelled)."""
    allowed: bool
    """Whether the activity began: what expires may be granted by itself."""
    by: str = ""
    """Who has decided; empty where nobody has."""
    reason: str = ""
    waited_s: float
    at: float
    """Unix time of the decision."""


class WaitingApprovals(Told):
    """The result of `approvals`."""

    approvals: list[WaitingApproval]
    """The longest waiting first."""
    total: int
    decided: list[DecidedApproval] = Field(default_factory=list)
    """What was decided lately, the newest first. All of it is in the audit log."""
    decided_total: int = 0
    """Since the node was started."""


VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {"approvals": ("viewer", ApprovalsArgs)}
