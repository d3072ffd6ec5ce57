"""What runs in a worker: its agents, on a scheduler as the node's own, and the way to all others.

An agent here is an ordinary agent with the pid that the node's process gave it. Agents elsewhere are stubs, whose mailbox
is the link. Names of agents here are known here; others are looked up by the node's process when they are used.

    stubs.py  agents elsewhere     worker_node.py  the node     progress.py  what is told of agents here
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from threading import get_ident
from typing import Any
from weakref import WeakValueDictionary

from observe.runtime import bonds
from observe.runtime.agent import Agent
from observe.runtime.bonds import Monitor
from observe.runtime.calls import Call, envelope
from observe.runtime.carrying import carried_from
from observe.runtime.checkpoint import STATE
from observe.runtime.children import ChildSpec
from observe.runtime.containment_far import Sieve
from observe.runtime.errors import BudgetExceeded, InitFailed, MailboxFull, NotSendable
from observe.runtime.exits import SHUTDOWN, Crash, ExitReason
from observe.runtime.findings import Finding
from observe.runtime.governed import Governed, tell_apart
from observe.runtime.instrument import Instrument
from observe.runtime.mailbox import has_room
from observe.runtime.workers.alarm import raise_alarm
from observe.runtime.workers.link import Frame, Link
from observe.runtime.workers.packing import (
    pack,
    pack_error,
    pack_reason,
    settle,
    unpack,
    unpack_error,
    unpack_reason,
)
from observe.runtime.workers.places import FarChild
from observe.runtime.workers.progress import Progress, row_of
from observe.runtime.workers.stubs import Reply, Stub, Target, new_stub
from observe.runtime.workers.worker_node import WorkerLifecycle, WorkerNode

Refer = Callable[[int, Callable[[str, str], None]], None]
"""Takes a pid, and who wants to know the trace and the span."""


class Inside(Instrument):
    """One worker, from within."""

    def __init__(self, loop: AbstractEventLoop, boot: dict[str, Any], alarm: socket.socket) -> None:
        self.loop = loop
        self._alarm = alarm
        self.serial: int = boot["serial"]
        self.number: int = boot["number"]
        self.beat: Callable[[], None] | None = None
        """What the control thread does at each of its turns; then it has one every `BEAT_S`."""
        self.thread_id = get_ident()
        self.link = Link(loop, self._on_frame, self._on_lost)
        self.calls: dict[int, Call] = {}
        """Requests to agents elsewhere."""
        self.keys: dict[str, int] = {}
        """By the key of its checkpoints: the pid of the agent that has them."""
        self.numbers = count(1)
        self.monitors: dict[int, Monitor] = {}
        """Monitors of agents elsewhere."""
        self.node = WorkerNode(self, boot["node"])
        self._stubs: WeakValueDictionary[Target, Stub] = WeakValueDictionary()
        self._asks: dict[int, Future[Any]] = {}
        self.progress = Progress(self)
        self._crash: Crash | None = None
        self._sieve = Sieve()
        self.refer: Refer | None = None
        """Where an agent is in its trace, or will be in a moment; None where nothing is traced."""
        self._governed: list[tuple[Governed, list[str]]] = []
        """Decided in this turn of the loop, for agents whose trace begins only now."""
        tell_apart(self.serial)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._over: Future[None] = loop.create_future()

    async def serve(self, link: socket.socket) -> None:
        """Until the node's process says that it is enough."""
        await self.node.open()
        self.node.instruments.add(self)
        self.node.scheduler.collect()
        await self.loop.create_connection(lambda: self.link, sock=link)
        await self._over
        self.link.close()

    def _on_lost(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def stub(self, target: Target) -> Stub:
        """Who stands here for an agent elsewhere."""
        stub = self._stubs.get(target)
        if stub is None:
            stub = self._stubs[target] = new_stub(self, target)
        return stub

    def ask(self, function: Any, *args: Any) -> Future[Any]:
        """Have `function(node, *args)` run in the node's process."""
        data = pack((function, args), "a question to the node")
        number = next(self.numbers)
        told: Future[Any] = self.loop.create_future()
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
        if what == "call":  # a function of a module that both can import
            function, *rest = args
            return function(node, *rest)
        return f"unknown question {what!r}"

    # -- Frames

    def _on_frame(self, frame: Frame) -> None:
        op = frame[0]
        if op == "cast":
            _, pid, data, headers = frame
            agent = self._count(pid)
            if agent is not None:
                try:
                    message = unpack(data, self.node)
                    carried = carried_from(headers)
                    self._put(agent, message if carried is None else envelope(message, agent, carried))
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
        elif op == "bury":
            agent = self.node.agents.get(frame[1])
            if agent is not None:
                # Its successor may take its name before its step has unwound.
                if agent._o_child.name is not None:
                    self.node.lifecycle.registry.pop(agent._o_child.name, None)
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
                settle(told, ok, data, self.node)
        elif op == "ask":
            self._asked(*frame[1:])
        elif op == "close":
            self.loop.create_task(self._close())

    def _somebody(self, pid: int) -> Agent | None:
        if not pid:
            return None
        return self.node.agents.get(pid) or self.stub(pid)

    def _put(self, agent: Agent, message: Any) -> None:
        if agent.mailbox_limit is not None and agent.overflow in ("drop_oldest", "drop_newest"):
            is_lost = agent.overflow == "drop_newest" and not has_room(agent)
            mailbox = agent._o_mailbox
            if mailbox is not None:
                mailbox.append(message)
            else:
                agent._o_first(message)
            if is_lost:
                self.progress.lost(agent)
        else:
            agent._o_deliver(message)  # the limit was kept where it was sent

    def _count(self, pid: int) -> Agent | None:
        agent = self.node.agents.get(pid)
        if agent is not None:
            self.progress.came(agent)
        return agent

    def _called(self, pid: int, number: int, data: bytes, headers: dict[str, str] | None) -> None:
        agent = self._count(pid)
        if agent is None:
            return  # the node's process knows that it has ended, or will hear
        call = Call(None, agent)
        call.future = Reply(self, number, call)  # type: ignore[assignment]  # as much of one as a Call needs
        try:
            call.message = unpack(data, self.node)
            call.carried = carried_from(headers)
            self._put(agent, call)
        except (NotSendable, MailboxFull) as fault:
            self.link.send(("failed", number, pack_error(fault)))

    def _asked(self, number: int, data: bytes) -> None:
        try:
            function, args = unpack(data, self.node)
            value = function(self.node, *args)
            if asyncio.iscoroutine(value):
                value = self.loop.create_task(value)
                self._tasks.add(value)
                value.add_done_callback(self._tasks.discard)
        except Exception as error:
            self.link.send(("told", number, False, pack_error(error)))
            return
        if asyncio.isfuture(value):
            value.add_done_callback(partial(self._answer, number))
        else:
            self._tell(number, value)

    def _answer(self, number: int, value: Future[Any]) -> None:
        error = asyncio.CancelledError() if value.cancelled() else value.exception()
        if error is not None:
            self.link.send(("told", number, False, pack_error(error)))
        else:
            self._tell(number, value.result())

    def _tell(self, number: int, value: Any) -> None:
        try:
            answer = pack(value, "the answer")
        except NotSendable as fault:
            self.link.send(("told", number, False, pack_error(fault)))
        else:
            self.link.send(("told", number, True, answer), len(answer))

    # -- Agents

    def _start(self, pid: int, data: bytes) -> None:
        try:
            cls, args, kwargs, name, child_id, shutdown_s, charged, place, fences = unpack(data, self.node)
            spec = ChildSpec(cls, args, kwargs, id=child_id, name=name, shutdown_s=shutdown_s)
            spec.plan = None
            child = FarChild(spec, child_id, place, charged)
            if place is not None:
                self.keys[STATE + place.key] = pid
            lifecycle = self.node.lifecycle
            assert isinstance(lifecycle, WorkerLifecycle)
            self.progress.begin(pid)
            if fences:  # before its `init`, which they hold for as well
                self.node.govern().containment.take(child, fences)
            started = lifecycle.start_as(pid, child)
        except Exception as error:
            self._not_started(pid, error)
            return
        if isinstance(started, Agent):
            self._has_started(started)
            return

        def done(future: Future[Agent]) -> None:
            error = None if future.cancelled() else future.exception()
            if error is None:
                self._has_started(future.result())
            else:
                self._not_started(pid, error)

        started.add_done_callback(done)

    def _has_started(self, agent: Agent) -> None:
        self.progress.shift(agent)
        bonds = agent._o_bonds
        generation = bonds.care.generation if bonds is not None and bonds.care is not None else 0
        self.link.send(("started", agent._o_pid, True, str(generation).encode()))

    def _not_started(self, pid: int, error: BaseException) -> None:
        self.progress.forget(pid)
        cause = error.__cause__ if isinstance(error, InitFailed) and error.__cause__ is not None else error
        crash, self._crash = self._crash, None
        trace = crash.traceback if crash is not None and crash.pid == pid else ""
        self.link.send(("started", pid, False, pack_error(cause, trace, crash.fingerprint if crash else "")))

    def on_crash(self, crash: Crash) -> None:
        self._crash = crash

    def on_spawn(self, agent: Agent) -> None:
        if not self.progress.knows(agent._o_pid):  # not started by the node's process, which is told of it
            child = agent._o_child
            self.link.send(
                ("lodged", agent._o_pid, type(agent).__name__, str(child.id), child.supervisor_pid)
            )

    def on_exit(self, agent: Agent, reason: ExitReason) -> None:
        pid = agent._o_pid
        starting = False
        crash, self._crash = self._crash, None
        in_hand, left = self._left_in_hand(agent, crash)
        told = self.progress.of(agent, in_hand)
        if told is not None:
            self.link.send(("done", [told]))
        self.link.send(("rows", [row_of(agent)]))
        self.progress.forget(pid)
        key = STATE + agent._o_child.far_key
        if self.keys.get(key) == pid:
            del self.keys[key]
        trace = fingerprint = ""
        message: bytes | None = None
        if in_hand:
            try:
                message = pack(left, "the message in hand")
            except NotSendable:
                pass
        if crash is not None and crash.pid == pid:
            trace, fingerprint = crash.traceback, crash.fingerprint
            if not crash.has_message:
                self._crash = crash  # of an `init`: `_not_started` tells it
                starting = True
        if not starting:
            is_ours = told is not None and told[2]
            self.link.send(("ended", pid, pack_reason(reason, trace, fingerprint), message, in_hand, is_ours))
        for number, made in list(self.monitors.items()):
            if made._watcher is agent:
                del self.monitors[number]

    def _left_in_hand(self, agent: Agent, crash: Crash | None) -> tuple[bool, Any]:
        """Whether the agent has ended in the middle of a message, and which."""
        lifecycle = self.node.lifecycle
        assert isinstance(lifecycle, WorkerLifecycle)
        cut = lifecycle.cut.pop(agent._o_pid, None)
        if crash is not None and crash.pid == agent._o_pid:
            return crash.has_message, crash.message
        care = agent._o_bonds.care if agent._o_bonds is not None else None
        if care is not None:
            past = (
                agent._o_child.past_of()
            )  # whatever the plan: the node's process decides what becomes of it
            return (True, past.message) if past.has_message else (care.has_message, care.message)
        return (True, cut.message) if cut is not None else (False, None)

    def on_limit(self, owner: Agent, error: BudgetExceeded) -> None:
        self.link.send(("limit", owner._o_pid, pack_error(error)))

    def on_governed(self, event: Governed) -> None:
        if event.what == "containment" and self.progress.knows(event.pid):
            return  # the node's process has ordered it, or is being told
        told = self._sieve.take(event)
        if told is None:
            return
        where: list[str] = []
        if self.refer is not None:
            self.refer(event.pid, lambda trace, span: where.extend((trace, span)))
            if self._governed or not where:
                # Usually the run to which it belongs begins right after.
                if not self._governed:
                    self.loop.call_soon(self._tell_governed)
                self._governed.append((told, where))
                return
        self._send_governed(told, where)

    def _tell_governed(self) -> None:
        waiting, self._governed = self._governed, []
        for told, where in waiting:
            self._send_governed(told, where)

    def _send_governed(self, told: Governed, where: list[str]) -> None:
        if where:
            told = replace(told, trace=where[0], span=where[1])
        self.link.send(("governed", pack(told, "what was decided about an agent")))

    def on_finding(self, finding: Finding) -> None:
        if not raise_alarm(self._alarm, finding):
            self.loop.call_soon_threadsafe(self.link.send, ("finding", pack(finding, "a finding")))

    async def _close(self) -> None:
        lifecycle = self.node.lifecycle
        for agent in reversed(list(lifecycle.agents.values())):
            lifecycle.exit(agent, SHUTDOWN)
        for agent in list(lifecycle.agents.values()):
            await lifecycle.wait_exit(agent)
        self._on_lost()
