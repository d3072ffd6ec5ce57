"""Where a scheduler is held, in words: for the probe's sentences and the console's."""

from __future__ import annotations

from typing import Final

WHERE: Final = {
    "python": "in Python code",
    "c": "in C code that keeps the interpreter lock",
    "stopped": "which has stopped the process (a signal such as SIGSTOP, or a debugger)",
    "starved": "which gives the process no processor (the machine, or its share of it, is used up)",
}
SYSTEM: Final = {where: f"the operating system, {WHERE[where]}" for where in ("stopped", "starved")}
"""No code of the service is to blame, and none has a stack worth looking at."""
LET_RUN: Final = {
    "stopped": "`kill -CONT` with its process id, or the debugger, lets it go on",
    "starved": "look at what else runs on the machine, and at the limits of its container",
}


def held_by_system(where: str) -> str:
    """Who keeps the scheduler from running when no code of the service does; empty when some does."""
    return SYSTEM.get(where, "")
