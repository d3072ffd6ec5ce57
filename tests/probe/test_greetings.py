"""Who attaches sees what had happened until then, without luck and without waiting for long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from observe.probe import Probe, askers
from observe.probe.client import connect
from observe.runtime import Agent, Node
from tests.probe.fake_service import FakeService
from tests.probe.live import private_runtime
from tests.probe.patience import PATIENCE_S


class Worker(Agent):
    """Is there."""


async def test_an_attach_sees_agents_that_were_started_just_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when ticks of telemetry are far apart, as they are when they cost more than their budget."""
    monkeypatch.setattr(askers, "FRESH_S", PATIENCE_S)
    with private_runtime(monkeypatch):
        async with Node("shop") as node, Probe(node, budget=1e-6):
            for number in range(5):
                ref = await node.spawn(Worker, name=f"late-{number}")
                async with connect("shop") as client:
                    page = await client.agents(filter="class=Worker", columns=["pid", "name"])
                    assert [ref.pid, f"late-{number}"] in page.rows
                    assert page.matched == number + 1


@pytest.fixture
def fake() -> Iterator[FakeService]:
    with FakeService(fresh_s=PATIENCE_S) as made:
        made.start()
        made.shop()
        yield made


def test_hello_is_answered_once_the_feed_has_told_what_had_happened(fake: FakeService) -> None:
    client = fake.client(hello=False)
    hello = client.ask("hello", {"versions": [1], "client": "a test"})
    question = fake.expect("fresh")
    others = [client.ask("hello", {"versions": [1], "client": "a test"}) for _ in range(3)]
    client.ok("ping")  # they have been read
    fake.answer(question, {"seq": fake.seq + 2})  # the strings, and the agent
    assert client.hears_nothing(0.1)
    fake.spawn({"pid": 77, "name": "late"})
    assert client.result(hello)["role"] == "admin"
    assert client.ok("agents", {"filter": "name=late"})["matched"] == 1
    fake.answer(fake.expect("fresh"), {"seq": fake.seq})  # one question for all who came meanwhile
    for other in others:
        assert client.result(other)["role"] == "admin"
    assert not fake.asked("fresh")


def test_who_attaches_does_not_wait_for_a_service_that_cannot_answer(fake: FakeService) -> None:
    """Whether it says so, is held, or has ended."""
    client = fake.client(hello=False)
    hello = client.ask("hello", {"versions": [1], "client": "a test"})
    fake.decline(fake.expect("fresh"), "scheduler_held", "held")
    client.result(hello)
    hello = client.ask("hello", {"versions": [1], "client": "a test"})
    fake.expect("fresh")
    fake.hold(2)
    client.result(hello)  # while it waited
    client.hello()  # and at once
    assert not fake.asked("fresh")


def test_a_service_that_says_nothing_makes_an_attach_wait_no_longer_than_is_allowed() -> None:
    with FakeService(fresh_s=0.05) as fake:
        fake.start()
        fake.client().ok("ping")
        assert fake.asked("fresh")
