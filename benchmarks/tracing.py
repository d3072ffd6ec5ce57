"""What tracing costs messages that belong to no trace: throughput without tracing, with it set up, and with a span open
somewhere else; and what a span costs, beside what the OpenTelemetry SDK takes for one.

One process runs short rounds of each state in turns. A figure is the median of ratios of neighbouring rounds, by the processor
time of the event loop's thread: what others do on the machine meanwhile, and the exporting threads, do not count. The first
state runs twice, so that the ratio of a state to itself shows how far these figures can be trusted.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any

from opentelemetry.sdk.trace import TracerProvider

from benchmarks.measure import Result, median
from benchmarks.messages import Asker, Async
from observe.runtime import Agent, Node
from observe.runtime.testing import settled
from observe.tracing import Tracing, setup

CASTS = 10_000
CALLS = 2_000
SPANS = 1_000
ROUNDS = 25
NOWHERE = "http://127.0.0.1:9"
"""Nothing that is measured here waits for a backend."""

OFF, OFF_AGAIN, IDLE, ELSEWHERE = (
    "not set up",
    "not set up, again",
    "set up and idle",
    "a span open elsewhere",
)


class Busy(Agent):
    """Opens activities, each with a span while there is tracing, or none."""

    async def handle(self, message: tuple[str, int]) -> float:
        what, count = message
        began = time.thread_time()
        for _ in range(count):
            async with self.activity(what):
                pass
        return time.thread_time() - began


class Caster(Agent):
    """Casts to another agent many times, as an agent without a span does."""

    async def handle(self, message: Any) -> None:
        ref, count = message
        for number in range(count):
            ref.cast(number)


async def timed(work: Callable[[], Awaitable[None]]) -> float:
    """Processor time of this thread in seconds."""
    gc.collect()
    began = time.thread_time()
    await work()
    return time.thread_time() - began


def tracing_for(node: Node) -> Tracing:
    """Tracing into the void."""
    return setup(node, endpoint=NOWHERE, set_global=False)


async def in_states(node: Node, work: Callable[[], Awaitable[None]]) -> dict[str, list[float]]:
    """Seconds of each round of `work`, by state."""
    took: dict[str, list[float]] = {state: [] for state in (OFF, OFF_AGAIN, IDLE, ELSEWHERE)}
    await work()
    for _ in range(ROUNDS):
        for state, seconds in took.items():
            with ExitStack() as stack:
                if state in (IDLE, ELSEWHERE):
                    tracing = tracing_for(node)
                    stack.callback(tracing.shutdown, 0.0)
                    if state == ELSEWHERE:
                        span = tracing.tracer_provider.get_tracer("bench").start_span("elsewhere")
                        stack.callback(span.end)
                seconds.append(await timed(work))
    return took


async def messages() -> list[Result]:
    """Casts and calls in each state."""
    results = []
    async with Node("bench-tracing") as node:
        ref, caster, asker = await node.spawn(Async), await node.spawn(Caster), await node.spawn(Asker)

        async def casts() -> None:
            caster.cast((ref, CASTS))
            await settled(node)

        async def calls() -> None:
            await asker.call((ref, CALLS), timeout=None)

        for text, work, count in (
            ("casts, agent to agent", casts, CASTS),
            ("calls, agent to agent", calls, CALLS),
        ):
            took = await in_states(node, work)
            rate = count / median(took[OFF])
            for state in (OFF_AGAIN, IDLE, ELSEWHERE):
                ratio = median([new / old for new, old in zip(took[state], took[OFF], strict=True)])
                cost = 100 * (ratio - 1)
                note = f"{rate:,.0f}/s of one core without tracing"
                results.append(Result(f"{text}: {state}", cost, "% more processor time", note=note))
    return results


async def spans() -> list[Result]:
    """A span by OpenTelemetry's SDK alone, and an activity with one, in turns."""
    provider = TracerProvider(shutdown_on_exit=False)
    tracer = provider.get_tracer("bench")
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
    bare, plain, traced = [], [], []
    async with Node("bench-spans") as node:
        busy = await node.spawn(Busy)
        for _ in range(ROUNDS):
            gc.collect()
            began = time.thread_time()
            for _ in range(SPANS):
                tracer.start_span("execute_tool search", attributes=attributes).end()
            bare.append(time.thread_time() - began)
            plain.append(await busy.call(("tool:search", SPANS), timeout=None))
            tracing = tracing_for(node)
            traced.append(await busy.call(("tool:search", SPANS), timeout=None))
            tracing.shutdown(0.0)
    us = 1e6 / SPANS
    more = [new - old for new, old in zip(traced, plain, strict=True)]
    return [
        Result("a span, OpenTelemetry's SDK alone", us * median(bare), "us"),
        Result("an activity, without tracing", us * median(plain), "us"),
        Result(
            "an activity's span",
            us * median(more),
            "us more",
            note="processors, metrics and context included",
        ),
        Result(
            "an activity's span to the SDK's",
            median([a / b for a, b in zip(more, bare, strict=True)]),
            "times",
        ),
    ]


def run() -> list[Result]:
    """Entry point for `python -m benchmarks tracing`."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # nobody listens at NOWHERE, as intended
    return asyncio.run(messages()) + asyncio.run(spans())
