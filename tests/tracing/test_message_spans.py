"""Messages make spans where that is asked for, as the messaging conventions have them, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from observe.runtime import Agent, Node
from observe.runtime.testing import eventually, settled
from observe.tracing import setup
from observe.tracing.errors import BadSetting
from observe.tracing.message_spans import MessageRule
from observe.tracing.selecting import parse
from observe.tracing.sessions import Bounds, Session
from tests.tracing.receiver import Receiver, attributes

KIND = Span.SpanKind


class Front(Agent):
    async def handle(self, message: Any) -> Any:
        if message == "crash":
            raise ValueError("asked to")
        if message == "cast":
            self.node.ref("back").cast("work")
            return None
        return await self.node.ref("back").call("work")


class Back(Agent):
    def handle(self, message: Any) -> str:
        with self.activity("tool:look"):
            return "done"


@pytest.fixture
def backend() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("messages@localhost") as node:
        await node.spawn(Back, name="back")
        await node.spawn(Front, name="front")
        yield node


def named(backend: Receiver, name: str) -> list[Span]:
    return [span for span in backend.spans if span.name == name]


@pytest.mark.parametrize("how", ["call", "cast"])
async def test_a_message_is_sent_and_processed_in_one_trace_and_linked(
    node: Node, backend: Receiver, how: str
) -> None:
    with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05, messages=[MessageRule()]):
        await node.ref("front").call(how)
        await settled(node)
    front, send, back = (backend.span(name) for name in ("process Front", "send Back", "process Back"))
    run, look = backend.span("invoke_agent Back"), backend.span("execute_tool look")
    assert (front.kind, send.kind, back.kind) == (
        KIND.SPAN_KIND_CONSUMER, KIND.SPAN_KIND_PRODUCER, KIND.SPAN_KIND_CONSUMER,
    )  # fmt: skip
    assert front.parent_span_id == b""
    assert [one.parent_span_id for one in (send, back, run, look)] == [
        front.span_id, front.span_id, back.span_id, run.span_id,
    ]  # fmt: skip
    assert {one.trace_id for one in backend.spans} == {front.trace_id}
    (link,) = back.links
    assert link.span_id == send.span_id
    said = attributes(back)
    assert said["messaging.operation.type"] == "process"
    assert (said["messaging.system"], said["messaging.destination.name"]) == ("observe", "Back")
    assert attributes(send)["messaging.operation.name"] == "send"


async def test_what_fails_is_an_error(node: Node, backend: Receiver) -> None:
    with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05, messages=[MessageRule()]):
        node.ref("front").cast("crash")
        await settled(node)
    (span,) = named(backend, "process Front")
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert attributes(span)["error.type"] == "ValueError"


@pytest.mark.parametrize(
    ("rules", "spans"),
    [
        ([], set()),
        ([MessageRule(classes="Back")], {"process Back"}),
        ([MessageRule(names="fr*")], {"process Front", "send Back"}),
        ([MessageRule(classes="Front", roots=True)], {"process Front", "send Back"}),
        ([MessageRule(roots=True)], {"process Front", "send Back"}),
        ([MessageRule(classes="Front", ratio=0.0), MessageRule()], {"process Back"}),
        ([MessageRule(ratio=0.0)], set()),
    ],
)
async def test_rules_say_whose_messages(
    node: Node, backend: Receiver, rules: list[MessageRule], spans: set[str]
) -> None:
    with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05, messages=rules):
        await node.ref("front").call("call")
        await settled(node)
    assert {span.name for span in backend.spans if span.name.startswith(("send", "process"))} == spans


async def test_a_ratio_is_of_messages_that_begin_a_trace(
    node: Node, backend: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = iter([0.05, 0.5, 0.9, 0.09, 0.1])
    monkeypatch.setattr("observe.tracing.message_spans.random.random", lambda: next(dice))
    rule = MessageRule(classes="Front", ratio=0.1)
    with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05, messages=[rule]):
        for _ in range(5):
            await node.ref("front").call("call")
        await settled(node)
    assert len(named(backend, "process Front")) == 2
    with pytest.raises(BadSetting, match="a ratio from 0 to 1"):
        MessageRule(ratio=2.0)


async def test_an_agent_under_a_live_session_makes_spans_of_all_its_messages(
    node: Node, backend: Receiver
) -> None:
    with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05, messages=[]):
        session = Session(node, parse("front"), Bounds(), lambda events, left_out: True)
        session.start()
        await node.ref("front").call("call")
        session.stop()
        await node.ref("front").call("call")
        await settled(node)
    assert len(named(backend, "process Front")) == 1
    assert not named(backend, "process Back")


async def test_agents_that_start_later_are_meant_and_afterwards_all_are_as_before(
    node: Node, backend: Receiver
) -> None:
    tracing = setup(node, endpoint=backend.url, set_global=False, messages=[MessageRule(names="late-*")])
    late = await node.spawn(Front, name="late-1")
    await late.call("call")
    agent = node.control.find("late-1")
    assert agent._o_bonds is not None
    assert agent._o_bonds.tapped is not None
    assert await asyncio.to_thread(tracing.shutdown, 20)
    await eventually(lambda: agent._o_bonds is None or agent._o_bonds.tapped is None)
    assert len(named(backend, "process Front")) == 1
