"""Where an agent that holds a worker process is in its code: asked of the kernel, so that nothing there has to answer.

    probe --signal--> worker: faulthandler --> file of stacks (dump_signal.py) --> probe

Works while C code keeps the interpreter lock there, and while the node's own process is held as well.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Final

import psutil

from observe.probe.dump_signal import read_header
from observe.probe.node_watch import DUMP_FIRST_S, DUMP_MOST_S, STACKS_LIMIT_BYTES, Holding
from observe.probe.stacks import last_stack
from observe.probe.wire_base import Frame

RUNTIME: Final = str(Path(__file__).parent.parent / "runtime") + os.sep
"""What stands in a stack up to the last frame of this folder is not the agent's."""


class WorkerStacks:
    """The stack of whoever holds one worker, again and again for as long as it does."""

    def __init__(self, path: Path, os_pid: int, parent: int) -> None:
        """
        Args:
            path: where the worker's `faulthandler` writes.
            parent: the node's own process. No other process's child is sent a signal: pids come back.
        """
        self._path = path
        self._os_pid = os_pid
        self._parent = parent
        self._header: tuple[int, int] | None = None
        self._slice: tuple[int, int] | None = None
        self._ask_at = 0.0
        self._pause_s = DUMP_FIRST_S
        self._mark_bytes = self._read_bytes = 0
        self._frames: list[Frame] = []

    def look(self, holding: Holding, now: float) -> list[Frame]:
        """The newest stack of this holder, outermost frame first; empty until there is one. To be asked several times a
        second.

        Args:
            now: seconds of any clock that goes forward.
        """
        if self._slice != (holding.pid, holding.since_ns):
            self._slice = holding.pid, holding.since_ns
            self._frames, self._ask_at, self._pause_s = [], now, DUMP_FIRST_S
            self._mark_bytes = self._read_bytes = _size(self._path)
        self._collect()
        if now >= self._ask_at:
            self._ask_at = now + self._pause_s
            self._pause_s = min(self._pause_s * 2, DUMP_MOST_S)
            self._ask()
        return self._frames

    def _collect(self) -> None:
        size = _size(self._path)
        if size != self._read_bytes and self._header is not None:
            self._read_bytes = size
            self._frames = (
                _agents_own(last_stack(self._path, self._header[1], self._mark_bytes)) or self._frames
            )

    def _ask(self) -> None:
        self._header = self._header or read_header(self._path)
        if self._header is None:
            return
        if _size(self._path) > STACKS_LIMIT_BYTES:
            try:
                os.truncate(self._path, 0)
            except OSError:
                return
            self._mark_bytes = self._read_bytes = 0
        try:
            pidfd = os.pidfd_open(self._os_pid)
        except (AttributeError, OSError):  # no such call here, or the process is gone
            return
        try:
            if (
                psutil.Process(self._os_pid).ppid() == self._parent
            ):  # what the descriptor means cannot change any more
                signal.pidfd_send_signal(pidfd, self._header[0])
        except (psutil.Error, OSError):
            pass  # it has ended
        finally:
            os.close(pidfd)


def _agents_own(frames: list[Frame]) -> list[Frame]:
    """Without the runtime's own frames around the agent's, unless there are no others."""
    ours = max((place for place, frame in enumerate(frames) if frame.file.startswith(RUNTIME)), default=-1)
    return frames[ours + 1 :] or frames


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # the worker has not made it yet
