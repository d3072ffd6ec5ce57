"""What tracing costs messages that belong to no trace: throughput without tracing, with it set up, and with a span open
somewhere else; what a span costs, beside what the OpenTelemetry SDK takes for one; and what it costs to trace one function.

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

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from benchmarks.measure import Result, median
from benchmarks.messages import Asker, Async
from observe.runtime import Agent, Node
from observe.runtime.testing import settled
from observe.tracing import Tracing, setup
from observe.tracing.function_session import FunctionSession
from observe.tracing.tail import TailKeep

CASTS = 10_000
CALLS = 2_000
FUNCTION_CALLS = 300
SPANS = 1_000
ROUNDS = 25
NEVER = ParentBased(TraceIdRatioBased(0.0))
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
    # What one of ours has, but made by hand: the attributes, a processor's share apart, and the metric.
    whole: dict[str, Any] = attributes | {
        "gen_ai.agent.name": "Busy", "gen_ai.agent.id": "busy", "observe.pid": 2, "observe.name": "busy", "gen_ai.conversation.id": "c-1",
    }  # fmt: skip
    reader = InMemoryMetricReader()
    histogram = MeterProvider([reader], shutdown_on_exit=False).get_meter("bench").create_histogram("d", "s")
    bare: list[float] = []
    by_hand: list[float] = []
    plain: list[float] = []
    traced: list[float] = []
    held: list[float] = []
    dropped: list[float] = []
    async with Node("bench-spans") as node:
        busy = await node.spawn(Busy)
        for _ in range(ROUNDS):
            gc.collect()
            began = time.thread_time()
            for _ in range(SPANS):
                tracer.start_span("execute_tool search", attributes=attributes).end()
            bare.append(time.thread_time() - began)
            began = time.thread_time()
            for _ in range(SPANS):
                span = tracer.start_span("execute_tool search", attributes=whole)
                token = otel.attach(trace.set_span_in_context(span))
                histogram.record(0.1, attributes)
                otel.detach(token)
                span.end()
            by_hand.append(time.thread_time() - began)
            plain.append(await busy.call(("tool:search", SPANS), timeout=None))
            tracing = tracing_for(node)
            traced.append(await busy.call(("tool:search", SPANS), timeout=None))
            tracing.shutdown(0.0)
            for kept, tail in ((held, TailKeep()), (dropped, None)):
                tracing = setup(node, endpoint=NOWHERE, set_global=False, sampler=NEVER, tail=tail)
                kept.append(await busy.call(("tool:search", SPANS), timeout=None) - plain[-1])
                tracing.shutdown(0.0)
    us = 1e6 / SPANS
    more = [new - old for new, old in zip(traced, plain, strict=True)]
    return [
        Result("a span, OpenTelemetry's SDK alone", us * median(bare), "us"),
        Result(
            "the same with an activity's attributes, context and metric",
            us * median(by_hand),
            "us",
            note="the SDK alone; no exporter",
        ),
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
        Result("an activity's span that is held, sampled out", us * median(held), "us more"),
        Result("an activity's span, sampled out and not held", us * median(dropped), "us more"),
    ]


def ours(query: str, limit: int = 10) -> list[str]:
    """What is traced."""
    return [query] * 3


def beside(query: str, limit: int = 10) -> list[str]:
    """What is not."""
    return [query] * 3


async def functions() -> list[Result]:
    """One function traced: to switch on and off, and a call that is beyond the rate, one that is told, one of another function."""
    figures: dict[str, list[float]] = {
        "on and off": [],
        "beyond": [],
        "told": [],
        "words": [],
        "another": [],
    }

    def session(node: Node, rate: float) -> FunctionSession:
        return FunctionSession(
            node,
            f"{__name__}:ours",
            count=10_000_000,
            for_s=600.0,
            rate=rate,
            sink=lambda _events, _left_out: True,
        )

    def each(function: Callable[..., object]) -> float:
        began = time.thread_time()
        for _ in range(FUNCTION_CALLS):
            function("lamps", limit=3)
        return (time.thread_time() - began) / FUNCTION_CALLS * 1e6

    async with Node("bench-functions") as node:
        for _ in range(ROUNDS):
            bare, _, other = each(ours), each(beside), each(beside)
            began = time.thread_time()
            for _ in range(20):
                one = session(node, 1.0)
                one.start()
                one.stop()
            figures["on and off"].append((time.thread_time() - began) / 20 * 1e6)
            for name, rate in (("beyond", 1e-6), ("told", 1e9)):
                one = session(node, rate)
                one.start()
                ours("first")
                figures[name].append(each(ours) - bare)
                if name == "told":
                    each(beside)  # Python looks at each code once when monitoring is switched on
                    figures["another"].append(each(beside) / other)
                    began = time.thread_time()
                    one.stop()
                    figures["words"].append((time.thread_time() - began) / FUNCTION_CALLS * 1e6)
                one.stop()
                await asyncio.sleep(0)
    return [
        Result("a function traced, on and off", median(figures["on and off"]), "us"),
        Result("a traced call that is beyond the rate", median(figures["beyond"]), "us more"),
        Result(
            "a traced call that is told",
            median(figures["told"]),
            "us more",
            note="in the call itself",
        ),
        Result(
            "the same, put into words afterwards",
            median(figures["words"]),
            "us",
            note="arguments and result masked and cut, on the scheduler's thread",
        ),
        Result(
            "a call of another function meanwhile",
            100 * (median(figures["another"]) - 1),
            "% more processor time",
        ),
    ]


def run() -> list[Result]:
    """Entry point for `python -m benchmarks tracing`."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # nobody listens at NOWHERE, as intended
    return asyncio.run(messages()) + asyncio.run(spans()) + asyncio.run(functions())
