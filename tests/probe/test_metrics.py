"""Metrics out: over OTLP to a real receiver, to a real scrape as Prometheus does it, and never too many series."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import urllib.request
from array import array
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import pytest

from observe.probe import Metrics, Probe
from observe.probe.frames import CrashFrame, DurationsFrame, VitalsFrame
from observe.probe.metering import CLASS, METRICS, NAME, Meter
from observe.probe.metrics_out import RETRY_S, MetricsLink
from observe.probe.picture import Picture
from observe.probe.standing import Standing
from observe.runtime import Agent, ChildSpec, Node, Supervisor
from observe.tracing.readings import Readings
from tests.probe.live import eventually, private_runtime
from tests.probe.test_findings import Patient
from tests.tracing.receiver import Receiver, attributes


class Clerk(Agent):
    """Uses a model and a tool, and crashes when told to."""

    async def handle(self, message: Any) -> None:
        if message == "crash":
            raise ValueError("asked to")
        async with self.activity("model:chat") as chat:
            chat.usage(input_tokens=100, output_tokens=20, cost=0.5)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def scrape(port: int) -> dict[str, list[tuple[dict[str, str], float]]]:
    """What Prometheus reads: values with their labels, by name."""
    parser = pytest.importorskip("prometheus_client.parser")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


async def test_a_node_s_figures_go_out_over_otlp_and_are_there_for_prometheus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    with private_runtime(monkeypatch), Receiver() as backend:
        metrics = Metrics(otlp=backend.url, prometheus=f"127.0.0.1:{port}", every_s=1.0, agents=("clerk",))
        async with Node("shop") as node, Probe(node, metrics=metrics, tick_s=0.05):
            children = [ChildSpec(Clerk, name="clerk"), ChildSpec(Clerk, id="other")]
            await node.spawn(Supervisor, children, name="clerks")
            for message in ("chat", "chat", "crash"):
                node.ref("clerk").cast(message)

            async def look() -> dict[str, list[tuple[dict[str, str], float]]]:
                try:
                    return await asyncio.to_thread(scrape, port)
                except OSError:  # not yet
                    return {}

            clerk = {"observe_agent_class": "Clerk"}
            found = await eventually(
                look, lambda now: (clerk, 1.0) in now.get("observe_agent_crashes_total", ())
            )
            chat = clerk | {"observe_activity_name": "model:chat"}
            assert (chat, 2.0) in found["observe_activity_completed_total"]
            assert (chat | {"gen_ai_token_type": "input"}, 200.0) in found[
                "observe_activity_token_usage_total"
            ]
            assert (chat, 1.0) in found["observe_activity_cost_total"]
            assert (clerk | {"observe_agent_status": "idle"}, 2.0) in found["observe_agent_count"]
            assert [labels for labels, _ in found["observe_agent_handled_total"]] == [
                {"observe_agent_name": "clerk"}
            ]
            assert found["observe_agent_restarts_total"] == [({}, 1.0)]
            assert found["process_memory_usage_bytes"][0][1] > 1e6

            def sent(name: str) -> list[tuple[dict[str, Any], float]]:
                newest = [metric for metric in backend.metrics if metric.name == name][-1:]
                return [
                    (attributes(point), point.as_double or point.as_int)
                    for metric in newest
                    for point in (metric.sum if metric.HasField("sum") else metric.gauge).data_points
                ]

            async def arrived() -> bool:
                return ({CLASS: "Clerk"}, 1) in sent("observe.agent.crashes")

            await eventually(arrived)
            assert {metric.name for metric in backend.metrics} <= METRICS.keys()
            assert {metric.unit for metric in backend.metrics if metric.name == "process.memory.usage"} == {
                "By"
            }


class GrpcReceiver:
    """An OTLP/gRPC backend on gRPC's own server, which keeps the metrics that it takes, and who sent them."""

    def __init__(self) -> None:
        import grpc  # type: ignore[import-untyped]  # it ships no types
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
            MetricsServiceServicer,
            add_MetricsServiceServicer_to_server,
        )

        self.values: dict[str, float] = {}
        """The newest, by name; of several series the sum."""
        self.services: set[str] = set()
        self.headers: set[tuple[str, str]] = set()
        receiver = self

        class Servicer(MetricsServiceServicer):
            def Export(self, request: Any, context: Any) -> Any:
                receiver.headers |= {(key, value) for key, value in context.invocation_metadata()}
                for group in request.resource_metrics:
                    receiver.services |= {
                        one.value.string_value
                        for one in group.resource.attributes
                        if one.key == "service.name"
                    }
                    for scope in group.scope_metrics:
                        for metric in scope.metrics:
                            points = (metric.sum if metric.HasField("sum") else metric.gauge).data_points
                            receiver.values[metric.name] = sum(one.as_double or one.as_int for one in points)
                return ExportMetricsServiceResponse()

        self._server = grpc.server(ThreadPoolExecutor(2))
        add_MetricsServiceServicer_to_server(Servicer(), self._server)  # type: ignore[no-untyped-call]  # generated
        self.url = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait(20)


async def test_a_node_s_figures_go_out_over_grpc_with_the_headers_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with private_runtime(monkeypatch), GrpcReceiver() as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=shop")
        async with Node("shop") as node, Probe(node, metrics=Metrics(otlp="env", every_s=1.0), tick_s=0.05):
            await node.spawn(Supervisor, [ChildSpec(Clerk, name="clerk")], name="clerks")
            for message in ("chat", "chat", "crash"):
                node.ref("clerk").cast(message)

            async def arrived() -> bool:
                return backend.values.get("observe.agent.crashes") == 1

            await eventually(arrived)
            assert backend.values["observe.activity.completed"] == 2
            assert backend.values["observe.activity.token.usage"] == 240
            assert backend.values["process.memory.usage"] > 1e6
        assert backend.values.keys() <= METRICS.keys()
        assert backend.services == {"shop"}
        assert ("x-tenant", "shop") in backend.headers


# -- how many series there may be ---------------------------------------------------------------------------------------


_COUNTS = [name for name, one in VitalsFrame.model_fields.items() if one.default is not None]


def crowded(classes: int, agents: int = 1) -> Picture:
    picture = Patient().picture
    first = len(picture.table.strings)
    picture.table.strings.add(first, [f"Class{number}" for number in range(classes)])
    pids = iter(range(1, classes * agents + 1))
    for number in range(classes):
        for _ in range(agents):
            row = array("q", [next(pids), first + number, 0, 0, 0, 0, 0, 0]).tobytes()
            picture.table.spawn(1, row, 1)
    picture.vitals.take(VitalsFrame.model_validate(dict.fromkeys(_COUNTS, 0) | {"seq": 1}))
    return picture


def series(readings: Readings, name: str) -> dict[str, float]:
    sums: dict[str, float] = {}
    for one in readings[name]:
        sums[one.attributes[CLASS]] = sums.get(one.attributes[CLASS], 0) + one.value
    return sums


def test_classes_beyond_the_bound_are_one_and_none_is_lost() -> None:
    picture = crowded(80, agents=2)
    readings = Meter(Metrics(otlp="env", classes=50)).read(picture, {})
    counts = series(readings, "observe.agent.count")
    assert len(counts) == 51
    assert (counts["other"], sum(counts.values())) == (60, 160)


def test_a_class_that_has_a_series_keeps_it() -> None:
    """A counter that went into `other` and came back would make rates of nothing."""
    picture = crowded(3)
    meter = Meter(Metrics(otlp="env", classes=2))
    first = set(series(meter.read(picture, {}), "observe.agent.count"))
    (left_out,) = {"Class0", "Class1", "Class2"} - first
    for pid in range(10, 100):
        number = 4 + int(left_out[-1])
        picture.table.spawn(1, array("q", [pid, number, 0, 0, 0, 0, 0, 0]).tobytes(), 1)
    assert set(series(meter.read(picture, {}), "observe.agent.count")) == first


def test_activities_and_crashes_are_bounded_as_well() -> None:
    picture = crowded(1)
    entries = [
        {"class": "Class0", "activity": f"tool:{number}", "counts": [41, number + 1], "total_us": 1_000_000}
        for number in range(300)
    ]
    picture.doings.take(DurationsFrame.model_validate({"seq": 1, "entries": entries}))
    for number in range(2000):
        fields = {"at": 0.0, "pid": 1, "class": f"C{number}", "child": "", "supervisor": 0, "reason": "E"}
        frame = fields | {"seq": 1, "kind": "E", "traceback": "", "fingerprint": "f"}
        picture.crashed(CrashFrame.model_validate(frame), 100)
    readings = Meter(Metrics(otlp="env")).read(picture, {})
    assert len(readings["observe.activity.completed"]) == 101
    assert sum(one.value for one in readings["observe.activity.time"]) == 300
    assert sum(one.value for one in readings["observe.agent.crashes"]) == 2000
    assert sum(len(values) for values in readings.values()) < 600


def test_no_agent_has_a_series_of_its_own_unless_it_is_asked_for() -> None:
    picture = crowded(1, agents=1000)
    readings = Meter(Metrics(otlp="env", agents=("nobody",))).read(picture, {})
    assert not [one for values in readings.values() for one in values if NAME in one.attributes]


def test_a_node_without_agents_has_figures() -> None:
    readings = Meter(Metrics(otlp="env")).read(Patient().picture, {"stuck": 0})
    assert readings["observe.agent.count"] == []
    assert readings["observe.finding.count"][0].value == 0


# -- when it does not work ----------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_told_once_and_tried_again() -> None:
    """The probe of the service's last life may hold it still."""
    told: list[str] = []
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        settings = Metrics(prometheus=f"127.0.0.1:{port}")
        link = MetricsLink(settings, crowded(1), Standing(), told.append)
        link.look(1.0)
        link.look(1.0 + RETRY_S)
        assert len(told) == 1
        assert "cannot be let out" in told[0]
    link.look(1.0 + 2 * RETRY_S)
    try:
        assert scrape(port)["observe_agent_count"]
    finally:
        link.close()
    with pytest.raises(OSError):
        scrape(port)


def test_a_backend_that_never_answers_does_not_keep_the_probe_from_ending() -> None:
    with Receiver() as backend:
        backend.hold = threading.Event()
        link = MetricsLink(Metrics(otlp=backend.url), crowded(1), Standing(), lambda _text: None)
        link.look(1.0)
        link.close()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "otlp=, prometheus="),
        ({"otlp": "localhost:4318"}, "a URL such as"),
        ({"prometheus": "9464"}, "127.0.0.1:9464"),
        ({"prometheus": "h:99999"}, "127.0.0.1:9464"),
        ({"otlp": "env", "every_s": 0.1}, "every_s"),
        ({"otlp": "env", "classes": 100_000}, "classes"),
        ({"otlp": "env", "agents": "clerk"}, "agents"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Metrics(**wrong)


def test_a_probe_that_lets_nothing_out_does_not_load_opentelemetry() -> None:
    code = "import sys, observe.probe.server; print([m for m in sys.modules if 'opentelemetry' in m])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_every_metric_is_in_the_document() -> None:
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    for name, one in METRICS.items():
        assert f"| `{name}` | {one.kind} | `{one.unit}` |" in text
