"""What is sent arrives as it was meant, in all three signals and over both protocols: kinds, links, resources, flags."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from observe.runtime import Node
from observe.runtime.testing import eventually
from observe.tracing import setup
from observe.tracing.exporters import Protocol
from tests.backends.mock_otlp import MockOtlp
from tests.backends.working import SPANS_OF_WORK, crash, staff, work

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.backend, pytest.mark.timeout(600)]


@pytest.fixture
async def backend(mock_otlp_package: tuple[str, Path]) -> AsyncIterator[MockOtlp]:
    made = MockOtlp(*mock_otlp_package)
    await made.start()
    yield made
    made.kill()


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_spans_logs_and_metrics_arrive_as_they_were_made(backend: MockOtlp, protocol: Protocol) -> None:
    endpoint = backend.http if protocol == "http/protobuf" else backend.grpc
    async with Node("shop@localhost") as node:
        tracing = setup(
            node,
            endpoint=endpoint,
            protocol=protocol,
            set_global=False,
            attributes={"deployment.environment.name": "night"},
        )
        await staff(node)
        await work(node)
        await crash(node)
        shelf_pid = node.ref("shelf").pid
        assert await asyncio.to_thread(tracing.shutdown, 20)
        count = tracing.spans.exported
        await eventually(lambda: len(backend.spans) >= count, timeout_s=30)
        await eventually(lambda: backend.metrics and len(backend.logs) >= tracing.logs.exported, timeout_s=30)
    assert len(backend.spans) == count == tracing.statistics()["started"]
    by_name: dict[str, list[dict[str, Any]]] = {}
    for span in sorted(backend.spans, key=lambda one: str(one["startTimeUnixNano"])):
        by_name.setdefault(span["name"], []).append(span)
    desk, chat, ask = (
        by_name[name][0] for name in ("invoke_agent Desk", "chat night-1", "execute_tool shelf")
    )
    shelf = next(one for one in by_name["invoke_agent Shelf"] if one["parentSpanId"] == ask["spanId"])
    search = next(one for one in by_name["execute_tool search"] if one["parentSpanId"] == shelf["spanId"])
    # the tree
    assert desk["parentSpanId"] == ""
    assert (chat["parentSpanId"], ask["parentSpanId"]) == (desk["spanId"], desk["spanId"])
    assert {one["traceId"] for one in (desk, chat, ask, shelf, search)} == {desk["traceId"]}
    # kinds and flags
    assert (chat["kind"], desk["kind"], search["kind"]) == ("SPAN_KIND_CLIENT", *["SPAN_KIND_INTERNAL"] * 2)
    assert {one["flags"] & 0x100 for one in backend.spans} == {0x100}
    # attributes
    assert chat["attributes"]["gen_ai.usage.input_tokens"] == 100
    assert chat["attributes"]["gen_ai.conversation.id"] == "customer-17"
    assert search["attributes"]["gen_ai.tool.call.id"] == "c1"
    # the resource
    resource = desk["resource"]
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("shop", "night")
    assert resource["service.instance.id"] == node.incarnation
    # the crash, and the link of who came after
    (crashed,) = [one for one in by_name["invoke_agent Shelf"] if one["status"] == "ERROR"]
    (after,) = [one for one in by_name["invoke_agent Shelf"] if one["links"]]
    (link,) = after["links"]
    assert (link["traceId"], link["spanId"]) == (crashed["traceId"], crashed["spanId"])
    assert link["attributes"]["observe.link"] == "restart"
    assert after["attributes"]["observe.pid"] == shelf_pid
    (event,) = [one for one in crashed["events"] if one["name"] == "exception"]
    assert event["attributes"]["exception.type"] == "ValueError"
    # logs and metrics
    told = {one["attributes"]["event.name"]: one for one in backend.logs}
    assert set(told) == {"gen_ai.execute_tool.exception", "gen_ai.invoke_agent.exception"}
    assert told["gen_ai.invoke_agent.exception"]["spanId"] == crashed["spanId"]
    assert {one["name"] for one in backend.metrics} >= {
        "gen_ai.client.operation.duration", "gen_ai.client.token.usage", "gen_ai.execute_tool.duration",
    }  # fmt: skip


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_killed_in_mid_run_and_started_again_it_has_what_was_told_as_exported(
    backend: MockOtlp, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And all that it does not have is accounted for, by reason, in the node's process and in its worker."""
    monkeypatch.syspath_prepend(str(ROOT))  # the worker imports the shelf
    endpoint = backend.http if protocol == "http/protobuf" else backend.grpc
    async with Node("shop@localhost", workers=1) as node:
        tracing = setup(
            node, endpoint=endpoint, protocol=protocol, set_global=False, delay_s=0.05, timeout_s=0.5
        )

        def exported() -> list[int]:
            return [tracing.spans.exported, tracing.statistics()["workers"]["spans"]["exported"]]

        def failed() -> list[int]:
            dropped = [tracing.spans.dropped, tracing.statistics()["workers"]["spans"]["dropped"]]
            return [one.get("export_failed", 0) for one in dropped]

        await staff(node, shelf="worker")
        await work(node, 20)
        assert await asyncio.to_thread(tracing.flush, 20)
        await eventually(lambda: sum(exported()) == 20 * SPANS_OF_WORK, timeout_s=30)
        before = exported()
        await eventually(lambda: len(backend.spans) == sum(before), timeout_s=30)
        backend.kill()
        await work(node, 20)
        await asyncio.to_thread(tracing.flush, 20)  # which is no success, unless all was lost before
        await eventually(lambda: all(failed()), timeout_s=30)
        await backend.start()
        for _ in range(100):
            await work(node)
            await asyncio.to_thread(tracing.flush, 5)
            if all(now > then for now, then in zip(exported(), before, strict=True)):
                break
    await asyncio.to_thread(tracing.shutdown, 20)
    await eventually(lambda: len(backend.spans) >= sum(exported()), timeout_s=30)
    assert len(backend.spans) == sum(exported())
    statistics = tracing.statistics()
    ours, theirs = tracing.spans, statistics["workers"]["spans"]
    assert ours.is_closed
    assert statistics["started"] == ours.put == ours.exported + sum(ours.dropped.values())
    assert theirs["started"] == theirs["exported"] + sum(theirs["dropped"].values())
    assert (ours.put + theirs["started"]) % SPANS_OF_WORK == 0
