"""The control interface: what somebody outside may ask of an agent. The probe plugs in here."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from threading import get_ident
from typing import TYPE_CHECKING, Any

from observe.runtime import budget, standing
from observe.runtime.budget import Spending
from observe.runtime.calls import Call
from observe.runtime.children import Child
from observe.runtime.errors import NoSuchAgent, WrongThread
from observe.runtime.exits import KILLED, Crash, ExitReason
from observe.runtime.interrupt import INTERRUPT_S
from observe.runtime.plan import Plan
from observe.runtime.stacks import Stack, stack_of
from observe.runtime.supervisor import Supervisor

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.node import Node


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an action."""

    done: bool
    what: str
    """One line for people."""
    pid: int
    reason: str = ""
    """The exit reason as the runtime saw it; empty when the agent has not ended yet."""


@dataclass(frozen=True, slots=True)
class Relations:
    """Where an agent stands in the tree."""

    supervisor: Agent | None
    children: list[Child]
    """Of a supervisor, in the order of their start, at most as many as asked for."""
    children_total: int
    spec: dict[str, Any]
    """How its supervisor treats it: `restart`, `shutdown_s` ("infinity" for as long as it takes), `child`, and of a supervisor its flags."""


class Control:
    """Looks at agents and acts on them. On the scheduler's thread, except where a method says otherwise."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def find(self, agent: int | str) -> Agent:
        """The live agent of this pid or name.

        Raises:
            NoSuchAgent: there is none.
        """
        node = self._node
        found = node.registry.get(agent) if isinstance(agent, str) else node.agents.get(agent)
        if found is None:
            raise NoSuchAgent(agent)
        return found

    def kill(self, pid: int, reason: str = "") -> Outcome:
        """End an agent without asking it (OTP: `exit(Pid, kill)`). Its supervisor decides what follows.

        A step that waits is cancelled and has `KILL_GRACE_S` to unwind; then the agent is given up. From another
        thread than the scheduler's this is `interrupt`.

        Raises:
            NoSuchAgent: there is none.
        """
        if get_ident() != self._node.scheduler.thread_id:
            return self.interrupt(pid, reason)
        agent = self.find(pid)
        label = agent._o_text()
        self._node.lifecycle.exit(agent, killed(reason))
        ended = agent.ref.pid not in self._node.agents
        return Outcome(
            done=ended,
            what=f"{label} was killed" if ended else f"{label} is being killed: its step is unwinding",
            pid=pid,
            reason=str(agent._o_exit) if ended else "",
        )

    def interrupt(self, pid: int, reason: str = "", timeout_s: float = INTERRUPT_S) -> Outcome:
        """`kill` from any thread but the scheduler's, for when that one is held: a step that runs is ended between
        two of its bytecodes, and its `finally` and `with` blocks run.

        Returns when the agent has ended, or after `timeout_s` with what is in the way. What cannot be ended is a
        single call of C code that keeps to itself (`sum(range(10**10))`, a matrix product): the agent ends when that
        call returns. Calls that wait in the operating system (`time.sleep`, a socket, a lock) end at once
        where the scheduler runs in the main thread.

        Raises:
            NoSuchAgent: there is none.
            WrongThread: called from the scheduler's own thread, which is not held then; use `kill`.
        """
        scheduler = self._node.scheduler
        if get_ident() == scheduler.thread_id:
            raise WrongThread(
                "`interrupt` waits for the scheduler's thread and was called in it\n"
                "  wrong: node.control.interrupt(pid)   in the scheduler's thread\n"
                "  right: node.control.kill(pid)"
            )
        agent = self.find(pid)
        label = agent._o_text()
        obstacle = scheduler.interrupter.kill(agent, killed(reason), timeout_s)
        return Outcome(
            done=not obstacle,
            what=f"{label} was killed" if not obstacle else f"{label} is being killed: {obstacle}",
            pid=pid,
            reason="" if obstacle else str(agent._o_exit),
        )

    def mailbox(self, agent: Agent, limit: int) -> tuple[list[Any], int]:
        """The oldest `limit` messages that wait, and how many wait in all. Requests are shown as their messages."""
        if agent._o_away is not None:
            return agent._o_away.peek(limit)
        backlog = list(agent._o_backlog or ())
        backlog.reverse()
        new = agent._o_mailbox
        waiting = backlog + (list(new) if isinstance(new, list) else [])
        shown = [item.message if type(item) is Call else item for item in waiting[:limit]]
        return shown, len(waiting)

    def stack(self, agent: Agent) -> Stack:
        """Where the agent is: the chain of awaits of a waiting one, the live stack of a running one. Any thread."""
        return stack_of(agent)

    def relations(self, agent: Agent, limit: int = 100) -> Relations:
        """The agent's supervisor, and its children if it is one."""
        child = agent._o_child
        spec: dict[str, Any] = {
            "restart": child.spec.restart,
            "shutdown_s": child.spec.shutdown_s if child.spec.shutdown_s != inf else "infinity",
            "child": str(child.id),
        }
        if agent._o_away is not None:
            spec |= agent._o_away.facts()
        if child.spec.plan is not None:
            spec |= _plan(agent, child.spec.plan)
        if self._node.governing is not None:
            fenced = self._node.governing.containment.describe(agent)
            if fenced:
                spec["containment"] = fenced
        children: list[Child] = []
        total = 0
        if isinstance(agent, Supervisor):
            spec |= {
                "strategy": agent.strategy,
                "intensity": agent.intensity,
                "period_s": agent.period_s,
                "restarts_within": standing.restarts_within(agent),
                "auto_shutdown": agent.auto_shutdown,
            }
            total = len(agent._o_children)
            for one in agent._o_children.values():
                if len(children) >= limit:
                    break
                children.append(one)
        return Relations(child.supervisor, children, total, spec)

    def supervisors(self) -> list[tuple[int, str, int, float, int]]:
        """Of each supervisor: pid, strategy, intensity, period in seconds, restarts within the last period."""
        return [
            (agent._o_pid, agent.strategy, agent.intensity, agent.period_s, standing.restarts_within(agent))
            for agent in list(self._node.agents.values())
            if isinstance(agent, Supervisor)
        ]

    def spending(self, agent: Agent) -> Spending | None:
        """What the agent has spent since its start, or the tree below a supervisor with a budget; None when nothing was
        counted."""
        return agent._o_bonds.spending if agent._o_bonds is not None else None

    def last_crash(self, agent: Agent) -> Crash | None:
        """The newest crash in the agent's place: of a predecessor, as a rule."""
        return agent._o_child.last_crash


def _plan(agent: Agent, plan: Plan) -> dict[str, Any]:
    """What a child spec asks for beyond OTP's, as far as it does, and how it stands."""
    bonds, past = agent._o_bonds, agent._o_child.past
    shown: dict[str, Any] = {}
    if plan.checkpoint is not None:
        shown["checkpoint"] = str(plan.checkpoint)
    if plan.restore:
        shown["restore"] = True
    if plan.keeps_message:
        shown["in_hand"] = plan.in_hand if plan.ladder is None else "ladder"
    if bonds is not None and bonds.care is not None and plan.saves:
        shown["generation"] = bonds.care.generation
        if bonds.care.fault is not None:
            shown["checkpoint_fault"] = str(bonds.care.fault)
    if plan.ladder is not None:
        shown["ladder"] = str(plan.ladder)
        shown["failures"] = past.failures if past is not None else 0
    if past is not None and past.rung is not None:
        shown["rung"] = str(past.rung)
    if plan.budget is not None:
        shown["budget"] = budget.describe(plan.budget, bonds.spending if bonds is not None else None)
    return shown


def killed(reason: str) -> ExitReason:
    """The exit reason of a kill that somebody gave `reason` for."""
    return ExitReason("killed", reason) if reason else KILLED
