"""Arize Phoenix shows our agents: the tree, what was asked of whom, errors and tokens, read back through its own API."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from observe.runtime import Node
from observe.tracing import setup
from observe.tracing.exporters import Protocol
from tests.backends.working import crash, staff, work
from tests.probe.live import eventually

pytestmark = [pytest.mark.backend, pytest.mark.timeout(600)]


@dataclass(frozen=True, slots=True)
class Phoenix:
    http: str
    grpc: str


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def phoenix(phoenix_command: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoenix]:
    directory = tmp_path_factory.mktemp("phoenix")
    http, grpc = free_port(), free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PHOENIX_"))} | {
        "PHOENIX_WORKING_DIR": str(directory), "PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": str(http),
        "PHOENIX_GRPC_PORT": str(grpc), "PHOENIX_TELEMETRY_ENABLED": "false",
    }  # fmt: skip
    log = directory / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [phoenix_command, "serve"], env=environment, stdout=out, stderr=out, start_new_session=True
        )
    found = Phoenix(f"http://127.0.0.1:{http}", f"http://127.0.0.1:{grpc}")
    try:
        _wait(found, process, log)
        yield found
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(phoenix: Phoenix, process: subprocess.Popen[bytes], log: Path) -> None:
    """It makes its database first."""
    until = time.monotonic() + 200
    while True:
        assert process.poll() is None, f"Phoenix has ended: {log.read_text()[-2000:]}"
        assert time.monotonic() < until, f"Phoenix does not answer: {log.read_text()[-2000:]}"
        try:
            if httpx.get(f"{phoenix.http}/healthz", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.3)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_it_shows_the_tree_of_spans_with_errors_and_tokens(
    phoenix: Phoenix, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    for signal_name in ("LOGS", "METRICS"):  # which it does not take
        monkeypatch.setenv(f"OTEL_{signal_name}_EXPORTER", "none")
    project = f"shop-{protocol.partition('/')[0]}"
    async with Node("shop@localhost") as node:
        tracing = setup(
            node, endpoint=phoenix.http if protocol == "http/protobuf" else phoenix.grpc, protocol=protocol,
            set_global=False, timeout_s=20, attributes={"openinference.project.name": project},
        )  # fmt: skip
        await staff(node)
        await work(node)
        await crash(node)
        assert await asyncio.to_thread(tracing.shutdown, 60)
        exported = tracing.spans.exported
        assert exported == tracing.statistics()["started"]
    async with httpx.AsyncClient(base_url=phoenix.http, timeout=30) as client:

        async def spans() -> list[dict[str, Any]]:
            answer = await client.get(f"/v1/projects/{project}/spans", params={"limit": 100})
            got: list[dict[str, Any]] = answer.json()["data"] if answer.status_code == 200 else []
            return got

        found = await eventually(spans, lambda some: len(some) == exported, "the spans in Phoenix")
    by_name: dict[str, list[dict[str, Any]]] = {}
    for span in sorted(found, key=lambda one: str(one["start_time"])):
        by_name.setdefault(span["name"], []).append(span)
    ids = {one["context"]["span_id"]: one for one in found}
    desk, chat, ask = (
        by_name[name][0] for name in ("invoke_agent Desk", "chat night-1", "execute_tool shelf")
    )
    assert desk["parent_id"] is None
    assert {ids[chat["parent_id"]]["name"], ids[ask["parent_id"]]["name"]} == {"invoke_agent Desk"}
    shelf = next(
        one for one in by_name["invoke_agent Shelf"] if one["parent_id"] == ask["context"]["span_id"]
    )
    search = next(
        one for one in by_name["execute_tool search"] if one["parent_id"] == shelf["context"]["span_id"]
    )
    assert search["context"]["trace_id"] == desk["context"]["trace_id"]
    # in its own model: what kind of step it was, and the tokens
    assert (desk["span_kind"], chat["span_kind"], search["span_kind"]) == ("AGENT", "LLM", "TOOL")
    said = chat["attributes"]
    assert said["llm.token_count.prompt"] == said["gen_ai.usage.input_tokens"] == 100
    assert said["llm.token_count.completion"] == 20
    assert said["session.id"] == "customer-17"
    failed = {one["name"] for one in found if one["status_code"] == "ERROR"}
    assert failed == {"execute_tool search", "invoke_agent Shelf"}
    (crashed,) = [one for one in by_name["invoke_agent Shelf"] if one["status_code"] == "ERROR"]
    (event,) = [one for one in crashed["events"] if one["name"] == "exception"]
    assert event["attributes"]["exception.type"] == "ValueError"
    assert "the shelf fell down" in crashed["status_message"]
