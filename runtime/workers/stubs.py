"""What stands in a worker for agents elsewhere on the node: their mailbox is the link."""

from __future__ import annotations

from array import array
from asyncio import Future
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any

from observe.runtime.agent import IDLE, WAITING, Agent
from observe.runtime.bonds import Monitor
from observe.runtime.calls import Call
from observe.runtime.carrying import headers_of
from observe.runtime.children import Child, ChildSpec
from observe.runtime.errors import AgentExited, MailboxFull, NotInWorker, NotSendable, WrongThread
from observe.runtime.exits import ExitReason
from observe.runtime.stacks import Stack
from observe.runtime.workers.packing import pack, pack_error, pack_reason

if TYPE_CHECKING:
    from observe.runtime.workers.inside import Inside

Target = int | str


class Stub(Agent):
    """Stands for an agent elsewhere on the node."""

    __slots__ = ("__weakref__", "_o_away", "_o_target")

    _o_away: StubEnd
    _o_target: Target

    def _o_text(self) -> str:
        return f"agent {self._o_target}"

    def _o_is_alive(self) -> bool:
        return True  # as far as is known here

    def _o_deliver(self, message: Any) -> None:
        self._o_away.append(message)

    def _o_queued(self) -> int:
        return 0


_STUB_SPEC = ChildSpec(Stub)


class StubEnd:
    """The mailbox of a stub, and the rest that the runtime wants to know of it."""

    is_stub = True
    worker = 0

    def __init__(self, inside: Inside, target: Target) -> None:
        self._inside = inside
        self._target = target

    def append(self, message: Any) -> None:
        """Send a message on its way.

        Raises:
            MailboxFull: too much waits for the node's process already.
            NotSendable: it cannot be pickled.
            WrongThread: not in the worker's own thread.
        """
        inside, target = self._inside, self._target
        if get_ident() != inside.thread_id:
            raise WrongThread
        if not inside.link.has_room:
            raise MailboxFull(f"agent {target}", len(inside.calls))
        headers: dict[str, str] | None = None
        if type(message) is Call:
            headers = headers_of(message.carried)
            if message.is_cast:
                message = message.message
        if type(message) is Call:
            data = pack(message.message, f"the message to agent {target}")
            number = next(inside.numbers)
            inside.calls[number] = message
            inside.link.send(("call", target, number, data, headers), len(data))
        else:
            data = pack(message, f"the message to agent {target}")
            inside.link.send(("cast", target, data, headers), len(data))

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def has_room(self) -> bool:
        return self._inside.link.has_room

    def peek(self, limit: int) -> tuple[list[Any], int]:
        return [], 0

    def row(self, activity_id: Callable[[str], int]) -> array[int]:
        raise NotImplementedError

    def ask(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        raise NotInWorker(f"agent {self._target} itself", "ask the node's process")

    def facts(self) -> dict[str, Any]:
        return {}

    def stack(self) -> Stack:
        raise NotInWorker(f"the stack of agent {self._target}", "ask the node's process")

    def signal(self, sender: Agent | None, reason: ExitReason) -> None:
        pid = sender._o_pid if sender is not None else 0
        self._inside.link.send(("signal", self._target, pid, pack_reason(reason)))

    def link(self, other: Agent) -> None:
        self._inside.link.send(("link", other._o_pid, self._target))

    def unlink(self, other: Agent) -> None:
        self._inside.link.send(("unlink", other._o_pid, self._target))

    def monitor(self, made: Monitor) -> None:
        inside = self._inside
        number = next(inside.numbers)
        inside.monitors[number] = made
        inside.link.send(("monitor", made._watcher._o_pid, self._target, number))

    def demonitor(self, made: Monitor) -> None:
        inside = self._inside
        for number, one in inside.monitors.items():
            if one is made:
                del inside.monitors[number]
                inside.link.send(("demonitor", made._watcher._o_pid, number))
                return


def new_stub(inside: Inside, target: Target) -> Stub:
    """Who stands here for an agent elsewhere."""
    stub = Stub.__new__(Stub)
    stub._o_pid = target if isinstance(target, int) else 0
    stub._o_target = target
    stub._o_scheduler = inside.node.scheduler
    stub._o_child = Child(_STUB_SPEC, target, None)
    stub._o_child.name = target if isinstance(target, str) else None
    stub._o_backlog = stub._o_activities = stub._o_bonds = stub._o_step = stub._o_exit = None
    stub._o_status = WAITING
    stub._o_dirty = True
    stub._o_handled = stub._o_busy_ns = stub._o_mailbox_max = stub._o_since_ns = 0
    stub._o_away = stub._o_mailbox = StubEnd(inside, target)
    return stub


class Reply:
    """Takes the reply to a request that came over the link, in the place of a future."""

    __slots__ = ("_call", "_inside", "_number")

    def __init__(self, inside: Inside, number: int, call: Call) -> None:
        self._inside = inside
        self._number = number
        self._call = call

    def done(self) -> bool:
        """A `Call` asks before it tells."""
        return False

    def set_result(self, value: None) -> None:
        """The request has been answered or has failed."""
        call, link = self._call, self._inside.link
        call.future = None  # it holds us, and we hold it: neither would go without the garbage collector
        error = call.error
        if error is None:
            try:
                data = pack(call.value, f"the reply of {call.target._o_text()}")
                link.send(("reply", self._number, True, data), len(data))
                return
            except NotSendable as fault:
                error = fault
        if not (isinstance(error, AgentExited) and call.target._o_status != IDLE):
            link.send(("reply", self._number, False, pack_error(error)))
        # Of the agent's end the node's process tells the caller itself.
