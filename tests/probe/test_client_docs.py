"""docs/client.md: what a newcomer copies from it must work as it stands."""

from __future__ import annotations

import asyncio
import contextlib
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from observe.probe.client import connect
from observe.probe.errors import RemoteError
from tests.probe.live import LiveService, eventually, private_runtime

TEXT = (Path(__file__).parent.parent.parent / "docs" / "client.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveService]:
    with private_runtime(monkeypatch) as runtime, LiveService(runtime) as service:
        yield service


async def test_every_example_runs(service: LiveService, capsys: pytest.CaptureFixture[str]) -> None:
    """In their order, against one service; something happens on it while they run."""
    async with connect("shop", timeout_s=10.0) as node:
        await eventually(node.agents, lambda page: page.total == 7)
        assert len(EXAMPLES) == 6
        for number, example in enumerate(EXAMPLES):
            names: dict[str, Any] = {}
            source = f"async def example():\n{textwrap.indent(example, '    ')}"
            exec(compile(source, f"docs/client.md, example {number + 1}", "exec"), names)  # noqa: S102  # our own document
            running = asyncio.create_task(names["example"]())
            while not running.done():  # an example that follows events needs some
                if "events()" in example:
                    with contextlib.suppress(RemoteError):  # it may be starting again just now
                        await node.kill("waiter-2", reason="something to see")
                await asyncio.wait([running], timeout=0.2)
            await running
    told = capsys.readouterr().out
    assert "shop@" in told
    assert "waiter-2" in told
    assert "no node named no-such-node" in told


async def test_the_fields_of_a_query_may_be_given_by_name(service: LiveService) -> None:
    async with connect("shop", timeout_s=10.0) as node:
        page = await eventually(
            lambda: node.agents(filter="class=Waiter", sort="name", descending=False, columns=["name"]),
            lambda found: found.matched == 3,
        )
        assert page.as_dicts() == [{"name": f"waiter-{number}"} for number in range(3)]
        with pytest.raises(ValidationError, match="limits"):
            await node.agents(limits=5)
