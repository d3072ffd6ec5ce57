"""How a process ended, as far as that can be known by somebody who is not its parent, and how large it had grown.

Only a parent is told the status of its child, and the probe is a child of its service. Two things help on Linux: a
process that nobody has waited for yet still has its status in `/proc/<pid>/stat`; and a pidfd opened in its life tells
the status afterwards (`PIDFD_GET_INFO`, Linux 6.15). Elsewhere the status stays unknown, and the report says so.
"""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PIDFD_GET_INFO: Final = 0xC040_FF0B
"""`_IOWR(0xFF, 11, 64 bytes)`, of `linux/pidfd.h`: the same on all architectures that Python runs on but the oldest."""

INFO_BYTES: Final = 64
INFO_EXIT: Final = 1 << 3
EXIT_OFFSET: Final = 60
"""In `struct pidfd_info`: `mask` at 0 (its bit 3 asks for the exit status, and says that it is there), `exit_code` at 60."""

PATIENCE_S: Final = 0.05
"""A process that has just ended may not have been waited for by its parent yet; then `/proc` knows."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended."""

    exit_code: int | None = None
    """Its exit status, when it ended by itself and that is known."""
    signal: int | None = None
    """The signal that ended it, when that is known."""
    core_dumped: bool = False

    @property
    def is_known(self) -> bool:
        """Whether anything could be found out."""
        return self.exit_code is not None or self.signal is not None

    def __str__(self) -> str:
        if self.signal is not None:
            return f"ended by signal {self.signal} ({signal_name(self.signal)})"
        if self.exit_code is not None:
            return f"ended by itself with exit status {self.exit_code}"
        return "ended, and nobody could say how"


def ending_of(pid: int, pidfd: int | None, *, patience_s: float = PATIENCE_S) -> Ending:
    """How the process ended. To be asked soon after its end; waits for `patience_s` at most."""
    until = time.monotonic() + patience_s
    while True:
        status = _status_of_zombie(pid)
        if status is None and pidfd is not None:
            status = _status_of_pidfd(pidfd)
        if status is not None:
            return _read_status(status)
        if time.monotonic() >= until:
            return Ending()
        time.sleep(0.002)


def _read_status(status: int) -> Ending:
    if os.WIFSIGNALED(status):
        return Ending(signal=os.WTERMSIG(status), core_dumped=os.WCOREDUMP(status))
    return Ending(exit_code=os.WEXITSTATUS(status))


def _status_of_zombie(pid: int) -> int | None:
    """The wait status of a process that nobody has waited for; None when there is none such or we may not look."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    if len(fields) < 50 or fields[0] != "Z":
        return None
    return int(fields[49])


def _status_of_pidfd(pidfd: int) -> int | None:
    """The wait status that the kernel keeps with a pidfd; None on kernels that do not, or before it is known."""
    try:
        import fcntl
    except ImportError:
        return None
    request = struct.pack("<Q", INFO_EXIT).ljust(INFO_BYTES, b"\0")
    try:
        answer = fcntl.ioctl(pidfd, PIDFD_GET_INFO, request)
    except OSError:
        return None
    if not struct.unpack_from("<Q", answer)[0] & INFO_EXIT:
        return None
    status: int = struct.unpack_from("<i", answer, EXIT_OFFSET)[0]
    return status


def signal_name(number: int) -> str:
    """`SIGKILL` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


class HighWater:
    """The most memory that a process has had. To be looked at about once a second while it lives."""

    def __init__(self, pid: int) -> None:
        self._path = Path(f"/proc/{pid}/status")
        self.bytes = 0

    def look(self, resident_bytes: int) -> None:
        """Take what the process has now; the kernel's own mark, where there is one, misses nothing between two looks."""
        self.bytes = max(self.bytes, resident_bytes)
        try:
            text = self._path.read_text("ascii", "replace")
        except OSError:
            return
        mark = text.partition("VmHWM:")[2].split(maxsplit=1)
        if mark and mark[0].isdigit():
            self.bytes = max(self.bytes, int(mark[0]) * 1024)


class MemoryKills:
    """Counts how often the kernel has killed for want of memory in the group of processes that we are in."""

    def __init__(self, read: Callable[[], int | None] | None = None) -> None:
        self._read = read or kills_of_our_group
        self._before = self._read()

    def rose(self) -> bool:
        """Whether it has killed since this was made."""
        now = self._read()
        return now is not None and self._before is not None and now > self._before


def kills_of_our_group() -> int | None:
    """`oom_kill` of our control group (version 2 or 1); None where there is no such count."""
    try:
        lines = Path("/proc/self/cgroup").read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        root = Path("/sys/fs/cgroup")
        if number == "0":
            file = root / path.lstrip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            file = root / "memory" / path.lstrip("/") / "memory.oom_control"
        else:
            continue
        try:
            text = file.read_text("ascii", "replace")
        except OSError:
            continue
        for entry in text.splitlines():
            key, _, value = entry.partition(" ")
            if key == "oom_kill" and value.isdigit():
                return int(value)
    return None
