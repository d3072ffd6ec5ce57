"""A node's figures, read back from VictoriaMetrics in its own query language."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import partial
from operator import eq
from pathlib import Path
from typing import Any

import httpx
import pytest

from observe.probe import Metrics, Probe
from observe.runtime import Node
from tests.backends.test_phoenix import free_port
from tests.backends.working import crash, staff, work
from tests.probe.live import eventually, private_runtime

pytestmark = [pytest.mark.backend, pytest.mark.timeout(300)]


@pytest.fixture
def scraped() -> int:
    """The port at which the probe serves its figures."""
    return free_port()


@pytest.fixture
def victoria(victoria_command: Path, scraped: int, tmp_path: Path) -> Iterator[str]:
    """Comes for them every second: Debian 12 has a version that takes no OTLP yet."""
    target = f'scrape_configs: [{{job_name: shop, scrape_interval: 1s, static_configs: [{{targets: ["127.0.0.1:{scraped}"]}}]}}]'
    (tmp_path / "scrape.yml").write_text(target)
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                victoria_command, f"-storageDataPath={tmp_path / 'data'}", f"-httpListenAddr=127.0.0.1:{port}",
                "-search.latencyOffset=0s", f"-promscrape.config={tmp_path / 'scrape.yml'}", "-memory.allowedBytes=64MB",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


async def test_it_knows_how_many_agents_there_are_and_that_one_crashed(
    victoria: str, scraped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.exporter.prometheus")
    with private_runtime(monkeypatch):
        settings = Metrics(prometheus=f"127.0.0.1:{scraped}", every_s=1.0, agents=("desk",))
        async with Node("shop@localhost") as node, Probe(node, metrics=settings):
            await staff(node)
            await work(node)
            await crash(node)
            async with httpx.AsyncClient(base_url=victoria, timeout=10) as client:
                for query, value in (
                    ("sum(observe_agent_crashes_total)", 1),
                    ("sum(observe_agent_restarts_total)", 1),
                    ('sum(observe_agent_count{observe_agent_class="Desk"})', 1),
                    ('sum(observe_activity_token_usage_total{gen_ai_token_type="input"})', 200),
                    ('observe_agent_handled_total{observe_agent_name="desk"}', 2),
                ):
                    await eventually(partial(_ask, client, query), partial(eq, value), query)


async def _ask(client: httpx.AsyncClient, query: str) -> float | None:
    try:
        await client.get("/internal/force_flush")  # what has come can be asked for now
        answer = await client.get("/api/v1/query", params={"query": query})
    except httpx.HTTPError:
        return None  # it starts
    result: list[dict[str, Any]] = answer.json().get("data", {}).get("result", [])
    return float(result[0]["value"][1]) if result else None
