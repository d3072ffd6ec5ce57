"""The agent: private state, a mailbox, one message at a time."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from observe.runtime import bonds, budget
from observe.runtime.activity import Activity
from observe.runtime.bonds import Bonds, Monitor, Timer
from observe.runtime.care import Care, care_of
from observe.runtime.exits import NORMAL, ExitReason
from observe.runtime.mailbox import Overflow, SpecialMailbox, bounded_first
from observe.runtime.ref import Ref, carried_now

if TYPE_CHECKING:
    from observe.runtime.approvals import Approval
    from observe.runtime.away import Away
    from observe.runtime.children import Child
    from observe.runtime.ladder import Failure
    from observe.runtime.node import Node
    from observe.runtime.plan import Plan, Policy
    from observe.runtime.scheduler import Scheduler
    from observe.runtime.step import Step

# What an agent is doing. The numbers are those of the feed (docs/protocol.md, section 2).
STARTING = 0
IDLE = 1
RUNNABLE = 2
RUNNING = 3
WAITING = 4
SUSPENDED = 5
EXITED = 6
FROZEN = 7
"""Only told, never held: to the scheduler a frozen agent is runnable."""

STATUS_NAMES = ("starting", "idle", "runnable", "running", "waiting", "suspended", "exited", "frozen")


class Agent:
    """Subclass it, keep state in ordinary attributes, and override `handle`; `init` and `terminate` if needed.

    An idle agent is this one object: no task, no queue, no coroutine. The runtime's own fields are slots whose names
    begin with ``_o_``, so that `vars(agent)` is the user's state and nothing else.

    Agents are made by `Node.spawn` or by a supervisor, never by calling the class.
    """

    __slots__ = (
        "_o_activities",
        "_o_backlog",
        "_o_bonds",
        "_o_busy_ns",
        "_o_child",
        "_o_dirty",
        "_o_exit",
        "_o_handled",
        "_o_mailbox",
        "_o_mailbox_max",
        "_o_pid",
        "_o_scheduler",
        "_o_since_ns",
        "_o_status",
        "_o_step",
    )

    _o_async: ClassVar[bool] = False
    _o_system: ClassVar[bool] = False
    _o_has_terminate: ClassVar[bool] = False
    _o_audits: ClassVar[bool] = False
    """Some class of this process has audited fields."""

    _o_away: Away | None = None
    """How to reach the agent of another process that this object stands for; None for an agent that is here."""

    mailbox_limit: ClassVar[int | None] = None
    """How many messages may wait, or None for as many as come. Declared by the class."""

    overflow: ClassVar[Overflow] = "wait"
    """What happens to a message for which there is no room: `wait` (the sender waits in `Ref.send`; `cast` raises),
    `reject` (MailboxFull), `drop_oldest` or `drop_newest` (a dead letter, counted)."""

    checkpoints: ClassVar[Policy | None] = None
    """When the state is saved without being asked, unless the child spec says otherwise: `each_message`, `each_step`
    or `every(seconds)`."""

    restricted_tools: ClassVar[tuple[str, ...]] = ()
    """Patterns of activities (`tool:search`, `model:*`) that may begin while an agent of this class is `restricted`, unless whoever
    restricts it says otherwise (docs/containment.md)."""

    restricted_recipients: ClassVar[tuple[str, ...]] = ()
    """The same for messages: patterns of names or classes of agents."""

    audited: ClassVar[tuple[str, ...]] = ()
    """Attributes whose changes are written to the node's audit log, where it has a probe (docs/audit.md)."""

    risk: ClassVar[float] = 0.0
    """From 0 to 1: the risk of its agents is at least that, whatever the runtime has seen of them (docs/risk.md)."""

    goal: str = ""
    """What the agent is at, as one of a few words: `ask`, `refund`. It may set it at any time. A node with a probe compares what it
    does with what its class does at the same goal (docs/findings.md, "Drift")."""

    unsaved: ClassVar[tuple[str, ...]] = ()
    """Attributes that checkpoints leave out: connections, caches. `restored` makes them anew."""

    preemptible: ClassVar[bool] = True
    """Whether steps of this class may be frozen on a node that preempts. False for agents that share what must not be
    seen half-done; `no_preempt()` says it of a few lines."""

    _o_mailbox: Any
    """Messages that came since the last slice began, oldest first; None for none. `DeadMailbox` once the agent has
    exited, so that senders need no test of their own."""

    _o_backlog: list[Any] | None
    """Messages of the slice in hand that are still to be handled, oldest last."""

    _o_activities: list[Activity] | None
    _o_bonds: Bonds | None
    """Links, monitors, timers, groups; None for none."""
    _o_child: Child
    _o_dirty: bool
    """It stands in the list of those that the next telemetry tick looks at."""
    _o_exit: ExitReason | None
    """Set when it is ending or has ended."""
    _o_handled: int
    _o_mailbox_max: int
    """The most messages that waited, seen when slices begin and when telemetry looks."""
    _o_pid: int
    _o_scheduler: Scheduler
    _o_busy_ns: int
    """For how long it held the scheduler, at least 1,000 a step: its reductions, in nanoseconds."""
    _o_since_ns: int
    """When it took its present status, in monotonic nanoseconds."""
    _o_status: int
    _o_step: Step | None
    """The step that waits for something outside, if one does."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        handle = cls.handle
        if inspect.isasyncgenfunction(handle) or inspect.isgeneratorfunction(handle):
            raise TypeError(
                f"{cls.__name__}.handle must not use yield: it handles one message and returns the reply\n"
                "  wrong: yield answer\n"
                "  right: return answer"
            )
        if isinstance(cls.audited, str):
            raise TypeError(
                f"{cls.__name__}.audited is several names\n  wrong: audited = {cls.audited!r}\n  right: audited = ({cls.audited!r},)"
            )
        if cls.audited:
            Agent._o_audits = True
        cls._o_async = inspect.iscoroutinefunction(handle)
        if cls.mailbox_limit is not None:
            if cls.mailbox_limit < 1 or cls.overflow not in get_args(Overflow):
                raise TypeError(
                    f"{cls.__name__}: mailbox_limit must be 1 or more, and overflow one of "
                    f"{', '.join(get_args(Overflow))}"
                )
            cls._o_first = bounded_first  # type: ignore[assignment]  # a class with a limit has its own
        cls._o_has_terminate = cls.terminate is not Agent.terminate

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """Set the first state. May be `async`. Whatever it raises, the agent is then not started.

        The arguments are those of the child spec. A restart calls it again, on a new object.
        """

    def restored(self, *args: Any, **kwargs: Any) -> Any:
        """Run instead of `init`, with the same arguments, when the state has been put back from a checkpoint. May be
        `async`. The place to make anew what is `unsaved`."""

    def on_retry(self, failure: Failure) -> Any:
        """Change the approach: the message in `failure` has failed, and is about to be handled again. May be `async`.

        Runs on the rung `ChangeApproach` of the child spec's ladder, after `init` or `restored`. What it raises is a
        further failure.
        """

    def handle(self, message: Any) -> Any:
        """Handle one message. May be `async`. What it returns is the reply when the message came by `call`."""
        raise NotImplementedError(f"{type(self).__name__} does not override handle()")

    def terminate(self, reason: ExitReason) -> Any:
        """Clean up. May be `async`. Runs at every end but `killed`, for at most the child spec's `shutdown_s`."""

    @property
    def ref(self) -> Ref:
        """The reference by which others reach this agent."""
        return Ref(self)

    @property
    def node(self) -> Node:
        """The node on which this agent runs."""
        return self._o_scheduler.node

    def activity(
        self, name: str, *, key: str | None = None, approval: Approval | str | None = None, **attributes: Any
    ) -> Activity:
        """Name a slow thing for as long as a `with` or `async with` block runs.

        Args:
            approval: a person must agree before the block runs (`async with` only; docs/approvals.md): what they are asked, or
                an `Approval` with more. Entering raises ApprovalRefused when they do not, or nobody answers in time.
            key: says what is done once only. When an activity of this name and key has completed before, in this
                agent or in a predecessor, `activity.completed` is true and `activity.result` what it had recorded.
        """
        return Activity(self, name, attributes, key, None, approval)

    def checkpoint(self) -> Awaitable[None]:
        """Save the state as it is now, with the message in hand. When awaiting it returns, the checkpoint is on
        record and outlives a `kill -9`; without awaiting it is on its way.

        Raises:
            NotStorable: an attribute cannot be written down; the error names it. The last checkpoint stays.
            StoreFault: the store refuses, or there is none; StoreFull when it has no room.
        """
        return care_of(self).checkpoint()

    def mark_progress(self) -> None:
        """Tell the budget that something was achieved: `steps_without_progress` and `same_call` begin anew."""
        budget.progress(self)

    def stop(self, reason: ExitReason = NORMAL) -> None:
        """End this agent when the message in hand has been handled; its caller still gets the reply."""
        self._o_exit = reason

    def link(self, other: Ref) -> None:
        """Tie this agent's end to another's: when one ends otherwise than normally, so does the other.

        When `other` is dead already, the exit signal `noproc` comes at once.
        """
        bonds.link(self, other._agent)

    def unlink(self, other: Ref) -> None:
        """Undo `link`."""
        bonds.unlink(self, other._agent)

    def trap_exits(self, trap: bool = True) -> None:
        """Receive exit signals as `Exit` messages instead of ending by them (OTP: process_flag(trap_exit, …)).

        `killed` as sent by `ref.exit("killed")` and by operators cannot be trapped; nor can a supervisor's shutdown,
        which is what `terminate` is for.
        """
        bonds.bonds_of(self).traps_exits = trap

    def monitor(self, other: Ref) -> Monitor:
        """Receive one `Down` message when `other` ends; at once when it is dead already."""
        return bonds.monitor(self, other._agent)

    def demonitor(self, monitor: Monitor) -> None:
        """Undo `monitor`. A `Down` that has come already stays in the mailbox."""
        bonds.demonitor(monitor)

    def send_after(self, delay_s: float, message: Any, to: Ref | None = None) -> Timer:
        """Cast `message` to this agent (or to another) after `delay_s` seconds, if both are alive then.

        Returns:
            The timer, whose `cancel()` stops it.
        """
        return Timer(self, to._agent if to is not None else self, message, delay_s, carried_now("timer"))

    # What follows is the runtime's.

    @property
    def _o_node(self) -> Node:
        return self._o_scheduler.node

    def _o_ref(self) -> Ref:
        return Ref(self)

    def _o_init(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        return self.init(*args, **kwargs)

    def _o_care(self, plan: Plan) -> Care:
        return Care(self, plan)

    def _o_buried(self, reason: ExitReason) -> None:
        """The agent has just been taken out of the node's tables."""

    def _o_deliver(self, message: Any) -> None:
        """Put a message of the runtime's own into the mailbox."""
        mailbox = self._o_mailbox
        if mailbox is None:
            self._o_first_plain(message)
        elif isinstance(mailbox, SpecialMailbox):
            mailbox.deliver(message)
        else:
            mailbox.append(message)

    def _o_first(self, message: Any) -> None:
        """The slow half of sending: the mailbox is empty, so the agent may have to be put on the run queue."""
        scheduler = self._o_scheduler
        if self._o_status == IDLE:
            # Scheduler.schedule(), without the call: a message to an idle agent is the common one.
            if not scheduler.armed:
                scheduler.arm()  # raises in the wrong thread, before anything has changed
            self._o_status = RUNNABLE
            (scheduler.system if self._o_system else scheduler.ready).append(self)
        elif not self._o_dirty:
            scheduler.mark_dirty(self)
        self._o_mailbox = [message]

    _o_first_plain = _o_first

    def _o_is_alive(self) -> bool:
        return self._o_status != EXITED and self._o_exit is None

    def _o_queued(self) -> int:
        """Messages waiting now."""
        new = self._o_mailbox
        old = self._o_backlog
        return (len(new) if new else 0) + (len(old) if old else 0)

    def _o_text(self) -> str:
        """How messages to people name this agent."""
        name = self._o_child.name
        label = f"{type(self).__name__} {self._o_pid}"
        return f"{label} ({name})" if name else label
