"""How it is with each node of a fleet: one task a node, so that one that is slow or gone holds up no other."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from observe.probe.errors import AttachError
from observe.probe.fleet import Fleet, worst_first
from observe.probe.verbs_findings import StandingFinding
from observe.probe.wire import NodeInfo, Vitals

INTERVAL_S: Final = 1.0
LEAST_PAUSE: Final = 4
"""An answer that took t seconds is followed by a pause of at least this many t: a node that is slow is asked seldom."""


@dataclass(slots=True)
class Sight:
    """How it is with one node, as far as is known."""

    node: str
    """As it was named."""
    state: str = "connecting"
    """`connecting`, `lost`, or what the node says of itself: `up`, `held`, `dead`, `stopped`."""
    text: str = ""
    """Why it is lost, in one line."""
    info: NodeInfo | None = None
    role: str = "viewer"
    vitals: Vitals | None = None
    """The newest; of a lost node the last."""
    came: float = 0.0
    """Monotonic seconds at which they came."""
    findings: list[StandingFinding] = field(default_factory=list)

    @property
    def is_there(self) -> bool:
        """Whether what is shown is how it is now."""
        return self.state in ("up", "held")


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the nodes that are there."""

    nodes: int
    by_state: dict[str, int]
    agents: int
    rate: float
    crashes_min: int
    findings: int
    memory: int
    lag_s: float
    """The worst."""
    probe_cost: float
    """The worst: a share of a core on its node."""


class FleetWatch:
    """Asks every node about once a second. A context manager."""

    def __init__(self, fleet: Fleet, *, interval_s: float = INTERVAL_S, timeout_s: float = 3.0) -> None:
        self.sights = {node: Sight(node) for node in fleet.nodes}
        self.version = 0
        """Changes whenever something is known anew."""
        self._fleet = fleet
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._follow(sight)) for sight in self.sights.values()]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, sight: Sight) -> None:
        await self._fleet.tried(sight.node)
        while True:
            began = time.monotonic()
            await self._look(sight)
            self.version += 1
            await asyncio.sleep(max(self._interval_s, LEAST_PAUSE * (time.monotonic() - began)))

    async def _look(self, sight: Sight) -> None:
        try:
            client = self._fleet.client(sight.node)
        except KeyError:
            sight.state, sight.text = "lost", self._fleet.troubles.get(sight.node, "not attached")
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                vitals = await client.vitals()
                findings = await client.findings()
        except AttachError as error:
            if not self._is_known_dead(sight):
                sight.state, sight.text = "lost", str(error)
            return
        except TimeoutError:
            sight.state, sight.text = "lost", f"no answer within {self._timeout_s:g} s"
            return
        sight.info, sight.role = client.info, client.role
        sight.vitals, sight.came = vitals, time.monotonic()
        sight.state, sight.text = vitals.state, vitals.cause
        sight.findings = findings.findings

    @staticmethod
    def _is_known_dead(sight: Sight) -> bool:
        """The probe of a dead node leaves after a while: that is no news."""
        return sight.state in ("dead", "stopped")

    def totals(self) -> Totals:
        """Sums over the nodes that are there."""
        states = [sight.state for sight in self.sights.values()]
        there = [sight for sight in self.sights.values() if sight.is_there and sight.vitals is not None]
        signs = [sight.vitals for sight in there if sight.vitals is not None]
        return Totals(
            nodes=len(states),
            by_state={state: states.count(state) for state in dict.fromkeys(states)},
            agents=sum(one.agents for one in signs),
            rate=sum(one.rate for one in signs),
            crashes_min=sum(one.crashes_min for one in signs),
            findings=sum(len(sight.findings) for sight in there),
            memory=sum(one.memory for one in signs),
            lag_s=max((one.lag_s for one in signs), default=0.0),
            probe_cost=max((one.probe_cost for one in signs), default=0.0),
        )

    def findings(self) -> list[tuple[str, StandingFinding]]:
        """The findings of all nodes that are there, each with its node: the worst first."""
        found = [
            (sight.node, finding)
            for sight in self.sights.values()
            if sight.is_there
            for finding in sight.findings
        ]
        return worst_first(found)
