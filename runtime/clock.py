"""The clocks of the runtime.

Durations come from the monotonic clock, which on Linux and macOS is one clock for all processes of the machine: the
probe compares the service's readings with its own. Wall time is only ever shown to people.
"""

from __future__ import annotations

from time import monotonic_ns as now_ns
from time import time as wall_s

__all__ = ["now_ns", "now_us", "wall_s"]


def now_us() -> int:
    """Monotonic time in microseconds."""
    return now_ns() // 1000
