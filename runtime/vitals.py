"""A node's counters at one moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeVitals:
    """The node's counters at one moment. Totals count from the node's start."""

    agents: int
    """Agents alive."""
    handled: int
    """Messages handled, in total."""
    run_queue: int
    """Agents waiting for a slice. Above zero for long: the scheduler has more to do than it can."""
    busy_us: int
    """Microseconds spent in agents' slices, in total."""
    spawned: int
    exited: int
    crashes: int
    restarts: int
    dead_letters: int
    """Messages that reached nobody, in total."""
