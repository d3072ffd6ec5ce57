"""The SDK's own OTLP exporters, of each signal, over HTTP or gRPC."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, Literal, get_args

from observe.tracing import environment
from observe.tracing.errors import BadSetting

Protocol = Literal["http/protobuf", "grpc"]

TIMEOUT_S: Final = 2.0
"""For one request, its retries included, unless OTEL_EXPORTER_OTLP_TIMEOUT says otherwise. The SDK's 10 s let a dead
backend hold ten seconds' worth of spans in its hands."""

SIGNALS: Final = ("traces", "metrics", "logs")


def exporters(
    endpoint: str | None, protocol: str | None, headers: dict[str, str] | None, timeout_s: float | None
) -> dict[str, Callable[[], Any]]:
    """How to make the exporter of each signal, in a process that called `setup` like this. gRPC is imported only when it is
    asked for.

    Raises:
        BadSetting: a protocol that there is not.
    """
    if timeout_s is None and not any(
        name.startswith("OTEL_EXPORTER_OTLP_") and name.endswith("TIMEOUT") for name in os.environ
    ):
        timeout_s = TIMEOUT_S
    made: dict[str, Callable[[], Any]] = {}
    for signal in SIGNALS:
        chosen = protocol or environment.protocol(signal) or "http/protobuf"
        if chosen not in get_args(Protocol):
            raise BadSetting("protocol", chosen, "'http/protobuf' or 'grpc'")
        options: dict[str, Any] = {"headers": headers, "timeout": timeout_s}
        if endpoint is not None and chosen == "grpc":
            options |= {"endpoint": endpoint, "insecure": endpoint.startswith("http://")}
        elif endpoint is not None:
            options["endpoint"] = f"{endpoint.rstrip('/')}/v1/{signal}"
        made[signal] = _maker(signal, chosen, options)
    return made


def _maker(signal: str, protocol: str, options: dict[str, Any]) -> Callable[[], Any]:
    def make() -> Any:
        return _class(signal, protocol)(**options)

    return make


def _class(signal: str, protocol: str) -> Any:
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans

        return {"traces": GrpcSpans, "metrics": GrpcMetrics, "logs": GrpcLogs}[signal]
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return {"traces": OTLPSpanExporter, "metrics": OTLPMetricExporter, "logs": OTLPLogExporter}[signal]
