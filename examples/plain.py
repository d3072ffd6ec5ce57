"""A plain asyncio service, without a single agent, that a console can look into: two lines make it so.

python -m observe.examples.plain        and beside it        observe tasks plain        observe attach plain --screen tasks
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

from observe.probe import Probe
from observe.runtime import Node

Orders = asyncio.Queue[str]


async def take_orders(orders: Orders) -> None:
    """A customer orders something ten times a second."""
    number = 0
    while True:
        number += 1
        await orders.put(f"order-{number}")
        await asyncio.sleep(0.1)


async def pack(orders: Orders) -> None:
    """Pack one order after another; each parcel is shipped by a task of its own."""
    parcels: set[asyncio.Task[None]] = set()
    while True:
        order = await orders.get()
        await asyncio.sleep(0.05)
        parcel = asyncio.create_task(ship(order), name=f"ship {order}")
        parcels.add(parcel)
        parcel.add_done_callback(parcels.discard)


async def ship(order: str) -> None:
    """A courier takes a while."""
    async with asyncio.timeout(30):
        await asyncio.sleep(1.0)


async def main(name: str = "plain") -> None:
    async with Node(name, tasks=True) as node, Probe(node):  # all that observing takes
        print(node.name, flush=True)
        orders: Orders = asyncio.Queue(100)
        async with asyncio.TaskGroup() as group:
            group.create_task(take_orders(orders), name="customers")
            for number in range(3):
                group.create_task(pack(orders), name=f"packer-{number}")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:2]))
