"""Traces that were sampled out are kept whole when something in them goes wrong, and cost bounded memory until then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from observe.runtime import Agent, Node
from observe.runtime.testing import eventually, settled
from observe.tracing import Tracing, setup
from observe.tracing.errors import BadSetting
from observe.tracing.message_spans import MessageRule
from observe.tracing.tail import TailKeep
from tests.tracing.receiver import Receiver, attributes
from tests.tracing.traced_agents import Clerk, Faller

NEVER = ParentBased(TraceIdRatioBased(0.0))


class Front(Agent):
    async def handle(self, message: Any) -> Any:
        async with self.activity("model:chat"):
            pass
        async with self.activity("tool:ask"):
            return await self.node.ref("back").call(message)


class Back(Agent):
    async def handle(self, message: Any) -> Any:
        if message == "plain error":
            raise ValueError("without an activity")
        async with self.activity("tool:look"):
            if message == "crash":
                raise ValueError("asked to")
            if message == "slow":
                await asyncio.sleep(0.05)
        return "done"


@pytest.fixture
def backend() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("tail@localhost") as node:
        await node.spawn(Back, name="back")
        await node.spawn(Front, name="front")
        yield node


def sampled_out(node: Node, backend: Receiver, **options: Any) -> Tracing:
    return setup(node, endpoint=backend.url, set_global=False, delay_s=0.05, sampler=NEVER, **options)


WHOLE = ["chat", "execute_tool ask", "execute_tool look", "invoke_agent Back", "invoke_agent Front"]


async def test_a_trace_with_an_error_is_kept_whole_and_others_are_not(node: Node, backend: Receiver) -> None:
    with sampled_out(node, backend) as tracing:
        await node.ref("front").call("work")
        node.ref("front").cast("crash")
        await settled(node)
        statistics = tracing.statistics()
        assert (statistics["started"], statistics["open"], statistics["spans"].put) == (5, 0, 5)
        assert statistics["tail"] == {"held": 5, "let_go": 0, "crowded_out": 0, "traces_kept": 1}
    assert sorted(span.name for span in backend.spans) == WHOLE
    assert len({span.trace_id for span in backend.spans}) == 1
    ids = {span.span_id for span in backend.spans}
    assert [span.name for span in backend.spans if span.parent_span_id not in ids] == ["invoke_agent Front"]
    assert tracing.spans.is_closed


async def test_without_a_rule_nothing_is_held(node: Node, backend: Receiver) -> None:
    with sampled_out(node, backend, tail=None) as tracing:
        node.ref("front").cast("crash")
        await settled(node)
    assert not backend.spans
    assert tracing.statistics()["tail"]["held"] == 0


async def test_slow_traces_are_kept_where_that_is_asked_for(node: Node, backend: Receiver) -> None:
    with sampled_out(node, backend, tail=TailKeep(errors=False, slower_than_s=0.02)):
        await node.ref("front").call("slow")
        await settled(node)
    assert sorted(span.name for span in backend.spans) == WHOLE
    with pytest.raises(BadSetting):
        TailKeep(held=0)


async def test_what_is_held_is_bounded_and_the_oldest_goes_first(node: Node, backend: Receiver) -> None:
    with sampled_out(node, backend, tail=TailKeep(held=20)) as tracing:
        for _ in range(20):
            await node.ref("front").call("work")
        held = tracing.statistics()["tail"]
        assert held["held"] <= 20
        assert held["held"] + held["crowded_out"] == 100
        node.ref("front").cast("crash")
        await settled(node)
    assert sorted(span.name for span in backend.spans) == WHOLE


async def test_what_is_over_for_long_is_let_go(node: Node, backend: Receiver) -> None:
    with sampled_out(node, backend, tail=TailKeep(for_s=0.0)) as tracing:
        for _ in range(3):
            await node.ref("front").call("work")
            await settled(node)
        held = tracing.statistics()["tail"]
        assert held["let_go"] >= 10
        assert held["let_go"] + held["held"] == 15


async def test_an_open_span_of_a_kept_trace_is_ended_when_the_node_dies(
    node: Node, backend: Receiver
) -> None:
    """It is told like a sampled one, lest the trace has no root after a `kill -9`."""
    with sampled_out(node, backend) as tracing:
        await node.spawn(Clerk, node.whereis("back"), name="clerk")
        node.ref("clerk").cast("crash")
        await settled(node)
        hangs = await node.spawn(Hangs)
        hangs.cast("crash")
        await eventually(lambda: tracing._spans.open.statistics()["fresh"] > 0)
        hangs.exit("killed")
        await hangs.wait_exit()


class Hangs(Agent):
    async def handle(self, message: Any) -> None:
        async with self.activity("tool:outer"):
            try:
                async with self.activity("tool:inner"):
                    raise ValueError("inner")
            except ValueError:
                pass
            await asyncio.sleep(60)


async def test_a_message_that_fails_makes_a_span_although_the_dice_said_no(
    node: Node, backend: Receiver
) -> None:
    rule = MessageRule(classes="Back", ratio=1e-12)
    with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05, messages=[rule]):
        assert await node.ref("back").call("work") == "done"
        node.ref("back").cast("plain error")
        await settled(node)
    span = backend.span("process Back")
    assert attributes(span)["error.type"] == "ValueError"
    assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano


async def test_a_kept_trace_is_kept_in_all_processes(
    backend: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of them sees the error."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    async with Node("tails@localhost", workers=1) as node:
        with sampled_out(node, backend):
            near = await node.spawn(Faller, name="near", isolation="none")
            far = await node.spawn(Clerk, near, name="far", isolation="worker")
            first = await node.spawn(Clerk, far, name="first", isolation="none")
            first.cast("fall")
            await eventually(lambda: len(backend.spans) >= 6, 30.0)
            assert {span.name for span in backend.spans} == {
                "invoke_agent Clerk", "execute_tool ask", "invoke_agent Faller", "execute_tool fall",
            }  # fmt: skip
            assert len({span.trace_id for span in backend.spans}) == 1
