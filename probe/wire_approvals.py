"""Activities that wait for a person, as they cross the wire. Granting and refusing are actions on their agents. No input, no output."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from observe.probe.wire_base import Asked, Role, Told

MAX_APPROVALS: Final = 500
"""The most in one answer: the longest waiting."""


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


class WaitingApprovals(Told):
    """The result of `approvals`."""

    approvals: list[WaitingApproval]
    """The longest waiting first."""
    total: int


VERBS: Final[dict[str, tuple[Role, type[Asked]]]] = {"approvals": ("viewer", ApprovalsArgs)}
