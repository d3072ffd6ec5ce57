"""Policies that authorise: which activities and messages of which agents are allowed, denied, or wait for a person (docs/policies.md).

    Node("shop", policies=[
        Rule("refunds", "deny", "tool:refund", agents=("Session",), where={"amount": ">100"}, reason="too much for a machine"),
    ])

The first rule that fits decides; what no rule fits is allowed. Other ones take their place at once (`node.policies.replace`, or the
file is saved): what they deny is cancelled where it waits.
"""

from __future__ import annotations

import operator
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, get_args

from observe.runtime.clock import wall_s
from observe.runtime.decisions import ALLOW, APPROVAL_S, Attempt, Decision, deny, need_approval

Effect = Literal["allow", "deny", "approve", "contain"]
EFFECTS: Final[tuple[Effect, ...]] = get_args(Effect)

Level = Literal["monitored", "restricted", "isolated", "suspended", "killed"]
CONTAIN_LEVELS: Final[tuple[Level, ...]] = get_args(Level)
"""To which a rule can contain. Down again it goes by people only."""

ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}

HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a policy.

    Raises:
        ValueError: an argument makes no sense; the text says which.
    """

    policy: str
    """Its name, as it stands in errors and in the audit log."""
    effect: Effect
    on: str
    """Pattern of the activity (`tool:*`), or of the recipient's name or class."""
    kind: Literal["activity", "send"] = "activity"
    agents: Sequence[str] = ("*",)
    """Patterns of the agent's name or class; one must fit."""
    where: Mapping[str, str] = field(default_factory=dict)
    """Of arguments by their names: a pattern for the text, or `>100`, `<=2`. All must hold, and an argument that is not there fits nothing.
    A value that is no number, where numbers are compared, fits a rule that denies or asks, and none that allows."""
    hours: str = ""
    """`18:00-08:00`: only then, by the local clock; always if empty."""
    reason: str = ""
    approvers: Sequence[str] = ()
    timeout_s: float = APPROVAL_S
    on_timeout: Literal["deny", "allow"] = "deny"
    two_person: bool = False
    """Of `approve`: it takes two people."""
    escalate: Sequence[tuple[float, str]] = ()
    """Of `approve`: who is told when nobody has answered after so many seconds."""
    level: Level | None = None
    """Of `contain`: how far the agent is fenced in when it tries this. Then its containment decides about the attempt."""
    tools: Sequence[str] | None = None
    """Of `contain` to `restricted`: what it may still begin; what its class says if left out. So it is with `recipients`."""
    recipients: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not self.policy or self.effect not in EFFECTS:
            raise ValueError(
                f"a rule has a policy's name and allows, denies, approves or contains, not {self!r}"
            )
        if self.kind not in ("activity", "send"):
            raise ValueError(f"{self.policy}: a rule is about an activity or a send, not {self.kind!r}")
        if self.kind == "send" and self.effect == "approve":
            raise ValueError(f"{self.policy}: messages do not wait for approval; an activity does")
        if any(isinstance(one, str) for one in (self.agents, self.approvers, self.tools, self.recipients)):
            raise ValueError(f"{self.policy}: agents, approvers, tools and recipients are lists of texts")
        if (self.effect == "contain") != (self.level is not None) or self.level not in (
            None,
            *CONTAIN_LEVELS,
        ):
            raise ValueError(
                f"{self.policy}: a level, one of {', '.join(CONTAIN_LEVELS)}, belongs to `contain`, and to nothing else"
            )
        if self.level != "restricted" and (self.tools is not None or self.recipients is not None):
            raise ValueError(f"{self.policy}: tools and recipients belong to the level restricted")
        if self.hours and not HOURS.fullmatch(self.hours):
            raise ValueError(f"{self.policy}: hours are such as '18:00-08:00', not {self.hours!r}")
        for name, wanted in self.where.items():
            comparison = _comparison(wanted)
            if comparison is not None:
                try:
                    Decimal(comparison[1])
                except InvalidOperation:
                    raise ValueError(
                        f"{self.policy}: {name} is compared with {comparison[1]!r}, which is no number"
                    ) from None

    def fits(self, attempt: Attempt) -> bool:
        """Whether it has anything to say about this."""
        if attempt.kind != self.kind:
            return False
        names = [attempt.name]
        if attempt.target is not None:
            names.append(type(attempt.target).__name__)
        agent = attempt.agent
        whose = [type(agent).__name__, agent._o_child.name or ""]
        return self.fits_names(names, whose) and (not self.where or self.holds(attempt.arguments))

    def fits_names(self, names: Sequence[str], whose: Sequence[str], minute: int | None = None) -> bool:
        """Whether it is about an activity or recipient of these names, an agent of those, at this time.

        Args:
            minute: of the day; now if left out.
        """
        return (
            any(fnmatchcase(name, self.on) for name in names)
            and any(fnmatchcase(one, pattern) for one in whose for pattern in self.agents)
            and (not self.hours or _is_within(self.hours, _minute_now() if minute is None else minute))
        )

    def holds(self, arguments: Mapping[str, Any]) -> bool:
        """Whether the arguments are as `where` says."""
        for name, wanted in self.where.items():
            if name not in arguments:
                return False
            comparison = _comparison(wanted)
            value = arguments[name]
            if comparison is None:
                if not fnmatchcase(str(value), wanted):
                    return False
            elif not _is_number(value):
                # What cannot be compared must not slip past a rule that denies or asks, nor be let through by one that allows.
                if self.effect == "allow":
                    return False
            elif not ORDER[comparison[0]](value, Decimal(comparison[1])):
                return False
        return True

    def decide(self) -> Decision:
        """What it says."""
        if self.effect == "deny":
            return deny(self.reason, self.policy)
        if self.effect == "approve":
            return need_approval(
                self.policy,
                self.reason,
                tuple(self.approvers),
                self.timeout_s,
                self.on_timeout,
                self.two_person,
                tuple(self.escalate),
            )
        if self.level is not None:
            return Decision(
                "contain",
                self.reason,
                self.policy,
                level=self.level,
                tools=None if self.tools is None else tuple(self.tools),
                recipients=None if self.recipients is None else tuple(self.recipients),
            )
        return Decision("allow", self.reason, self.policy)


@dataclass(frozen=True, slots=True)
class OnFinding:
    """Whoever a finding is about is contained. It takes a probe, which makes the findings.

    Raises:
        ValueError: an argument makes no sense; the text says which.
    """

    policy: str
    check: str
    """Its name, such as `same_call`; docs/findings.md lists them."""
    level: Level
    agents: Sequence[str] = ("*",)
    """Patterns of the agent's name or class; one must fit. Supervisors are never meant: all below them would be."""
    tools: Sequence[str] | None = None
    recipients: Sequence[str] | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if not self.policy or not self.check:
            raise ValueError(
                f"what is done on a finding has a policy's name and the name of a check, not {self!r}"
            )
        if self.level not in CONTAIN_LEVELS:
            raise ValueError(
                f"{self.policy}: the level is one of {', '.join(CONTAIN_LEVELS)}, not {self.level!r}"
            )
        if any(isinstance(one, str) for one in (self.agents, self.tools, self.recipients)):
            raise ValueError(f"{self.policy}: agents, tools and recipients are lists of texts")
        if self.level != "restricted" and (self.tools is not None or self.recipients is not None):
            raise ValueError(f"{self.policy}: tools and recipients belong to the level restricted")

    def is_about(self, whose: Sequence[str]) -> bool:
        """Whether it is about an agent with one of these names."""
        return any(fnmatchcase(one, pattern) for one in whose for pattern in self.agents)


def _is_number(value: Any) -> bool:
    if isinstance(value, Decimal):
        return not value.is_nan()
    return isinstance(value, int | float) and value == value  # noqa: PLR0124  # not NaN


class Policies:
    """Rules in their order: a judge, for `Governing.set_judges`."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self.names = frozenset(rule.policy for rule in rules)
        self.hits: Counter[str] = Counter()
        """By policy: how often a rule of it has decided."""
        self.denied: Counter[str] = Counter()
        """By policy: how often that came to a denial, of a person who was asked as well."""
        self.sees_sends = any(rule.kind == "send" for rule in self.rules)
        self.depends_on_time = any(rule.hours for rule in self.rules)

    def judge(self, attempt: Attempt) -> Decision:
        """What the first rule that fits says; an activity to which a person has agreed is not asked about again."""
        for rule in self.rules:
            if rule.fits(attempt):
                if rule.effect == "approve" and attempt.activity is not None and attempt.activity.is_approved:
                    return ALLOW
                if not attempt.is_open:
                    self.hits[rule.policy] += 1
                return rule.decide()
        return ALLOW


def _comparison(wanted: str) -> tuple[str, str] | None:
    for sign in ORDER:  # the longer ones first
        if wanted.startswith(sign):
            return sign, wanted[len(sign) :].strip()
    return None


def _minute_now() -> int:
    local = time.localtime(wall_s())
    return local.tm_hour * 60 + local.tm_min


def _is_within(hours: str, now: int) -> bool:
    begin, end = (int(part[:2]) * 60 + int(part[3:]) for part in hours.split("-"))
    return begin <= now < end if begin <= end else now >= begin or now < end
