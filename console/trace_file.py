"""Files of trace events: JSON lines, the first of which says what they are of; and spans for an OTLP backend."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from observe.probe.wire_traces import TraceEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT: Final = 1


class BadTraceFile(Exception):
    """It cannot be read; says where."""


def head(node: str, selector: str) -> dict[str, Any]:
    """The first line of a file."""
    return {"observe_trace": FORMAT, "node": node, "selector": selector}


def read(path: Path) -> tuple[dict[str, Any], list[TraceEvent]]:
    """The first line of a file and its events.

    Raises:
        BadTraceFile: it cannot be read, or is none.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadTraceFile(f"{path} cannot be read: {error}") from None
    first: dict[str, Any] = {}
    events: list[TraceEvent] = []
    for number, line in enumerate(lines, start=1):
        try:
            found = json.loads(line)
            if number == 1:
                if found["observe_trace"] != FORMAT:
                    raise BadTraceFile(f"{path} has format {found['observe_trace']!r}; this reads {FORMAT}")
                first = found
            else:
                events.append(TraceEvent.from_wire(found))
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines) and number > 1:
                break  # whoever wrote it was interrupted in its last line
            what = "is no file of `observe trace -o`" if number == 1 else f"line {number}: {str(error)[:200]}"
            raise BadTraceFile(f"{path}: {what}") from None
    if not first:
        raise BadTraceFile(f"{path} is empty")
    return first, events


def as_otlp(node: str, events: Sequence[TraceEvent]) -> dict[str, Any]:
    """Handled messages as spans, in OTLP's JSON encoding (opentelemetry-proto, "JSON Protobuf Encoding"): what
    `POST /v1/traces` of a collector takes. They stand in the traces that the messages belonged to; the others in one trace
    of the session's own."""
    own = hashlib.sha256(f"{node} {events[0].at if events else 0}".encode()).hexdigest()[:32]
    spans = [
        _span(event, own) for event in events if event.kind in ("handled", "reply") and event.way != "in"
    ]
    resource = {"attributes": [_attribute("service.name", node.partition("@")[0])]}
    scope = {"name": "observe.trace"}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]}


def _span(event: TraceEvent, own: str) -> dict[str, Any]:
    end = int(event.at * 1e9)
    made = hashlib.sha256(f"{own} {event.n}".encode()).hexdigest()[:16]
    attributes = [
        _attribute("gen_ai.agent.name", event.class_name),
        _attribute("gen_ai.agent.id", event.name or str(event.pid)),
        _attribute("observe.pid", event.pid),
        _attribute("observe.peer", event.peer_name),
        _attribute("observe.message", str(event.message["text"]) if event.message else ""),
    ]
    span: dict[str, Any] = {
        "traceId": event.trace_id or own,
        "spanId": made,
        "name": f"handle {event.class_name}",
        "kind": 5 if event.kind == "handled" else 2,  # CONSUMER, SERVER
        "startTimeUnixNano": str(end - int((event.took_s or 0.0) * 1e9)),
        "endTimeUnixNano": str(end),
        "attributes": attributes,
        "status": {"code": 2, "message": event.error} if event.error else {},
    }
    if event.span_id:
        span["parentSpanId"] = event.span_id
    return span


def _attribute(key: str, value: str | int) -> dict[str, Any]:
    kind = {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}
    return {"key": key, "value": kind}
