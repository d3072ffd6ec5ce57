"""The riskier an agent, the more of its messages is traced."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased

from observe.runtime import Agent, Node
from observe.runtime.testing import eventually, settled
from observe.tracing import by_risk, setup
from observe.tracing.by_risk import share_traced
from observe.tracing.errors import BadSetting
from tests.tracing.receiver import Receiver

NEVER = ParentBased(TraceIdRatioBased(0.0))


class Harmless(Agent):
    async def handle(self, message: Any) -> str:
        async with self.activity("tool:look"):
            return "done"


class Payer(Harmless):
    risk = 0.9


class Clerk(Harmless):
    risk = 0.7


@pytest.fixture
def backend() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    monkeypatch.setattr(by_risk, "EVERY_S", 0.01)
    async with Node("risky@localhost") as node:
        for cls in (Harmless, Payer, Clerk):
            await node.spawn(cls, name=cls.__name__.lower())
        yield node


async def test_all_of_tier_4_is_traced_and_nothing_of_tier_1(node: Node, backend: Receiver) -> None:
    with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05, sampler=NEVER) as tracing:
        for name in ("payer", "harmless"):
            await node.ref(name).call("work")
        await eventually(lambda: share_traced(node, node.ref("payer").pid) == 1.0)
        assert share_traced(node, node.ref("harmless").pid) == 0.0
        for _ in range(3):
            for name in ("payer", "harmless"):
                await node.ref(name).call("work")
        await settled(node)
        assert tracing.statistics()["started"] == 9
    assert Counter(span.name for span in backend.spans) == {
        "process Payer": 3, "invoke_agent Payer": 3, "execute_tool look": 3,
    }  # fmt: skip
    assert share_traced(node, node.ref("payer").pid) is None, "nobody traces any more"


async def test_the_share_is_that_of_the_tier(
    node: Node, backend: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = iter([0.05, 0.15, 0.09, 0.99])
    with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05, sampler=NEVER) as tracing:
        await node.ref("clerk").call("work")
        await eventually(lambda: share_traced(node, node.ref("clerk").pid) == 0.1)
        monkeypatch.setattr("observe.tracing.message_spans.random.random", lambda: next(dice))
        for _ in range(4):
            await node.ref("clerk").call("work")
        monkeypatch.undo()
        await settled(node)
        assert tracing.statistics()["started"] == 6


async def test_it_can_be_left_out_and_off_means_off(node: Node, backend: Receiver) -> None:
    for options in ({"by_risk": None, "sampler": NEVER}, {"sampler": ALWAYS_OFF}):
        with setup(node, endpoint=backend.url, set_global=False, **options):
            assert share_traced(node, node.ref("payer").pid) is None
    with pytest.raises(BadSetting, match="four shares"):
        setup(node, endpoint=backend.url, set_global=False, by_risk=(0, 0, 0, 2))


async def test_who_is_followed_is_bounded_and_forgotten_at_the_end(
    node: Node, backend: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_risk, "MOST", 1)
    with setup(node, endpoint=backend.url, set_global=False, sampler=NEVER) as tracing:
        await node.ref("payer").call("work")
        await node.ref("clerk").call("work")
        assert tracing.statistics()["unfollowed"] == 1
        await eventually(lambda: share_traced(node, node.ref("payer").pid) == 1.0)
        pid = node.ref("payer").pid
        node.ref("payer").exit("shutdown")
        await eventually(lambda: share_traced(node, pid) == 0.0)
        await node.ref("clerk").call("work")
        await eventually(lambda: share_traced(node, node.ref("clerk").pid) == 0.1)
