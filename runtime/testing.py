"""A test kit for agents: for our own tests and for yours.

async with Node("test") as node:
    recorder = Recorder.on(node)
    counter = await node.spawn(Counter)
    counter.cast("up")
    await settled(node)
    assert recorder.kinds == ["spawn"]
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from observe.runtime.instrument import Instrument

if TYPE_CHECKING:
    from observe.runtime.activity import Activity
    from observe.runtime.agent import Agent
    from observe.runtime.children import Child
    from observe.runtime.errors import BudgetExceeded
    from observe.runtime.exits import Crash, ExitReason
    from observe.runtime.findings import Finding
    from observe.runtime.ladder import Failure, Rung
    from observe.runtime.node import Node

__all__ = ["Recorded", "Recorder", "eventually", "settled"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One event that a `Recorder` has seen."""

    kind: str
    """The hook without its `on_`."""
    pid: int
    what: Any
    """The exit reason, the crash, the activity, the predecessor's pid, the rung, the error of a limit, the finding;
    None for a spawn."""


class Recorder(Instrument):
    """An instrument that keeps everything it is told, in order."""

    def __init__(self) -> None:
        self.events: list[Recorded] = []

    @classmethod
    def on(cls, node: Node) -> Self:
        """A recorder that listens to `node` from now on."""
        recorder = cls()
        node.instruments.add(recorder)
        return recorder

    @property
    def kinds(self) -> list[str]:
        """The kinds of the events, in order."""
        return [event.kind for event in self.events]

    def of(self, pid: int) -> list[Recorded]:
        """The events of one agent."""
        return [event for event in self.events if event.pid == pid]

    def on_spawn(self, agent: Agent) -> None:
        self.events.append(Recorded("spawn", agent.ref.pid, None))

    def on_exit(self, agent: Agent, reason: ExitReason) -> None:
        self.events.append(Recorded("exit", agent.ref.pid, reason))

    def on_crash(self, crash: Crash) -> None:
        self.events.append(Recorded("crash", crash.pid, crash))

    def on_restart(self, old: Agent, new: Agent) -> None:
        self.events.append(Recorded("restart", new.ref.pid, old.ref.pid))

    def on_activity_start(self, agent: Agent, activity: Activity) -> None:
        self.events.append(Recorded("activity_start", agent.ref.pid, activity.name))

    def on_activity_end(self, agent: Agent, activity: Activity, error: BaseException | None) -> None:
        self.events.append(Recorded("activity_end", agent.ref.pid, activity.name))

    def on_rung(self, child: Child, rung: Rung, failure: Failure) -> None:
        self.events.append(Recorded("rung", failure.at_pid, rung))

    def on_limit(self, owner: Agent, error: BudgetExceeded) -> None:
        self.events.append(Recorded("limit", owner.ref.pid, error))

    def on_finding(self, finding: Finding) -> None:
        self.events.append(Recorded("finding", finding.pid, finding))


async def settled(node: Node) -> None:
    """Wait until no agent is runnable and nothing of the runtime's own is to be done.

    Agents that wait for something outside (a timer, a socket) are left waiting.
    """
    quiet = 0
    while quiet < 2:
        await asyncio.sleep(0)
        quiet = 0 if node.scheduler.armed or node.scheduler.run_queue else quiet + 1


async def eventually(condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """Wait until `condition` returns something true, and return that.

    Raises:
        TimeoutError: it did not within `timeout_s`.
    """
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"{condition} stayed false for {timeout_s:g} s")
        await asyncio.sleep(0.002)
