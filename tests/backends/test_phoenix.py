"""Arize Phoenix shows the demo's agents: the tree, what was asked of whom, errors and tokens, read back through its own API."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from observe.examples.shop.model_server import MODEL
from observe.tracing.exporters import Protocol
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


async def demo(endpoint: str, protocol: Protocol, project: str, directory: Path) -> None:
    """`observe demo` for some seconds, with a bad spell of its model, told by nothing but OpenTelemetry's own variables."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "OPENAI_"))} | {
        "OBSERVE_RUNTIME_DIR": str(directory), "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_RESOURCE_ATTRIBUTES": f"openinference.project.name={project}",
        "OTEL_LOGS_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none",  # which Phoenix does not take
        "OTEL_EXPORTER_OTLP_TIMEOUT": "20",
    }  # fmt: skip
    arguments = ("--headless", "--seconds=5", "--sessions=12", "--think=0.3", f"--name={project}")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "observe.examples.shop", *arguments,
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


def is_whole(spans: list[dict[str, Any]]) -> bool:
    """Whether each span's parent is there, and a model call that failed."""
    ids = {one["context"]["span_id"] for one in spans}
    parents = {one["parent_id"] for one in spans} - {None}
    return parents <= ids and any(map(_is_fault, spans))


def _is_fault(span: dict[str, Any]) -> bool:
    kind = str(span["attributes"].get("error.type"))
    return str(span["name"]).startswith("chat ") and kind.startswith("Model")


async def test_it_shows_the_demo_s_tree_of_spans_with_errors_and_tokens(phoenix: Phoenix) -> None:
    """Over both protocols, at the same time."""
    protocols: tuple[tuple[str, Protocol, str], ...] = (
        (phoenix.http, "http/protobuf", "by-http"),
        (phoenix.grpc, "grpc", "by-grpc"),
    )
    with tempfile.TemporaryDirectory(prefix="obs-") as directory:  # short: the paths of sockets are
        runs = (demo(*where, Path(directory)) for where in protocols)
        await asyncio.gather(*runs)
    for *_, project in protocols:
        await _shows(phoenix, project)


async def _shows(phoenix: Phoenix, project: str) -> None:
    async with httpx.AsyncClient(base_url=phoenix.http, timeout=30) as client:

        async def spans() -> list[dict[str, Any]]:
            answer = await client.get(f"/v1/projects/{project}/spans", params={"limit": 1000})
            got: list[dict[str, Any]] = answer.json()["data"] if answer.status_code == 200 else []
            return got

        found = await eventually(spans, is_whole, "the demo's spans in Phoenix")
    ids = {one["context"]["span_id"]: one for one in found}

    def above(span: dict[str, Any]) -> dict[str, Any]:
        return ids[span["parent_id"]]

    runs, chats, tools = (
        [one for one in found if one["name"].startswith(start)]
        for start in ("invoke_agent Session", "chat ", "execute_tool ")
    )
    # the tree
    assert all(one["parent_id"] is None for one in runs)
    assert {above(one)["name"] for one in chats} == {"invoke_agent Session"}
    assert {above(one)["name"] for one in tools} <= {"invoke_agent Session", "invoke_agent Scout"}
    assert all(above(one)["context"]["trace_id"] == one["context"]["trace_id"] for one in chats + tools)
    # in its own model: what kind of step it was, whose conversation, and the tokens
    assert {one["span_kind"] for one in runs} == {"AGENT"}
    assert {one["span_kind"] for one in chats} == {"LLM"}
    assert {one["span_kind"] for one in tools} == {"TOOL"}
    said = next(one for one in chats if one["status_code"] != "ERROR")["attributes"]
    assert said["llm.token_count.prompt"] == said["gen_ai.usage.input_tokens"] > 0
    assert said["llm.token_count.completion"] == said["gen_ai.usage.output_tokens"] > 0
    assert (said["gen_ai.operation.name"], said["gen_ai.provider.name"]) == ("chat", "openai")
    assert said["gen_ai.request.model"] == MODEL
    assert said["session.id"].startswith(f"{said['gen_ai.agent.id']}/")
    # what the bad spell did: the call failed, and with it the session's step
    failed = next(one for one in chats if _is_fault(one))
    run = above(failed)
    assert failed["status_code"] == run["status_code"] == "ERROR"
    for span in (failed, run):
        (event,) = [one for one in span["events"] if one["name"] == "exception"]
        assert event["attributes"]["exception.type"] == failed["attributes"]["error.type"]
