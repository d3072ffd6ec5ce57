"""Elastic's mockotlpserver, which shows what it gets exactly as it was sent. Started, killed, and started again."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlparse

from observe.runtime.testing import eventually

SCRIPT: Final = Path(__file__).with_name("mock_otlp.js")


class MockOtlp:
    """One server; what it has got stays known over its restarts."""

    def __init__(self, node: str, package: Path) -> None:
        self._command = [node, str(SCRIPT), str(package)]
        self._ports = ["0", "0"]
        self._got: list[tuple[str, dict[str, Any]]] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.http = self.grpc = ""
        """Where it listens."""

    async def start(self) -> None:
        """Start it, at the same place as before."""
        self.http = self.grpc = ""
        process = self._process = self._launch()
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._reader.start()
        await eventually(lambda: self.http or process.poll() is not None, timeout_s=60)
        assert self.http, f"mockotlpserver ended with status {process.poll()}"
        self._ports = [str(urlparse(url).port) for url in (self.http, self.grpc)]

    def _launch(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self._command + self._ports, stdout=subprocess.PIPE, text=True)

    def kill(self) -> None:
        """End it at once. What it had told stays."""
        if self._process is None or self._reader is None:
            return
        self._process.kill()
        self._process.wait()
        self._reader.join(20)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                told = json.loads(line)
            except ValueError:
                return  # it was killed while it wrote
            if told["signal"] == "ready":
                self.grpc = told["data"]["grpc"].rstrip("/")
                self.http = told["data"]["http"].rstrip("/")
            else:
                self._got.append((told["signal"], told["data"]))

    @property
    def spans(self) -> list[dict[str, Any]]:
        """All spans, each with its `resource` and plain `attributes`."""
        return [_span(one, group) for one, group in self._items("traces", "Spans", "spans")]

    @property
    def logs(self) -> list[dict[str, Any]]:
        return [_span(one, group) for one, group in self._items("logs", "Logs", "logRecords")]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return [one for one, _ in self._items("metrics", "Metrics", "metrics")]

    def _items(self, signal: str, group: str, items: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        return [
            (one, resource.get("resource", {}))
            for kind, data in list(self._got)
            if kind == signal
            for resource in data.get(f"resource{group}", ())
            for scope in resource.get(f"scope{group}", ())
            for one in scope.get(items, ())
        ]


def _span(one: dict[str, Any], resource: dict[str, Any]) -> dict[str, Any]:
    """Over HTTP the server has identifiers in base64 and kinds by name, over gRPC bytes and numbers: here both are alike."""
    ids = ("traceId", "spanId", "parentSpanId")
    return (
        one
        | {key: _hex(one.get(key)) for key in ids}
        | {
            "kind": str(KINDS.get(one.get("kind"), one.get("kind"))),
            "status": STATUS.get(one.get("status", {}).get("code", 0), one.get("status", {}).get("code"))
            if isinstance(one.get("status"), dict)
            else "",
            "attributes": _attributes(one),
            "resource": _attributes(resource),
            "links": [
                {"traceId": _hex(link.get("traceId")), "spanId": _hex(link.get("spanId")), "flags": link.get("flags"),
                 "attributes": _attributes(link)}
                for link in one.get("links", ())
            ],
            "events": [event | {"attributes": _attributes(event)} for event in one.get("events", ())],
        }
    )  # fmt: skip


KINDS: Final[dict[Any, str]] = {
    1: "SPAN_KIND_INTERNAL", 2: "SPAN_KIND_SERVER", 3: "SPAN_KIND_CLIENT", 4: "SPAN_KIND_PRODUCER", 5: "SPAN_KIND_CONSUMER",
}  # fmt: skip
STATUS: Final[dict[Any, str]] = {0: "UNSET", 2: "ERROR", "STATUS_CODE_ERROR": "ERROR"}


def _hex(value: Any) -> str:
    if isinstance(value, dict):
        return bytes(value["data"]).hex()
    return base64.b64decode(value).hex() if value else ""


def _attributes(item: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: _plain(one["value"]) for one in item.get("attributes", ())}


def _plain(value: dict[str, Any]) -> Any:
    ((kind, content),) = value.items()
    if kind == "intValue":
        return content["low"] + (content["high"] << 32) if isinstance(content, dict) else int(content)
    return content
