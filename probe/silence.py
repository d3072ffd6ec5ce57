"""Why nothing of the service runs: C code keeps the interpreter lock, or the operating system lets the process not run.

From beside it both look alike: no thread moves. An agent that happened to run is to blame for neither a debugger, a signal
that stops the process, nor a machine that is used up.
"""

from __future__ import annotations

from typing import Final, Literal

import psutil

Why = Literal["c", "stopped", "starved"]

LOOKED_S: Final = 1.0
"""For so long it must have been looked at before it is said to be starved."""

STARVED: Final = 0.02
"""A process that is ready to run and gets less than this share of a core is starved of processor. On a machine that is merely
busy it gets more."""


class Silence:
    """Decides it from what the system says of the process, again and again while nothing runs."""

    def __init__(self) -> None:
        self._begin: tuple[int, float, float] | None = None
        """Which silence it is, and when it was first looked at, with the processor time that had been used by then."""

    def why(self, silence: int, now: float, status: str, used_s: float) -> Why:
        """
        Args:
            silence: a number that names this silence.
            now: seconds on the clock of the looks.
            status: of the process, in psutil's words.
            used_s: processor time that it has used in all.
        """
        if status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP):
            return "stopped"
        if self._begin is None or self._begin[0] != silence:
            self._begin = (silence, now, used_s)
        looked_s, got_s = now - self._begin[1], used_s - self._begin[2]
        is_ready = (
            status == psutil.STATUS_RUNNING
        )  # one that waits inside of C code has given the processor away
        return "starved" if is_ready and looked_s >= LOOKED_S and got_s < STARVED * looked_s else "c"
