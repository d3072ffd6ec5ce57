"""Policies that authorise: which activities and messages of which agents are allowed, denied, or wait for a person (docs/policies.md).

    node.govern().set_judges((Policies([
        Rule("refunds", "deny", "tool:refund", agents=("Session",), where={"amount": ">100"}, reason="too much for a machine"),
    ]),))

The first rule that fits decides; what no rule fits is allowed. `set_judges` with other ones replaces them at once: what they deny is
cancelled where it waits.
"""

from __future__ import annotations

import operator
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

from observe.runtime.clock import wall_s
from observe.runtime.governing import ALLOW, APPROVAL_S, Attempt, Decision, deny, need_approval

Effect = Literal["allow", "deny", "approve"]

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

    def __post_init__(self) -> None:
        if not self.policy or self.effect not in ("allow", "deny", "approve"):
            raise ValueError(f"a rule has a policy's name and allows, denies or approves, not {self!r}")
        if self.kind == "send" and self.effect == "approve":
            raise ValueError(f"{self.policy}: messages do not wait for approval; an activity does")
        if isinstance(self.agents, str) or isinstance(self.approvers, str):
            raise ValueError(f"{self.policy}: agents and approvers are lists of texts")  # noqa: TRY004  # as for all else that makes no sense
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
        return (
            any(fnmatchcase(name, self.on) for name in names)
            and any(fnmatchcase(one, pattern) for one in whose for pattern in self.agents)
            and (not self.hours or _is_within(self.hours))
            and (not self.where or self._holds(attempt.arguments))
        )

    def _holds(self, arguments: Mapping[str, Any]) -> bool:
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
                self.policy, self.reason, tuple(self.approvers), self.timeout_s, self.on_timeout
            )
        return Decision("allow", self.reason, self.policy)


def _is_number(value: Any) -> bool:
    if isinstance(value, Decimal):
        return not value.is_nan()
    return isinstance(value, int | float) and value == value  # noqa: PLR0124  # not NaN


class Policies:
    """Rules in their order: a judge, for `Governing.set_judges`."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self.hits: dict[str, int] = {}
        """By policy: how often a rule of it has decided."""
        self.sees_sends = any(rule.kind == "send" for rule in self.rules)
        self.depends_on_time = any(rule.hours for rule in self.rules)

    def judge(self, attempt: Attempt) -> Decision:
        """What the first rule that fits says; an activity to which a person has agreed is not asked about again."""
        for rule in self.rules:
            if rule.fits(attempt):
                if rule.effect == "approve" and attempt.activity is not None and attempt.activity.is_approved:
                    return ALLOW
                self.hits[rule.policy] = self.hits.get(rule.policy, 0) + 1
                return rule.decide()
        return ALLOW


def _comparison(wanted: str) -> tuple[str, str] | None:
    for sign in ORDER:  # the longer ones first
        if wanted.startswith(sign):
            return sign, wanted[len(sign) :].strip()
    return None


def _is_within(hours: str) -> bool:
    local = time.localtime(wall_s())
    now = local.tm_hour * 60 + local.tm_min
    begin, end = (int(part[:2]) * 60 + int(part[3:]) for part in hours.split("-"))
    return begin <= now < end if begin <= end else now >= begin or now < end
