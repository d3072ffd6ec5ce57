"""All cores for one service: agents spread over worker processes, and a function mapped over them.

python -m observe.examples.workers        and meanwhile        observe workers mill        observe ps mill --sort process
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Final

from observe.probe import Probe
from observe.runtime import Agent, ChildSpec, Node, Supervisor, supervised_map
from observe.runtime.testing import eventually

PARTS: Final = [range(start, start + 2_000) for start in range(0, 20_000, 2_000)]


class Mill(Agent):
    """Keeps a core busy, and its own count."""

    def init(self) -> None:
        self.found = 0

    def handle(self, part: range) -> tuple[int, int]:
        self.found += primes_in(part)
        return self.found, os.getpid()


def primes_in(part: range) -> int:
    """How many numbers of it are prime. Plain Python, which one core does at a time in one process."""
    return sum(
        number > 1 and all(number % other for other in range(2, int(number**0.5) + 1)) for number in part
    )


def fragile(part: range) -> int:
    """The same, but one part takes its process along."""
    if part == PARTS[4]:
        os._exit(3)
    return primes_in(part)


async def main(name: str = "mill") -> None:
    async with Node(name, workers=2, intensity=5) as node, Probe(node):
        mills = [ChildSpec(Mill, name=f"mill-{number}") for number in range(4)]
        await node.spawn(Supervisor, mills)
        answers = [await node.ref(f"mill-{number}").call(PARTS[number], timeout=60) for number in range(4)]
        processes = {process for _, process in answers}
        print(
            f"4 mills in {len(processes)} processes, {'one of them' if os.getpid() in processes else 'none'} ours"
        )

        found = [
            one.unwrap()
            async for one in supervised_map(primes_in, PARTS, isolation="worker", node=node, timeout=60)
        ]
        print(f"{sum(found):,} primes below 20,000")

        outcomes = supervised_map(
            fragile, PARTS, isolation="process", node=node, max_concurrency=2, timeout=60
        )
        lost = [f"{one.item}: {one.error}" async for one in outcomes if not one.is_ok]
        print(*lost, sep="\n")

        # A worker that dies takes its mills along, and their supervisor brings them back; those of the other go on.
        before = node.whereis("mill-0")
        _, process = await node.ref("mill-0").call(PARTS[0], timeout=60)
        os.kill(process, 9)
        await eventually(lambda: node.whereis("mill-0") not in (None, before), timeout_s=60)
        found_anew, elsewhere = await node.ref("mill-0").call(PARTS[0], timeout=60)
        print(
            f"mill-0 is back with {found_anew} primes, in {'the same' if elsewhere == process else 'another'} process"
        )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:2]))
