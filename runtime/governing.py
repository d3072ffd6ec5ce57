"""What agents may do: decided before an activity begins and before a message is sent, and again while an activity runs.

    activity, send --> Governing --> containment --> each judge --> allow | deny: Denied | approve: somebody is asked
                           |
                           +--> on_governed: what was decided, and by which policy

A judge is a policy, or containment itself. A node without either has no `Governing`, and its agents pay one test of an
attribute for each activity and nothing for a message. Sends are seen of agents' own code: not those of tasks that a step has
started beside itself, which speak for nobody.
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from observe.runtime.decisions import ALLOW, RULE, Approver, Attempt, Decision, Judge, deny
from observe.runtime.errors import ActionRefused, Denied
from observe.runtime.governed import report
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
    from observe.runtime.node import Node
    from observe.runtime.policies import Policies


REVIEW_S: Final = 1.0
"""How often open activities are judged again while a judge depends on the time of day."""


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


def guard_send(target: Agent, message: Any) -> None:
    """Look at a message before it is sent; `observe.runtime.ref` calls it while anybody wants that."""
    scheduler = target._o_scheduler
    sender = scheduler.current
    if sender is None or sender._o_system:
        return
    governing = scheduler.node.governing
    if governing is not None and governing._sees_sends:
        governing.admit_send(sender, target, message)
