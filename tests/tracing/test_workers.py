"""Traces go through worker processes: a message takes its context along, and the worker exports what its agents do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal

import pytest
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from observe.runtime import Node
from observe.runtime import ref as ref_module
from observe.runtime.carrying import Headers, carried_from, headers_of
from observe.runtime.testing import eventually
from observe.tracing import setup
from tests.tracing.receiver import Receiver, attributes
from tests.tracing.traced_agents import Baker, Clerk

ROOT = Path(__file__).parents[2]
Where = Literal["process", "worker"]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import the agents of the tests as we do."""
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture
def backend() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(params=["process", "worker"])
async def node(request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    async with Node("traced@localhost", workers=int(request.param == "worker")) as node:
        node.where = request.param  # type: ignore[attr-defined]  # for the tests
        yield node


async def test_one_trace_goes_through_all_processes(node: Node, backend: Receiver) -> None:
    """From the node's process into a worker, to another agent there or back, and each exports its part."""
    where: Where = node.where  # type: ignore[attr-defined]  # set by the fixture
    with setup(
        node, endpoint=backend.url, set_global=False, delay_s=0.05, service_name="shop", logs=["bakery"]
    ):
        baker = await node.spawn(Baker, name="baker", isolation=where)
        far = await node.spawn(Clerk, baker, name="far", isolation=where)
        near = await node.spawn(Clerk, far, name="near", isolation="none")
        assert await near.call("order") == ["near", "far", "baker"]
        await eventually(lambda: len(backend.spans) >= 6 and backend.logs, 20.0)
    assert not logging.getLogger("bakery").handlers
    spans = {span.span_id: span for span in backend.spans}
    assert len({span.trace_id for span in spans.values()}) == 1
    (bake,) = [span for span in spans.values() if span.name == "execute_tool bake"]
    (record,) = backend.logs  # the worker's
    assert (record.body.string_value, record.span_id) == ("baked", bake.span_id)
    assert attributes(record)["gen_ai.agent.id"] == "baker"
    above = [bake]
    while above[-1].parent_span_id:
        above.append(spans[above[-1].parent_span_id])
    assert [span.name for span in above] == [
        "execute_tool bake", "invoke_agent Baker", "execute_tool ask", "invoke_agent Clerk", "execute_tool ask",
        "invoke_agent Clerk",
    ]  # fmt: skip
    assert {resource["service.name"] for resource in backend.resources} == {"shop"}


async def test_a_context_from_elsewhere_costs_nothing_when_nobody_is_in_it_any_more(
    node: Node, backend: Receiver
) -> None:
    where: Where = node.where  # type: ignore[attr-defined]  # set by the fixture
    with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05):
        baker = await node.spawn(Baker, name="baker", isolation="none")
        far = await node.spawn(Clerk, baker, isolation=where)
        assert await far.call("order", timeout=30) == ["", "baker"]
        await eventually(lambda: ref_module._in_trace is None)


async def test_what_a_worker_has_to_export_is_sent_when_it_ends(node: Node, backend: Receiver) -> None:
    where: Where = node.where  # type: ignore[attr-defined]  # set by the fixture
    with setup(node, endpoint=backend.url, set_global=False, delay_s=30.0):
        far = await node.spawn(Clerk, None, name="far", isolation=where)
        assert await far.call("order") == ["far"]
        await node.stop()
        await eventually(lambda: any(span.name == "execute_tool ask" for span in backend.spans), 20.0)


async def test_a_worker_without_tracing_passes_a_context_on(node: Node) -> None:
    """As a proxy would: it cannot read it, and does not lose it."""
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    assert headers_of(Headers(headers)) == headers
    read = carried_from(headers)
    assert read is not None
    assert headers_of(read) == headers
    assert carried_from(None) is None
    assert headers_of(lambda: None) is None


async def test_whoever_is_monitored_there_is_traced_there_in_full_until_it_is_let_out(
    node: Node, backend: Receiver
) -> None:
    """Whatever the sampler says, messages included, as at home."""
    where: Where = node.where  # type: ignore[attr-defined]  # as above
    sampler = ParentBased(TraceIdRatioBased(0.0))
    with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05, sampler=sampler):
        far = await node.spawn(Clerk, None, name="far", isolation=where)
        containment = node.govern().containment
        for level in ("none", "monitored", "none"):
            change = containment.contain(node.control.find("far"), level)
            await asyncio.gather(*change.asked)
            assert await far.call(level) == ["far"]
        await eventually(lambda: len(backend.spans) >= 3, 20.0)
    assert sorted(span.name for span in backend.spans) == [
        "execute_tool ask", "invoke_agent Clerk", "process Clerk",
    ]  # fmt: skip
    assert len({span.trace_id for span in backend.spans}) == 1
