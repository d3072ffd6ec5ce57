"""The standard OTEL_* variables alone are a way to configure everything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from observe.runtime import Agent, Node
from observe.runtime.testing import settled
from observe.tracing import setup
from observe.tracing.errors import BadSetting
from tests.tracing.receiver import Receiver


class Worker(Agent):
    async def handle(self, message: Any) -> None:
        async with self.activity("model:chat", model="m", provider="p"):
            pass
        if message == "crash":
            async with self.activity("tool:x"):
                raise ValueError("asked to")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


async def run(monkeypatch: pytest.MonkeyPatch, messages: int = 1, **variables: str) -> Receiver:
    """What a backend has of a service that says nothing about it."""
    with Receiver() as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        for name, value in variables.items():
            monkeypatch.setenv(name, value.replace("URL", backend.url))
        async with Node("shop@localhost") as node:
            with setup(node, set_global=False):
                worker = await node.spawn(Worker)
                for _ in range(messages):
                    await worker.call("work")
                (await node.spawn(Worker)).cast("crash")
                await settled(node)
        return backend


async def test_endpoint_name_and_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = await run(
        monkeypatch,
        OTEL_SERVICE_NAME="night-shop",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=night",
    )
    assert len(backend.spans) == 5
    assert backend.logs
    assert backend.metrics
    assert backend.resources[0]["service.name"] == "night-shop"
    assert backend.resources[0]["deployment.environment.name"] == "night"


async def test_an_endpoint_for_each_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = await run(
        monkeypatch, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="URL/v1/traces",
        OTEL_LOGS_EXPORTER="none", OTEL_METRICS_EXPORTER="none",
    )  # fmt: skip
    assert len(backend.spans) == 5
    assert not backend.logs
    assert not backend.metrics


@pytest.mark.parametrize(
    ("sampler", "argument", "spans"),
    [
        ("always_off", "", 0),
        ("parentbased_always_on", "", 5),
        ("traceidratio", "0", 3),  # those with the error
        ("parentbased_traceidratio", "1.0", 5),
    ],
)
async def test_the_sampler(monkeypatch: pytest.MonkeyPatch, sampler: str, argument: str, spans: int) -> None:
    backend = await run(monkeypatch, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=argument)
    assert len(backend.spans) == spans


async def test_signals_are_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = await run(monkeypatch, OTEL_TRACES_EXPORTER="none")
    assert not backend.spans
    assert backend.metrics
    backend = await run(monkeypatch, OTEL_SDK_DISABLED="true")
    assert (backend.spans, backend.logs, backend.metrics) == ([], [], [])


async def test_the_size_of_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "50")
        async with Node("shop@localhost") as node:
            with setup(node, set_global=False):
                worker = await node.spawn(Worker)
                for _ in range(4):
                    await worker.call("work")
        assert len(backend.spans) == 8
        assert len(backend.resources) >= 4, "a request each"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "pigeon"),
    ],
)
def test_what_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadSetting, match=value):
        setup(set_global=False)


def test_the_document_names_every_variable_that_is_read() -> None:
    root = Path(__file__).parents[2]
    text = (root / "docs" / "tracing.md").read_text()
    for name in (
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_EXPORTER",
        "OTEL_SDK_DISABLED",
        "OTEL_BSP_MAX_QUEUE_SIZE",
    ):
        assert name in text
