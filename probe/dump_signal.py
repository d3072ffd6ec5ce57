"""The service's side of stacks that need nobody's cooperation: `faulthandler` writes them to a file on a signal.

Its handler takes no lock and needs no interpreter lock, so it works while C code keeps every other thread waiting. The file's
first line says which signal and which thread is the scheduler's, for whoever finds the file (`worker_stacks.py`).
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
from io import FileIO
from pathlib import Path
from typing import Final

_IN_USE: Final[set[int]] = set()
"""Signals given to `faulthandler` by this process. Python's own `getsignal` does not know of them."""


class StackDump:
    """Writes all stacks to a file, readable by its owner alone, on a real-time signal that nobody uses."""

    def __init__(self, path: Path, thread: int = 0) -> None:
        self.path = path
        self.number = _free_signal()
        """The signal; None where there is none, as on macOS."""
        self.file: FileIO | None = None
        if self.number is None:
            return
        self.file = FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb")
        if thread:
            self.file.write(header(self.number, thread))
        faulthandler.register(self.number, file=self.file, all_threads=True)
        _IN_USE.add(self.number)

    def close(self) -> None:
        """Take it back, and remove the file. Doing so twice has no effect."""
        if self.number is not None and self.file is not None:
            faulthandler.unregister(self.number)
            _IN_USE.discard(self.number)
            self.file.close()
            self.file = None
            self.path.unlink(missing_ok=True)


def stacks_beside(words: str) -> Path:
    """Where a worker's stacks are, given its page of words."""
    path = Path(words)
    return path.with_name("stacks" + path.name.removeprefix("words"))


def header(number: int, thread: int) -> bytes:
    """The first line of such a file."""
    return f"signal {number} thread {thread}\n".encode()


def read_header(path: Path) -> tuple[int, int] | None:
    """Signal and thread, as the file's first line has them; None when there is no such line."""
    with contextlib.suppress(OSError, ValueError), path.open("rb") as file:
        words = file.readline(100).split()
        if len(words) == 4 and (words[0], words[2]) == (b"signal", b"thread"):
            return int(words[1]), int(words[3])
    return None


def _free_signal() -> int | None:
    first, last = getattr(signal, "SIGRTMIN", None), getattr(signal, "SIGRTMAX", None)
    if first is None or last is None:
        return None
    for number in range(int(first) + 5, int(last)):
        if number not in _IN_USE and signal.getsignal(number) == signal.SIG_DFL:
            return number
    return None
