"""The node's end of one agent of a worker: its mailbox, and how everything else gets there.

What is put into the mailbox is packed and sent on at once, and kept here as well until the worker says that it has been handled.
"""

from __future__ import annotations

import sys
from asyncio import Future
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from observe.runtime import budget
from observe.runtime.agent import EXITED, IDLE, RUNNING, STARTING, STATUS_NAMES, WAITING
from observe.runtime.bonds import Down, Monitor
from observe.runtime.calls import Call
from observe.runtime.carrying import headers_of
from observe.runtime.errors import AgentExited, MailboxFull, WorkerDied, WrongThread
from observe.runtime.exits import KILLED, ExitReason
from observe.runtime.mailbox import overfull_of
from observe.runtime.stacks import Frame, Stack
from observe.runtime.workers.far_care import FarCare
from observe.runtime.workers.link import PENDING_LIMIT_BYTES
from observe.runtime.workers.packing import Packed, pack, pack_reason, unpack

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.node import Node
    from observe.runtime.workers.process import WorkerProcess
    from observe.runtime.workers.remote import Remote

NO_LIMIT: Final = sys.maxsize


class RemoteEnd:
    """This process's end of one agent of a worker: its mailbox, and how everything else gets there."""

    is_stub = False

    def __init__(self, agent: Remote, process: WorkerProcess) -> None:
        self._agent = agent
        self.process = process
        self._unfinished: deque[tuple[Any, int, int]] = deque()
        """Messages sent and not known to be handled, oldest first: message or request, bytes, number of the request."""
        self._bytes = 0
        self._finished = 0
        self._in_hand = False
        self._is_over = False
        """The worker has no such agent any more, or never had."""
        self._ending: Future[None] | None = None
        self.started: Future[None] = process.loop.create_future()
        self.status = STARTING
        self._far_queued = 0
        self._since_us = 0
        self._activity: tuple[str, int] | None = None
        limit = type(agent).mailbox_limit
        kept_here = type(agent).overflow in ("wait", "reject")
        self._limit = limit if limit is not None and kept_here else NO_LIMIT

    @property
    def worker(self) -> int:
        return self.process.number

    # -- The mailbox

    def append(self, message: Any) -> None:
        """Send a message to the agent.

        Raises:
            MailboxFull: no room, by its class's limit or by what may wait for a process.
            NotSendable: it cannot be pickled.
            WrongThread: called from another thread than the node's.
        """
        if not self.has_room():
            agent = self._agent
            overfull_of(agent).refused += 1
            raise MailboxFull(agent._o_text(), self.queued)
        self.deliver(message)

    def deliver(self, message: Any) -> None:
        """`append` without a limit."""
        agent, process = self._agent, self.process
        if process.thread_id != get_ident():
            raise WrongThread
        number = 0
        headers: dict[str, str] | None = None
        if type(message) is Call:
            headers = headers_of(message.carried)
            if message.is_cast:
                message = message.message
        if type(message) is Call:
            data = pack(message.message, f"the message to {agent._o_text()}")
            number = process.expect(message)
            process.link.send(("call", agent._o_pid, number, data, headers), len(data))
        elif type(message) is Down:
            process.link.send(
                ("down", agent._o_pid, process.monitor_number(message.monitor), pack_reason(message.reason))
            )
            return
        else:
            data = pack(message, f"the message to {agent._o_text()}")
            process.link.send(("cast", agent._o_pid, data, headers), len(data))
        size = len(data) + 100
        self._unfinished.append((message, size, number))
        self._bytes += size

    def __len__(self) -> int:
        return self.queued

    def __bool__(self) -> bool:
        return False  # there is nothing in it for the scheduler to run

    @property
    def queued(self) -> int:
        """Messages that wait."""
        return max(len(self._unfinished) - self._in_hand, self._far_queued)

    def has_room(self) -> bool:
        return (
            len(self._unfinished) - self._in_hand < self._limit
            and self._bytes < PENDING_LIMIT_BYTES
            and self.process.link.has_room
        )

    def peek(self, limit: int) -> tuple[list[Any], int]:
        waiting = list(self._unfinished)[self._in_hand :]
        shown = [item.message if type(item) is Call else item for item, _, _ in waiting[:limit]]
        node = self._agent._o_node
        return [unpack(one.data, node) if type(one) is Packed else one for one in shown], self.queued

    def progress(self, finished: int, in_hand: bool) -> None:
        """The worker's word: so many messages have been handled, in all."""
        unfinished = self._unfinished
        for _ in range(min(finished - self._finished, len(unfinished))):
            self._bytes -= unfinished.popleft()[1]
        if finished > self._finished:
            self._finished = finished
            care = self.care
            if care is not None:
                care.handled()
        self._in_hand = in_hand and bool(unfinished)
        self._wake_senders()

    def take_out(self, numbers: list[int]) -> list[Any]:
        """The worker's word: the messages with these numbers, counted from the first ever sent, are out of the mailbox there.
        Returns them as they were sent."""
        unfinished, taken = self._unfinished, []
        for number in sorted(numbers, reverse=True):
            place = number - self._finished
            if not 0 <= place < len(unfinished):
                continue
            message, size, request = unfinished[place]
            del unfinished[place]
            self._bytes -= size
            if request:
                self.process.calls.pop(request, None)
            taken.append(message)
        self._wake_senders()
        return taken[::-1]

    def _wake_senders(self) -> None:
        bonds = self._agent._o_bonds
        if bonds is not None and bonds.overfull is not None and self.has_room():
            bonds.overfull.wake(self._limit - len(self._unfinished) + self._in_hand)

    # -- Life

    @property
    def care(self) -> FarCare | None:
        """What its spec asks for beyond OTP's; None for nothing."""
        bonds = self._agent._o_bonds
        care = bonds.care if bonds is not None else None
        return care if isinstance(care, FarCare) else None

    @property
    def has_started(self) -> bool:
        """Whether its `init` is done."""
        return self.started.done() and not self.started.cancelled() and not self.started.exception()

    def begin(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Start the agent in its process. First of all, so that no message overtakes it.

        Raises:
            NotSendable: an argument, or a part of the child spec, cannot be pickled.
            StoreFault, BadChildSpec: it cannot have the checkpoints that its spec asks for.
        """
        agent, care = self._agent, self.care
        child = agent._o_child
        place = care.place() if care is not None else None
        governing = agent._o_node.governing
        fences = governing.containment.fences_for(agent) if governing is not None else ()
        shown = (
            child.name,
            str(child.id),
            child.spec.shutdown_s,
            budget.is_charged_above(agent),
            place,
            fences,
        )
        start = pack((agent._o_stands_for, args, dict(kwargs), *shown), f"the arguments of {agent._o_text()}")
        self.process.add(agent, start)
        if care is not None and care.has_first:
            self.deliver(child.past_of().take_message())  # what a predecessor had in hand

    async def wait_started(self) -> None:
        """Wait until its `init` is done."""
        await self.started
        self.status = IDLE

    def end(self, reason: ExitReason) -> Coroutine[Any, Any, None] | None:
        """Have the agent end in its worker, with its `terminate`."""
        return None if self._is_over else self._end(reason)

    async def _end(self, reason: ExitReason) -> None:
        self._ending = self.process.loop.create_future()
        self.process.link.send(("exit", self._agent._o_pid, pack_reason(reason)))
        await self._ending

    def ended(self, reason: ExitReason, message: Any, has_message: bool, is_ours: bool) -> None:
        """The worker's word, or its death: the agent is gone there.

        Args:
            message: what it had in hand, if `has_message`.
            is_ours: that one has come from here: it is the oldest of those that are not handled.
        """
        self._is_over = True
        agent = self._agent
        if self.has_started and agent._o_step is not None and agent._o_step.kind == "init":
            # It has ended at once, and whoever waits for its start has not been told yet: first things first.
            self.process.loop.call_soon(self.ended, reason, message, has_message, is_ours)
            return
        if agent._o_status == EXITED or (agent._o_status == STARTING and self._ending is None):
            return
        call: Call | None = None
        if isinstance(reason.error, WorkerDied):
            call, message = self._take_in_hand()
        elif is_ours and self._unfinished:
            call, _ = self._take_in_hand()
        elif has_message and self.care is not None:
            self.care.keep_in_hand(message)
        if self._ending is not None:
            if call is not None:
                call.fail(AgentExited(agent._o_text(), reason))
            if not self._ending.done():
                self._ending.set_result(None)
            return
        agent._o_scheduler.lifecycle.ended(agent, reason, message, call)

    def leave_in_hand(self, has_first: bool) -> None:
        """The agent is ended from here, perhaps in the middle of a message; or has not started, and not handled the
        one that it was to begin with (`has_first`)."""
        if (self._in_hand and not self._is_over) or (has_first and not self.has_started):
            call, _ = self._take_in_hand()
            if call is not None:
                call.fail(AgentExited(self._agent._o_text(), self._agent._o_exit or KILLED))

    def _take_in_hand(self) -> tuple[Call | None, Any]:
        """The oldest of those that are not known to be handled is what the agent has in hand; the others become dead
        letters. Returns its request, if it was one, and the message."""
        if not self._unfinished:
            return None, None
        care = self.care
        message, _, number = self._unfinished.popleft()
        call = None
        if type(message) is Call:
            call, message = message, message.message
            self.process.calls.pop(number, None)
        if type(message) is Packed:
            message = readable(message, self._agent._o_node)
        if care is not None and care.saved <= self._finished:  # else it is in the checkpoint
            care.keep_in_hand(message)
        return call, message

    def not_started(self, error: BaseException) -> None:
        """Its `init` failed, or its process died before that was done."""
        self._is_over = True
        if not self.started.done():
            self.started.set_exception(error)
            self.started.exception()  # somebody else may have given up waiting

    def buried(self, reason: ExitReason) -> None:
        """Gone here: fail who waits, and see to it that it is gone there."""
        agent, process = self._agent, self.process
        if not self.started.done():
            self.started.cancel()
        for message, _, number in self._unfinished:
            process.calls.pop(number, None)
            if type(message) is Call:
                message.fail(AgentExited(agent._o_text(), reason))
            else:
                if type(message) is Packed:
                    message = readable(message, agent._o_node)
                agent._o_node.dead_letter(agent, message, reason, waited=True)
        self._unfinished.clear()
        self.status = EXITED
        process.remove(agent._o_pid, self._is_over, reason)

    # -- What the runtime asks of it

    def signal(self, sender: Agent | None, reason: ExitReason) -> None:
        pid = sender._o_pid if sender is not None else 0
        self.process.link.send(("signal", self._agent._o_pid, pid, pack_reason(reason)))

    def link(self, other: Agent) -> None:
        raise NotImplementedError

    def unlink(self, other: Agent) -> None:
        raise NotImplementedError

    def monitor(self, made: Monitor) -> None:
        raise NotImplementedError

    def demonitor(self, made: Monitor) -> None:
        raise NotImplementedError

    def row(self, activity_id: Callable[[str], int]) -> tuple[int, ...]:
        agent = self._agent
        queued = self.queued
        agent._o_mailbox_max = max(agent._o_mailbox_max, queued)
        status = agent._o_status if agent._o_status in (STARTING, EXITED) else self.status
        name, since_us = self._activity or ("", 0)
        return (
            agent._o_pid,
            status,
            queued,
            agent._o_mailbox_max,
            agent._o_handled,
            agent._o_busy_ns // 1000,
            self._since_us or agent._o_since_ns // 1000,
            activity_id(name) if name else 0,
            since_us,
        )

    def take_row(self, row: tuple[Any, ...]) -> None:
        """The worker's counters of the agent, for the next tick of telemetry."""
        agent = self._agent
        _, self.status, self._far_queued, mailbox_max, handled, busy_ns, self._since_us, doing, doing_us = row
        agent._o_mailbox_max = max(agent._o_mailbox_max, mailbox_max)
        self.process.handled += handled - agent._o_handled
        agent._o_handled = handled
        agent._o_busy_ns = busy_ns
        self._activity = (doing, doing_us) if doing else None
        self._in_hand = self.status in (RUNNING, WAITING) and bool(self._unfinished)
        if not self.process.tells_itself:
            agent._o_scheduler.mark_dirty(agent)

    def ask(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        return self.process.ask(function, *args)

    def facts(self) -> dict[str, Any]:
        process = self.process
        facts = {
            "isolation": "process" if process.is_isolated else "worker",
            "worker": process.number,
            "os_pid": process.os_pid,
        }
        return facts | ({"limits": str(process.limits)} if process.limits is not None else {})

    def stack(self) -> Stack:
        told = self.process.control("stack", self._agent._o_pid)
        if isinstance(told, str):
            return Stack(STATUS_NAMES[self.status], [], None, told)
        status, frames, waiting_on, note = told
        where = f"in {self.process.text}"
        return Stack(
            status, [Frame(*frame) for frame in frames], waiting_on, f"{note}; {where}" if note else where
        )


def readable(message: Packed, node: Node) -> Any:
    """What it says, or why that cannot be read here."""
    try:
        return unpack(message.data, node)
    except Exception as error:
        return f"<a message that cannot be read here: {error}>"
