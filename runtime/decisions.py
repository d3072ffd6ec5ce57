"""What an agent is about to do, and what is said to it: the attempt, the decision, and who decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

if TYPE_CHECKING:
    from observe.runtime.activity import Activity
    from observe.runtime.agent import Agent
    from observe.runtime.errors import Denied
    from observe.runtime.fences import Level

APPROVAL_S: Final = 300.0
"""How long an approval is waited for unless its rule says otherwise."""

Verdict = Literal["allow", "deny", "approve", "contain"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a judge says of an attempt. Use `ALLOW`, `deny` and `need_approval`."""

    verdict: Verdict
    reason: str = ""
    """For people."""
    policy: str = ""
    """The name of the policy that has decided; empty where none had anything to say."""
    approvers: tuple[str, ...] = ()
    """Of `approve`: the roles or names of keys that may grant it; empty for any operator."""
    timeout_s: float = APPROVAL_S
    on_timeout: Literal["deny", "allow"] = "deny"
    """What it means that nobody has answered."""
    error: Denied | None = None
    """Raised in place of a `Denied` of the usual kind."""
    two_person: bool = False
    """Of `approve`: it takes two people with different keys."""
    escalate: tuple[tuple[float, str], ...] = ()
    """Of `approve`: who is told when nobody has answered after so many seconds."""
    level: Level | None = None
    """Of `contain`: to which the agent is fenced in; then its containment decides."""
    tools: tuple[str, ...] | None = None
    recipients: tuple[str, ...] | None = None


RULE: Final = "rule"
"""Of what somebody else than a policy has decided, such as a person: in the facts, the policy because of which they were asked."""

ALLOW: Final = Decision("allow")
"""Nothing is said against it."""


def deny(reason: str, policy: str, error: Denied | None = None) -> Decision:
    """It must not be done."""
    return Decision("deny", reason, policy, error=error)


def need_approval(
    policy: str,
    reason: str = "",
    approvers: tuple[str, ...] = (),
    timeout_s: float = APPROVAL_S,
    on_timeout: Literal["deny", "allow"] = "deny",
    two_person: bool = False,
    escalate: tuple[tuple[float, str], ...] = (),
) -> Decision:
    """It waits until a person has agreed."""
    return Decision("approve", reason, policy, approvers, timeout_s, on_timeout, None, two_person, escalate)


class Attempt:
    """What an agent is about to do, or is doing."""

    __slots__ = ("activity", "agent", "is_open", "message", "target")

    def __init__(
        self,
        agent: Agent,
        activity: Activity | None = None,
        target: Agent | None = None,
        message: Any = None,
        is_open: bool = False,
    ) -> None:
        self.agent = agent
        self.is_open = is_open
        """The activity has begun already, and is looked at again."""
        self.activity = activity
        """None for a send."""
        self.target = target
        """Of a send: whom it is for."""
        self.message = message

    @property
    def kind(self) -> Literal["activity", "send"]:
        """An activity, or a message to somebody."""
        return "activity" if self.activity is not None else "send"

    @property
    def name(self) -> str:
        """The activity's name; the recipient's, or its class where it has none."""
        if self.activity is not None:
            return self.activity.name
        assert self.target is not None
        return self.target._o_child.name or type(self.target).__name__

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Of an activity: its attributes, and the arguments of the decorated function, those without a name by their place: `0`.
        Of a send: the message, if it is a dict, else `{"message": ...}`."""
        if self.activity is not None:
            return self.activity.said
        return self.message if isinstance(self.message, dict) else {"message": self.message}

    @property
    def text(self) -> str:
        """For people: `tool:refund`, `a message to ledger`."""
        return self.name if self.activity is not None else f"a message to {self.name}"


class Judge(Protocol):
    """Something that decides what agents may do."""

    sees_sends: bool
    """Whether it has anything to say about messages. While anybody has, each send of an agent is judged."""
    depends_on_time: bool
    """Whether it may say something else later, though nothing has changed."""

    def judge(self, attempt: Attempt) -> Decision:
        """Decide. On the scheduler's thread, in the middle of a step: quick, and without calling agents."""


class Approver(Protocol):
    """Asks a person."""

    async def approve(self, attempt: Attempt, decision: Decision) -> Decision:
        """Wait for an answer, in the agent's step. Returns `allow` or `deny` with the reason, and in `policy` who has decided. Cancelled when
        the step is."""
