"""What workers ask of the node's process: to deliver messages, to tie agents together, to start others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from observe.runtime import bonds
from observe.runtime.actions import hand_over, lay_down
from observe.runtime.agent import EXITED, Agent
from observe.runtime.calls import Call, envelope
from observe.runtime.carrying import carried_from
from observe.runtime.errors import BudgetExceeded, MailboxFull, NoSuchAgent, NotSendable
from observe.runtime.exits import NOPROC
from observe.runtime.workers.gone import gone
from observe.runtime.workers.lodgers import lodged
from observe.runtime.workers.packing import Packed, pack, pack_error, unpack, unpack_error, unpack_reason
from observe.runtime.workers.remote import Remote
from observe.runtime.workers.remote_end import readable

if TYPE_CHECKING:
    from observe.runtime.exits import ExitReason
    from observe.runtime.findings import Finding
    from observe.runtime.governed import Governed
    from observe.runtime.node import Node
    from observe.runtime.ref import Ref
    from observe.runtime.workers.process import WorkerProcess

Target = int | str


class Answer:
    """Takes the reply to a request that came from a worker, in the place of a future, and sends it there."""

    __slots__ = ("_call", "_number", "_process")

    def __init__(self, process: WorkerProcess, number: int, call: Call) -> None:
        self._process = process
        self._number = number
        self._call = call

    def done(self) -> bool:
        """A `Call` asks before it tells."""
        return False

    def set_result(self, value: None) -> None:
        """The request has been answered or has failed."""
        call = self._call
        call.future = None  # it holds us, and we hold it: neither would go without the garbage collector
        error = call.error
        if error is None:
            try:
                data = pack(call.value, f"the reply of {call.target._o_text()}")
                self._process.link.send(("reply", self._number, True, data), len(data))
                return
            except NotSendable as fault:
                error = fault
        self._process.link.send(("reply", self._number, False, pack_error(error)))

    def relay(self, call: Call, data: bytes) -> None:
        """The reply came from another worker."""
        call.reply(Packed(data))


def _find(node: Node, target: Target) -> Agent | None:
    return node.registry.get(target) if isinstance(target, str) else node.agents.get(target)


def _put(agent: Agent, message: Any) -> None:
    mailbox = agent._o_mailbox
    if mailbox is not None:
        mailbox.append(message)
    else:
        agent._o_first(message)


def cast(process: WorkerProcess, target: Target, data: bytes, headers: dict[str, str] | None) -> None:
    """A message from one of its agents."""
    node = process.node
    agent = _find(node, target)
    if agent is None:
        node.dead_letter(str(target), _read(node, data))
        return
    try:
        message = Packed(data) if isinstance(agent, Remote) else unpack(data, node)
        carried = carried_from(headers)
        _put(agent, message if carried is None else envelope(message, agent, carried))
    except (MailboxFull, NotSendable):
        node.dead_letter(agent, _read(node, data), why="mailbox full")  # the sender has gone on


def call(
    process: WorkerProcess, target: Target, number: int, data: bytes, headers: dict[str, str] | None
) -> None:
    """A request from one of its agents."""
    node = process.node
    agent = _find(node, target)
    if agent is None:
        fault = NoSuchAgent(target)
        process.link.send(("reply", number, False, pack_error(fault)))
        return
    request = Call(None, agent)
    request.carried = carried_from(headers)
    request.future = Answer(process, number, request)  # type: ignore[assignment]  # as much of one as a Call needs
    try:
        request.message = Packed(data) if isinstance(agent, Remote) else unpack(data, node)
        _put(agent, request)
    except (MailboxFull, NotSendable) as fault:
        request.fail(fault)


def _read(node: Node, data: bytes) -> Any:
    try:
        return unpack(data, node)
    except NotSendable as fault:
        return f"<{fault}>"


def signal(process: WorkerProcess, target: Target, sender: int, reason: bytes) -> None:
    """An exit signal from one of its agents, or `killed`."""
    node = process.node
    agent = _find(node, target)
    if agent is None:
        return
    read = unpack_reason(reason, node)
    if read.kind == "killed":
        node.lifecycle.exit(agent, read)
    else:
        bonds.signal(agent, node.agents.get(sender), read)


def link(process: WorkerProcess, pid: int, target: Target) -> None:
    """One of its agents links itself to another."""
    one, other = process.agents.get(pid), _find(process.node, target)
    if one is None:
        return
    if other is not None:
        bonds.link(one, other)
    else:
        one._o_away.signal(gone(process.node, target if isinstance(target, int) else 0), NOPROC)


def unlink(process: WorkerProcess, pid: int, target: Target) -> None:
    """And undoes it."""
    one, other = process.agents.get(pid), _find(process.node, target)
    if one is not None and other is not None:
        bonds.unlink(one, other)


def monitor(process: WorkerProcess, pid: int, target: Target, number: int) -> None:
    """One of its agents watches another."""
    watcher, watched = process.agents.get(pid), _find(process.node, target)
    if watcher is None:
        return
    if watched is None:
        watched = gone(process.node, target if isinstance(target, int) else 0)
    made = bonds.Monitor(watcher, watched)
    process.add_monitor(pid, number, made)  # first: it may be told at once
    bonds.begin(made)


def demonitor(process: WorkerProcess, pid: int, number: int) -> None:
    """And does so no longer."""
    made = process.monitors.pop((pid, number), None)
    if made is not None:
        bonds.demonitor(made)


def ask(process: WorkerProcess, number: int, data: bytes) -> None:
    """Have a function of ours run with the node, and tell what it returned."""

    def tell(value: Any, error: BaseException | None) -> None:
        if error is None:
            try:
                packed = pack(value, "the answer")
                process.link.send(("told", number, True, packed), len(packed))
                return
            except NotSendable as fault:
                error = fault
        process.link.send(("told", number, False, pack_error(error)))

    try:
        function, args = unpack(data, process.node)
        value = function(process.node, *args)
    except Exception as error:
        tell(None, error)
        return
    if asyncio.iscoroutine(value):
        value = process.loop.create_task(value)
        process.workers.keep(value)
    if not asyncio.isfuture(value):
        tell(value, None)
        return

    def done(task: asyncio.Future[Any]) -> None:
        if task.cancelled():
            tell(None, asyncio.CancelledError())
        else:
            error = task.exception()
            tell(None if error is not None else task.result(), error)

    value.add_done_callback(done)


def letter(process: WorkerProcess, pid: int, data: bytes) -> None:
    """A message that an agent there could not take, or nobody could read."""
    agent = process.agents.get(pid)
    process.node.dead_letter(agent if agent is not None else f"agent {pid}", _read(process.node, data))


def taken(process: WorkerProcess, pid: int, numbers: list[int], to: int) -> None:
    """An operator has taken messages out of the mailbox of an agent there, for another agent or (0) for nobody."""
    agent = process.agents.get(pid)
    if agent is None:
        return  # it has ended meanwhile, and they are dead letters already
    receiver = process.node.agents.get(to)
    for message in agent._o_away.take_out(numbers):
        if not isinstance(receiver, Remote):
            message = _opened(message, process.node)
        if receiver is not None:
            hand_over(agent, message, receiver)
        else:
            lay_down(agent, message)


def _opened(message: Any, node: Node) -> Any:
    """A message between two workers is not read on its way; whoever is here wants to read it."""
    if type(message) is Call and type(message.message) is Packed:
        message.message = readable(message.message, node)
    return readable(message, node) if type(message) is Packed else message


def lost(process: WorkerProcess, pid: int, number: int) -> None:
    """A message found no room there; the worker itself has told its sender, or sent the dead letter."""
    agent = process.agents.get(pid)
    if agent is not None:
        agent._o_away.take_out([number])


def finding(process: WorkerProcess, data: bytes) -> None:
    """The watchdog there has found something."""
    found: Finding = unpack(data, process.node)
    for hook in process.node.instruments.on_finding:
        hook(found)


def governed(process: WorkerProcess, data: bytes) -> None:
    """Something was decided about an agent there, or one that is monitored does something."""
    event: Governed = unpack(data, process.node)
    if event.policy and event.what != "containment":
        from observe.runtime.policies_far import count_far  # policies: not for a node without

        count_far(process.node, event)
    for hook in process.node.instruments.on_governed:
        hook(event)


def limit(process: WorkerProcess, pid: int, error: bytes) -> None:
    """An agent there has reached a limit of its budget."""
    agent = process.agents.get(pid)
    fault = unpack_error(error, process.node)
    if agent is not None and isinstance(fault, BudgetExceeded):
        for hook in process.node.instruments.on_limit:
            hook(agent, fault)


def failed(process: WorkerProcess, number: int, data: bytes) -> None:
    """A request could not be read there."""
    request = process.calls.pop(number, None)
    if request is not None:
        request.fail(unpack_error(data, process.node))


ANSWERS: Final[dict[str, Callable[..., None]]] = {
    one.__name__: one
    for one in (
        cast,
        call,
        signal,
        link,
        unlink,
        monitor,
        demonitor,
        ask,
        letter,
        taken,
        lost,
        finding,
        failed,
        governed,
        limit,
        lodged,
    )
}
"""By the first word of a frame."""


# -- What workers have run here by `ask`


async def spawn(node: Node, args: tuple[Any, ...], options: dict[str, Any]) -> Ref:
    """`Node.spawn` of a worker."""
    ref: Ref = await node.spawn(*args, **options)
    return ref


async def wait_exit(node: Node, target: Target) -> ExitReason:
    """`Ref.wait_exit` of a worker."""
    agent = _find(node, target)
    if agent is None or agent._o_status == EXITED:
        return NOPROC
    return await node.lifecycle.wait_exit(agent)


def join(node: Node, group: str, ref: Ref) -> None:
    """`Groups.join` of a worker."""
    node.groups.join(group, ref)


def leave(node: Node, group: str, ref: Ref) -> None:
    """`Groups.leave` of a worker."""
    node.groups.leave(group, ref)


def publish(node: Node, group: str, message: Any) -> None:
    """`Groups.publish` of a worker."""
    node.groups.publish(group, message)
