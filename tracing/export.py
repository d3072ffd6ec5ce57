"""Set-up: the SDK's providers, its OTLP exporters, and an end that is bounded. The only module that configures the SDK.

    with tracing.setup(node, endpoint="http://127.0.0.1:4318"):
        ...

or `setup(node)` and the standard OTEL_* variables. A backend that is down, slow or refuses costs the service nothing but
dropped spans, which `Tracing.statistics` accounts for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self, get_args

from opentelemetry import metrics, trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, DEFAULT_OFF, Sampler

from observe.runtime.logring import set_reader
from observe.tracing import environment, open_spans
from observe.tracing.beside import beside
from observe.tracing.boxes import LogBox, SpanBox
from observe.tracing.by_risk import SHARES, ByRisk, Shares
from observe.tracing.context import Relation, configure
from observe.tracing.errors import BadSetting
from observe.tracing.exporters import SIGNALS, Protocol, exporters
from observe.tracing.far import FarTracing
from observe.tracing.far_accounts import account, together
from observe.tracing.happenings import Happenings
from observe.tracing.logs import LogHandler, handle, here
from observe.tracing.message_spans import MessageRule, MessageSpans
from observe.tracing.open_spans import OpenSpans
from observe.tracing.outbox import BATCH, DELAY_S, QUEUED, Account, Outbox
from observe.tracing.spans import SpanMaker
from observe.tracing.tail import Deciding, TailKeep

if TYPE_CHECKING:
    from observe.runtime.node import Node

SHUTDOWN_S: Final = 3.0
"""How long the end of the service may wait for the backend. The SDK waits 30 s."""

METRICS_EVERY_S: Final = 15.0

TAIL: Final = TailKeep()
"""Traces with an error are kept."""


class Tracing:
    """Tracing that has been set up. A context manager: leaving it is `shutdown`."""

    def __init__(
        self,
        resource: Resource,
        sampler: Sampler,
        makers: Mapping[str, Callable[[], Any]],
        *,
        content: bool,
        queued: int,
        batch: int,
        delay_s: float,
        messages: Sequence[MessageRule],
        tail: TailKeep | None,
        by_risk: Shares | None,
        signals: frozenset[str],
    ) -> None:
        sizes: dict[str, Any] = {"queued": queued, "batch": batch, "delay_s": delay_s}
        self._spans = SpanBox(Outbox("traces", makers["traces"], SpanExportResult.FAILURE, **sizes), tail)
        self.tail = self._spans.tail
        """Traces that were sampled out, until it is known whether to keep them."""
        self._logs = LogBox(Outbox("logs", makers["logs"], LogRecordExportResult.FAILURE, **sizes))
        self.resource = resource
        self.tracer_provider = TracerProvider(
            sampler=Deciding(sampler, self.tail), resource=resource, shutdown_on_exit=False
        )
        """For other instrumentations, whose spans then nest under the agents'."""
        self.tracer_provider.add_span_processor(self._spans)
        self.logger_provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
        if "logs" in signals:
            self.logger_provider.add_log_record_processor(self._logs)
        every_ms = environment.number("OTEL_METRIC_EXPORT_INTERVAL", METRICS_EVERY_S * 1000)
        self._metrics_every_s = every_ms / 1000
        readers = []
        if "metrics" in signals:
            readers = [PeriodicExportingMetricReader(makers["metrics"](), export_interval_millis=every_ms)]
        self.meter_provider = MeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False)
        self._content = content
        self._rules = tuple(messages)
        self._makers: list[SpanMaker] = []
        self._message_spans: list[MessageSpans] = []
        self._happenings: list[Happenings] = []
        self._by_risk = by_risk
        self._risky: list[ByRisk] = []
        self._far: list[FarTracing] = []
        self._handlers: list[LogHandler] = []
        self.options: dict[str, Any] = {}
        """How `setup` was called, for the worker processes of its node."""
        self._is_down = False

    def plug_in(self, node: Node) -> SpanMaker:
        """Make spans of what `node`'s agents do from now on."""
        messages = MessageSpans(node, self.tracer_provider, self._rules, self.tail)
        maker = SpanMaker(
            node, self.tracer_provider, self.logger_provider, self.meter_provider, messages, self.tail,
            content=self._content,
        )  # fmt: skip
        happenings = Happenings(node, maker.note, messages)
        self._makers.append(maker)
        open_spans.register(node, self._spans.open, self)
        maker.start()
        self._message_spans.append(messages)
        messages.start()
        self._happenings.append(happenings)
        happenings.start()
        if self._by_risk is not None:
            risky = ByRisk(node, messages, self._by_risk)
            self._risky.append(risky)
            risky.start()
        set_reader(here)
        if not self._handlers:
            self._handlers = handle(self.options.get("logs", ()), self)
        self._spans.outbox.ready()
        self._logs.outbox.ready()
        if not node.is_worker:
            far = FarTracing(node, self.options, self)
            self._far.append(far)
            far.start()
        return maker

    def unplug(self) -> None:
        """Make no more spans of what agents do. On the thread of their loop, as `shutdown` may be elsewhere."""
        self._unplug()
        self._makers.clear()
        self._message_spans.clear()
        self._happenings.clear()
        self._risky.clear()

    def _unplug(self) -> None:
        for handler in self._handlers:
            handler.leave()
        self._handlers = []
        for risky in self._risky:
            risky.stop()
        for happenings in self._happenings:
            happenings.stop()
        for spans in self._message_spans:
            spans.stop()
        for maker in self._makers:
            maker.stop()

    def statistics(self) -> dict[str, Any]:
        """The account of spans and logs: started = exported + dropped, by reason + queued + in flight + open. Those of worker
        processes are in `workers`."""
        spans = self._spans.outbox.statistics()
        started = self._spans.started  # after the others, none of which is put before it has started
        return {
            "started": started,
            "open": started - spans.put,
            "spans": spans,
            "logs": self._logs.outbox.statistics(),
            "workers": together(one.accounts for one in self._far),
            "tail": self.tail.statistics(),
            "passed_over": sum(one.passed_over for one in self._message_spans),
            "unfollowed": sum(one.unfollowed for one in self._risky),
            "metrics": {"interval_s": self._metrics_every_s},
        }

    def accounts(self) -> dict[str, dict[str, Any]]:
        """Where the spans and log records of this process are, in the words of `far_accounts`."""
        spans, logs = self._spans.outbox.statistics(), self._logs.outbox.statistics()
        return {"spans": account(self._spans.started, spans), "logs": account(logs.put, logs)}

    @property
    def open_spans(self) -> OpenSpans:
        """Those that are told to whoever would end them."""
        return self._spans.open

    def adopt(self, spans: Iterable[ReadableSpan]) -> None:
        """Send spans of a process that cannot do it any more."""
        for span in spans:
            self._spans.adopt(span)

    @property
    def spans(self) -> Account:
        """Where the spans are that have ended."""
        return self._spans.outbox.statistics()

    @property
    def logs(self) -> Account:
        """Where the log records are."""
        return self._logs.outbox.statistics()

    def flush(self, timeout_s: float = SHUTDOWN_S) -> bool:
        """Send what waits now. False when it was not all taken in that time. Waits, so not for an agent's step."""
        deadline = time.monotonic() + timeout_s
        sent = self._spans.outbox.flush(timeout_s)
        return self._logs.outbox.flush(max(0.0, deadline - time.monotonic())) and sent

    def shutdown(self, timeout_s: float = SHUTDOWN_S) -> bool:
        """End open spans, send what waits, and stop, all within `timeout_s`. False when something was lost; the
        account says what. Shutting down twice has no effect."""
        if self._is_down:
            return True
        self._is_down = True
        deadline = time.monotonic() + timeout_s
        for far in self._far:
            far.stop()
        self._unplug()
        metrics_end = beside(self.meter_provider.shutdown, "observe:close-metrics")
        done = self._spans.outbox.close(max(0.0, deadline - time.monotonic()))
        done = self._logs.outbox.close(max(0.0, deadline - time.monotonic())) and done
        left_s = max(0.0, deadline - time.monotonic())
        if metrics_end is not None:
            metrics_end.join(left_s)
        else:
            self.meter_provider.shutdown(timeout_millis=left_s * 1000)  # the reader's thread sends, as ever
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()


def setup(
    node: Node | None = None,
    *,
    endpoint: str | None = None,
    protocol: Protocol | None = None,
    headers: Mapping[str, str] | None = None,
    service_name: str | None = None,
    attributes: Mapping[str, str] | None = None,
    sampler: Sampler | None = None,
    messages: Sequence[MessageRule] = (),
    casts: Relation = "child",
    timers: Relation = "child",
    tail: TailKeep | None = TAIL,
    by_risk: Shares | None = SHARES,
    content: bool | None = None,
    set_global: bool = True,
    queued: int | None = None,
    batch: int | None = None,
    delay_s: float | None = None,
    timeout_s: float | None = None,
    logs: Sequence[str] = (),
) -> Tracing:
    """Export traces, metrics and logs by OTLP, and make spans of what `node`'s agents do.

    Args:
        node: whose agents; more can be plugged in later.
        endpoint: base URL of the backend, such as `http://127.0.0.1:4318`; otherwise OTEL_EXPORTER_OTLP_ENDPOINT and
            its relatives.
        protocol: `http/protobuf` (the default: faster and lighter, measured) or `grpc`.
        service_name: otherwise OTEL_SERVICE_NAME, or the node's name.
        attributes: further ones of the resource.
        sampler: of traces that begin here; otherwise OTEL_TRACES_SAMPLER, or all.
        messages: which messages make spans; the first rule that means an agent decides. Those of agents that a live session
            listens to, or that are contained at `monitored` or above, always do.
        casts, timers: whether what a cast or a timer leads to is a `child` in its sender's trace, or begins a trace with a
            `link` to it.
        tail: which traces are kept although they were sampled out; None: none, which makes them cheaper.
        by_risk: of the messages of an agent that does things, the share that is traced whatever the sampler says, by the tier of
            its risk from 1 to 4 (docs/risk.md); None: risk does not matter.
        content: also export texts of prompts, arguments and results, masked. Otherwise
            OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT; off by default.
        set_global: let other instrumentations of this process use the same providers, so that their spans nest.
        queued, batch, delay_s, timeout_s: bounds of the outbox and of one request; otherwise OTEL_BSP_MAX_QUEUE_SIZE,
            OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_BSP_SCHEDULE_DELAY and OTEL_EXPORTER_OTLP_TIMEOUT.
        logs: names of loggers whose records go to the backend (`LogHandler`), with those below them, "" for all; also in worker
            processes.

    Raises:
        BadSetting: an argument or a variable makes no sense.
    """
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise BadSetting("endpoint", endpoint, "a URL such as http://127.0.0.1:4318")
    sizes: dict[str, Any] = {
        "queued": int(environment.number("OTEL_BSP_MAX_QUEUE_SIZE", QUEUED)) if queued is None else queued,
        "batch": int(environment.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH)) if batch is None else batch,
        "delay_s": environment.number("OTEL_BSP_SCHEDULE_DELAY", DELAY_S * 1000) / 1000
        if delay_s is None
        else delay_s,
    }
    if sizes["queued"] < 1 or sizes["batch"] < 1 or sizes["batch"] > sizes["queued"]:
        raise BadSetting("batch", sizes["batch"], f"at least 1 and at most queued ({sizes['queued']})")
    if content is None:
        said = os.environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "")
        content = said.lower() in ("true", "span_only", "event_only", "span_and_event")
    for name, relation in (("casts", casts), ("timers", timers)):
        if relation not in get_args(Relation):
            raise BadSetting(name, relation, "'child' or 'link'")
    if by_risk is not None and (len(by_risk) != 4 or not all(0.0 <= share <= 1.0 for share in by_risk)):
        raise BadSetting("by_risk", by_risk, "four shares from 0 to 1, one for each tier")
    makers = exporters(endpoint, protocol, dict(headers) if headers else None, timeout_s)
    signals = frozenset() if environment.is_disabled() else frozenset(filter(environment.exports, SIGNALS))
    chosen = (sampler or environment.sampler()) if "traces" in signals else ALWAYS_OFF
    tracing = Tracing(
        _resource(node, service_name, attributes),
        chosen,
        makers,
        content=content,
        messages=messages,
        tail=None if chosen in (ALWAYS_OFF, DEFAULT_OFF) else tail,  # off means off
        by_risk=None if chosen in (ALWAYS_OFF, DEFAULT_OFF) else by_risk,
        signals=signals,
        **sizes,
    )
    tracing.options = {
        "endpoint": endpoint,
        "protocol": protocol,
        "headers": dict(headers) if headers else None,
        "service_name": service_name or (node.short_name if node is not None else None),
        "attributes": dict(attributes) if attributes else None,
        "sampler": sampler,
        "messages": list(messages),
        "casts": casts,
        "timers": timers,
        "tail": tail,
        "by_risk": by_risk,
        "content": content,
        "set_global": set_global,
        "timeout_s": timeout_s,
        "logs": list(logs),
        **sizes,
    }
    configure(casts=casts, timers=timers, carries_all=tracing.tail.rule is not None)
    if set_global:
        trace.set_tracer_provider(tracing.tracer_provider)
        metrics.set_meter_provider(tracing.meter_provider)
        set_logger_provider(tracing.logger_provider)
    if node is not None:
        tracing.plug_in(node)
    return tracing


def _resource(node: Node | None, service_name: str | None, more: Mapping[str, str] | None) -> Resource:
    attributes: dict[str, Any] = {"process.pid": os.getpid(), **(more or {})}
    if node is not None:
        attributes |= {"service.instance.id": node.incarnation, "observe.node": node.name}
    name = service_name or os.environ.get("OTEL_SERVICE_NAME") or (node.short_name if node else None)
    if name:
        attributes["service.name"] = name
    return Resource.create(attributes)
