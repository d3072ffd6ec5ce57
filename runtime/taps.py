"""Taps: listening to the messages of chosen agents, while all others run as if nobody listened.

    sender --> mailbox of the agent (a `TappedMailbox`)          on_receive
                  |
               `Tapped.tap_message` in the place of `handle`     on_begin ... on_end
                  |   each piece that runs without waiting        on_slice
                  +--> what it sends meanwhile                    on_send, on_reply

An agent that nobody listens to pays nothing: its mailbox is a plain list and its `handle` is called directly. What a
tapped agent sends is seen because for as long as a piece of its code runs, and no longer, sending asks first.

Not seen: what tasks send that a tapped agent has started itself, and the messages of agents in other processes.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from types import CoroutineType, GeneratorType
from typing import Any, Literal

from observe.runtime.agent import IDLE, Agent
from observe.runtime.bonds import Down, Exit, bonds_of
from observe.runtime.calls import Call
from observe.runtime.clock import now_ns
from observe.runtime.errors import ActionRefused
from observe.runtime.mailbox import BoundedMailbox, SpecialMailbox, has_room, overflow
from observe.runtime.ref import set_tapped

logger = logging.getLogger("observe.runtime")

Kind = Literal["cast", "call", "timer", "signal"]
"""How a message came: by a timer of `send_after`; `signal` is one of the runtime's own (`Down`, `Exit`)."""


class Tap:
    """Typed no-op hooks. Override those that you need.

    They run in the scheduler's thread, in the middle of what they tell of: they must be quick, must not call back into
    agents, and must keep no message longer than they need it. A tap whose hook raises is reported and removed.
    """

    def on_receive(self, agent: Agent, message: Any, kind: Kind, sender: Agent | None) -> None:
        """A message has come into the mailbox; from code outside of agents when there is no sender."""

    def on_send(self, agent: Agent, target: Agent, message: Any, is_call: bool) -> None:
        """The agent sends a message, or a request."""

    def on_begin(self, agent: Agent, message: Any) -> None:
        """It begins to handle a message."""

    def on_end(self, agent: Agent, handled: Handled) -> None:
        """It has handled the message, or has failed to."""

    def on_reply(self, agent: Agent, call: Call, took_ns: int) -> None:
        """A request of the agent was answered: `call.value` or `call.error`."""

    def on_slice(self, agent: Agent, used_ns: int) -> None:
        """It has run for so long, and now waits or is done."""


class Handled:
    """A message that was handled."""

    __slots__ = ("error", "kind", "message", "sender", "took_ns", "value")

    def __init__(self, message: Any, kind: Kind, sender: Agent | None) -> None:
        self.message = message
        self.kind = kind
        self.sender = sender
        self.value: Any = None
        """What `handle` returned: the reply, if it was a request."""
        self.error: BaseException | None = None
        self.took_ns = 0
        """From its beginning to its end, waiting included."""


def tap(agent: Agent, listener: Tap) -> None:
    """Let `listener` hear the agent's messages from here on. Doing so twice has no effect.

    Raises:
        ActionRefused: the agent has ended, is a supervisor, or runs in another process.
    """
    if agent._o_system:
        raise ActionRefused(
            f"{agent._o_text()} is a supervisor: its messages are the runtime's own; listen to its children"
        )
    if agent._o_away is not None:
        raise ActionRefused(f"{agent._o_text()} runs in another process, where its messages are not seen")
    if not agent._o_is_alive():
        raise ActionRefused(f"{agent._o_text()} has ended")
    bonds = bonds_of(agent)
    if bonds.tapped is None:
        bonds.tapped = Tapped(agent)
        bonds.choose_handle()
        bonds.tapped.take_mailbox()
    if listener not in bonds.tapped.taps:
        bonds.tapped.taps = (*bonds.tapped.taps, listener)


def untap(agent: Agent, listener: Tap) -> None:
    """Let it hear no more. When it is the last, the agent is as it was before."""
    bonds = agent._o_bonds
    tapped = bonds.tapped if bonds is not None else None
    if bonds is None or tapped is None:
        return
    tapped.taps = tuple(one for one in tapped.taps if one is not listener)
    if not tapped.taps:
        bonds.tapped = None
        bonds.choose_handle()
        tapped.give_mailbox_back()


class TappedMailbox(SpecialMailbox):
    """A mailbox that tells of what comes. Unlike an ordinary one it stays with an idle agent, though it is empty."""

    __slots__ = ("_tapped",)

    def __init__(self, tapped: Tapped, messages: list[Any]) -> None:
        super().__init__(messages)
        self._tapped = tapped

    def append(self, message: Any) -> None:
        """Take a message, as the agent's ordinary mailbox would."""
        agent = self._tapped.agent
        if type(agent).mailbox_limit is not None and not has_room(agent):
            overflow(agent, self, message)
        else:
            self._take(message, _kind_of(message))

    def deliver(self, message: Any) -> None:
        self._take(message, "signal" if isinstance(message, (Down, Exit)) else "timer")

    def _take(self, message: Any, kind: Kind) -> None:
        agent = self._tapped.agent
        scheduler = agent._o_scheduler
        if agent._o_status == IDLE:
            scheduler.schedule(agent)  # raises in the wrong thread, before anything has changed
        elif not agent._o_dirty:
            scheduler.mark_dirty(agent)
        list.append(self, message)
        self._tapped.arrived(message, kind)


class Tapped:
    """One agent that somebody listens to. Belongs to the scheduler's thread."""

    __slots__ = ("_arrivals", "agent", "taps")

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.taps: tuple[Tap, ...] = ()
        self._arrivals: deque[tuple[Any, Kind, Agent | None]] = deque()
        """What waits, with how it came: the scheduler hands on the bare message."""

    # -- The mailbox

    def take_mailbox(self) -> None:
        """Put a mailbox that tells into the place of the agent's."""
        agent = self.agent
        mailbox = agent._o_mailbox
        waiting = list(mailbox) if isinstance(mailbox, list) else []
        for message in [*reversed(agent._o_backlog or ()), *waiting]:
            self._arrivals.append((_bare(message), _kind_of(message), None))
        if mailbox is None or isinstance(mailbox, list):
            agent._o_mailbox = TappedMailbox(self, waiting)

    def give_mailbox_back(self) -> None:
        """Let the agent have an ordinary one again."""
        agent = self.agent
        mailbox = agent._o_mailbox
        if not isinstance(mailbox, TappedMailbox):
            return
        if not mailbox:
            agent._o_mailbox = None
        elif type(agent).mailbox_limit is None:
            agent._o_mailbox = list(mailbox)
        else:
            bounded = BoundedMailbox(agent, mailbox[0])
            list.extend(bounded, mailbox[1:])
            agent._o_mailbox = bounded

    def arrived(self, message: Any, kind: Kind) -> None:
        """A message has been put into the mailbox."""
        sender = self.agent._o_scheduler.current
        bare = _bare(message)
        self._arrivals.append((bare, kind, sender))
        self._tell(lambda one: one.on_receive(self.agent, bare, kind, sender))

    def _arrival_of(self, message: Any) -> Handled:
        """How it came. What stands before it in the queue was dropped or moved meanwhile."""
        arrivals = self._arrivals
        for place, (known, kind, sender) in enumerate(arrivals):
            if known is message:
                for _ in range(place + 1):
                    arrivals.popleft()
                return Handled(message, kind, sender)
        return Handled(message, "cast", None)

    # -- A message

    async def tap_message(self, message: Any) -> Any:
        """Handle it as the agent would, and tell of it."""
        agent = self.agent
        if agent._o_mailbox is None:
            agent._o_mailbox = TappedMailbox(self, [])  # the scheduler has just taken the one before
        handled = self._arrival_of(message)
        began = now_ns()
        self._tell(lambda one: one.on_begin(agent, message))
        care = agent._o_bonds.care if agent._o_bonds is not None else None
        handle: Callable[[Any], Any] = agent.handle if care is None else care.tend_message
        try:
            handled.value = value = await Driven(self, handle, message)
        except BaseException as error:
            handled.error = error
            raise
        finally:
            handled.took_ns = now_ns() - began
            self._tell(lambda one: one.on_end(agent, handled))
        return value

    def sent(self, target: Agent, message: Any, is_call: bool) -> None:
        """A piece of code that runs now has sent something."""
        self._tell(lambda one: one.on_send(self.agent, target, message, is_call))

    def answered(self, call: Call, took_ns: int) -> None:
        """A request for which the agent has waited is over."""
        self._tell(lambda one: one.on_reply(self.agent, call, took_ns))

    def ran(self, used_ns: int) -> None:
        """A piece of code has run."""
        self._tell(lambda one: one.on_slice(self.agent, used_ns))

    def _tell(self, tell: Callable[[Tap], None]) -> None:
        for one in self.taps:
            try:
                tell(one)
            except Exception:  # a listener must never hurt whom it listens to
                logger.exception("the tap %r failed and was removed", one)
                untap(self.agent, one)


class Driven:
    """Runs what an agent does with one message, piece by piece, and listens to what each piece sends."""

    __slots__ = ("_handle", "_message", "_tapped")

    def __init__(self, tapped: Tapped, handle: Callable[[Any], Any], message: Any) -> None:
        self._tapped = tapped
        self._handle = handle
        self._message = message

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.drive()

    def drive(self) -> Generator[Any, Any, Any]:
        """Yield what the agent waits for, and return what it returns."""
        tapped, handle, message = self._tapped, self._handle, self._message
        coroutine: Coroutine[Any, Any, Any] | None = None
        sent: Any = None
        error: BaseException | None = None
        while True:
            began = now_ns()
            _begin_piece(tapped.agent)
            try:
                if coroutine is None:
                    value = handle(message)
                    if type(value) is not CoroutineType:
                        return value
                    coroutine = value
                    waits_for = coroutine.send(None)
                elif error is not None:
                    waits_for = coroutine.throw(error)
                else:
                    waits_for = coroutine.send(sent)
            except StopIteration as stop:
                return stop.value
            finally:
                _end_piece(tapped.agent)
                tapped.ran(now_ns() - began)
            error = sent = None
            waited = now_ns()
            try:
                sent = yield waits_for
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as thrown:  # noqa: BLE001  # it belongs to the coroutine, which gets it next
                error = thrown
            if type(waits_for) is Call and waits_for.done:
                tapped.answered(waits_for, now_ns() - waited)


_running: dict[int, Agent] = {}
"""Tapped agents of which a piece of code runs now, by pid. More than one while the piece of one of them is frozen."""


def _begin_piece(agent: Agent) -> None:
    _running[agent._o_pid] = agent
    set_tapped(_sent)


def _end_piece(agent: Agent) -> None:
    _running.pop(agent._o_pid, None)
    if not _running:
        set_tapped(None)


def _sent(target: Agent, message: Any, is_call: bool) -> None:
    """Somebody sends something, who need not be tapped: others run while a piece is frozen."""
    sender = target._o_scheduler.current
    bonds = sender._o_bonds if sender is not None else None
    if bonds is not None and bonds.tapped is not None:
        bonds.tapped.sent(target, message, is_call)
        return
    for agent in list(_running.values()):
        if not agent._o_is_alive():
            _end_piece(
                agent
            )  # it was buried while its piece was frozen, and that piece never comes to its end


def driven_by(generator: GeneratorType[Any, Any, Any]) -> Any:
    """The coroutine that a suspended `Driven.drive` runs, for whoever follows a chain of awaits; None for others."""
    if generator.gi_code is not Driven.drive.__code__ or generator.gi_frame is None:
        return None
    return generator.gi_frame.f_locals.get("coroutine")


def _bare(message: Any) -> Any:
    return message.message if type(message) is Call else message


def _kind_of(message: Any) -> Kind:
    return "call" if type(message) is Call and not message.is_cast else "cast"
