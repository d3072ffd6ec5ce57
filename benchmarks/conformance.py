"""What following an agent's steps costs: an event in nanoseconds, with one machine, with five, and with none that it matters to.

Events go straight to where hooks bring them, one after the other: that is what each activity, message or decision of an agent costs
beside itself. The goal is 2 microseconds an event.
"""

from __future__ import annotations

import asyncio
import time

from benchmarks.measure import Result, at_most, median
from observe.runtime import Agent, Node
from observe.runtime.conformance import Kind, Machine

EVENTS = 200_000
ROUNDS = 5
GOAL_NS = 2_000.0

STEPS: list[tuple[Kind, str]] = [
    ("begin", "tool:pay"), ("end", "tool:pay"), ("begin", "tool:ship"), ("end", "tool:ship"), ("message", "order"),
    ("begin", "model:chat"), ("end", "model:chat"), ("fail", "tool:search"),
]  # fmt: skip

ONE = [Machine.only("paid", "tool:ship", after="end tool:pay")]
FIVE = [
    *ONE,
    Machine.never("deleted", "tool:search", after="end tool:delete"),
    Machine.at_most("retries", 3, "fail tool:*", until="end tool:*"),
    Machine.at_most("talks", 9, "model:*", until="message *"),
    Machine.never("orders", "message order", after="message close"),
]
KEYED = [Machine.only("paid", "tool:ship", after="end tool:pay", per="order")]
NONE = [Machine.never("nothing", "tool:nothing", after="tool:never")]


class Clerk(Agent):
    def handle(self, message: object) -> None:
        """Nothing: only its steps matter."""


async def event_ns(machines: list[Machine]) -> float:
    """Processor time of one event, the median of some rounds."""
    async with Node("bench", policies=machines, watchdog_s=None) as node:
        clerk = await node.spawn(Clerk)
        agent = node.control.find(clerk.pid)
        conforming = node.govern().conforming
        assert conforming is not None
        track = conforming._tracks[agent._o_child]
        said = {"order": 17}
        rounds = []
        for _ in range(ROUNDS):
            began = time.process_time_ns()
            for _ in range(EVENTS // len(STEPS)):
                for kind, name in STEPS:
                    conforming.event(agent, track, kind, name, said)
            rounds.append((time.process_time_ns() - began) / EVENTS)
        assert not conforming.violations, "telling of violations is not what is measured"
        return median(rounds)


def run() -> list[Result]:
    """An event in nanoseconds, by how many machines it matters to."""
    made = []
    for name, what, machines in (
        ("event_unconcerned", "an event that no machine looks for", NONE),
        ("event_one_machine", "an event, one machine", ONE),
        ("event_five_machines", "an event, five machines", FIVE),
        ("event_per_order", "an event, one machine with a state for each order", KEYED),
    ):
        made.append(at_most(name, asyncio.run(event_ns(machines)), "ns", GOAL_NS, what))
    return made
