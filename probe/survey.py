"""A look at several nodes at once: who answers, as what, and why not. Nobody waits for a node longer than agreed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from observe.probe.client import connect
from observe.probe.errors import AttachError
from observe.probe.resolving import Sought
from observe.probe.wire import NodeInfo

AT_ONCE: Final = 100
"""Connections at a time: each takes a few descriptors."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a look at one node showed."""

    node: str
    """As it was named."""
    endpoint: str
    info: NodeInfo | None
    """None when it did not answer."""
    trouble: str = ""
    """Why it did not, in one line."""
    hint: str = ""


async def survey(nodes: Sequence[str | Sought], timeout_s: float = 3.0) -> list[Sighting]:
    """Look at all these nodes, in their order. None of them holds up another."""
    room = asyncio.Semaphore(AT_ONCE)

    async def look(node: str | Sought) -> Sighting:
        async with room:
            try:
                async with asyncio.timeout(2 * timeout_s), connect(node, timeout_s=timeout_s) as client:
                    return Sighting(str(node), client.endpoint, client.info)
            except AttachError as error:
                return Sighting(str(node), "", None, str(error), error.hint)
            except TimeoutError:
                return Sighting(str(node), "", None, f"no answer within {2 * timeout_s:g} s")

    return list(await asyncio.gather(*(look(node) for node in nodes)))
