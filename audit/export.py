"""Records as log records of OpenTelemetry (OTLP in JSON), for whoever keeps the logs of a whole company in one place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from observe.audit.notes import node_of, read_note
from observe.audit.record import Record

SEVERITY: Final[dict[str, tuple[int, str]]] = {
    "denied": (13, "WARN"),
    "expired": (13, "WARN"),
    "failed": (17, "ERROR"),
}
"""What is not in here is INFO."""


def sentence(record: Record) -> str:
    """A record in one line for people."""
    target = record.target
    whom = str(target.get("name") or target.get("agent") or target.get("pid") or target.get("task") or "")
    modules = target.get("modules")  # of a reload
    whom = whom or (", ".join(map(str, modules)) if isinstance(modules, list) else "")
    on = str(target.get("on") or "")  # of a governed agent: the activity, the recipient, the level
    about = "".join(f" {part}" for part in (whom, on) if part)
    said = f"{record.who.name}: {record.what}{about}: {record.phase}"
    why = f" ({record.reason})" if record.reason else ""
    outcome = record.outcome or {}
    became = outcome.get("message") or outcome.get("what") or changes(outcome.get("diff")) or attached(record)
    return f"{said}{why}{': ' + str(became) if became else ''}"


def attached(record: Record) -> str:
    """Of an attach: `observe ps 4711 0.1.0 of alice from 10.0.0.7`, as the client says; and how many more a record stands for."""
    if record.what != "attach":
        return ""
    target, counted = record.target, (record.outcome or {}).get("counted")
    parts = [str(target.get(name) or "") for name in ("client", "version")]
    parts += [f"of {target['user']}" if target.get("user") else ""]
    parts += [f"from {record.who.address}" if record.who.address else ""]
    said = " ".join(part for part in parts if part)
    return f"{counted} more, the last: {said}" if counted else said


def changes(diff: Any) -> str:
    """`/balance 0 → 10` of a diff; empty of none."""
    found = [one for one in diff if isinstance(one, dict)] if isinstance(diff, list) else []
    return ", ".join(f"{one.get('path')} {one.get('old')} → {one.get('new')}" for one in found)


def to_otlp(records: Iterable[Record]) -> dict[str, Any]:
    """One `ExportLogsServiceRequest` with all these records, one resource for each start of a node."""
    resources: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in records:
        resources.setdefault((record.node, record.incarnation), []).append(_log_record(record))
    return {
        "resourceLogs": [
            {
                "resource": {"attributes": _attributes(_resource(node, incarnation))},
                "scopeLogs": [{"scope": {"name": "observe.audit"}, "logRecords": found}],
            }
            for (node, incarnation), found in resources.items()
        ]
    }


def checkpoint_to_otlp(note: str, wall: float) -> dict[str, Any]:
    """One `ExportLogsServiceRequest` with a signed checkpoint, sent at this Unix time. The body is the note, as it stands:
    whoever has it can compare the log with it (`observe audit verify --anchor`).

    Raises:
        BadNote: it is no checkpoint.
    """
    checkpoint = read_note(note)
    made = {
        "timeUnixNano": str(int(wall * 1e9)),
        "observedTimeUnixNano": str(int(wall * 1e9)),
        "severityNumber": 9,
        "severityText": "INFO",
        "eventName": "observe.audit.checkpoint",
        "body": {"stringValue": note},
        "attributes": _attributes(
            {"observe.audit.size": checkpoint.size, "observe.audit.root": checkpoint.root.hex()}
        ),
    }
    return {
        "resourceLogs": [
            {
                "resource": {"attributes": _attributes(_resource(node_of(checkpoint.origin), ""))},
                "scopeLogs": [{"scope": {"name": "observe.audit"}, "logRecords": [made]}],
            }
        ]
    }


def logs_url(endpoint: str) -> str:
    """Where an OTLP collector takes logs: its endpoint with `/v1/logs`, as the OTLP specification has it for HTTP."""
    return endpoint if endpoint.rstrip("/").endswith("/v1/logs") else endpoint.rstrip("/") + "/v1/logs"


def _resource(node: str, incarnation: str) -> dict[str, Any]:
    name, _, host = node.partition("@")
    known = {"service.name": name, "host.name": host, "service.instance.id": incarnation}
    return {key: value for key, value in known.items() if value}


def _log_record(record: Record) -> dict[str, Any]:
    number, text = SEVERITY.get(record.phase, (9, "INFO"))
    facts = {
        "observe.audit.seq": record.seq,
        "observe.audit.phase": record.phase,
        "observe.audit.action": record.what,
        "observe.audit.command_id": record.command_id,
        "observe.audit.reason": record.reason,
        "observe.audit.target": record.target,
        "observe.audit.outcome": record.outcome,
        "user.name": record.who.name,
        "user.roles": [record.who.role],
        "observe.audit.who.key": record.who.key,
        "observe.audit.who.user": record.who.user,
    }
    made = {
        "timeUnixNano": str(int(record.wall * 1e9)),
        "observedTimeUnixNano": str(int(record.wall * 1e9)),
        "severityNumber": number,
        "severityText": text,
        "eventName": "observe.audit",
        "body": {"stringValue": sentence(record)},
        "attributes": _attributes(
            {key: value for key, value in facts.items() if value not in ("", None, {})}
        ),
    }
    if record.trace:
        made["traceId"] = record.trace
        span = (record.outcome or {}).get("span")
        if isinstance(span, str) and span:
            made["spanId"] = span
    return made


def _attributes(facts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in facts.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [_value(part) for part in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _attributes(value)}}
    return {"stringValue": "" if value is None else str(value)}
