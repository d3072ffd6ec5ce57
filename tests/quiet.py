"""What a process has said on stderr, without what it says only because the machine is busy."""

from __future__ import annotations

import re

_BUSY = re.compile(r"(the task .* has held the event loop|.* has held the scheduler) for .*")


def complaints(err: str) -> str:
    """`err` without the watchdog's lines. A start that had to wait for the processor is held up as by a loop."""
    return "".join(line for line in err.splitlines(keepends=True) if not _BUSY.match(line.strip()))
