"""What happens to agents from outside is seen on their spans, and who is contained is always sampled."""

from __future__ import annotations

import asyncio
import importlib
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from observe.runtime import Agent, Node
from observe.runtime.testing import eventually, settled
from observe.tracing import message_spans, setup
from tests.tracing.receiver import Receiver, attributes

NEVER = ParentBased(TraceIdRatioBased(0.0))


class Worker(Agent):
    async def handle(self, message: Any) -> str:
        async with self.activity("tool:look"):
            if message == "hang":
                await asyncio.sleep(60)
        return "done"


@pytest.fixture
def backend() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("happens@localhost") as node:
        await node.spawn(Worker, name="worker")
        yield node


def contain(node: Node, level: Any, **more: Any) -> None:
    node.govern().containment.contain(node.control.find("worker"), level, reason="pays too often", **more)


def named(backend: Receiver, name: str) -> list[Any]:
    return [span for span in backend.spans if span.name == name]


async def test_whoever_is_contained_is_sampled_always_messages_included(
    node: Node, backend: Receiver
) -> None:
    other = await node.spawn(Worker, name="other")
    with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05, sampler=NEVER) as tracing:
        await node.ref("worker").call("work")
        await settled(node)
        contain(node, "monitored")
        await node.ref("worker").call("work")
        await other.call("work")
        await settled(node)
        contain(node, "none")
        await node.ref("worker").call("work")
        await settled(node)
        statistics = tracing.statistics()
        assert statistics["started"] == statistics["spans"].put == 3
    assert sorted(span.name for span in backend.spans) == [
        "execute_tool look", "invoke_agent Worker", "process Worker",
    ]  # fmt: skip
    (process,) = named(backend, "process Worker")
    (run,) = named(backend, "invoke_agent Worker")
    assert (run.trace_id, run.parent_span_id) == (process.trace_id, process.span_id)
    (event,) = [one for one in run.events if one.name == "observe.containment"]
    assert attributes(event)["observe.containment.level"] == "monitored"


async def test_containment_that_was_there_before_tracing_counts(node: Node, backend: Receiver) -> None:
    contain(node, "monitored")
    with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05, sampler=NEVER):
        await node.ref("worker").call("work")
        await settled(node)
    assert len(backend.spans) == 3


async def test_containment_in_the_middle_is_an_event_on_the_run_whose_trace_is_kept(
    node: Node, backend: Receiver
) -> None:
    with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05, sampler=NEVER) as tracing:
        node.ref("worker").cast("hang")
        await eventually(lambda: node.control.find("worker")._o_activities)
        contain(node, "restricted", by="operator alice")
        await settled(node)
        await eventually(lambda: tracing.spans.put >= 2)
    run = backend.span("invoke_agent Worker")
    assert [
        attributes(one)["observe.containment.by"] for one in run.events if one.name == "observe.containment"
    ] == ["operator alice"]
    assert "observe.denied" in [one.name for one in run.events]
    assert attributes(run)["error.type"] == "Contained"


async def test_messages_of_the_contained_make_spans_at_a_bounded_rate(
    node: Node, backend: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_spans, "ALWAYS_RATE", 1e-6)
    with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05) as tracing:
        contain(node, "monitored")
        for _ in range(5):
            await node.ref("worker").call("work")
        await settled(node)
        assert tracing.statistics()["passed_over"] == 4
    assert len(named(backend, "process Worker")) == 1


async def test_a_reload_is_an_event_on_the_next_run_of_each_agent(
    node: Node, backend: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = textwrap.dedent("""
        from observe.runtime import Agent

        class Renewed(Agent):
            async def handle(self, message):
                async with self.activity("tool:x"):
                    return 1
    """)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "renewed_for_spans.py"
    path.write_text(text)
    module = importlib.import_module("renewed_for_spans")
    with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05):
        agent = await node.spawn(module.Renewed)
        node.reloader.remember()
        assert await agent.call("work") == 1
        path.write_text(text.replace("return 1", "return 2"))
        await node.reloader.reload(["renewed_for_spans"])
        assert await agent.call("work") == 2
        await settled(node)
    before, after = sorted(named(backend, "invoke_agent Renewed"), key=lambda one: one.start_time_unix_nano)
    assert not before.events
    (event,) = after.events
    assert event.name == "observe.reload"
    assert attributes(event)["observe.reload.versions"] == "renewed_for_spans 2"
