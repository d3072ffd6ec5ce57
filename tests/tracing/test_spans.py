"""What agents do arrives at a backend as spans that it understands."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.trace import get_current_span

from observe.runtime import Agent, ChildSpec, Node
from observe.runtime.testing import eventually, settled
from observe.tracing import Tracing, setup
from observe.tracing.errors import BadSetting
from tests.tracing.receiver import Receiver, attributes

KIND = Span.SpanKind


@pytest.fixture
def backend() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("traced@localhost") as node:
        yield node


def traced(node: Node, backend: Receiver, **options: Any) -> Tracing:
    return setup(node, endpoint=backend.url, set_global=False, delay_s=0.05, **options)


class Clerk(Agent):
    """Asks a model, then a tool."""

    def init(self) -> None:
        self.conversation_id = "customer-17"
        self.seen: list[Any] = []

    async def handle(self, message: Any) -> Any:
        if message == "idle":
            return None
        async with self.activity("model:chat", model="night-1", provider="openai") as chat:
            await asyncio.sleep(0)
            self.seen.append(get_current_span().get_span_context().span_id)
            chat.usage(input_tokens=100, output_tokens=20, cost=0.5)
        async with self.activity("tool:search", call_id="c1", query="my password=tiger"):
            if message == "crash":
                raise ValueError("garbage with api_key=tiger")
            if message == "hang":
                await asyncio.sleep(60)
        return "done"


async def test_a_message_is_a_run_with_its_model_and_tool_calls_below(node: Node, backend: Receiver) -> None:
    with traced(node, backend) as tracing:
        clerk = await node.spawn(Clerk, name="clerk-1")
        await clerk.call("idle")
        await clerk.call("work")
        await settled(node)
    run, chat, tool = (
        backend.span(name) for name in ("invoke_agent Clerk", "chat night-1", "execute_tool search")
    )
    assert len(backend.spans) == 3, "a message without an activity makes no span"
    assert {run.trace_id} == {chat.trace_id, tool.trace_id}
    assert (run.parent_span_id, chat.parent_span_id, tool.parent_span_id) == (b"", run.span_id, run.span_id)
    assert (run.kind, chat.kind, tool.kind) == (
        KIND.SPAN_KIND_INTERNAL,
        KIND.SPAN_KIND_CLIENT,
        KIND.SPAN_KIND_INTERNAL,
    )
    assert run.start_time_unix_nano <= chat.start_time_unix_nano <= chat.end_time_unix_nano
    assert tool.end_time_unix_nano <= run.end_time_unix_nano
    assert attributes(chat) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "night-1",
        "gen_ai.agent.name": "Clerk",
        "gen_ai.agent.id": "clerk-1",
        "gen_ai.conversation.id": "customer-17",
        "session.id": "customer-17",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "observe.usage.cost": 0.5,
        "observe.pid": clerk.pid,
        "observe.name": "clerk-1",
    }
    assert attributes(tool)["gen_ai.tool.call.id"] == "c1"
    assert "observe.activity.query" not in attributes(tool), "content only when asked for"
    assert backend.resources[0]["service.name"] == "traced"
    assert backend.resources[0]["service.instance.id"] == node.incarnation
    assert {metric.name for metric in backend.metrics} >= {
        "gen_ai.client.token.usage",
        "gen_ai.client.operation.duration",
        "gen_ai.execute_tool.duration",
    }
    statistics = tracing.statistics()
    assert (statistics["started"], statistics["open"], tracing.spans.exported) == (3, 0, 3)
    assert tracing.spans.is_closed


async def test_content_is_exported_on_request_and_masked(node: Node, backend: Receiver) -> None:
    with traced(node, backend, content=True):
        await (await node.spawn(Clerk)).call("work")
    assert attributes(backend.span("execute_tool search"))["observe.activity.query"] == "my password=<masked>"


async def test_an_activity_is_current_so_that_others_spans_nest(node: Node, backend: Receiver) -> None:
    with traced(node, backend):
        clerk = await node.spawn(Clerk, name="clerk")
        await clerk.call("work")
        seen = node.control.find("clerk").seen  # type: ignore[attr-defined]  # of the class in this test
        assert not get_current_span().get_span_context().is_valid, "and nobody else sees it"
    assert seen == [int.from_bytes(backend.span("chat night-1").span_id, "big")]


async def test_a_crash_is_an_exception_and_the_successor_links_to_it(node: Node, backend: Receiver) -> None:
    with traced(node, backend):
        await node.supervisor.start_child(ChildSpec(Clerk, name="clerk"))
        node.ref("clerk").cast("crash")
        await eventually(lambda: node.snapshot_vitals().restarts == 1)
        await settled(node)
        await node.ref("clerk").call("work")
        await settled(node)
    old, new = sorted(
        (span for span in backend.spans if span.name == "invoke_agent Clerk"),
        key=lambda span: span.start_time_unix_nano,
    )
    assert old.status.code == Status.STATUS_CODE_ERROR
    assert attributes(old)["error.type"] == "ValueError"
    (event,) = old.events
    said = attributes(event)
    assert (event.name, said["exception.type"]) == ("exception", "ValueError")
    assert "raise ValueError" in said["exception.stacktrace"]
    assert "tiger" not in said["exception.message"]
    (link,) = new.links
    assert (link.trace_id, link.span_id) == (old.trace_id, old.span_id)
    assert attributes(link)["observe.link"] == "restart"
    assert [event.name for event in new.events] == ["observe.restart"]
    assert new.status.code == Status.STATUS_CODE_UNSET
    names = {record.event_name for record in backend.logs}
    assert names == {"gen_ai.execute_tool.exception", "gen_ai.invoke_agent.exception"}
    assert {record.trace_id for record in backend.logs} == {old.trace_id}


async def test_what_hangs_is_told_while_it_runs_and_ended_by_the_kill(node: Node, backend: Receiver) -> None:
    """Elsewhere a hung call is invisible until it ends, and it does not end."""
    with traced(node, backend) as tracing:
        tracing._makers[0]._open_after_s = 0.05
        clerk = await node.spawn(Clerk)
        clerk.cast("hang")
        await eventually(lambda: any(r.event_name == "observe.span.open" for r in backend.logs))
        assert not [span for span in backend.spans if span.name == "execute_tool search"]
        clerk.exit("killed")
        await clerk.wait_exit()
        assert tracing.statistics()["open"] == 0
    (opened,) = [record for record in backend.logs if record.event_name == "observe.span.open"]
    tool = backend.span("execute_tool search")
    assert (opened.trace_id, opened.span_id) == (tool.trace_id, tool.span_id)
    assert attributes(opened)["observe.span.name"] == "execute_tool search"
    for span in (tool, backend.span("invoke_agent Clerk")):
        assert span.status.code == Status.STATUS_CODE_ERROR
        assert attributes(span)["error.type"] == attributes(span)["observe.end_reason"] == "killed"


async def test_a_backend_that_is_away_costs_spans_only_and_the_account_closes(node: Node) -> None:
    """Killed in mid-run and started again: what was exported is what it has."""
    backend = Receiver()
    tracing = traced(node, backend, timeout_s=0.3)
    clerk = await node.spawn(Clerk)
    for _ in range(20):
        await clerk.call("work")
    assert await asyncio.to_thread(tracing.flush, 10)
    backend.close()
    for _ in range(20):
        await clerk.call("work")
    await asyncio.to_thread(tracing.flush, 10)
    await eventually(lambda: tracing.spans.dropped.get("export_failed", 0) >= 57, 30.0)
    with Receiver(backend.port) as again:
        for _ in range(20):
            await clerk.call("work")
        await settled(node)
        tracing.flush(10)
        assert tracing.shutdown()
        spans = tracing.spans
        assert spans.exported == len(backend.spans) + len(again.spans)
        assert spans.is_closed
        assert tracing.statistics()["started"] == spans.put == 180


async def test_a_backend_that_never_answers_does_not_hold_up_the_end(node: Node, backend: Receiver) -> None:
    backend.hold = threading.Event()
    tracing = traced(node, backend)
    await (await node.spawn(Clerk)).call("work")
    began = time.monotonic()
    assert not tracing.shutdown(0.3)
    assert time.monotonic() - began < 5
    assert tracing.spans.is_closed
    assert tracing.spans.dropped == {"shutdown": 3}


def test_wrong_settings_are_refused_with_the_right_ones() -> None:
    with pytest.raises(BadSetting, match="'http/protobuf' or 'grpc'"):
        setup(protocol="carrier pigeon")  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(BadSetting, match="a URL such as"):
        setup(endpoint="localhost:4318")


async def test_tracing_is_shut_down_from_another_thread_while_agents_work(
    node: Node, backend: Receiver
) -> None:
    """The loop goes on meanwhile; nothing is counted twice, and no agent is hurt."""
    tracing = traced(node, backend)
    clerks = [await node.spawn(Clerk) for _ in range(10)]
    clerks[0].cast("hang")

    async def work(clerk: Any) -> None:
        for _ in range(20):
            assert await clerk.call("work", timeout=30) == "done"

    busy = [asyncio.create_task(work(clerk)) for clerk in clerks[1:]]
    await eventually(lambda: tracing.statistics()["started"] > 50)
    assert await asyncio.to_thread(tracing.shutdown, 10)
    await asyncio.gather(*busy)
    spans = tracing.spans
    assert spans.exported == len(backend.spans) == len({span.span_id for span in backend.spans})
    ended = [attributes(span).get("observe.end_reason") for span in backend.spans]
    assert "tracing ended" in ended  # the one that hangs
    assert spans.is_closed
    assert all(clerk.is_alive for clerk in clerks)
