"""One trace id from end to end: through casts, calls, fan-out, HTTP, and no further than it should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from opentelemetry import trace

from observe.runtime import Agent, Node, supervised_map
from observe.runtime import ref as ref_module
from observe.runtime.testing import eventually, settled
from observe.tracing import Tracing, context, setup
from observe.tracing.errors import BadSetting
from tests.tracing.receiver import Receiver


class Tool(Agent):
    async def handle(self, message: Any) -> Any:
        if message == "again":
            self.ref.cast("work")
        async with self.activity("tool:search"):
            if message == "map":
                return [one.value async for one in supervised_map(look, [1])]
            return context.headers().get("traceparent")


async def look(item: int) -> str | None:
    return context.headers().get("traceparent")


class Boss(Agent):
    async def handle(self, message: Any) -> Any:
        async with self.activity("model:chat"):
            if message == "cast":
                self.node.ref("tool").cast("work")
                return None
            return await self.node.ref("tool").call(message)


@pytest.fixture
def backend() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("context@localhost") as node:
        await node.spawn(Tool, name="tool")
        await node.spawn(Boss, name="boss")
        yield node


@pytest.fixture
def tracing(node: Node, backend: Receiver) -> Iterator[Tracing]:
    with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05) as tracing:
        yield tracing


@pytest.mark.parametrize("how", ["cast", "work"])
async def test_what_an_agent_sends_belongs_to_the_activity_that_sent_it(
    node: Node, backend: Receiver, tracing: Tracing, how: str
) -> None:
    await node.ref("boss").call(how)
    await settled(node)
    assert tracing.flush()
    chat, tool_run, tool = (
        backend.span(name) for name in ("chat", "invoke_agent Tool", "execute_tool search")
    )
    assert (tool_run.trace_id, tool_run.parent_span_id) == (chat.trace_id, chat.span_id)
    assert tool.parent_span_id == tool_run.span_id


async def test_the_callers_span_is_the_parent_and_items_of_a_map_belong_to_it(
    node: Node, tracing: Tracing
) -> None:
    """A tree of agents that is called from a web request belongs to that request's trace."""
    with tracing.tracer_provider.get_tracer("web").start_as_current_span("GET /orders") as span:
        trace_id = format(span.get_span_context().trace_id, "032x")
        (inner,) = await node.ref("boss").call("map")
    assert inner.split("-")[1] == trace_id


async def test_a_trace_comes_in_and_goes_out_by_headers(
    node: Node, backend: Receiver, tracing: Tracing
) -> None:
    incoming = {"Traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    with context.continued(incoming):
        outgoing = await node.ref("tool").call("work")
    assert outgoing.startswith(f"00-{'ab' * 16}-")
    await settled(node)
    assert tracing.flush()
    run = backend.span("invoke_agent Tool")
    assert (run.trace_id, run.parent_span_id) == (b"\xab" * 16, b"\xcd" * 8)
    seen: dict[str, str] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        seen.update(request.headers)
        return httpx.Response(200)

    hooks = {"request": [context.add_headers]}
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), event_hooks=hooks) as client:
        with context.continued(incoming):
            await client.get("http://model/")
    assert seen["traceparent"] == incoming["Traceparent"]


async def test_an_unsampled_trace_makes_no_spans(node: Node, backend: Receiver, tracing: Tracing) -> None:
    with context.continued({"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-00"}):
        await node.ref("boss").call("work")
    tracing.flush()
    assert {span.trace_id for span in backend.spans}.isdisjoint({b"\xab" * 16})


async def test_a_message_sent_after_the_span_has_ended_begins_a_new_trace(
    node: Node, backend: Receiver, tracing: Tracing
) -> None:
    """An agent that works by sending to itself would otherwise have one trace for its whole life."""
    timer = node.loop.call_later

    class Loop(Agent):
        async def handle(self, message: int) -> None:
            async with self.activity("tool:turn"):
                pass
            if message:
                timer(0, self.ref.cast, message - 1)

    (await node.spawn(Loop, name="loop")).cast(2)
    for _ in range(20):
        await asyncio.sleep(0.001)
        await settled(node)
    assert tracing.flush()
    runs = [span for span in backend.spans if span.name == "invoke_agent Loop"]
    assert len({run.trace_id for run in runs}) == len(runs) == 3


async def test_messages_carry_nothing_while_there_is_no_span(node: Node, tracing: Tracing) -> None:
    """So that with tracing set up a message costs what it costs without."""
    assert ref_module._ambient is None
    with tracing.tracer_provider.get_tracer("web").start_as_current_span("request"):
        assert ref_module._ambient is not None
    assert ref_module._ambient is None
    await node.ref("boss").call("work")
    await settled(node)
    assert ref_module._ambient is None


async def test_a_cast_that_reaches_nobody_is_a_dead_letter_as_it_was_sent(
    node: Node, tracing: Tracing
) -> None:
    tool = node.whereis("tool")
    assert tool is not None
    tool.exit("killed")
    await tool.wait_exit()
    with tracing.tracer_provider.get_tracer("web").start_as_current_span("request"):
        assert trace.get_current_span().is_recording()
        tool.cast("lost")
    assert [letter.message for letter in node.dead_letters] == ["lost"]


async def test_what_is_published_to_a_group_belongs_to_the_publishers_trace(
    node: Node, backend: Receiver, tracing: Tracing
) -> None:
    members = [await node.spawn(Tool), await node.spawn(Tool)]
    for member in members:
        node.groups.join("tools", member)
    with tracing.tracer_provider.get_tracer("web").start_as_current_span("request") as span:
        assert node.groups.publish("tools", "work") == 2
        trace_id = span.get_span_context().trace_id.to_bytes(16, "big")
    node.groups.publish("tools", "work")
    await settled(node)
    assert tracing.flush()
    runs = [one for one in backend.spans if one.name == "invoke_agent Tool"]
    assert [run.trace_id for run in runs].count(trace_id) == 2
    assert len(runs) == 4


async def test_a_span_that_an_agent_makes_itself_is_continued_and_others_send_nothing_along(
    node: Node, tracing: Tracing
) -> None:
    """Also without an activity: another instrumentation's span counts as ours do."""
    tracer = tracing.tracer_provider.get_tracer("library")

    class Own(Agent):
        async def handle(self, message: str) -> tuple[str | None, int]:
            if message == "plain":
                return await self.node.ref("echo").call("x"), 0
            with tracer.start_as_current_span("work") as span:
                return await self.node.ref("echo").call("x"), span.get_span_context().trace_id

    class Echo(Agent):
        async def handle(self, message: str) -> str | None:
            return context.headers().get("traceparent")

    await node.spawn(Echo, name="echo")
    own = await node.spawn(Own)
    inside, trace_id = await own.call("span")
    assert inside is not None
    assert inside.split("-")[1] == format(trace_id, "032x")
    elsewhere = tracer.start_span("elsewhere")
    assert await own.call("plain") == (None, 0)
    elsewhere.end()


class Waker(Agent):
    """Works, and wakes itself again."""

    async def handle(self, message: int) -> None:
        async with self.activity("tool:turn"):
            if message:
                self.send_after(0.0, message - 1)


async def test_a_timer_belongs_to_the_trace_that_set_it_and_a_chain_of_them_does_not_for_ever(
    node: Node, backend: Receiver, tracing: Tracing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "TIMERS", 2)
    waker = await node.spawn(Waker, name="waker")
    with tracing.tracer_provider.get_tracer("web").start_as_current_span("request") as span:
        trace_id = span.get_span_context().trace_id.to_bytes(16, "big")
        waker.cast(4)
        await settled(node)
    await eventually(lambda: tracing.statistics()["started"] == 11 and not tracing.statistics()["open"])
    assert tracing.flush()
    runs = [one for one in backend.spans if one.name == "invoke_agent Waker"]
    runs.sort(key=lambda one: one.start_time_unix_nano)
    assert [run.trace_id == trace_id for run in runs] == [True, True, True, False, False]
    turns = {one.span_id: one for one in backend.spans if one.name == "execute_tool turn"}
    assert all(run.parent_span_id in turns for run in (runs[1], runs[2], runs[4]))
    assert runs[3].parent_span_id == b""
    (link,) = runs[3].links
    assert turns[link.span_id].trace_id == trace_id
    assert not any(run.links for run in runs if run is not runs[3])
    assert ref_module._ambient is None


@pytest.mark.parametrize("how", ["cast", "work"])
async def test_casts_may_begin_traces_of_their_own_that_link_to_their_senders(
    node: Node, backend: Receiver, how: str
) -> None:
    """A call's handling stays a child."""
    with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05, casts="link", timers="link"):
        with context.continued({"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "baggage": "tenant=7"}):
            await node.ref("boss").call(how)
        await settled(node)
    chat, run = backend.span("chat"), backend.span("invoke_agent Tool")
    if how == "cast":
        assert (run.trace_id == chat.trace_id, run.parent_span_id) == (False, b"")
        (link,) = run.links
        assert (link.trace_id, link.span_id) == (chat.trace_id, chat.span_id)
    else:
        assert (run.trace_id, run.parent_span_id, list(run.links)) == (chat.trace_id, chat.span_id, [])


async def test_links_and_timers_travel_between_the_processes_of_a_node(tracing: Tracing) -> None:
    with tracing.tracer_provider.get_tracer("web").start_as_current_span("request") as span:
        context.configure(casts="link", timers="child", carries_all=False)
        try:
            cast, timer = context.carry("cast"), context.carry("timer")
        finally:
            context.configure(casts="child", timers="child", carries_all=False)
    for carried in (cast, timer):
        assert isinstance(carried, context._Carried)
        again = context._read(carried.headers())
        assert again.headers() == carried.headers()
    assert isinstance(cast, context._Carried)
    (link,) = context.links_of(context._read(cast.headers()).args[0])
    assert link.context.span_id == span.get_span_context().span_id


async def test_wrong_relations_are_refused() -> None:
    with pytest.raises(BadSetting, match="'child' or 'link'"):
        setup(casts="parent")  # type: ignore[arg-type]  # the mistake under test
