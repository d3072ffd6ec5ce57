"""One worker process, as the node's process sees it: its start, its link, its end.

    node's process                                        worker: a session and a process group of its own
      link    <====== frames, both ways (link.py) ======>   event loop
      control <------ questions and answers ------------>   a thread: answers while the loop is stuck
      lifeline ------ a pipe that never carries a byte -->   the kernel kills the group when it closes
      trace   <------ a file without a name -------------   faulthandler, when it crashes
      alarm   <------ findings (alarm.py) ---------------   the watchdog's thread

When this process ends, however that comes about, the kernel closes the lifeline.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from asyncio import Future
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from observe.runtime.bonds import Monitor
from observe.runtime.calls import Call
from observe.runtime.clock import wall_s
from observe.runtime.errors import WorkerDied
from observe.runtime.exits import KILLED, ExitReason, WorkerTraceback
from observe.runtime.workers.alarm import Alarm
from observe.runtime.workers.boot import boot_bytes
from observe.runtime.workers.limits import Limits
from observe.runtime.workers.link import Frame, Link
from observe.runtime.workers.packing import pack, pack_reason, settle, unpack, unpack_error, unpack_reason
from observe.runtime.workers.requests import ANSWERS, Answer

if TYPE_CHECKING:
    from observe.runtime.node import Node
    from observe.runtime.workers.pool import Workers
    from observe.runtime.workers.remote import Remote

logger = logging.getLogger("observe.runtime")

CLOSE_S: Final = 2.0
"""How long a worker that is told to end may take; then it is killed."""

CONTROL_S: Final = 0.25
"""How long its control thread may take to answer. It does so at once, unless C code holds the interpreter."""

TRACE_BYTES: Final = 16_384


class WorkerProcess:
    """One worker. All of it belongs to the scheduler's thread, except where a method says otherwise."""

    def __init__(self, workers: Workers, number: int, isolated: bool, limits: Limits | None) -> None:
        self.workers = workers
        self.node: Node = workers.node
        self.number = number
        self.serial = workers.next_serial()
        """Unlike `number`, never used again on this node."""
        self.is_isolated = isolated
        """It is one agent's own, and ends with it."""
        self.limits = limits
        self.loop = self.node.loop
        self.thread_id = self.node.scheduler.thread_id
        self.link = Link(self.loop, self._on_frame, self._on_lost)
        self.agents: dict[int, Remote] = {}
        self.calls: dict[int, Call] = {}
        """Requests under way to its agents, by number."""
        self.load = 0
        """Agents that are in it or on their way."""
        self.os_pid = 0
        """0 until it has been started."""
        self.started_at = wall_s()
        self.handled = 0
        """Messages that its agents have handled."""
        self.is_closed = False
        """Nothing is started in it any more."""
        self.over: Future[None] = self.loop.create_future()
        """Done when the process has ended and all its agents with it."""
        self.monitors: dict[tuple[int, int], Monitor] = {}
        """By the watcher's pid and the number that the worker has given it."""
        self._numbers: WeakKeyDictionary[Monitor, int] = WeakKeyDictionary()
        self._asks: dict[int, Future[Any]] = {}
        self._next = count(1)
        self._lost: Future[None] = self.loop.create_future()
        self._control, self._far_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._control_lock = threading.Lock()
        self._alarm = Alarm(self.loop, self._found)
        self._lifeline = -1
        self._process: asyncio.subprocess.Process | None = None
        self._killed = False
        self.death: WorkerDied | None = None
        """How it has ended, once it has."""
        self.tells_itself = False
        """It tells somebody itself how its agents are; this process need not."""
        self._task = self.loop.create_task(self._live())
        for hook in self.node.instruments.on_worker:
            hook(self)

    @property
    def text(self) -> str:
        """How messages to people name it."""
        return f"worker {self.number} (process {self.os_pid})"

    # -- Life of the process

    async def _live(self) -> None:
        """Start it, and see its end."""
        trace = tempfile.TemporaryFile()  # noqa: SIM115  # closed below
        error: WorkerDied
        try:
            try:
                status = await self._run(trace.fileno())
            except (OSError, subprocess.SubprocessError) as fault:
                error = WorkerDied(f"no process could be started: {fault}")
            else:
                error = WorkerDied(_said(status, self.limits), status)
                trace.seek(0)
                text = trace.read(TRACE_BYTES).decode("utf-8", "replace").strip()
                error.__cause__ = WorkerTraceback(
                    f"{text}\n{error}" if text else str(error), f"{abs(status):012x}"
                )
        finally:
            trace.close()
            self._control.close()
            self._far_control.close()
            self._alarm.close()
            if self._lifeline >= 0:
                os.close(self._lifeline)
                self._lifeline = -1
        self._end(error)

    async def _run(self, trace: int) -> int:
        ours, theirs = socket.socketpair()
        life, self._lifeline = os.pipe()
        descriptors = (theirs.fileno(), self._far_control.fileno(), life, trace, self._alarm.far.fileno())
        try:
            try:
                self._process = process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]  # as multiprocessing
                    "-P",
                    "-m",
                    "observe.runtime.workers.entry",
                    *map(str, descriptors),
                    stdin=subprocess.DEVNULL,
                    pass_fds=descriptors,
                    start_new_session=True,  # Ctrl-C in the service's terminal is not for it
                )
            finally:
                theirs.close()
                self._far_control.close()
                self._alarm.far.close()
                os.close(life)
            self.os_pid = process.pid
            if self._killed:
                self.kill()
            ours.setblocking(False)
            await self.loop.sock_sendall(ours, boot_bytes(self.node, self.number, self.serial, self.limits))
            await self.loop.create_connection(lambda: self.link, sock=ours)
        except OSError:
            ours.close()
            if self._process is None:
                raise
        except BaseException:
            ours.close()
            raise
        status = await process.wait()
        self._signal_group(signal.SIGKILL)  # what it has started itself
        if self.link.is_connected:
            await asyncio.wait([self._lost], timeout=1.0)  # its last words
            self.link.close()
        return status

    def _end(self, error: WorkerDied) -> None:
        self.is_closed = True
        self.death = error
        if not self._killed and not self.over.done() and self.agents:
            logger.error("%s: %s; it had %d agents", self.text, error, len(self.agents))
        reason = ExitReason("crash", str(error), error)
        for agent in list(self.agents.values()):
            end = agent._o_away
            end.not_started(error)
            end.ended(reason, None, False, False)
        for asked in self._asks.values():
            if not asked.done():
                asked.set_exception(error)
                asked.exception()
        self._asks.clear()
        for made in self.monitors.values():
            self.node.scheduler.post(forget_monitor, made)
        self.workers.process_ended(self)
        if not self.over.done():
            self.over.set_result(None)

    def _on_lost(self) -> None:
        if not self._lost.done():
            self._lost.set_result(None)
        if not self.is_closed and self._process is not None and self._process.returncode is None:
            # It may be ending, or has closed its end by mistake: without the link it is of no use.
            self.loop.call_later(CLOSE_S, self.kill)

    def kill(self) -> None:
        """End it at once, with what it has started."""
        self.is_closed = True
        self._killed = True
        if self._process is not None and self._process.returncode is None:
            self._signal_group(signal.SIGKILL)
            try:
                self._process.kill()
            except ProcessLookupError:
                pass

    def close(self) -> None:
        """End it in order, or by force when that takes too long."""
        if not self.is_closed:
            self.is_closed = True
            self.link.send(("close",))
            self.loop.call_later(CLOSE_S, self.kill)

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self.os_pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    # -- Agents

    def add(self, agent: Remote, start: bytes) -> None:
        """Start an agent in it."""
        self.agents[agent._o_pid] = agent
        if self.over.done():
            agent._o_away.not_started(WorkerDied(f"{self.text} has ended"))
        self.link.send(("start", agent._o_pid, start), len(start))

    def remove(self, pid: int, is_over: bool, reason: ExitReason) -> None:
        """The agent is buried. If it still runs there, end it: with its process, where that is its own."""
        self.agents.pop(pid, None)
        self.load -= 1
        if self.is_isolated:
            if is_over:
                self.close()
            else:
                self.kill()
        elif not is_over and not self.over.done():
            self.link.send(("bury", pid, pack_reason(reason if reason.kind == "killed" else KILLED)))
            threading.Thread(
                target=self.control, args=("kill", pid, str(reason.text)), name="observe:kill", daemon=True
            ).start()

    def expect(self, call: Call) -> int:
        """A number for a request that goes to it."""
        number = next(self._next)
        self.calls[number] = call
        return number

    def monitor_number(self, made: Monitor) -> int:
        """The worker's own number of a monitor that one of its agents has."""
        return self._numbers.get(made, 0)

    def add_monitor(self, pid: int, number: int, made: Monitor) -> None:
        """One of its agents watches somebody."""
        self.monitors[pid, number] = made
        self._numbers[made] = number

    def ask(self, function: Any, *args: Any) -> Future[Any]:
        """Have `function(node, *args)` run in it, on its loop; a future of what that returns.

        Raises:
            NotSendable: an argument cannot be pickled.
        """
        data = pack((function, args), "a question to a worker")
        number = next(self._next)
        told: Future[Any] = self.loop.create_future()
        self._asks[number] = told
        self.link.send(("ask", number, data))
        return told

    def control(self, what: str, *args: Any) -> Any:
        """Ask its control thread, which answers also while its loop is stuck; a text that says why when it does not.
        From any thread; waits for CONTROL_S at most."""
        with self._control_lock:
            if self.over.done():
                return "its process has ended"
            try:
                self._control.settimeout(CONTROL_S)
                self._control.send(pickle.dumps((number := next(self._next), what, args)))
                while True:
                    heard, answer = pickle.loads(self._control.recv(2**20))
                    if heard == number:  # not one of those that came too late
                        return answer
            except TimeoutError:
                return f"{self.text} does not answer: C code holds its interpreter, or it is stopped"
            except (OSError, EOFError, pickle.UnpicklingError):
                return "its process has just ended"

    # -- Frames

    def _on_frame(self, frame: Frame) -> None:
        op = frame[0]
        if op == "done":
            agents = self.agents
            for pid, finished, in_hand in frame[1]:
                agent = agents.get(pid)
                if agent is not None:
                    agent._o_away.progress(finished, in_hand)
        elif op == "reply":
            self._replied(*frame[1:])
        elif op == "rows":
            for row in frame[1]:
                agent = self.agents.get(row[0])
                if agent is not None:
                    agent._o_away.take_row(row)
        elif op == "ended":
            self._ended(*frame[1:])
        elif op == "started":
            self._started(*frame[1:])
        elif op == "told":
            _, number, ok, data = frame
            told = self._asks.pop(number, None)
            if told is not None and not told.done():
                settle(told, ok, data, self.node)
        else:
            ANSWERS[op](self, *frame[1:])

    def _found(self, data: bytes) -> None:
        ANSWERS["finding"](self, data)

    def _replied(self, number: int, ok: bool, data: bytes) -> None:
        call = self.calls.pop(number, None)
        if call is None or call.done:
            return
        answer: object = call.future
        if not ok:
            call.fail(unpack_error(data, self.node))
        elif isinstance(answer, Answer):
            answer.relay(call, data)
        else:
            try:
                call.reply(unpack(data, self.node))
            except Exception as error:
                call.fail(error)

    def _started(self, pid: int, ok: bool, data: bytes) -> None:
        agent = self.agents.get(pid)
        if agent is None:
            return
        care = agent._o_away.care
        if care is not None and ok:
            care.generation = max(care.generation, int(data or b"0"))
        if not ok:
            agent._o_away.not_started(unpack_error(data, self.node))
        elif not agent._o_away.started.done():
            agent._o_away.started.set_result(None)

    def _ended(
        self, pid: int, reason: bytes, message: bytes | None, has_message: bool, is_ours: bool
    ) -> None:
        agent = self.agents.get(pid)
        if agent is not None:
            shown = unpack(message, self.node) if message is not None else None
            agent._o_away.ended(unpack_reason(reason, self.node), shown, has_message, is_ours)


def forget_monitor(made: Monitor) -> None:
    """The watcher's process is gone."""
    from observe.runtime.bonds import demonitor

    demonitor(made)


def _said(status: int, limits: Limits | None) -> str:
    if status >= 0:
        return f"worker died: exit code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    if name == "SIGXCPU" and limits is not None and limits.cpu_s is not None:
        return f"worker died: {name}, its {limits.cpu_s:,} s of processor time are used up"
    if name == "SIGKILL":
        return f"worker died: {name}, by somebody outside or for want of memory"
    return f"worker died: {name}"
