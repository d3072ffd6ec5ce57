"""Approvals: activities that wait until a person has agreed.

    async with self.activity("tool:refund", approval=Approval("1,200 to ann"), order=17): ...

    step --> Approvals --> waits, as the activity `approval:tool:refund`      (nothing else of the agent waits for it but its mailbox)
               ^  |
               |  +--> on_governed: asked, escalated, granted, refused, expired
               +------ decide(): an operator, whose name comes from the transport's key

What waits is kept in here, in the node, and no console has to stay for it. It goes with its agent: who is killed meanwhile, or
whose node dies, has not done anything yet, and asks again when it comes back to it. The budget's clock of the step goes on.

Of agents in worker processes the asking half runs there (`observe.runtime.workers.far_approvals`), the other one here.
"""

from __future__ import annotations

import logging
from asyncio import Future, TimerHandle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from observe.runtime.approvals_decided import Decided, Outcome, Past, plain
from observe.runtime.clock import now_ns, wall_s
from observe.runtime.decisions import ALLOW, APPROVAL_S, RULE, Attempt, Decision, deny
from observe.runtime.errors import ActionRefused, ApprovalRefused

if TYPE_CHECKING:
    from observe.runtime.activity import Activity
    from observe.runtime.agent import Agent
    from observe.runtime.governing import Governing

logger = logging.getLogger("observe.runtime")

MOST_WAITING: Final = 10_000
"""Further ones are refused: nobody reads so many, and each holds an agent."""

PREFIX: Final = "approval:"
"""Before the activity's name, while it waits: so it is seen in tables, findings and spans."""


@dataclass(frozen=True, slots=True)
class Approval:
    """What a person is asked, and for how long."""

    ask: str = ""
    """One sentence for whoever decides; what the activity was given is shown beside it."""
    timeout_s: float = APPROVAL_S
    """After that it is as if somebody had said `on_timeout`."""
    on_timeout: Literal["deny", "allow"] = "deny"
    approvers: tuple[str, ...] = ()
    """Roles (`admin`) or names of keys that may grant it; empty for any operator. Refusing takes no more than an operator."""
    two_person: bool = False
    """It takes two people with different keys."""
    escalate: Sequence[tuple[float, str]] = ()
    """Who is told when nobody has answered after so many seconds: `((60, "shift lead"), (240, "head of payments"))`."""

    def __post_init__(self) -> None:
        if not self.timeout_s > 0 or self.on_timeout not in ("deny", "allow"):
            raise ValueError(
                f"an approval waits for a time above 0, and ends with 'deny' or 'allow': {self.timeout_s!r}, {self.on_timeout!r}"
            )
        if isinstance(self.approvers, str):
            raise TypeError(
                f"approvers are several texts\n  wrong: approvers={self.approvers!r}\n  right: approvers=({self.approvers!r},)"
            )


@dataclass(slots=True, eq=False)
class Waiting:
    """One activity that waits for a person."""

    number: int
    """Of this node's start; never used twice."""
    agent: Agent
    name: str
    """Of the activity: `tool:refund`."""
    said: Mapping[str, Any]
    """What the activity was given."""
    asked: Approval
    policy: str
    """Which policy asks for it; empty when the agent's code does."""
    answer: Future[Decision]
    since: float = field(default_factory=wall_s)
    """Unix time."""
    since_ns: int = field(default_factory=now_ns)
    granted_by: dict[str, str] = field(default_factory=dict)
    """Who has agreed so far: key fingerprint and name."""
    told: list[str] = field(default_factory=list)
    """To whom it was escalated, the newest last."""
    timers: list[TimerHandle] = field(default_factory=list)

    @property
    def waited_s(self) -> float:
        """For how long."""
        return (now_ns() - self.since_ns) / 1e9

    @property
    def left_s(self) -> float:
        """Seconds until it ends by itself."""
        return max(0.0, self.asked.timeout_s - self.waited_s)

    @property
    def needed(self) -> int:
        """How many more people must agree."""
        return (2 if self.asked.two_person else 1) - len(self.granted_by)


@dataclass(frozen=True, slots=True)
class Person:
    """Who decides, as the transport knows them."""

    key: str
    """Fingerprint of the key."""
    name: str
    role: str

    def __str__(self) -> str:
        return f"{self.role} {self.name}"


class Approvals:
    """Of one node. Belongs to the scheduler's thread. It is the node's `Approver`."""

    def __init__(self, governing: Governing) -> None:
        self._governing = governing
        self._waiting: dict[int, Waiting] = {}
        self._last = 0
        self.past = Past()
        """What was decided lately."""
        self.refused_full = 0
        """Refused because too many waited. Above 0, agents ask for more than people can answer."""

    @property
    def waiting(self) -> list[Waiting]:
        """All that wait, the longest first."""
        return list(self._waiting.values())

    def statistics(self) -> dict[str, int]:
        """How many wait, how many there were, and how many were refused because too many waited."""
        return {"waiting": len(self._waiting), "asked": self._last, "refused_full": self.refused_full}

    # -- the agent's side

    async def approve(self, attempt: Attempt, decision: Decision) -> Decision:
        """A policy wants somebody asked before an activity begins."""
        activity = attempt.activity
        assert activity is not None
        asked = Approval(
            decision.reason,
            decision.timeout_s,
            decision.on_timeout,
            decision.approvers,
            decision.two_person,
            decision.escalate,
        )
        return await self._ask(activity, asked, decision.policy)

    async def ask(self, activity: Activity, asked: Approval | str) -> None:
        """The agent's own code wants somebody asked.

        Raises:
            ApprovalRefused: somebody said no, or nobody said yes in time.
        """
        asked = Approval(asked) if isinstance(asked, str) else asked
        decision = await self._ask(activity, asked, "")
        if decision.verdict == "deny":
            raise decision.error or refusal(activity.agent, activity.name, decision.reason)

    async def _ask(self, activity: Activity, asked: Approval, policy: str) -> Decision:
        try:
            number = await self._open(activity, asked, policy)
        except ApprovalRefused as refused:
            return deny(refused.why, policy, refused)
        waits = activity.waiting_for_approval(number)
        error: BaseException | None = None
        waits._begin()
        try:
            return await self._answer(number, activity, policy)
        except BaseException as raised:
            fault = waits._translate(raised)
            error = fault or raised
            self._give_up(number, activity, f"it was given up: {error or type(raised).__name__}")
            if fault is not None:
                raise fault from raised
            raise
        finally:
            waits._end(error)

    async def _open(self, activity: Activity, asked: Approval, policy: str) -> int:
        return self.open(activity.agent, activity.name, activity.said, asked, policy).number

    async def _answer(self, number: int, _activity: Activity, _policy: str) -> Decision:
        return await self.answered(number)

    def _give_up(self, number: int, _activity: Activity, why: str) -> None:
        self.give_up(number, why)

    # -- what waits

    def open(self, agent: Agent, name: str, said: Mapping[str, Any], asked: Approval, policy: str) -> Waiting:
        """Put an activity of an agent before people. It waits until it is answered, or given up.

        Raises:
            ApprovalRefused: too many wait.
        """
        if len(self._waiting) >= MOST_WAITING:
            self.refused_full += 1
            raise refusal(agent, name, f"{MOST_WAITING:,} wait for a person already")
        self._last += 1
        loop = agent._o_node.loop
        one = Waiting(self._last, agent, name, said, asked, policy, loop.create_future())
        one.timers.append(loop.call_later(asked.timeout_s, self._expire, one))
        for after_s, who in asked.escalate:
            if after_s < asked.timeout_s:
                one.timers.append(loop.call_later(after_s, self._escalate, one, who))
        self._waiting[one.number] = one
        self._tell(one, "approve", asked.ask, policy)
        return one

    async def answered(self, number: int) -> Decision:
        """Wait for the answer, once. Then it does not wait any more."""
        one = self._waiting.get(number)
        if one is None:
            return deny("it was given up", "")
        decision = await one.answer
        self._close(one)
        return decision

    def give_up(self, number: int, why: str) -> None:
        """Who has asked does not wait any more."""
        one = self._waiting.get(number)
        if one is None:
            return
        if not one.answer.done():
            one.answer.set_result(deny(why, ""))
        self._tell(one, "deny", why, "")
        self._keep(one, "given up", False, "", why)
        self._close(one)

    def gone(self, agent: Agent, why: str) -> None:
        """The agent has ended: give up what still waits of it."""
        for one in [one for one in self._waiting.values() if one.agent is agent]:
            self.give_up(one.number, why)

    def _close(self, one: Waiting) -> None:
        self._waiting.pop(one.number, None)
        for timer in one.timers:
            timer.cancel()

    def _expire(self, one: Waiting) -> None:
        if one.answer.done():
            return
        why = f"nobody has answered within {one.asked.timeout_s:g} s"
        verdict = one.asked.on_timeout
        self._tell(one, verdict, why, "time-out")
        self._keep(one, "expired", verdict == "allow", "", why)
        refused = refusal(one.agent, one.name, why, expired=True)
        one.answer.set_result(ALLOW if verdict == "allow" else deny(why, one.policy, refused))

    def _escalate(self, one: Waiting, who: str) -> None:
        if one.answer.done():
            return
        one.told.append(who)
        text = f"nobody has answered for {one.waited_s:.0f} s: {who} is to be told"
        logger.warning("%s of %s waits for approval; %s", one.name, one.agent._o_text(), text)
        self._tell(one, "escalate", text, one.policy)

    # -- the operator's side

    def decide(self, agent: Agent, number: int, person: Person, granted: bool, reason: str) -> str:
        """Somebody has decided. Returns what follows, for people.

        Args:
            number: which of the agent's; 0 for the only one.

        Raises:
            ActionRefused: nothing waits there, or this person may not.
        """
        one = self._find(agent, number)
        where = f"{one.name} of {agent._o_text()}"
        if not granted:
            self._tell(one, "deny", reason, str(person), person)
            self._keep(one, "refused", False, str(person), reason)
            why = f"{person} has refused it" + (f": {reason}" if reason else "")
            one.answer.set_result(deny(why, str(person), refusal(agent, one.name, why, str(person))))
            return f"{where} was refused"
        asked = one.asked
        if asked.approvers and not _may(person, asked.approvers):
            raise ActionRefused(
                f"{where} may be granted by {' or '.join(asked.approvers)}, and you are {person}"
            )
        if person.key in one.granted_by:
            raise ActionRefused(
                f"you have granted {where} already; it takes a second person, with another key"
            )
        one.granted_by[person.key] = str(person)
        if one.needed > 0:
            self._tell(
                one, "approve", f"granted by {person}, and waits for a second person", str(person), person
            )
            return f"{where} waits for a second person, with another key"
        names = " and ".join(one.granted_by.values())
        self._tell(one, "allow", reason, names, person)
        self._keep(one, "granted", True, names, reason)
        one.answer.set_result(Decision("allow", reason, names))
        return f"{where} was granted"

    def _find(self, agent: Agent, number: int) -> Waiting:
        of_agent = [one for one in self._waiting.values() if one.agent is agent and not one.answer.done()]
        found = [one for one in of_agent if number in (0, one.number)]
        if not found:
            others = ", ".join(f"{one.number} ({one.name})" for one in of_agent)
            more = f"; it has {others}" if others else ""
            which = f"approval {number}" if number else "any approval"
            raise ActionRefused(f"{agent._o_text()} does not wait for {which}{more}")
        if len(found) > 1:
            several = ", ".join(f"{one.number} ({one.name})" for one in found)
            raise ActionRefused(f"{agent._o_text()} waits for several approvals: say which of {several}")
        return found[0]

    def _tell(
        self, one: Waiting, verdict: str, reason: str, policy: str, person: Person | None = None
    ) -> None:
        facts = {} if policy == one.policy else {RULE: one.policy}
        if person is not None:
            facts |= {"by_key": person.key, "by_name": person.name, "by_role": person.role}
        on = f"{one.name} ({one.number})"
        self._governing.report(one.agent, "approval", on, verdict, reason, policy, facts)

    def _keep(self, one: Waiting, outcome: Outcome, is_allowed: bool, by: str, reason: str) -> None:
        agent = one.agent
        if self._governing.conforming is not None:
            self._governing.conforming.decided(agent, one.name, one.said, outcome == "granted")
        self.past.add(
            Decided(
                one.number, agent._o_pid, agent._o_child.name, type(agent).__name__, one.name, plain(one.said),
                one.asked.ask, one.policy, outcome, is_allowed, by, reason, one.waited_s, wall_s(),
            )
        )  # fmt: skip


def refusal(agent: Agent, activity: str, why: str, by: str = "", *, expired: bool = False) -> ApprovalRefused:
    """What is raised in the agent when an activity of this name was not approved."""
    return ApprovalRefused(agent._o_text(), agent._o_pid, activity, why, by, expired=expired)


def _may(person: Person, approvers: Sequence[str]) -> bool:
    roles = {person.role} | ({"operator"} if person.role == "admin" else set())
    return person.name in approvers or bool(roles & set(approvers))
