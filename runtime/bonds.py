"""Links, monitors and timers: what ties agents to each other's ends, and things to an agent's own.

The rules are OTP's (https://www.erlang.org/doc/system/ref_man_processes.html#links). An agent has a `Bonds` only when it has bonds.
"""

from __future__ import annotations

from asyncio import Future, TimerHandle
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from observe.runtime.calls import envelope
from observe.runtime.errors import Denied
from observe.runtime.exits import NOPROC, ExitReason

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.budget import Spending
    from observe.runtime.calls import Carried
    from observe.runtime.care import Care
    from observe.runtime.ref import Ref
    from observe.runtime.taps import Tapped


@dataclass(frozen=True, slots=True)
class Exit:
    """To an agent that traps exits: a linked agent has ended, or somebody asked it to end (OTP: {'EXIT', Pid, Reason})."""

    ref: Ref
    """Who has ended, or who sent the signal's reason on its own behalf."""
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class Down:
    """To an agent that monitors another: it has ended. Exactly one comes for each monitor (OTP: {'DOWN', …})."""

    monitor: Monitor
    ref: Ref
    reason: ExitReason


class Monitor:
    """One agent watching for the end of another, in one direction."""

    __slots__ = ("__weakref__", "_watched", "_watcher")

    def __init__(self, watcher: Agent, watched: Agent) -> None:
        self._watcher = watcher
        self._watched = watched

    @property
    def ref(self) -> Ref:
        """Who is watched."""
        return self._watched._o_ref()

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (repr(self),)  # in a `Down` that is sent on to another process

    def __repr__(self) -> str:
        return f"<Monitor of {self._watched._o_text()} by {self._watcher._o_text()}>"


class Timer:
    """A message to be sent later. Dies with the agent that set it, and with the one it is for."""

    __slots__ = ("_agent", "_carried", "_handle", "_message", "_owner")

    def __init__(
        self, owner: Agent, agent: Agent, message: Any, delay_s: float, carried: Carried | None
    ) -> None:
        self._owner = owner
        self._agent = agent
        self._message = message
        self._carried = carried
        bonds_of(owner).timers.add(self)
        self._handle: TimerHandle | None = owner._o_scheduler.loop.call_later(delay_s, self._fire)

    @property
    def is_pending(self) -> bool:
        """Whether the message is still to be sent."""
        return self._handle is not None

    @property
    def left_s(self) -> float:
        """Seconds until the message is sent; 0.0 when it has been, or never will be."""
        if self._handle is None:
            return 0.0
        return max(0.0, self._handle.when() - self._owner._o_scheduler.loop.time())

    def cancel(self) -> bool:
        """Do not send it. True if it had not been sent (OTP: cancel_timer)."""
        if self._handle is None:
            return False
        self._handle.cancel()
        self._handle = None
        bonds = self._owner._o_bonds
        if bonds is not None:
            bonds.timers.discard(self)
        return True

    def _fire(self) -> None:
        self._handle = None
        bonds = self._owner._o_bonds
        if bonds is not None:
            bonds.timers.discard(self)
        governing = self._owner._o_node.governing
        if governing is not None and self._agent is not self._owner:
            try:
                governing.admit_send(self._owner, self._agent, self._message)
            except Denied:  # there is nobody here who could be told
                self._owner._o_node.dead_letter(self._agent, self._message, why="refused")
                return
        if self._agent._o_is_alive():
            carried, message = self._carried, self._message
            self._agent._o_deliver(message if carried is None else envelope(message, self._agent, carried))


class Bonds:
    """What one agent is tied to."""

    __slots__ = (
        "care",
        "groups",
        "handle",
        "is_held",
        "is_paused",
        "links",
        "overfull",
        "spending",
        "tapped",
        "timers",
        "traps_exits",
        "watched_by",
        "watches",
    )

    def __init__(self) -> None:
        self.links: dict[Agent, None] = {}
        """Both ends hold each other. A dict for its order: signals go out in the order of linking."""
        self.watches: dict[Monitor, None] = {}
        self.watched_by: dict[Monitor, None] = {}
        self.timers: set[Timer] = set()
        self.groups: dict[str, int] = {}
        """Process groups that it has joined, and how often."""
        self.traps_exits = False
        self.is_held = False
        """An operator has suspended it: it takes no further message until it is resumed."""
        self.is_paused = False
        """Its code is being exchanged: it takes no further message until that is over. Whoever suspends or resumes it meanwhile
        changes the other one."""
        self.overfull: Overfull | None = None
        self.care: Care | None = None
        """Checkpoints and the like, if its spec asks for them."""
        self.spending: Spending | None = None
        """What it, or the tree below it, has spent, if anybody counts."""
        self.tapped: Tapped | None = None
        """Who listens to its messages, if anybody does."""
        self.handle: Callable[[Any], Coroutine[Any, Any, Any]] | None = None
        """What takes its messages in the place of its own `handle`: `tapped` or `care`."""

    def choose_handle(self) -> None:
        """To be called when `tapped` or `care` has changed."""
        if self.tapped is not None:
            self.handle = self.tapped.tap_message
        else:
            self.handle = self.care.tend_message if self.care is not None else None


class Overfull:
    """What an agent with a bounded mailbox has refused, and who waits for room in it."""

    __slots__ = ("dropped", "refused", "waiters")

    def __init__(self) -> None:
        self.dropped = 0
        """Messages thrown away by `drop_oldest` or `drop_newest`. Above 0, work was lost."""
        self.refused = 0
        """Messages turned away with MailboxFull."""
        self.waiters: deque[Future[None]] = deque()
        """Senders of `Ref.send`, in their order."""

    def wake(self, count: int) -> None:
        """Let up to `count` of those who wait try again."""
        while count > 0 and self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1


def bonds_of(agent: Agent) -> Bonds:
    """The agent's bonds, made on first use."""
    if agent._o_bonds is None:
        agent._o_bonds = Bonds()
    return agent._o_bonds


def link(one: Agent, other: Agent) -> None:
    """Tie two agents' ends together. Linking twice is linking once.

    To an agent that is dead already: the exit signal `noproc` comes back at once, as in OTP.
    """
    if one is other:
        return
    away = other._o_away
    if away is not None and away.is_stub:
        away.link(one)
        return
    if not other._o_is_alive():
        one._o_scheduler.post(signal, one, other, NOPROC)
        return
    bonds_of(one).links[other] = None
    bonds_of(other).links[one] = None


def unlink(one: Agent, other: Agent) -> None:
    """Untie them. No exit signal of the other comes through this link afterwards."""
    away = other._o_away
    if away is not None and away.is_stub:
        away.unlink(one)
        return
    if one._o_bonds is not None:
        one._o_bonds.links.pop(other, None)
    if other._o_bonds is not None:
        other._o_bonds.links.pop(one, None)


def monitor(watcher: Agent, watched: Agent) -> Monitor:
    """Have `watcher` told once when `watched` ends; at once, with `noproc`, when it is dead already."""
    made = Monitor(watcher, watched)
    away = watched._o_away
    if away is not None and away.is_stub:
        bonds_of(watcher).watches[made] = None
        away.monitor(made)
        return made
    begin(made)
    return made


def begin(made: Monitor) -> None:
    """Put a monitor to work."""
    watcher, watched = made._watcher, made._watched
    bonds_of(watcher).watches[made] = None
    if watched._o_is_alive():
        bonds_of(watched).watched_by[made] = None
    else:
        watcher._o_scheduler.post(tell_down, made, NOPROC)


def demonitor(made: Monitor) -> None:
    """Stop watching. A `Down` that is in the mailbox already stays there (OTP: without `flush`)."""
    away = made._watched._o_away
    if away is not None and away.is_stub:
        away.demonitor(made)
    if made._watcher._o_bonds is not None:
        made._watcher._o_bonds.watches.pop(made, None)
    if made._watched._o_bonds is not None:
        made._watched._o_bonds.watched_by.pop(made, None)


def signal(to: Agent, sender: Agent | None, reason: ExitReason) -> None:
    """Deliver an exit signal. `normal` is ignored by agents that do not trap exits, but for their own.

    Args:
        sender: who has ended or has sent it; None for code outside of agents, which speaks for nobody.
    """
    if not to._o_is_alive():
        return
    away = to._o_away
    if away is not None:
        away.signal(sender, reason)  # it knows whether it traps exits
        return
    if to._o_bonds is not None and to._o_bonds.traps_exits:
        to._o_deliver(Exit((sender or to)._o_ref(), reason))
    elif reason.kind != "normal" or sender is to:
        if reason.kind == "crash" and not reason.root_pid and sender is not None:
            reason = replace(reason, root_pid=sender._o_pid)
        to._o_scheduler.lifecycle.exit(to, reason)


def sever(agent: Agent, reason: ExitReason) -> None:
    """`agent` has ended: tell those who are linked to it or watch it, and stop its timers."""
    bonds = agent._o_bonds
    if bonds is None:
        return
    agent._o_bonds = None
    for timer in list(bonds.timers):
        timer.cancel()
    if bonds.overfull is not None:
        bonds.overfull.wake(len(bonds.overfull.waiters))
    for made in bonds.watches:
        watched = made._watched._o_bonds
        if watched is not None:
            watched.watched_by.pop(made, None)
    post = agent._o_scheduler.post
    for made in bonds.watched_by:
        post(tell_down, made, reason)
    for other in bonds.links:
        if other._o_bonds is not None:
            other._o_bonds.links.pop(agent, None)
        if not other._o_system:  # supervisors trap exits and care for their children's only, as in OTP
            post(signal, other, agent, reason)


def tell_down(made: Monitor, reason: ExitReason) -> None:
    """Let the watcher have its `Down`, unless it has had it or wants it no more."""
    watcher = made._watcher
    bonds = watcher._o_bonds
    if bonds is None or made not in bonds.watches or not watcher._o_is_alive():
        return  # demonitored, or gone, meanwhile
    del bonds.watches[made]
    watcher._o_deliver(Down(made, made._watched._o_ref(), reason))
