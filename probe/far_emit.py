"""In a worker process: tells the node's probe how its agents are, itself, whatever the node's own process does.

    worker: FarEmitter ==datagrams==> probe: FarFeed      rows of the agents that changed, each tick
            words (shared memory) --> probe: Processes    who runs, since when, also while the worker is stuck

A Unix datagram socket and not ZeroMQ's: a process with limits on its memory or its threads must not get more of either for being
observed, and ZeroMQ aborts where it cannot have them. What the socket takes has arrived, also when the process is killed the
next moment; what it does not take is told with a later tick. So each frame stands for itself, and none is ever missing.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from observe.probe.codec import encode
from observe.probe.dump_signal import StackDump, stacks_beside
from observe.probe.far_audited import FarFields
from observe.probe.far_doings import FarDoings
from observe.probe.words import WORD_LOOP_NS, WORD_THREAD_NS, Words
from observe.runtime.node import Node
from observe.runtime.snapshot import row_values
from observe.tracing.kinds import clean

if TYPE_CHECKING:
    from observe.runtime.agent import Agent
    from observe.runtime.workers.worker_node import WorkerNode

logger = logging.getLogger("observe.probe")

ROWS: Final = 500
"""Agents in one frame: 36 kB, which a socket takes at once, at half a millisecond or so."""

TURN_NS: Final = 4_000_000
"""After so long a turn ends; the rest is told in the next."""

AGAIN_S: Final = 0.2
"""Between two looks whether there is a probe."""

LONGEST_PAUSE_S: Final = 10.0
"""Between two ticks, however expensive they are."""

TEXT_CHARACTERS: Final = 256


class FarEmitter:
    """Feeds the node's probe from one worker. All of it belongs to the worker's loop."""

    def __init__(self, node: WorkerNode, path: str, words: str, tick_s: float, budget: float) -> None:
        self._node = node
        self._inside = node.inside
        self._path = path
        self._words_path = words
        self._tick_s = tick_s
        self._budget = budget
        self._owner = os.getpid()
        self._socket: socket.socket | None = None
        self._words = Words.create(Path(words))
        self._stacks = StackDump(stacks_beside(words), node.scheduler.thread_id)
        self._doings = FarDoings(node)
        self._fields = FarFields(node)
        self._untold: dict[int, None] = {}
        self._seq = 0
        self._next_tick = 0.0
        self._look_at = 0.0
        self._cost_ns = 0
        self._timer = self._inside.loop.call_soon(self._beat)
        node.scheduler.attach_words(self._words.view[:])
        self._inside.progress.untold = self._untold
        self._inside.beat = self._beat_of_thread

    def end(self) -> None:
        """Stop."""
        self._timer.cancel()
        self._doings.end()
        self._fields.end()
        self._inside.beat = None
        self._inside.progress.untold = None
        self._node.scheduler.detach_words()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._words.close()
        self._stacks.close()

    def _beat_of_thread(self) -> None:
        try:
            self._words.view[WORD_THREAD_NS] = time.monotonic_ns()
        except ValueError:
            pass  # closed this very moment

    def _beat(self) -> None:
        if os.getpid() != self._owner:
            return  # a fork of the worker speaks for nobody
        began_ns = time.perf_counter_ns()
        pause_s = self._tick_s
        try:
            self._words.view[WORD_LOOP_NS] = time.monotonic_ns()
            now = self._inside.loop.time()
            if self._connected(now) and now >= self._next_tick and self._untold:
                pause_s = self._tick(began_ns)
        except Exception:  # the edge: a fault in telemetry must not hurt the agents
            logger.exception("a telemetry tick of a worker failed")
            self._hang_up()
        self._cost_ns += time.perf_counter_ns() - began_ns
        self._timer = self._inside.loop.call_later(pause_s, self._beat)

    def _tick(self, began_ns: int) -> float:
        """Tell what has changed. Returns in how many seconds to go on."""
        later: dict[int, None] = {}
        agents = self._node.agents
        while self._untold:
            pids = list(self._untold)[:ROWS]
            chosen = [agent for pid in pids if (agent := agents.get(pid)) is not None]
            if not self._tell(chosen):
                break
            for pid in pids:
                del self._untold[pid]
            later.update(dict.fromkeys(agent._o_pid for agent in chosen if agent._o_queued()))
            if time.perf_counter_ns() - began_ns > TURN_NS:
                break
        is_over = not self._untold
        self._untold.update(later)  # messages pile up without the agent's having a slice
        spent_s = (time.perf_counter_ns() - began_ns) / 1e9
        if not is_over:
            return max(spent_s, 0.001)  # as long for the agents as for us
        pause_s = min(max(0.9 * self._tick_s, spent_s / self._budget), LONGEST_PAUSE_S)
        self._next_tick = self._inside.loop.time() + pause_s
        return self._tick_s

    def _tell(self, agents: list[Agent]) -> bool:
        """Try to send the rows of these. False: not now."""
        if not agents:
            return True
        texts: dict[str, int] = {}

        def number(text: str) -> int:
            return texts.setdefault(clean(text[:TEXT_CHARACTERS]), len(texts) + 1)

        values = row_values(agents, number)
        return self._send(
            "far_rows",
            {
                "mono_us": time.monotonic_ns() // 1000,
                "n": len(agents),
                "data": values.tobytes(),
                "texts": list(texts),
            },
        )

    # -- the socket -------------------------------------------------------------------------------------------------

    def _connected(self, now: float) -> bool:
        if self._socket is not None:
            return True
        if now < self._look_at:
            return False
        self._look_at = now + AGAIN_S
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
        try:
            made.connect(self._path)
        except OSError:
            made.close()
            return False
        self._socket = made
        self._untold.update(dict.fromkeys(self._node.agents))  # whoever is there now has been told nothing
        return True

    def _send(self, kind: str, fields: dict[str, Any]) -> bool:
        assert self._socket is not None
        frame = encode({"t": kind, "seq": self._seq + 1, "worker": self._inside.serial, **fields})
        try:
            self._socket.send(frame)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:  # nobody is there any more
            self._hang_up()
            return False
        self._seq += 1
        return True

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


_emitters: dict[Node, FarEmitter] = {}
"""The one of this worker."""


def begin(node: Node, path: str, words: str, tick_s: float, budget: float) -> None:
    """In the worker: begin to tell."""
    end(node)
    _emitters[node] = FarEmitter(node, path, words, tick_s, budget)  # type: ignore[arg-type]  # a worker's


def end(node: Node) -> None:
    """In the worker: stop."""
    emitter = _emitters.pop(node, None)
    if emitter is not None:
        emitter.end()
