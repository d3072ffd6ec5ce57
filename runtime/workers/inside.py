"""What runs in a worker: its agents, on a scheduler as the node's own, and the way to all others.

An agent here is an ordinary agent with the pid that the node's process gave it. Agents elsewhere are stubs, whose mailbox
is the link. Names of agents here are known here; others are looked up by the node's process when they are used.
"""

from __future__ import annotations

import asyncio
import socket
from array import array
from asyncio import AbstractEventLoop, Future
from collections import deque
from collections.abc import Callable
from itertools import count
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, Self
from weakref import WeakValueDictionary

from observe.runtime import bonds
from observe.runtime.agent import EXITED, IDLE, RUNNING, WAITING, Agent
from observe.runtime.bonds import Monitor
from observe.runtime.calls import Call
from observe.runtime.children import Child, ChildSpec
from observe.runtime.errors import (
    AgentExited,
    InitFailed,
    MailboxFull,
    NodeDown,
    NotInWorker,
    NotSendable,
    WrongThread,
)
from observe.runtime.exits import SHUTDOWN, Crash, ExitReason
from observe.runtime.findings import Finding
from observe.runtime.groups import Groups
from observe.runtime.instrument import Instrument
from observe.runtime.lifecycle import Lifecycle
from observe.runtime.node import Node
from observe.runtime.ref import NamedRef, Ref
from observe.runtime.scheduler import Scheduler
from observe.runtime.stacks import Stack
from observe.runtime.supervisor_ref import SupervisorRef
from observe.runtime.workers import requests
from observe.runtime.workers.link import Frame, Link
from observe.runtime.workers.packing import (
    pack,
    pack_error,
    pack_reason,
    unpack,
    unpack_error,
    unpack_reason,
)

if TYPE_CHECKING:
    from observe.runtime.step import Step

TICK_S: Final = 0.1
"""Seconds between two tellings of counters: well within a tick of the node's own telemetry."""

ROWS_A_TICK: Final = 2000
"""Agents told of in one frame; further ones follow in the next tick."""

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
        if type(message) is Call and message.is_cast:
            message = message.message  # a trace context does not cross processes yet
        if type(message) is Call:
            data = pack(message.message, f"the message to agent {target}")
            number = next(inside.numbers)
            inside.calls[number] = message
            inside.link.send(("call", target, number, data), len(data))
        else:
            data = pack(message, f"the message to agent {target}")
            inside.link.send(("cast", target, data), len(data))

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


class WorkerScheduler(Scheduler):
    """Tells after each drain what has been handled."""

    def _run(self, until: Call | None) -> None:
        try:
            super()._run(until)
        finally:
            self._touch()

    def step_hosted(self, step: Step, resume: Callable[[Any], Any], value: Any) -> Any:
        try:
            return super().step_hosted(step, resume, value)
        finally:
            self._touch()

    def mark_dirty(self, agent: Agent) -> None:
        super().mark_dirty(agent)
        self._touch()

    def _touch(self) -> None:
        node = self.node
        if isinstance(node, WorkerNode):
            node.inside.touch()


class Names(dict[str, Agent]):
    """The registry of a worker: agents here by name, and for any other name somebody elsewhere."""

    def __init__(self, inside: Inside) -> None:
        super().__init__()
        self._inside = inside

    def get(self, name: str, default: Any = None) -> Any:
        found = super().get(name)
        return found if found is not None else self._inside.stub(name)

    def __contains__(self, name: object) -> bool:
        return True  # as far as is known here


class WorkerLifecycle(Lifecycle):
    """Starts agents under the pids that they were given, and sends on what is meant for others."""

    def __init__(self, node: WorkerNode, scheduler: Scheduler) -> None:
        super().__init__(node, scheduler, node.instruments)
        self.registry = Names(node.inside)

    def start_as(self, pid: int, child: Child) -> Agent | Future[Agent]:
        """`start` with this pid."""
        self._next_pid = pid
        return self.start(child)

    def exit(self, agent: Agent, reason: ExitReason) -> None:
        if agent._o_away is not None:
            agent._o_away.signal(None, reason)
        else:
            super().exit(agent, reason)

    async def wait_exit(self, agent: Agent) -> ExitReason:
        if isinstance(agent, Stub):
            node = self.node
            assert isinstance(node, WorkerNode)
            reason: ExitReason = await node.inside.ask(requests.wait_exit, agent._o_target)
            return reason
        return await super().wait_exit(agent)


class WorkerGroups(Groups):
    """The node's groups, as far as one can use them without an answer."""

    def __init__(self, inside: Inside) -> None:
        super().__init__()
        self._inside = inside

    def join(self, group: str, ref: Ref) -> None:
        self._inside.tell(requests.join, group, ref)

    def leave(self, group: str, ref: Ref) -> bool:
        self._inside.tell(requests.leave, group, ref)
        return True

    def publish(self, group: str, message: Any) -> int:
        self._inside.tell(requests.publish, group, message)
        return 0  # not known here

    def members(self, group: str) -> list[Ref]:
        raise NotInWorker("the members of a group", "publish to it, or ask an agent of the node's process")

    def which_groups(self) -> list[str]:
        raise NotInWorker("the list of groups", "ask an agent of the node's process")


class WorkerNode(Node):
    """The node, seen from a worker: the same name, and what it does is done in the node's process."""

    def __init__(self, inside: Inside, facts: dict[str, Any]) -> None:
        super().__init__(facts["name"], watchdog_s=facts["watchdog_s"], preempt=facts["preempt"] or False)
        self.inside = inside
        self.incarnation = facts["incarnation"]
        self.started_at = facts["started_at"]

    async def open(self) -> None:
        """Begin: a scheduler and no root supervisor, which is in the node's process."""
        await self._open()
        self.lifecycle.groups = WorkerGroups(self.inside)

    async def start(self) -> Self:
        raise NodeDown(
            "a node cannot be started in a worker. When this comes from the main module, keep what it does apart:\n"
            '  if __name__ == "__main__":\n'
            "      asyncio.run(main())"
        )

    def _make_scheduler(self, loop: AbstractEventLoop) -> Scheduler:
        return WorkerScheduler(self, loop)

    def _make_lifecycle(self, scheduler: Scheduler) -> Lifecycle:
        return WorkerLifecycle(self, scheduler)

    def _ref_to(self, target: Target) -> Ref:
        if isinstance(target, str):
            return NamedRef(self, target)
        agent = self.agents.get(target)
        return Ref(agent if agent is not None else self.inside.stub(target))

    def _root_ended(self, reason: ExitReason) -> None:
        """An agent here has ended, whose supervisor is elsewhere; `Inside.on_exit` has told it."""

    async def spawn(self, *args: Any, **options: Any) -> Ref:  # type: ignore[override]  # the same, for any kind
        ref: Ref = await self.inside.ask(requests.spawn, args, options)
        return ref

    def ref(self, target: Target) -> Ref:
        return self._ref_to(target)

    @property
    def supervisor(self) -> SupervisorRef:
        raise NotInWorker("the root supervisor", "start agents with `await self.node.spawn(...)`")

    def dead_letter(self, target: Agent | str, message: Any, reason: ExitReason | None = None) -> None:
        if type(message) is not Call and isinstance(target, Agent) and not isinstance(target, Stub):
            if target._o_status == EXITED:
                return  # the node's process has kept what it sent
            try:
                self.inside.link.send(("letter", target._o_pid, pack(message, "a dead letter")))
            except NotSendable:
                pass
            return
        super().dead_letter(target, message, reason)


class Inside(Instrument):
    """One worker, from within."""

    def __init__(self, loop: AbstractEventLoop, boot: dict[str, Any]) -> None:
        self._loop = loop
        self.thread_id = get_ident()
        self.link = Link(loop, self._on_frame, self._on_lost)
        self.calls: dict[int, Call] = {}
        """Requests to agents elsewhere."""
        self.numbers = count(1)
        self.monitors: dict[int, Monitor] = {}
        """Monitors of agents elsewhere."""
        self.node = WorkerNode(self, boot["node"])
        self._stubs: WeakValueDictionary[Target, Stub] = WeakValueDictionary()
        self._asks: dict[int, Future[Any]] = {}
        self._order: dict[int, deque[int]] = {}
        """Of each agent: at which of its messages in all those stand that came over the link and are not handled."""
        self._finished: dict[int, int] = {}
        self._changed: dict[int, None] = {}
        self._is_touched = False
        self._has_timer = False
        self._crash: Crash | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._over: Future[None] = loop.create_future()

    async def serve(self, link: socket.socket) -> None:
        """Until the node's process says that it is enough."""
        await self.node.open()
        self.node.instruments.add(self)
        self.node.scheduler.collect()
        await self._loop.create_connection(lambda: self.link, sock=link)
        await self._over
        self.link.close()

    def _on_lost(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def stub(self, target: Target) -> Stub:
        """Who stands here for an agent elsewhere."""
        stub = self._stubs.get(target)
        if stub is None:
            stub = Stub.__new__(Stub)
            stub._o_pid = target if isinstance(target, int) else 0
            stub._o_target = target
            stub._o_scheduler = self.node.scheduler
            stub._o_child = Child(_STUB_SPEC, target, None)
            stub._o_child.name = target if isinstance(target, str) else None
            stub._o_backlog = stub._o_activities = stub._o_bonds = stub._o_step = stub._o_exit = None
            stub._o_status = WAITING
            stub._o_dirty = True
            stub._o_handled = stub._o_busy_ns = stub._o_mailbox_max = stub._o_since_ns = 0
            stub._o_away = stub._o_mailbox = StubEnd(self, target)
            self._stubs[target] = stub
        return stub

    def ask(self, function: Any, *args: Any) -> Future[Any]:
        """Have `function(node, *args)` run in the node's process."""
        data = pack((function, args), "a question to the node")
        number = next(self.numbers)
        told: Future[Any] = self._loop.create_future()
        self._asks[number] = told
        self.link.send(("ask", number, data), len(data))
        return told

    def tell(self, function: Any, *args: Any) -> None:
        """The same, without waiting for what it returns."""
        self.ask(function, *args).add_done_callback(lambda told: told.cancelled() or told.exception())

    def control(self, what: str, *args: Any) -> Any:
        """What the control thread is asked. In that thread."""
        node = self.node
        if what == "stack":
            stack = node.control.stack(node.agents[args[0]])
            frames = [(one.file, one.line, one.function, one.source) for one in stack.frames]
            return stack.status, frames, stack.waiting_on, stack.note
        if what == "kill":
            pid, reason = args
            if pid in node.agents:
                node.control.interrupt(pid, reason)
            return "done"
        return f"unknown question {what!r}"

    # -- Frames

    def _on_frame(self, frame: Frame) -> None:
        op = frame[0]
        if op == "cast":
            _, pid, data = frame
            agent = self._count(pid)
            if agent is not None:
                try:
                    self._put(agent, unpack(data, self.node))
                except NotSendable:
                    self.link.send(("letter", pid, data))
        elif op == "call":
            self._called(*frame[1:])
        elif op == "reply":
            _, number, ok, data = frame
            call = self.calls.pop(number, None)
            if call is not None and not call.done:
                try:
                    if ok:
                        call.reply(unpack(data, self.node))
                    else:
                        call.fail(unpack_error(data, self.node))
                except NotSendable as fault:
                    call.fail(fault)
        elif op == "start":
            self._start(*frame[1:])
        elif op == "exit":
            agent = self.node.agents.get(frame[1])
            if agent is not None:
                self.node.lifecycle.exit(agent, unpack_reason(frame[2], self.node))
        elif op == "signal":
            _, pid, sender, reason = frame
            agent = self.node.agents.get(pid)
            if agent is not None:
                bonds.signal(agent, self._somebody(sender), unpack_reason(reason, self.node))
        elif op == "down":
            made = self.monitors.pop(frame[2], None)
            if made is not None:
                bonds.tell_down(made, unpack_reason(frame[3], self.node))
        elif op == "told":
            _, number, ok, data = frame
            told = self._asks.pop(number, None)
            if told is not None and not told.done():
                if ok:
                    told.set_result(unpack(data, self.node))
                else:
                    told.set_exception(unpack_error(data, self.node))
        elif op == "ask":
            self._asked(*frame[1:])
        elif op == "close":
            self._loop.create_task(self._close())

    def _somebody(self, pid: int) -> Agent | None:
        if not pid:
            return None
        return self.node.agents.get(pid) or self.stub(pid)

    def _put(self, agent: Agent, message: Any) -> None:
        if agent.mailbox_limit is not None and agent.overflow in ("drop_oldest", "drop_newest"):
            mailbox = agent._o_mailbox
            if mailbox is not None:
                mailbox.append(message)
            else:
                agent._o_first(message)
        else:
            agent._o_deliver(message)  # the limit was kept where it was sent

    def _count(self, pid: int) -> Agent | None:
        agent = self.node.agents.get(pid)
        if agent is not None:
            order = self._order.get(pid)
            if order is not None:
                order.append(_entered(agent))
        return agent

    def _called(self, pid: int, number: int, data: bytes) -> None:
        agent = self._count(pid)
        if agent is None:
            return  # the node's process knows that it has ended, or will hear
        call = Call(None, agent)
        call.future = Reply(self, number, call)  # type: ignore[assignment]  # as much of one as a Call needs
        try:
            call.message = unpack(data, self.node)
            self._put(agent, call)
        except (NotSendable, MailboxFull) as fault:
            self.link.send(("failed", number, pack_error(fault)))

    def _asked(self, number: int, data: bytes) -> None:
        try:
            function, args = unpack(data, self.node)
            answer = pack(function(self.node, *args), "the answer")
        except Exception as error:
            self.link.send(("told", number, False, pack_error(error)))
        else:
            self.link.send(("told", number, True, answer), len(answer))

    # -- Agents

    def _start(self, pid: int, data: bytes) -> None:
        try:
            cls, args, kwargs, name, child_id, shutdown_s = unpack(data, self.node)
            spec = ChildSpec(cls, args, kwargs, id=child_id, name=name, shutdown_s=shutdown_s)
            spec.plan = None
            lifecycle = self.node.lifecycle
            assert isinstance(lifecycle, WorkerLifecycle)
            self._order[pid] = deque()
            self._finished[pid] = 0
            started = lifecycle.start_as(pid, Child(spec, child_id, None))
        except Exception as error:
            self._not_started(pid, error)
            return
        if isinstance(started, Agent):
            self.link.send(("started", pid, True, b""))
            return

        def done(future: Future[Agent]) -> None:
            error = None if future.cancelled() else future.exception()
            if error is None:
                self.link.send(("started", pid, True, b""))
            else:
                self._not_started(pid, error)

        started.add_done_callback(done)

    def _not_started(self, pid: int, error: BaseException) -> None:
        self._forget(pid)
        cause = error.__cause__ if isinstance(error, InitFailed) and error.__cause__ is not None else error
        crash, self._crash = self._crash, None
        trace = crash.traceback if crash is not None and crash.pid == pid else ""
        self.link.send(("started", pid, False, pack_error(cause, trace, crash.fingerprint if crash else "")))

    def _forget(self, pid: int) -> None:
        self._order.pop(pid, None)
        self._finished.pop(pid, None)
        self._changed.pop(pid, None)

    def on_crash(self, crash: Crash) -> None:
        self._crash = crash

    def on_exit(self, agent: Agent, reason: ExitReason) -> None:
        pid = agent._o_pid
        starting = pid not in self._order
        crash, self._crash = self._crash, None
        in_hand = crash is not None and crash.pid == pid and crash.has_message
        told = self._progress(agent, in_hand)
        if told is not None:
            self.link.send(("done", [told]))
        self.link.send(("rows", [_row(agent)]))
        self._forget(pid)
        trace = fingerprint = ""
        message: bytes | None = None
        if crash is not None and crash.pid == pid:
            trace, fingerprint = crash.traceback, crash.fingerprint
            if crash.has_message:
                try:
                    message = pack(crash.message, "the message in hand")
                except NotSendable:
                    pass
            else:
                self._crash = crash  # of an `init`: `_not_started` tells it
                starting = True
        if not starting:
            self.link.send(("ended", pid, pack_reason(reason, trace, fingerprint), message, in_hand))
        for number, made in list(self.monitors.items()):
            if made._watcher is agent:
                del self.monitors[number]

    def on_finding(self, finding: Finding) -> None:
        data = pack(finding, "a finding")
        self._loop.call_soon_threadsafe(self.link.send, ("finding", data))

    # -- What has changed

    def touch(self) -> None:
        """Agents have done something: tell it when they have had their turn."""
        if not self._is_touched:
            self._is_touched = True
            self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._is_touched = False
        scheduler = self.node.scheduler
        done = []
        for agent in scheduler.take_dirty(scheduler.dirty):
            self._changed[agent._o_pid] = None
            told = self._progress(agent)
            if told is not None:
                done.append(told)
        if done:
            self.link.send(("done", done))
        if self._changed and not self._has_timer:
            self._has_timer = True
            self._loop.call_later(TICK_S, self._tick)

    def _progress(self, agent: Agent, in_hand: bool = False) -> tuple[int, int, bool] | None:
        pid = agent._o_pid
        order = self._order.get(pid)
        if not order:
            return None
        busy = in_hand or agent._o_step is not None or agent._o_status == RUNNING
        handled = agent._o_handled - busy + _dropped(agent)
        finished = 0
        while order and order[0] < handled:
            order.popleft()
            finished += 1
        if agent._o_status == IDLE and not agent._o_queued():
            finished += len(order)
            order.clear()
        total = self._finished[pid] = self._finished[pid] + finished
        return pid, total, bool(order) and busy

    def _tick(self) -> None:
        self._has_timer = False
        pids = list(self._changed)[:ROWS_A_TICK]
        rows = []
        for pid in pids:
            del self._changed[pid]
            agent = self.node.agents.get(pid)
            if agent is not None:
                rows.append(_row(agent))
                if agent._o_queued():
                    self._changed[pid] = None  # it changes without having a slice
        if rows:
            self.link.send(("rows", rows))
        if self._changed:
            self._has_timer = True
            self._loop.call_later(TICK_S, self._tick)

    async def _close(self) -> None:
        lifecycle = self.node.lifecycle
        for agent in reversed(list(lifecycle.agents.values())):
            lifecycle.exit(agent, SHUTDOWN)
        for agent in list(lifecycle.agents.values()):
            await lifecycle.wait_exit(agent)
        self._on_lost()


def _entered(agent: Agent) -> int:
    """How many messages have come into the agent's mailbox since its start."""
    return agent._o_handled + agent._o_queued() + _dropped(agent)


def _dropped(agent: Agent) -> int:
    found = agent._o_bonds
    return found.overfull.dropped if found is not None and found.overfull is not None else 0


def _row(agent: Agent) -> tuple[Any, ...]:
    doing = agent._o_activities[-1] if agent._o_activities else None
    return (
        agent._o_pid,
        agent._o_status,
        agent._o_queued(),
        agent._o_mailbox_max,
        agent._o_handled,
        agent._o_busy_ns,
        agent._o_since_ns // 1000,
        doing.name if doing is not None else "",
        doing.since_us if doing is not None else 0,
    )
