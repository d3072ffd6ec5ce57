"""What was left out is counted where it happens and told with the vital signs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from observe.probe import Probe, connect
from observe.probe.wire import Vitals
from observe.runtime import Agent, Node
from observe.tracing import setup
from tests.probe.fake_service import FakeService
from tests.probe.live import eventually as until
from tests.probe.live import private_runtime
from tests.probe.patience import eventually
from tests.tracing.receiver import Receiver


@pytest.fixture
def service() -> Iterator[FakeService]:
    with FakeService() as made:
        made.start()
        made.shop()
        yield made


def test_a_slow_console_and_a_node_of_an_earlier_version(service: FakeService) -> None:
    """That node says nothing of what it lost itself; so nothing is claimed."""
    asks, slow = service.synced_client(), service.client()
    assert asks.ok("vitals")["lost"] is None
    watch = slow.ok("watch", {"what": "events", "interval_s": 0.05, "credit": 0})
    for _ in range(1200):
        service.crash(2)
    service.vitals(lost=3, dropped_facts=2)

    def lost() -> dict[str, Any]:
        told: dict[str, Any] | None = asks.ok("vitals")["lost"]
        return told if told is not None and told["consoles"] >= 200 else {}

    told = eventually(lost, "what was left out")
    assert (told["telemetry"], told["facts"], told["traced"], told["spans"]) == (3, 2, 0, None)
    before = told["consoles"]
    slow.ok("unwatch", {"sub": watch["sub"]})
    assert asks.ok("vitals")["lost"]["consoles"] >= before  # also when that watch is gone


class Worker(Agent):
    async def handle(self, message: Any) -> None:
        with self.activity("tool:work"):
            pass


async def test_the_account_of_spans_closes_also_when_the_backend_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with private_runtime(monkeypatch), Receiver() as backend:
        backend.status = 503
        async with Node("shop") as node:
            with setup(node, endpoint=backend.url, set_global=False, delay_s=0.05, timeout_s=0.2):
                async with Probe(node, tick_s=0.05), connect("shop", timeout_s=20.0) as client:
                    worker = await node.spawn(Worker)
                    for _ in range(10):
                        worker.cast("go")

                    def closes(vitals: Vitals) -> bool:
                        spans = vitals.lost.spans if vitals.lost is not None else None
                        return spans is not None and spans.dropped == {"export_failed": 20}

                    vitals = await until(client.vitals, closes)
                    assert vitals.lost is not None
                    assert vitals.lost.spans is not None
                    spans = vitals.lost.spans
                    assert spans.started == spans.open + spans.waiting + spans.exported + 20 == 20
