"""Containment: how far agents are fenced in, from `none` over `monitored`, `restricted`, `isolated` and `suspended` to `killed`.

    none        as ever
    monitored   all that it does is told, to the audit log
    restricted  only the activities and recipients that are listed
    isolated    no activities, nothing is sent; messages are held, the state is kept and can be read
    suspended   takes no further message; the step in hand goes on to its end
    killed      ended, and nobody comes back to its place

A fence belongs to the *place* in the tree, not to the pid: who is restarted into it is fenced in as well, until somebody lowers
the level or the place is given up. One with `subtree` holds for all below a supervisor, also for those that start later; what an
agent's own `supervised_map` runs is always fenced in with it. Of several fences the highest level counts, and of several lists all
must allow.

No level takes a message or a field of the state away: an agent that comes out goes on with both.

For an agent in a worker process all is decided here and kept there (`observe.runtime.containment_far`).
"""

from __future__ import annotations

import logging
from asyncio import Future
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from observe.runtime.agent import EXITED, STARTING, Agent
from observe.runtime.clock import now_ns
from observe.runtime.containment_far import order_above, send_fences
from observe.runtime.decisions import ALLOW, Attempt, Decision, deny
from observe.runtime.errors import ActionRefused, Contained
from observe.runtime.exits import ExitReason
from observe.runtime.fences import (
    ISOLATED,
    LEVELS,
    MONITORED,
    RANK,
    RESTRICTED,
    Change,
    Fence,
    Fenced,
    Level,
    Pending,
    Watcher,
)
from observe.runtime.holding import hold, release
from observe.runtime.instrument import Instrument
from observe.runtime.taps import tap, untap

if TYPE_CHECKING:
    from observe.runtime.activity import Activity
    from observe.runtime.children import Child
    from observe.runtime.governing import Governing
    from observe.runtime.supervisor import Supervisor

logger = logging.getLogger("observe.runtime")

CONFIRM_S: Final = 300.0
"""How long the second person has to confirm that a level is lowered. Longer, and the first may have forgotten why."""


class Containment(Instrument):
    """The fences of one node. Belongs to the scheduler's thread."""

    sees_sends = False

    def __init__(self, governing: Governing) -> None:
        self._governing = governing
        self._fences: dict[Child, Fence] = {}
        self._given: dict[Child, tuple[Fence, ...]] = {}
        """In a worker: those that the node's process has told of."""
        self._fenced: dict[int, Fenced] = {}
        self._asked: list[Future[int]] = []
        """What workers were asked by the order in hand."""
        self._is_plugged = False
        self._empty: dict[Child, tuple[Agent, ExitReason]] = {}
        """Places to which nobody comes back while they are contained, with who was in them last and how that ended."""
        self._pending: dict[Child, Pending] = {}

    # -- Looking

    def of(self, agent: Agent) -> Fenced | None:
        """How far the agent is fenced in; None when it is not."""
        return self._fenced.get(agent._o_pid)

    def level_of(self, agent: Agent) -> Level:
        """Its level."""
        fenced = self._fenced.get(agent._o_pid)
        return fenced.level if fenced is not None else "none"

    def levels(self) -> dict[int, Level]:
        """The level of each agent that is fenced in, by pid."""
        return {pid: fenced.level for pid, fenced in self._fenced.items()}

    def fence_of(self, agent: Agent) -> Fence | None:
        """What was ordered for its place itself."""
        return self._fences.get(agent._o_child)

    def describe(self, agent: Agent) -> str:
        """For people: `restricted by operator alice: pays too often (tools model:*; recipients none)`; empty for `none`."""
        fenced = self.of(agent)
        fences = fenced.fences if fenced is not None else tuple(filter(None, [self.fence_of(agent)]))
        parts = []
        for fence in fences:
            by = f" by {fence.by}" if fence.by else ""
            why = f": {fence.reason}" if fence.reason else ""
            lists = ""
            if fence.level == "restricted":
                tools, recipients = ", ".join(fence.tools) or "none", ", ".join(fence.recipients) or "none"
                lists = f" (tools {tools}; recipients {recipients})"
            more = ", its subtree" if fence.subtree else ""
            more += ", two people to lower it" if fence.two_person else ""
            parts.append(f"{fence.level}{by}{why}{lists}{more}")
        return "; ".join(parts)

    @property
    def empty(self) -> list[Child]:
        """Places to which nobody comes back until their containment is lowered."""
        return list(self._empty)

    def place(self, target: int | str) -> Child | None:
        """The empty place of whoever had this pid or name last."""
        for child, (agent, _) in self._empty.items():
            if target in (agent._o_pid, child.name):
                return child
        return None

    # -- Ordering

    def contain(
        self,
        agent: Agent,
        level: Level,
        *,
        subtree: bool = False,
        tools: tuple[str, ...] | None = None,
        recipients: tuple[str, ...] | None = None,
        reason: str = "",
        by: str = "",
        two_person: bool = False,
        who: str = "",
    ) -> Change:
        """Fence an agent in, or let it out, at once.

        Args:
            subtree: the agent is a supervisor, and all below it are meant, also those to come.
            tools, recipients: of `restricted`; what the class says (`restricted_tools`, `restricted_recipients`) if left out.
            two_person: to lower the level later takes two people.
            who: tells people apart, for that.

        Raises:
            ActionRefused: it cannot be done to this agent; the message says why.
        """
        cls = getattr(type(agent), "_o_stands_for", type(agent))
        fence = Fence(
            level,
            subtree,
            cls.restricted_tools if tools is None else tools,
            cls.restricted_recipients if recipients is None else recipients,
            reason,
            by,
            two_person,
        )
        if level not in RANK:
            raise ActionRefused(f"{level!r} is no level of containment; there are {', '.join(LEVELS)}")
        if agent._o_system and not subtree and level != "none":
            raise ActionRefused(
                f"{agent._o_text()} is a supervisor and does nothing by itself: contain all below it with its subtree, or an agent"
            )
        if subtree and not agent._o_system:
            raise ActionRefused(f"{agent._o_text()} is no supervisor: it has no subtree")
        if not agent._o_is_alive():
            raise ActionRefused(f"{agent._o_text()} is ending already")
        return self.order(agent._o_child, fence, who)

    def order(self, child: Child, fence: Fence, who: str = "") -> Change:
        """`contain` for a place, also an empty one."""
        standing = self._fences.get(child)
        before: Level = standing.level if standing is not None else "none"
        if standing is not None and standing.two_person and RANK[fence.level] < RANK[before]:
            if not self._is_confirmed(child, fence, who):
                return Change(False, before, before, 0)
            fence = replace(fence, reason=fence.reason or self._pending[child].fence.reason)
        self._pending.pop(child, None)
        if fence.level == "none":
            self._fences.pop(child, None)
        else:
            self._fences[child] = fence
        changed, cancelled = self._apply_below(child)
        asked, self._asked = tuple(self._asked), []
        self._fill()
        return Change(True, before, fence.level, changed, cancelled, asked)

    def take(self, child: Child, fences: tuple[Fence, ...]) -> int:
        """In a worker: the node's process says what holds for this place, and nothing else does from here on. Tells how many
        activities that has cancelled."""
        self._fences.pop(child, None)
        if fences:
            self._given[child] = fences
        else:
            self._given.pop(child, None)
        return self._apply_below(child)[1]

    def fences_for(self, agent: Agent) -> tuple[Fence, ...]:
        """What a worker is told in which this agent is about to start."""
        return self._holding(agent) if self._fences else ()

    def _apply_below(self, child: Child) -> tuple[int, int]:
        """Bring all whom the place concerns to their level. Tells how many moved, and how many activities were cancelled."""
        if (self._fences or self._given) and not self._is_plugged:
            self._is_plugged = True
            self._governing.node.instruments.add(self)
        changed = cancelled = 0
        for agent in list(self._concerned(child)):
            moved, cut = self._apply(agent)
            changed += moved
            cancelled += cut
        self._settle()
        return changed, cancelled

    def _is_confirmed(self, child: Child, fence: Fence, who: str) -> bool:
        pending = self._pending.get(child)
        if pending is not None and pending.until_ns > now_ns() and pending.fence.level == fence.level:
            if who and pending.who and who != pending.who:
                return True
            if pending.who == who:
                raise ActionRefused(
                    f"a second person has to confirm {fence.level} within {CONFIRM_S:g} s; you have asked for it already"
                )
        self._pending[child] = Pending(fence, who, now_ns() + int(CONFIRM_S * 1e9))
        return False

    def _concerned(self, child: Child) -> Iterator[Agent]:
        """Agents whose level the fence of this place can change: who is in it, all below, and all whom these let work."""
        roots = [child.agent] if child.agent is not None else []
        below = {id(one) for one in roots}
        for agent in self._governing.node.agents.values():  # in the order of their start: above before below
            above = _above(agent)
            if id(agent) in below or (above is not None and id(above) in below):
                below.add(id(agent))
                if not agent._o_system:
                    yield agent

    def _settle(self) -> None:
        """Ask for messages to be looked at, or not any more; be told of starts and ends, or not."""
        self.sees_sends = any(
            RANK[one.level] >= RESTRICTED and not one.is_far for one in self._fenced.values()
        )
        self._governing.update()
        if self._is_plugged and not (self._fences or self._given or self._fenced or self._empty):
            self._is_plugged = False
            self._governing.node.instruments.remove(self)

    # -- What holds for one agent

    def _holding(self, agent: Agent) -> tuple[Fence, ...]:
        """The fences that hold for it, the highest first."""
        found = []
        one: Agent | None = agent
        is_own = True
        while one is not None:
            fence = self._fences.get(one._o_child)
            if fence is not None and (is_own or fence.subtree):
                found.append(fence)
            if self._given and is_own:
                found += self._given.get(one._o_child, ())
            supervisor = one._o_child.supervisor
            caller = supervisor._o_caller if supervisor is not None else None
            is_own = caller is not None  # what it lets others do for it is its own doing
            one = caller or supervisor
        return tuple(sorted(found, key=lambda fence: -RANK[fence.level]))

    def _apply(self, agent: Agent) -> tuple[bool, int]:
        """Bring an agent to its level. Tells whether that is another one, and how many activities were cancelled."""
        if agent._o_status == EXITED:
            return False, 0
        fences = self._holding(agent)
        level: Level = fences[0].level if fences else "none"
        known = self._fenced.get(agent._o_pid)
        before: Level = known.level if known is not None else "none"
        if known is None:
            if not fences:
                return False, 0
            known = Fenced(level, fences, is_far=hasattr(agent, "_o_stands_for"))
            self._fenced[agent._o_pid] = known
        known.level, known.fences = level, fences
        if level == "none":
            del self._fenced[agent._o_pid]
        if level != before:
            by = fences[0] if fences else None
            self._governing.report(
                agent,
                "containment",
                level,
                "",
                by.reason if by else "",
                (by.by if by else "") or f"from {before}",
            )
            agent._o_scheduler.mark_dirty(agent)
        if known.is_far:
            cancelled = 0
            if (
                agent._o_away is not None and level != "killed"
            ):  # else it starts this very moment, and is told then
                self._asked.append(send_fences(agent, fences))
        else:
            self._watch(agent, known, RANK[level] >= MONITORED)
            self.sees_sends = self.sees_sends or RANK[level] >= RESTRICTED
            self._hold(agent, known, before, level)
            cancelled = self._governing.review(agent) if RANK[level] >= RESTRICTED else 0
        if level == "killed":
            self._kill(agent, known)
        return level != before, cancelled

    def _hold(self, agent: Agent, known: Fenced, before: Level, level: Level) -> None:
        bonds = agent._o_bonds
        if RANK[level] >= ISOLATED and level != "killed":
            if RANK[before] < ISOLATED:
                known.was_held = bonds is not None and bonds.is_held
            if agent._o_status == STARTING:
                agent._o_scheduler.post(self._hold_later, agent)
            hold(agent)
        elif RANK[before] >= ISOLATED and level != "killed" and not known.was_held:
            release(agent)

    def _hold_later(self, agent: Agent) -> None:
        """It has just started, and is to stay between two messages."""
        fenced = self.of(agent)
        if fenced is not None and RANK[fenced.level] >= ISOLATED and agent._o_is_alive():
            hold(agent)

    def _kill(self, agent: Agent, known: Fenced) -> None:
        reason = ExitReason("killed", f"contained: {known.fences[0].reason}".rstrip(": "))
        # Through the queue: whoever orders it may be in the agent's own step, or in its start.
        agent._o_scheduler.post(self._governing.node.lifecycle.exit, agent, reason)

    def _watch(self, agent: Agent, known: Fenced, is_watched: bool) -> None:
        if is_watched and known.watcher is None and agent._o_is_alive():
            known.watcher = Watcher(self._governing)
            tap(agent, known.watcher)
        elif not is_watched and known.watcher is not None:
            untap(agent, known.watcher)
            known.watcher = None

    # -- Judging

    def judge(self, attempt: Attempt) -> Decision:
        """What its containment says to an attempt."""
        agent = attempt.agent
        fenced = self._fenced.get(agent._o_pid)
        if fenced is None or RANK[fenced.level] < RESTRICTED:
            return ALLOW
        if fenced.level == "suspended":  # the step in hand goes on to its end
            return ALLOW
        for fence in fenced.fences:
            if fence.level == "restricted":
                allowed = fence.tools if attempt.activity is not None else fence.recipients
                if _is_listed(attempt, allowed):
                    continue
            elif RANK[fence.level] < RESTRICTED or fence.level == "suspended":
                continue
            by = fence.by or "containment"
            why = Contained(agent._o_text(), agent._o_pid, attempt.text, fence.level, fence.reason, by)
            return deny(f"{fence.level}" + (f": {fence.reason}" if fence.reason else ""), by, why)
        return ALLOW

    # -- Starts and ends

    def on_spawn(self, agent: Agent) -> None:
        """It may have started in a place that is fenced in."""
        if (self._fences or self._given) and not agent._o_system:
            self._apply(agent)
            if agent._o_pid in self._fenced:
                self._settle()

    def on_exit(self, agent: Agent, reason: ExitReason) -> None:
        """Its place may be given up with it."""
        self._fenced.pop(agent._o_pid, None)
        child = agent._o_child
        if child in self._fences or child in self._given or not self._fences:
            agent._o_scheduler.post(self._prune, child)

    def on_activity_start(self, agent: Agent, activity: Activity) -> None:
        """Of those that are monitored everything is told."""
        if agent._o_pid in self._fenced:
            self._governing.report(agent, "begin", activity.name, "", "", "")

    def on_activity_end(self, agent: Agent, activity: Activity, error: BaseException | None) -> None:
        """As above."""
        if agent._o_pid in self._fenced:
            why = "" if error is None else f"{type(error).__name__}: {error}"[:200]
            self._governing.report(agent, "end", activity.name, "", why, "")

    def _prune(self, child: Child) -> None:
        """Forget places that do not exist any more."""
        supervisor = child.supervisor
        if (
            supervisor is None
            or supervisor._o_children.get(child.id) is not child
            or supervisor._o_status == EXITED
        ):
            self._fences.pop(child, None)
            self._given.pop(child, None)
            self._empty.pop(child, None)
            self._pending.pop(child, None)
        self._settle()

    # -- Empty places

    def keeps_empty(self, child: Child, old: Agent, reason: ExitReason) -> bool:
        """A supervisor asks whether nobody is to come back to this place for now.

        So it is at `killed`; and where an agent could not start because its containment has denied what its `init` tried, which
        would go on for ever, and take its siblings with it.
        """
        if not self._fences:
            return False
        fences = self._holding(old)
        level = fences[0].level if fences else "none"
        error = reason.error
        while error is not None and not isinstance(error, Contained):
            error = error.__cause__
        if level != "killed" and (error is None or RANK[level] < RESTRICTED):
            return False
        self._empty[child] = (old, reason)
        logger.warning("nobody comes back in the place of %s while it is %s", old._o_text(), level)
        return True

    def _fill(self) -> None:
        """Let those come back whose places are not kept empty any more."""
        for child, (old, reason) in list(self._empty.items()):
            fences = self._holding(old)
            level = fences[0].level if fences else "none"
            if level == "killed" or (reason.kind != "killed" and RANK[level] >= RESTRICTED):
                continue
            del self._empty[child]
            supervisor: Supervisor | None = child.supervisor
            if supervisor is not None and child.agent is None and supervisor._o_exit is None:
                supervisor._o_bring_back(child, old, reason, 0)


def contain_at_least(
    owner: Agent,
    level: Level,
    reason: str,
    by: str,
    tools: tuple[str, ...] | None = None,
    recipients: tuple[str, ...] | None = None,
) -> Change | None:
    """What a budget, a finding or a policy orders: all below a supervisor, and never a lower level than stands. Returns None where
    nothing had to be done or could be."""
    containment = owner._o_node.govern().containment
    standing = containment.fence_of(owner)
    if standing is not None and RANK[standing.level] >= RANK[level]:
        return None
    try:
        change = containment.contain(
            owner, level, subtree=owner._o_system, tools=tools, recipients=recipients, reason=reason, by=by
        )
    except ActionRefused as refusal:
        logger.error("%s could not be contained: %s", owner._o_text(), refusal)
        return None
    if owner._o_node.is_worker:
        order_above(owner, level, reason, by, tools, recipients)
    return change


def spare(agent: Agent, error: Contained) -> None:
    """A step of the agent has ended by what its containment denies: it goes on, with its state, at its next message."""
    care = agent._o_bonds.care if agent._o_bonds is not None else None
    if care is not None:
        message, care.message, care.has_message = care.message, None, False
        if care.plan.keeps_message:
            agent._o_node.parked.park(agent._o_child, message, str(error))
    logger.warning("a step of %s has ended: %s", agent._o_text(), error)


def _above(agent: Agent) -> Agent | None:
    supervisor = agent._o_child.supervisor
    return supervisor if supervisor is None else supervisor._o_caller or supervisor


def _is_listed(attempt: Attempt, patterns: tuple[str, ...]) -> bool:
    names = [
        attempt.name.removeprefix("approval:")
    ]  # waiting for leave to do what is listed is no more than that
    if attempt.target is not None:
        names.append(type(attempt.target).__name__)
        if attempt.target is attempt.agent:
            return True
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
