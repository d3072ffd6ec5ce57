"""MLflow shows our agents: the tree with its links, errors and tokens, read back through its own API."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from observe.runtime import Node
from observe.tracing import setup
from tests.backends.working import crash, staff, work
from tests.probe.live import eventually

pytestmark = [pytest.mark.backend, pytest.mark.timeout(600)]

EXPERIMENT = {"x-mlflow-experiment-id": "0"}


@pytest.fixture(scope="module")
def mlflow(mlflow_command: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "MLFLOW_"))} | {
        "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "PATH": f"{mlflow_command.parent}:{os.environ['PATH']}",
    }  # fmt: skip
    log = directory / "log"
    command = [
        str(mlflow_command), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{directory}/m.db", "--default-artifact-root", str(directory / "artifacts"),
    ]  # fmt: skip
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=environment, cwd=directory, stdout=out, stderr=out, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process, log)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """It makes its database first."""
    until = time.monotonic() + 200
    while True:
        assert process.poll() is None, f"MLflow has ended: {log.read_text()[-2000:]}"
        assert time.monotonic() < until, f"MLflow does not answer: {log.read_text()[-2000:]}"
        try:
            if httpx.get(f"{url}/health", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.3)


async def test_it_shows_the_tree_of_spans_with_links_errors_and_tokens(
    mlflow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for signal_name in ("LOGS", "METRICS"):  # which it does not take
        monkeypatch.setenv(f"OTEL_{signal_name}_EXPORTER", "none")
    async with Node("shop@localhost") as node:
        tracing = setup(node, endpoint=mlflow, set_global=False, timeout_s=90, headers=EXPERIMENT)
        await staff(node)
        await work(node)
        await crash(node)
        assert await asyncio.to_thread(tracing.shutdown, 120)
        exported = tracing.spans.exported
        assert exported == tracing.statistics()["started"]
    async with httpx.AsyncClient(base_url=mlflow, timeout=30, trust_env=False) as client:

        async def traces() -> list[dict[str, Any]]:
            asked = {
                "locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}]
            }
            found = (
                await client.post("/api/3.0/mlflow/traces/search", json=asked | {"max_results": 50})
            ).json()
            read: list[dict[str, Any]] = []
            for one in found.get("traces", []):
                answer = await client.get("/api/3.0/mlflow/traces/get", params={"trace_id": one["trace_id"]})
                if answer.status_code == 200:
                    read.append(answer.json()["trace"])
            return read

        found = await eventually(
            traces,
            lambda some: sum(len(one.get("spans", [])) for one in some) == exported,
            "the spans in MLflow",
        )
    spans = [span for one in found for span in one["spans"]]
    ids = {one["span_id"]: one for one in spans}
    by_name: dict[str, list[dict[str, Any]]] = {}
    for span in sorted(spans, key=lambda one: int(one["start_time_unix_nano"])):
        by_name.setdefault(span["name"], []).append(span)
    desk, chat = by_name["invoke_agent Desk"][0], by_name["chat night-1"][0]
    assert ids[chat["parent_span_id"]]["name"] == "invoke_agent Desk"
    assert not desk.get("parent_span_id")
    failed = {one["name"] for one in spans if "ERROR" in str(one["status"].get("code"))}
    assert failed == {"execute_tool search", "invoke_agent Shelf"}
    said = {one["key"]: one["value"] for one in chat["attributes"]}
    assert "100" in str(said["gen_ai.usage.input_tokens"])
    linked = [one for one in by_name["invoke_agent Shelf"] if one.get("links")]
    assert len(linked) == 1, "the successor links to the run that crashed"
    # In its own model: tokens, sessions, and what kind of step it was.
    told = [one["trace_info"].get("trace_metadata", {}) for one in found]
    assert all(
        '"input_tokens": 100' in one["mlflow.trace.tokenUsage"]
        for one in told
        if "mlflow.trace.tokenUsage" in one
    )
    assert any("mlflow.trace.tokenUsage" in one for one in told)
    assert any(one.get("mlflow.trace.session") == "customer-17" for one in told)
    assert "AGENT" in str(desk["attributes"])
