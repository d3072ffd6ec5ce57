"""A console in a process of its own, to be stopped by SIGSTOP: watches all that there is to watch, as fast as it may."""

from __future__ import annotations

import asyncio
import sys

from observe.probe.client import connect
from observe.probe.wire_table import Query


async def main() -> None:
    """Attach to `shop`, say so, and read until killed."""
    async with connect("shop", timeout_s=20.0) as node:
        agents = await node.watch_agents(Query(limit=1000), interval_s=0.05)
        events = await node.watch_events(interval_s=0.05)
        vitals = await node.watch_vitals(interval_s=0.05)
        await anext(agents)
        sys.stdout.write("watching\n")
        sys.stdout.flush()

        async def read(watch: object) -> None:
            async for _ in watch:  # type: ignore[attr-defined]  # watches of different things
                pass

        await asyncio.gather(read(agents), read(events), read(vitals))


asyncio.run(main())
