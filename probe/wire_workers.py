"""The verb `workers`: the node's worker processes, as they cross the wire."""

from __future__ import annotations

from observe.probe.wire import Held
from observe.probe.wire_base import Told


class WorkerLine(Told):
    """One worker process."""

    number: int
    """What `process` says in the agents table."""
    os_pid: int
    """As the operating system counts; 0 while it is being started."""
    isolated: bool
    """It belongs to one agent, and ends with it."""
    agents: int
    handled: int
    """Messages that its agents have handled."""
    waiting_bytes: int
    """Bytes of messages that it has not read yet. Above 0 for long: it is stuck, or cannot keep up."""
    memory: int
    """Resident bytes; 0 when they could not be measured."""
    cpu: float
    """Share of one core over the last second or so."""
    limits: str = ""
    """Those of its process, for people; empty for none."""
    started_at: float
    held: Held | None = None
    """Who holds its scheduler, if anybody does: the other agents of this worker wait meanwhile."""


class WorkerList(Told):
    """The result of `workers`."""

    workers: list[WorkerLine]
    """By number: those of the node first, then those of single agents."""
