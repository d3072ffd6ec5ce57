"""What agents may do: decided before an activity begins and before a message is sent, and again while an activity runs.

    activity, send --> Governing --> containment --> each judge --> allow | deny: Denied | approve: somebody is asked
                           |
                           +--> on_governed: what was decided, and by which policy

A judge is a policy, or containment itself. A node without either has no `Governing`, and its agents pay one test of an
attribute for each activity and nothing for a message. Sends are seen of agents' own code: not those of tasks that a step has
started beside itself, which speak for nobody.
"""

from __future__ import annotations

import itertools
import logging
import re
from asyncio import TimerHandle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from observe.runtime.clock import wall_s
from observe.runtime.errors import ActionRefused, Denied
from observe.runtime.ref import set_guard

if TYPE_CHECKING:
    from observe.runtime.activity import Activity
    from observe.runtime.agent import Agent
    from observe.runtime.approvals import Approvals
    from observe.runtime.capping import Capping
    from observe.runtime.caps import Cap
    from observe.runtime.conformance import Machine
    from observe.runtime.conforming import Conforming
    from observe.runtime.containment import Containment
    from observe.runtime.fences import Level
    from observe.runtime.node import Node
    from observe.runtime.policies import Policies

logger = logging.getLogger("observe.runtime")

REVIEW_S: Final = 1.0
"""How often open activities are judged again while a judge depends on the time of day."""

APPROVAL_S: Final = 300.0
"""How long an approval is waited for unless its rule says otherwise."""

_APPROVAL: Final = re.compile(r"\((\d+)\)$")
"""At the end of what an approval is about: `tool:refund (12)`. Its records, asked and decided, belong together."""

_process = ""
_numbers: Final = itertools.count(1)
"""Of what was decided in this process."""

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


@dataclass(frozen=True, slots=True)
class Governed:
    """Something that was decided about an agent. For the record."""

    at: float
    """Unix time."""
    pid: int
    name: str | None
    class_name: str
    what: str
    """`activity`, `send`, `containment`, `violation`, `cap`, `approval`, `policies` and `reload` (of the node: pid 0); or of an agent that is monitored what it does: `begin`, `end`, `handled`."""
    on: str
    """The activity, the recipient, the level."""
    verdict: str
    """`allow`, `deny`, `approve`; empty where nothing was decided."""
    reason: str
    policy: str
    """Which policy has decided; of containment who has ordered it."""
    record: str = ""
    """The `command_id` of its records in the audit log."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Of a violation: `expected`, `actual`, `state` and `sequence`; of a cap: `limit`, `used`, `allowed`, `per` and `key`."""
    trace: str = ""
    span: str = ""
    """Where an agent of a worker process was in its trace, as that process knows; of others whoever records it looks itself."""


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


class Governing:
    """Of one node: asks the judges, and sees to it that what they say is kept. Belongs to the scheduler's thread."""

    def __init__(self, node: Node) -> None:
        from observe.runtime.containment import Containment

        self.node = node
        self.containment: Containment = Containment(self)
        self.approvals: Approvals = node._make_approvals(self)
        """What waits for a person."""
        self.approver: Approver | None = self.approvals
        """Who asks people. While there is nobody, what needs an approval is denied."""
        self.policies: Policies | None = None
        """Those of the node (`Node(policies=...)`), which are asked before the other judges."""
        self.capping: Capping | None = None
        """Counts what is spent, and is asked next."""
        self.conforming: Conforming | None = None
        """Follows what agents do, in which order; asked last."""
        self._judges: list[Judge] = []
        self._timer: TimerHandle | None = None
        self._sees_sends = False

    # -- Who judges

    @property
    def judges(self) -> tuple[Judge, ...]:
        """Policies, in the order in which they are asked; the first that does not simply allow decides."""
        return tuple(self._judges)

    def set_judges(self, judges: tuple[Judge, ...]) -> None:
        """Have others decide from here on, also about what has begun already: what they deny is cancelled."""
        self._judges = list(judges)
        self.update()
        self.review()

    def set_policies(
        self, policies: Policies | None, machines: Sequence[Machine] = (), caps: Sequence[Cap] = ()
    ) -> None:
        """Have these be the node's policies from here on, also for what has begun already."""
        self.policies = policies
        before = self.conforming
        if tuple(machines) != (before.machines if before is not None else ()):
            from observe.runtime.conforming import Conforming  # not where nobody has machines

            self.conforming = Conforming(self, machines) if machines else None
            if self.conforming is not None:
                self.conforming.begin(before)
            elif before is not None:
                before.end()
        counted = self.capping
        if tuple(caps) != (counted.caps if counted is not None else ()):
            from observe.runtime.capping import Capping  # likewise

            self.capping = Capping(self, caps) if caps else None
            if self.capping is not None:
                self.capping.begin(counted)
            elif counted is not None:
                counted.end()
        self.update()
        self.review()

    def update(self) -> None:
        """What judges or containment say has changed: look at messages or do not."""
        judges = self._asked()
        sees = self.containment.sees_sends or any(one.sees_sends for one in judges)
        if sees != self._sees_sends:
            self._sees_sends = sees
            set_guard(self, guard_send if sees else None)
        if any(one.depends_on_time for one in judges):
            if self._timer is None and not self.node.scheduler.closed:
                self._timer = self.node.loop.call_later(REVIEW_S, self._review_again)
        elif self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """The node has ended."""
        set_guard(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- Asking them

    def judge(self, attempt: Attempt) -> Decision:
        """What is to become of it. The first word against it counts; else the first policy that has allowed it by name."""
        decision = self.containment.judge(attempt)
        if decision.verdict != "allow":
            return decision
        for one in self._asked():
            said = one.judge(attempt)
            if said.verdict == "contain":
                said = self._contain(attempt, said)
            if said.verdict != "allow":
                return said
            if said.policy and not decision.policy:
                decision = said
        return decision

    def _asked(self) -> list[Judge]:
        first: list[Judge] = [] if self.policies is None else [self.policies]
        if self.capping is not None:
            first.append(self.capping)
        last = [] if self.conforming is None or not self.conforming.judges else [self.conforming]
        return [*first, *self._judges, *last]

    def _contain(self, attempt: Attempt, decision: Decision) -> Decision:
        """A policy wants the agent fenced in for this. What it has tried is then for its containment to decide."""
        from observe.runtime.containment import contain_at_least
        from observe.runtime.fences import RANK

        assert decision.level is not None
        by = f"policy {decision.policy}"
        reason = decision.reason or f"it tried {attempt.text}"
        contain_at_least(
            attempt.agent, decision.level, reason, by, tools=decision.tools, recipients=decision.recipients
        )
        if RANK[self.containment.level_of(attempt.agent)] < RANK[decision.level]:
            return deny(f"it could not be contained: {reason}", decision.policy)
        said = self.containment.judge(attempt)
        return Decision("allow", decision.reason, decision.policy) if said.verdict == "allow" else said

    def admit_now(self, activity: Activity) -> None:
        """An activity is about to begin, in code that cannot wait.

        Raises:
            Denied: it must not, or only after an approval.
        """
        attempt = Attempt(activity.agent, activity)
        decision = self.judge(attempt)
        if decision.verdict == "approve":
            why = f"it needs an approval, for which only `async with` and async functions can wait ({decision.policy})"
            decision = deny(why, decision.policy)
        self._settle(attempt, decision)

    async def admit(self, activity: Activity) -> None:
        """An activity is about to begin.

        Raises:
            Denied: it must not.
        """
        attempt = Attempt(activity.agent, activity)
        decision = self.judge(attempt)
        policy = decision.policy
        if decision.verdict == "approve" and activity.is_approved:
            decision = ALLOW  # the agent's own code has asked
        elif decision.verdict == "approve":
            if self.approver is None:
                decision = deny("it needs an approval, and nobody can be asked", decision.policy)
            else:
                decision = await self.approver.approve(attempt, decision)
                if decision.verdict == "allow":
                    activity.is_approved = True
                    now = self.judge(attempt)  # the wait may have been long
                    if now.verdict == "deny":
                        activity.is_approved = False
                        decision = now
        self._settle(attempt, decision, policy)

    def admit_send(self, agent: Agent, target: Agent, message: Any) -> None:
        """An agent is about to send something.

        Raises:
            Denied: it must not.
        """
        attempt = Attempt(agent, None, target, message)
        decision = self.judge(attempt)
        if decision.verdict == "approve":
            decision = deny("it needs an approval, for which messages do not wait", decision.policy)
        if decision.verdict == "deny":
            self._settle(attempt, decision)

    def _settle(self, attempt: Attempt, decision: Decision, policy: str = "") -> None:
        if decision.verdict == "deny":
            self._count_denied(policy or decision.policy)
        if decision.policy or decision.verdict != "allow":
            asked = {RULE: policy} if policy and policy != decision.policy else None
            self.tell(attempt.agent, attempt.kind, attempt.name, decision, asked)
        if decision.verdict == "deny":
            raise self._error(attempt, decision)

    def _count_denied(self, policy: str) -> None:
        if self.policies is not None and policy in self.policies.names:
            self.policies.denied[policy] += 1

    def _error(self, attempt: Attempt, decision: Decision) -> Denied:
        if decision.error is not None:
            return decision.error
        agent = attempt.agent
        return Denied(agent._o_text(), agent._o_pid, attempt.text, decision.reason, decision.policy)

    # -- Again, while it runs

    def review(self, agent: Agent | None = None) -> int:
        """Judge open activities again, of one agent or of all, and cancel what is denied now. Tells how many."""
        cancelled = 0
        for one in list(self.node.agents.values()) if agent is None else [agent]:
            for activity in list(one._o_activities or ()):
                attempt = Attempt(one, activity, is_open=True)
                decision = self.judge(attempt)
                if decision.verdict == "deny":
                    cancelled += self._revoke(attempt, decision)
        return cancelled

    def _review_again(self) -> None:
        self._timer = None
        self.review()
        self.update()

    def _revoke(self, attempt: Attempt, decision: Decision) -> bool:
        activity, agent = attempt.activity, attempt.agent
        assert activity is not None
        if agent is agent._o_scheduler.current:
            return False  # it runs: what it tries next is denied
        try:
            activity.cancel(decision.reason, self._error(attempt, decision))
        except ActionRefused:
            return False
        self._count_denied(decision.policy)
        self.tell(agent, "activity", activity.name, decision)
        return True

    # -- The record

    def tell(
        self, agent: Agent, what: str, on: str, decision: Decision, facts: Mapping[str, str] | None = None
    ) -> None:
        """Let instruments know what was decided."""
        self.report(agent, what, on, decision.verdict, decision.reason, decision.policy, facts)

    def report(
        self,
        agent: Agent | None,
        what: str,
        on: str,
        verdict: str,
        reason: str,
        policy: str,
        facts: Mapping[str, str] | None = None,
    ) -> None:
        """The same, in words; without an agent, of the node itself."""
        report(self.node, agent, what, on, verdict, reason, policy, facts)


def report(
    node: Node,
    agent: Agent | None,
    what: str,
    on: str,
    verdict: str,
    reason: str,
    policy: str,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Let instruments know; also of a node on which nothing is governed."""
    hooks = node.instruments.on_governed
    if hooks:
        event = Governed(
            at=wall_s(),
            pid=0 if agent is None else agent._o_pid,
            name=None if agent is None else agent._o_child.name,
            class_name="" if agent is None else type(agent).__name__,
            what=what,
            on=on,
            verdict=verdict,
            reason=reason,
            policy=policy,
            record=record_of(what, on),
            facts=facts or {},
        )
        for hook in hooks:
            hook(event)


def record_of(what: str, on: str) -> str:
    """The `command_id` of its records in the audit log."""
    asked = _APPROVAL.search(on) if what == "approval" else None
    return f"approval-{asked[1]}" if asked else f"governed-{_process}{next(_numbers)}"


def tell_apart(serial: int) -> None:
    """In a worker process: its records are called otherwise than those of the others."""
    global _process
    _process = f"w{serial}-"


def guard_send(target: Agent, message: Any) -> None:
    """Look at a message before it is sent; `observe.runtime.ref` calls it while anybody wants that."""
    scheduler = target._o_scheduler
    sender = scheduler.current
    if sender is None or sender._o_system:
        return
    governing = scheduler.node.governing
    if governing is not None and governing._sees_sends:
        governing.admit_send(sender, target, message)
