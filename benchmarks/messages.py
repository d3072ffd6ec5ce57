"""Messages a second: one to one, fan-out over 1,000 agents, and round trips; `def` and `async def` handlers."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.measure import Result, at_least, best_rate
from observe.runtime import Agent, Node, Ref
from observe.runtime.testing import settled

MESSAGES = 50_000
CALLS = 10_000
FAN = 1_000


class Sync(Agent):
    """Counts in a plain function."""

    def init(self) -> None:
        self.count = 0

    def handle(self, message: Any) -> Any:
        self.count += 1
        return message


class Async(Agent):
    """Counts in a coroutine."""

    def init(self) -> None:
        self.count = 0

    async def handle(self, message: Any) -> Any:
        self.count += 1
        return message


class Asker(Agent):
    """Calls another agent many times."""

    async def handle(self, message: tuple[Ref, int]) -> None:
        ref, count = message
        for number in range(count):
            await ref.call(number)


async def one_to_one(node: Node, kind: type[Agent]) -> float:
    """Casts to one agent, from outside."""
    ref = await node.spawn(kind)

    async def work() -> None:
        for number in range(MESSAGES):
            ref.cast(number)
        await settled(node)

    return await best_rate(MESSAGES, work)


async def fan_out(node: Node, kind: type[Agent], burst: int) -> float:
    """Casts over 1,000 agents, `burst` to each before they get to run."""
    refs = [await node.spawn(kind) for _ in range(FAN)]
    rounds = MESSAGES // (FAN * burst)

    async def work() -> None:
        for _ in range(rounds):
            for number in range(burst):
                for ref in refs:
                    ref.cast(number)
            await settled(node)

    return await best_rate(rounds * burst * FAN, work)


async def calls(node: Node, kind: type[Agent]) -> float:
    """Round trips from plain asyncio code."""
    ref = await node.spawn(kind)

    async def work() -> None:
        for number in range(CALLS):
            await ref.call(number)

    return await best_rate(CALLS, work)


async def calls_between_agents(node: Node, kind: type[Agent]) -> float:
    """Round trips from one agent to another."""
    ref = await node.spawn(kind)
    asker = await node.spawn(Asker)

    async def work() -> None:
        await asker.call((ref, CALLS), timeout=None)

    return await best_rate(CALLS, work)


async def measure() -> list[Result]:
    """All figures of this module."""
    results: list[Result] = []
    async with Node("bench") as node:
        for kind, text, goal in ((Sync, "def", 1_000_000), (Async, "async def", 1_000_000)):
            results += [
                at_least(f"cast, one to one, {text}", await one_to_one(node, kind), "messages/s", goal),
                at_least(
                    f"cast, 1,000 agents, bursts of 10, {text}",
                    await fan_out(node, kind, 10),
                    "messages/s",
                    goal,
                ),
                Result(f"cast, 1,000 agents, one each, {text}", await fan_out(node, kind, 1), "messages/s"),
                at_least(f"call, from asyncio, {text}", await calls(node, kind), "calls/s", 200_000),
                at_least(
                    f"call, agent to agent, {text}",
                    await calls_between_agents(node, kind),
                    "calls/s",
                    200_000,
                ),
            ]
    return results


def run() -> list[Result]:
    """Entry point for `python -m benchmarks messages`."""
    return asyncio.run(measure())
