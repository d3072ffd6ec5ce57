"""Every error that the runtime raises, in one tree.

RuntimeFault
├── CallTimeout      no reply within the time; the request may still be handled
├── AgentExited      the agent ended before it replied; `.reason` says why
├── CallingSelf      an agent's own step awaits a call to the agent itself
├── NoSuchAgent      nobody has this pid or name
├── NoSuchTask       no asyncio task of the node's loop has this number
├── NameTaken        a live agent has this name
├── MailboxFull      a bounded mailbox has no room, and its policy is not to lose anything
├── MessageDropped   an operator took the message out of the mailbox before it was handled
├── ActivityCancelled  an operator has cancelled the activity that the step was in
├── ActionRefused    what an operator asked for cannot be done to this agent; the message says why
├── ReloadRefused    new code cannot take the old one's place; the message says why, and nothing has changed
├── InitFailed       the agent's `init` raised; the cause is chained
├── BadChildSpec     a child spec, strategy or supervisor option is not valid
├── NoSuchChild      a supervisor has no child of this id
├── NotStorable      a state, message or result holds something that cannot be written down
├── Unreadable       what a store holds cannot be read back here
├── StoreFault       the store refused: broken, locked, read-only, or none at all; `.store` names it
│   └── StoreFull    there is no room in it
├── NotSendable      a message, argument or reply cannot go to another process of the node
├── WorkerDied       the process in which an agent ran has ended; `.status` says how
├── NotInWorker      what was asked can only be done in the node's own process
├── Denied           a policy does not allow what an agent was about to do; `.policy` names it
│   ├── Contained    nor does the containment of the agent; `.level` says how far it is fenced in
│   └── ApprovalRefused  nor does the person who was asked, or nobody answered in time
├── PoliciesRefused  policies cannot be read or make no sense; those that held before hold on
├── BudgetExceeded   an agent, or the tree it belongs to, has used up what its spec allows
├── NodeDown         the node is not running (any more), or belongs to the parent of a forked process
├── PreemptionUnavailable  `preempt=True` cannot be had here; the message says why
└── WrongThread      a message was sent from another thread than the node's

Interrupted is no fault but an `asyncio.CancelledError`: what a step sees that is killed while it runs.
"""

from __future__ import annotations

import sys
from asyncio import CancelledError
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from observe.runtime.exits import ExitReason


class RuntimeFault(Exception):
    """Base of all errors of the runtime."""


class CallTimeout(RuntimeFault, TimeoutError):
    """No reply came within the time-out. The agent may still handle the request later; its reply is then dropped."""

    def __init__(self, target: str, timeout_s: float) -> None:
        super().__init__(
            f"{target} did not reply within {timeout_s:g} s; it may still be handling the request"
        )
        self.target = target
        self.timeout_s = timeout_s


class AgentExited(RuntimeFault):
    """The agent ended before it replied."""

    def __init__(self, target: str, reason: ExitReason) -> None:
        super().__init__(f"{target} exited before it replied: {reason}")
        self.target = target
        self.reason = reason


class CallingSelf(RuntimeFault):
    """An agent awaits a call to itself in its own step, and would do so until the time-out (OTP: calling_self)."""

    def __init__(self, target: str) -> None:
        super().__init__(
            f"{target} calls itself, and cannot answer before its own step is over\n"
            "  wrong: await self.ref.call(message)\n"
            "  right: await self.handle(message), or self.ref.cast(message)"
        )
        self.target = target


class NoSuchAgent(RuntimeFault, LookupError):
    """No live agent has this pid or name."""

    def __init__(self, target: object) -> None:
        kind = "pid" if isinstance(target, int) else "name"
        super().__init__(f"no live agent has the {kind} {target!r}")
        self.target = target


class NoSuchTask(RuntimeFault, LookupError):
    """No asyncio task of the node's loop has this number: it has ended, or never was."""

    def __init__(self, number: int) -> None:
        super().__init__(f"no task of the event loop has the number {number}; it may just have ended")
        self.number = number


class NameTaken(RuntimeFault):
    """A live agent is registered under this name already."""

    def __init__(self, name: str, pid: int) -> None:
        super().__init__(f"the name {name!r} belongs to agent {pid}; names are unique on a node")
        self.name = name
        self.pid = pid


class MailboxFull(RuntimeFault):
    """A bounded mailbox has no room for the message. `await ref.send(message)` waits for room where `cast` raises this."""

    def __init__(self, target: str, queued: int) -> None:
        super().__init__(f"the mailbox of {target} is full: {queued:,} messages wait in it")
        self.target = target
        self.queued = queued


class InitFailed(RuntimeFault):
    """An agent's `init` raised, so the agent was not started. The error it raised is the `__cause__`."""

    def __init__(self, target: str, reason: ExitReason) -> None:
        super().__init__(f"{target} did not start: {reason}")
        self.target = target
        self.reason = reason
        self.was_stopped = False
        """Its supervisor told it to end before it had started."""


class BadChildSpec(RuntimeFault, ValueError):
    """A child spec or an option of a supervisor is not valid; the message says which and what is allowed."""


class NoSuchChild(RuntimeFault, LookupError):
    """The supervisor has no child with this id."""

    def __init__(self, supervisor: str, child_id: object) -> None:
        super().__init__(f"{supervisor} has no child {child_id!r}")
        self.child_id = child_id


class NotStorable(RuntimeFault, TypeError):
    """A state, message or result cannot be written down; nothing was written, and what was stored before stays."""

    def __init__(self, what: str, where: str, why: str) -> None:
        super().__init__(f"{what} cannot be stored: {where + ': ' if where else ''}{why}")
        self.what = what
        self.where = where
        """Such as `self.orders[3].customer`; empty for the thing itself."""
        self.why = why


class Unreadable(RuntimeFault):
    """What a store holds cannot be read back: damaged, or of a class that is not storable here. It stays stored."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} cannot be read back: {why}")
        self.what = what
        self.why = why


class StoreFault(RuntimeFault):
    """A store did not do what it was asked. What it had acknowledged before is not touched."""

    def __init__(self, store: str, why: str) -> None:
        super().__init__(f"{store}: {why}")
        self.store = store
        self.why = why


class StoreFull(StoreFault):
    """There is no room: the disk is full, or the store has reached its `max_bytes`."""


class BudgetExceeded(RuntimeFault):
    """An agent or a tree of agents has reached a limit of its budget."""

    def __init__(self, owner: str, limit: str, used: float, allowed: float) -> None:
        super().__init__(f"{owner} has used up its budget: {limit} {used:g}, allowed {allowed:g}")
        self.owner = owner
        self.limit = limit
        """The field of `Budget`: `tool_calls`, `tokens`, `cost`, `wall_s`, …"""
        self.used = used
        self.allowed = allowed
        self.rung: Any = None
        """The rung of a ladder that the budget names, to be taken at once."""


class Denied(RuntimeFault):
    """An agent was about to do, or was doing, what a policy does not allow. It was not done, or was cancelled."""

    def __init__(self, agent: str, pid: int, attempt: str, why: str, policy: str) -> None:
        super().__init__(f"{agent} may not do this: {attempt}" + (f"; {why}" if why else ""))
        self.agent = agent
        self.pid = pid
        """Of the agent that tried it."""
        self.attempt = attempt
        """The activity, or whom the message was for."""
        self.why = why
        self.policy = policy
        """The name of the policy that has decided."""


class PoliciesRefused(RuntimeFault):
    """Policies that cannot be read, or make no sense. A node does not start with them; one that runs keeps those that it has."""

    def __init__(self, source: str, faults: Sequence[PolicyFault]) -> None:
        self.source = source
        """The file."""
        self.faults = tuple(faults)
        """What is wrong, in the order of the lines."""
        super().__init__("; ".join(fault.text_of(source) for fault in self.faults))


@dataclass(frozen=True, slots=True)
class PolicyFault:
    """One thing that is wrong with a file of policies."""

    text: str
    line: int = 0
    """From 1; 0 where it is about the whole."""
    rule: str = ""
    """The name of the policy that it is about."""

    def text_of(self, source: str) -> str:
        """For people: `shop.yaml:12: refunds: where.amount: no number`."""
        where = f"{source}:{self.line}" if self.line else source
        return f"{where}: {self.rule}: {self.text}" if self.rule else f"{where}: {self.text}"


class Contained(Denied):
    """The agent is fenced in (docs/containment.md). A step that this error ends is over; the agent is not: it keeps its state and its mailbox."""

    def __init__(self, agent: str, pid: int, attempt: str, level: str, why: str, by: str) -> None:
        super().__init__(agent, pid, attempt, f"it is {level}" + (f": {why}" if why else ""), by)
        self.level = level


class ApprovalRefused(Denied):
    """An activity that waited for a person was refused, or nobody has answered in time. It was not begun."""

    def __init__(
        self, agent: str, pid: int, attempt: str, why: str, by: str = "", *, expired: bool = False
    ) -> None:
        super().__init__(agent, pid, attempt, why, by)
        self.expired = expired
        """Nobody has answered."""


class NotSendable(RuntimeFault, TypeError):
    """A message, an argument or a reply cannot be sent to another process of the node. Nothing was sent."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} cannot be sent to another process: {why}")
        self.what = what
        self.why = why


class WorkerDied(RuntimeFault):
    """The operating-system process in which an agent ran has ended, and the agent with it.

    All agents that were in it have this one object as their reason's `error`.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        """The exit code, or minus the signal's number; None when it was never started."""


class NotInWorker(RuntimeFault):
    """Asked for in a worker process, and possible only in the node's own process."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(f"{what} cannot be had in a worker process; {instead}")


class MessageDropped(RuntimeFault):
    """An operator took the request out of the agent's mailbox. It was not handled."""

    def __init__(self, agent: str) -> None:
        super().__init__(f"an operator took the request out of the mailbox of {agent}; it was not handled")


class ActivityCancelled(RuntimeFault):
    """An operator has cancelled the activity that this step was in. The step may go on without its result."""

    def __init__(self, name: str, reason: str = "") -> None:
        super().__init__(
            f"the activity {name} was cancelled by an operator" + (f": {reason}" if reason else "")
        )
        self.name = name


class ActionRefused(RuntimeFault):
    """What an operator asked for cannot be done to this agent, or to it as it is now."""


class ReloadRefused(RuntimeFault):
    """New code cannot take the place of the old: everything is as it was."""


class NodeDown(RuntimeFault):
    """The node does not run: not started, stopped, or inherited through a fork."""


class PreemptionUnavailable(RuntimeFault):
    """The node was asked to preempt and cannot: greenlet is missing, or the place is not one where it works."""


class Interrupted(CancelledError):
    """Raised inside a step that runs and is killed, between two of its bytecodes.

    It is a cancellation, as that of a killed step that waits: `finally` and `with` blocks run, `except Exception` does
    not see it. Whoever catches it should let it go on.
    """

    trace_before: Any = None
    """The trace function of a debugger or a coverage tool. CPython drops it when an exception leaves a trace function,
    as this one did."""

    def restore_trace(self) -> None:
        """Give the debugger its trace function back."""
        before, self.trace_before = self.trace_before, None
        if before is not None and sys.gettrace() is None:
            sys.settrace(before)


class WrongThread(RuntimeFault):
    """Agents belong to their node's thread."""

    def __init__(self, text: str = "") -> None:
        super().__init__(
            text
            or "a message was sent from another thread than the node's\n"
            "  wrong: ref.cast(message)             in a worker thread\n"
            "  right: ref.cast_threadsafe(message)"
        )
