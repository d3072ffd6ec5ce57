"""The client's methods about the node itself: how it is, what is wrong with it, and who is attached."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from observe.probe import wire, wire_base
from observe.probe.deaths import Deaths
from observe.probe.verbs_findings import StandingFindings
from observe.probe.wire_consoles import Consoles
from observe.probe.wire_workers import WorkerList

T = TypeVar("T", bound=wire_base.Told)


class VitalsClient:
    """Mixed into `NodeClient`."""

    if TYPE_CHECKING:

        async def _ask(self, verb: str, args: Any, result: type[T]) -> T: ...

    async def ping(self) -> float:
        """How long the probe takes to answer, in seconds."""
        began = time.perf_counter()
        await self._ask("ping", wire.NoArgs(), wire.Pong)
        return time.perf_counter() - began

    async def vitals(self, history_s: float = 0.0) -> wire.Vitals:
        """The node's vital signs, with their history over so many seconds."""
        return await self._ask("vitals", wire.VitalsArgs(history_s=history_s), wire.Vitals)

    async def deaths(self, limit: int = 1) -> Deaths:
        """The newest reports of this node's deaths, also of incarnations before this one."""
        return await self._ask("deaths", wire.DeathsArgs(limit=limit), Deaths)

    async def findings(self) -> StandingFindings:
        """What the node has diagnosed of itself and is not over."""
        return await self._ask("findings", wire.NoArgs(), StandingFindings)

    async def consoles(self) -> Consoles:
        """Who is attached, what they watch, and what was left out for them. This client is one of them."""
        return await self._ask("consoles", wire.NoArgs(), Consoles)

    async def workers(self) -> WorkerList:
        """The node's worker processes, those of single agents among them."""
        return await self._ask("workers", wire.NoArgs(), WorkerList)
