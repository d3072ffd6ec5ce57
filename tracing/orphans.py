"""Ends the spans of a process that has died, in its place: same ids, same resource, and a status that says so.

Nobody else can: OpenTelemetry exports a span when it ends, so after a `kill -9` a trace has children without a root
(https://github.com/open-telemetry/opentelemetry-specification/issues/373).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.span import TraceState
from opentelemetry.trace.status import Status, StatusCode

from observe.tracing.exporters import exporters
from observe.tracing.genai import END_REASON, ERROR_TYPE

logger = logging.getLogger("observe.tracing")

BATCH: Final = 512

Told = Mapping[str, Any]
"""A span as `open_spans.described` has it."""


@dataclass(frozen=True, slots=True)
class End:
    """How a process ended."""

    at_ns: int
    cause: str
    exit_code: int | None = None
    signal: int | None = None
    signal_name: str | None = None
    of: Literal["node", "worker"] = "node"
    """Whose process it was."""

    @property
    def kind(self) -> str:
        """`error.type` of its spans, and the name of the event on them."""
        return f"{self.of}_death"

    def attributes(self) -> dict[str, Any]:
        """Of the event on each span."""
        facts = {
            "observe.cause": self.cause,
            "process.exit.code": self.exit_code,
            "observe.signal": self.signal,
            "observe.signal_name": self.signal_name,
        }
        return {name: value for name, value in facts.items() if value is not None}


def sender(destination: Mapping[str, Any]) -> Callable[[Sequence[ReadableSpan]], bool]:
    """What sends spans as a process would have done that was set up like this (`open_spans.destination_of`). It waits, two
    seconds unless told otherwise, and says whether the backend took them.

    Raises:
        Exception: whatever the exporter says to its settings.
    """
    exporter = exporters(
        destination.get("endpoint"),
        destination.get("protocol"),
        dict(destination.get("headers") or {}) or None,
        destination.get("timeout_s"),
    )["traces"]()

    def send(spans: Sequence[ReadableSpan]) -> bool:
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # its own requests make no spans
        try:
            return all(
                exporter.export(spans[first : first + BATCH]) is SpanExportResult.SUCCESS
                for first in range(0, len(spans), BATCH)
            )
        except Exception:
            logger.exception("spans of a node that died could not be sent")
            return False
        finally:
            detach(token)

    return send


def ended(
    spans: Sequence[tuple[Told, tuple[int, int, int] | None]], resource: Mapping[str, Any], end: End
) -> list[ReadableSpan]:
    """The spans as their process would have sent them; with each, the end that it had, or None when it was open."""
    made = Resource(dict(resource))
    return [_ended(told, own, made, end) for told, own in spans]


def _ended(told: Told, own: tuple[int, int, int] | None, resource: Resource, end: End) -> ReadableSpan:
    trace_id = int(told["trace"], 16)
    flags = TraceFlags(told["flags"])
    context = SpanContext(trace_id, told["span"], False, flags, TraceState.from_header([told["state"]]))
    parent = None
    if told["parent"]:
        parent = SpanContext(trace_id, told["parent"], told["parent_remote"], flags)
    attributes = dict(told["attributes"])
    events: list[Event] = []
    if own is None:
        end_ns, status = (
            max(end.at_ns, told["start_ns"]),
            Status(StatusCode.ERROR, f"the {end.of} died: {end.cause}"),
        )
        attributes |= {ERROR_TYPE: end.kind, END_REASON: f"the {end.of} died: {end.cause}"}
        events.append(Event(f"observe.{end.kind}", end.attributes(), end_ns))
    else:
        end_ns, status = own[1], Status(StatusCode(own[2]))
    return ReadableSpan(
        name=told["name"],
        context=context,
        parent=parent,
        resource=resource,
        attributes=attributes,
        events=events,
        kind=SpanKind(told["kind"]),
        status=status,
        start_time=told["start_ns"],
        end_time=end_ns,
        instrumentation_scope=InstrumentationScope(told["scope"]),
    )
