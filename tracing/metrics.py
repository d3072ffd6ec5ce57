"""Figures as OpenTelemetry metrics: pushed over OTLP, and served to Prometheus by OpenTelemetry's exporter.

The values are made elsewhere and handed over whole (`tell`); readers in other threads take the newest. A backend that is down,
slow or refuses costs nobody anything but the figures of that time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from observe.tracing.beside import beside
from observe.tracing.errors import BadSetting
from observe.tracing.readings import Described, Readings

logger = logging.getLogger("observe.tracing")

TIMEOUT_S: Final = 2.0
"""For one request, unless OTEL_EXPORTER_OTLP_TIMEOUT says otherwise."""

SHUTDOWN_S: Final = 2.0
"""How long the end may wait for the backend."""

FROM_ENVIRONMENT: Final = "env"
"""As an endpoint: OTEL_EXPORTER_OTLP_ENDPOINT and its relatives say where."""


class MetricsOut:
    """Metrics on their way out. `tell` may be called from any thread."""

    def __init__(
        self,
        described: Mapping[str, Described],
        attributes: Mapping[str, Any],
        *,
        otlp: str = "",
        prometheus: str = "",
        every_s: float = 15.0,
    ) -> None:
        """
        Args:
            described: all metrics that will ever be told.
            attributes: of the resource that they are about.
            otlp: base URL of a backend, or `env`.
            prometheus: `host:port` at which to serve `/metrics`.
            every_s: seconds between two exports over OTLP.

        Raises:
            BadSetting: an address makes no sense, or what it needs is not installed.
            OSError: nothing can be served at the address.
        """
        self._newest: Readings = {}
        self._close: list[Callable[[], object]] = []
        readers: list[MetricReader] = []
        if prometheus:
            readers.append(self._serve(prometheus))
        if otlp:
            readers.append(_pushing(otlp, every_s))
        self._provider = MeterProvider(
            metric_readers=readers, resource=Resource.create(dict(attributes)), shutdown_on_exit=False
        )
        meter = self._provider.get_meter("observe")
        makers: dict[str, Callable[..., object]] = {
            "counter": meter.create_observable_counter,
            "updown": meter.create_observable_up_down_counter,
            "gauge": meter.create_observable_gauge,
        }
        for name, one in described.items():
            makers[one.kind](name, callbacks=[self._reader_of(name)], unit=one.unit, description=one.text)

    def tell(self, readings: Readings) -> None:
        """These are the values from now on."""
        self._newest = readings

    def close(self) -> None:
        """Export once more and end. Returns within `SHUTDOWN_S`, whatever the backend does."""
        ending = beside(self._end, "observe:close-metrics")
        if ending is not None:
            ending.join(SHUTDOWN_S)
        else:
            self._end()

    def _end(self) -> None:
        for close in self._close:
            close()
        self._provider.shutdown(timeout_millis=SHUTDOWN_S * 1000)

    def _reader_of(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(_options: CallbackOptions) -> Iterable[Observation]:
            return [Observation(one.value, dict(one.attributes)) for one in self._newest.get(name, ())]

        return read

    def _serve(self, address: str) -> MetricReader:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise BadSetting("prometheus", address, "host:port, such as 127.0.0.1:9464")
        try:
            from opentelemetry.exporter.prometheus import PrometheusMetricReader
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError:
            raise BadSetting(
                "prometheus", address, "possible only with `pip install observe-agents[prometheus]`"
            ) from None
        registry = (
            CollectorRegistry()
        )  # of these figures alone: the probe's own process is not what they are about
        server, thread = start_http_server(int(port), host.strip("[]"), registry)

        def close() -> None:
            server.shutdown()
            server.server_close()
            thread.join(SHUTDOWN_S)

        self._close.append(close)
        self.port = int(server.server_port)
        """Where Prometheus finds them."""
        reader: MetricReader = PrometheusMetricReader(registry=registry, scope_info_enabled=False)
        return reader


def _pushing(otlp: str, every_s: float) -> MetricReader:
    if otlp != FROM_ENVIRONMENT and not otlp.startswith(("http://", "https://")):
        raise BadSetting("otlp", otlp, 'a URL such as http://127.0.0.1:4318, or "env"')
    options: dict[str, Any] = {}
    if not any(name.startswith("OTEL_EXPORTER_OTLP_") and name.endswith("TIMEOUT") for name in os.environ):
        options["timeout"] = TIMEOUT_S
    protocol = os.environ.get(
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    )
    if protocol == "grpc" and otlp == FROM_ENVIRONMENT:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter

        return PeriodicExportingMetricReader(GrpcExporter(**options), export_interval_millis=every_s * 1000)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    if otlp != FROM_ENVIRONMENT:
        options["endpoint"] = f"{otlp.rstrip('/')}/v1/metrics"
    return PeriodicExportingMetricReader(OTLPMetricExporter(**options), export_interval_millis=every_s * 1000)
