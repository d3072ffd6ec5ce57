"""Refs: how one reaches an agent. Nobody else ever holds the agent itself."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread, get_ident
from typing import TYPE_CHECKING, Any, Literal

from observe.runtime.bonds import signal
from observe.runtime.calls import Call, Carried, envelope, wait_future
from observe.runtime.errors import CallingSelf, NoSuchAgent, NotSendable
from observe.runtime.exits import KILLED, ExitReason
from observe.runtime.mailbox import has_room, overfull_of

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.node import Node

DEFAULT_TIMEOUT_S = 5.0
"""How long `call` waits unless told otherwise; OTP's gen_server:call waits as long."""


_ambient: Callable[[], object] | None = None
"""Returns something true where a message that is sent has to be looked at more closely; None while nobody wants that, so
that sending costs no more. Elsewhere it costs senders one call of this, which should be a C function."""

_in_trace: Callable[[], object] | None = None
"""Returns something true where the sender may be in a trace; None while no trace is open in the process."""

_tapped: Callable[[Agent, Any, bool], None] | None = None
"""Is told of what is sent, with target, message, and whether it is a request; only while a tapped agent's step runs."""


_guard: Callable[[Agent, Any], None] | None = None
"""Looks at what is sent, and raises where it must not be; None while no node of the process wants that."""

_guarding: set[object] = set()
"""Who wants it."""


Way = Literal["cast", "call", "timer", "map"]
"""How something is sent: `map` is an item of `supervised_map`."""


def _nothing(way: Way) -> Carried | None:
    return None


_carry: Callable[[Way], Carried | None] = _nothing
"""What a message takes along; `set_carrier` replaces it."""


def _always() -> bool:
    return True


def set_carrier(
    ambient: Callable[[], object] | None, carry: Callable[[Way], Carried | None] | None = None
) -> None:
    """Let messages of this process take along what `carry` returns for the way they go. It is asked in the sender's context, and only where
    `ambient` returns something true. For tracing, which sets it only while there is a trace to be continued."""
    global _ambient, _in_trace, _carry  # a look-up in the hot path would cost each message more
    if carry is not None:
        _carry = carry  # and left there afterwards: another thread may be between the test of `_ambient` and its use
    _in_trace = ambient
    _ambient = ambient if _tapped is None and _guard is None else _always


def set_tapped(listener: Callable[[Agent, Any, bool], None] | None) -> None:
    """Tell `listener` of each message that is sent from here on, until it is set to None. For `observe.runtime.taps`,
    which sets it only while the code of an agent runs that somebody listens to."""
    global _ambient, _tapped
    _tapped = listener
    _ambient = _in_trace if listener is None and _guard is None else _always


def set_guard(owner: object, guard: Callable[[Agent, Any], None] | None) -> None:
    """Have each message that is sent from here on looked at by `guard` first, until every owner has set it to None. For
    `observe.runtime.governing`."""
    global _ambient, _guard
    if guard is not None:
        _guarding.add(owner)
        _guard = guard
    else:
        _guarding.discard(owner)
        if not _guarding:
            _guard = None
    _ambient = _in_trace if _tapped is None and _guard is None else _always


def carried_to(target: Agent, message: Any, is_call: bool = False) -> Carried | None:
    """What `message`, sent now, takes along. Whoever listens to the sender is told of it.

    Raises:
        Denied: the sender may not send it.
    """
    if _guard is not None:
        _guard(target, message)
    if _tapped is not None:
        _tapped(target, message, is_call)
    return carried_now("call" if is_call else "cast")


def carried_now(way: Way) -> Carried | None:
    """What a message sent now in this way would take along."""
    return _carry(way) if _in_trace is not None and _in_trace() else None


def is_tapped() -> bool:
    """Whether somebody listens to what is sent now, or guards it."""
    return _tapped is not None or _guard is not None


def _enveloped(message: Any, agent: Agent) -> Any:
    carried = carried_to(agent, message)
    return message if carried is None else envelope(message, agent, carried)


class Ref:
    """A reference to one agent, by its pid.

    It dies with the agent: after a restart the successor has another pid. Use a name (`node.ref("orders")`) to reach
    whoever has the name at the time of sending. Refs of the same agent are equal.
    """

    __slots__ = ("_agent",)

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    @property
    def pid(self) -> int:
        """The agent's serial number on its node."""
        return self._agent._o_pid

    @property
    def name(self) -> str | None:
        """The name under which the agent was registered when it was started."""
        return self._agent._o_child.name

    @property
    def is_alive(self) -> bool:
        """Whether the agent still runs: it has not exited."""
        return self._agent._o_is_alive()

    def cast(self, message: Any) -> None:
        """Put `message` into the agent's mailbox and go on. A message to a dead agent becomes a dead letter.

        Raises:
            WrongThread: called from another thread than the node's; use `cast_threadsafe` there.
        """
        agent = self._agent
        if _ambient is not None and _ambient() and type(message) is not Call:
            message = _enveloped(message, agent)
        mailbox = agent._o_mailbox
        if mailbox is not None:
            mailbox.append(message)
        else:
            agent._o_first(message)

    async def send(self, message: Any) -> None:
        """`cast`, but wait for room where the agent's mailbox is bounded and full.

        An agent that sends to itself, or in a circle, can wait for ever: `asyncio.timeout` bounds it.
        """
        while True:
            agent = self._agent
            if has_room(agent) or type(agent).overflow != "wait" or not agent._o_is_alive():
                self.cast(message)
                return
            room = agent._o_scheduler.loop.create_future()
            overfull_of(agent).waiters.append(room)
            await room

    async def call(self, message: Any, timeout: float | None = DEFAULT_TIMEOUT_S) -> Any:
        """Send `message` and return what the agent's `handle` returns for it.

        Args:
            message: handed to `handle` as it is; nothing is copied.
            timeout: seconds to wait, or None to wait for ever.

        Raises:
            CallTimeout: no reply in time.
            AgentExited: the agent ended before it replied; at once, not after the time-out.
            NoSuchAgent: nobody has the name.
            MailboxFull: the agent's mailbox is bounded, full, and its policy is not `wait`.
            CallingSelf: it is the agent's own step that calls.
        """
        agent = self._agent
        scheduler = agent._o_scheduler
        if scheduler.current is agent:
            raise CallingSelf(agent._o_text())
        request = Call(message, agent)
        if _ambient is not None and _ambient():
            request.carried = carried_to(agent, message, True)
        mailbox = agent._o_mailbox
        if agent.mailbox_limit is not None and not has_room(agent):
            await self.send(request)
        elif mailbox is not None:
            mailbox.append(request)
        elif scheduler.armed or not scheduler.try_inline(agent, request):
            agent._o_first(request)
        if request.done:
            if request.error is not None:
                raise request.error
            return request.value
        if timeout is not None:
            scheduler.deadlines.add(request, timeout)
        if scheduler.current is not None:
            return await request
        return await wait_future(request, scheduler.loop)

    def cast_threadsafe(self, message: Any) -> None:
        """`cast` from any thread."""
        self._agent._o_scheduler.call_soon_threadsafe(self.cast, message)

    def exit(self, reason: str | ExitReason = KILLED) -> None:
        """Send the agent an exit signal (OTP: exit/2).

        `killed` ends it whether it likes it or not, and without `terminate`. Any other reason ends it with that reason, unless it
        traps exits and so receives an `Exit` message; `normal` is ignored by those that do not trap.

        May be called from any thread. From another one than the node's, `killed` ends a step that runs as well, in the
        middle (`Control.interrupt`); this returns without waiting for that.
        """
        agent = self._agent
        reason = _reason(reason)
        scheduler = agent._o_scheduler
        if scheduler.thread_id != get_ident():
            if reason.kind == "killed":
                kill = scheduler.interrupter.kill
                Thread(target=kill, args=(agent, reason), name="observe:kill", daemon=True).start()
            else:
                scheduler.call_soon_threadsafe(signal, agent, None, reason)
            return
        if reason.kind == "killed":
            agent._o_scheduler.lifecycle.exit(agent, reason)
        else:
            signal(agent, agent._o_scheduler.current, reason)

    async def wait_exit(self) -> ExitReason:
        """Wait until the agent has ended, and return why. At once when it has already."""
        agent = self._agent
        return await agent._o_scheduler.lifecycle.wait_exit(agent)

    def __reduce__(self) -> tuple[Any, ...]:
        return ref_to, (self._agent._o_pid,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and other._agent is self._agent

    def __hash__(self) -> int:
        return hash(self._agent._o_pid)

    def __repr__(self) -> str:
        return f"<Ref {self._agent._o_text()}>"


class NamedRef(Ref):
    """A reference by name, looked up at each use: it outlives restarts."""

    __slots__ = ("_name", "_node")

    def __init__(self, node: Node, name: str) -> None:
        self._node = node
        self._name = name

    @property
    def _agent(self) -> Agent:  # type: ignore[override]  # a slot in the base class, a look-up here
        agent = self._node.registry.get(self._name)
        if agent is None:
            raise NoSuchAgent(self._name)
        return agent

    @property
    def name(self) -> str:
        return self._name

    @property
    def is_alive(self) -> bool:
        return self._name in self._node.registry

    def cast(self, message: Any) -> None:
        """As `Ref.cast`; when nobody has the name the message becomes a dead letter."""
        agent = self._node.registry.get(self._name)
        if agent is None:
            self._node.dead_letter(self._name, message)
            return
        if _ambient is not None and _ambient() and type(message) is not Call:
            message = _enveloped(message, agent)
        mailbox = agent._o_mailbox
        if mailbox is not None:
            mailbox.append(message)
        else:
            agent._o_first(message)

    def cast_threadsafe(self, message: Any) -> None:
        self._node.scheduler.call_soon_threadsafe(self.cast, message)

    def __reduce__(self) -> tuple[Any, ...]:
        return ref_to, (self._name,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamedRef) and other._name == self._name and other._node is self._node

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return f"<Ref {self._name!r}>"


class Reading:
    """On which node a ref is that comes out of a pickle. Refs travel between the processes of one node, and nowhere else."""

    node: Node | None = None


def ref_to(target: int | str) -> Ref:
    """What a pickled ref is made of again.

    Raises:
        NotSendable: the pickle is not read by a node.
    """
    if Reading.node is None:
        raise NotSendable(
            f"a ref to {target!r}",
            "refs live on their node; keep the name, and say node.ref(name) where you need it",
        )
    return Reading.node._ref_to(target)


def _reason(reason: str | ExitReason) -> ExitReason:
    if isinstance(reason, ExitReason):
        return reason
    if reason in ("normal", "shutdown", "killed"):
        return ExitReason(reason)  # type: ignore[arg-type]  # narrowed by the line above
    return ExitReason("shutdown", reason)
