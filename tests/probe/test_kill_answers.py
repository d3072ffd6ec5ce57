"""What the answer to a kill says of the step that was under way."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from observe.probe import Probe
from observe.probe.client import connect
from observe.runtime import Agent, Node
from tests.probe.live import eventually, private_runtime


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private_runtime(monkeypatch) as path:
        yield path


class Waits(Agent):
    async def handle(self, over: asyncio.Event) -> None:
        await over.wait()


class Refuses(Agent):
    async def handle(self, over: asyncio.Event) -> None:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue


@pytest.mark.parametrize(
    ("agent", "what"),
    [
        (Waits, r"Waits 2 \(one\) was killed; its step took \d\.\d\d s to unwind"),
        (Refuses, r"Refuses 2 \(one\) was killed; its step did not end in \d\.\d\d s and goes on unseen"),
    ],
)
async def test_a_step_that_goes_on_is_not_told_to_have_ended(agent: type[Agent], what: str) -> None:
    over = asyncio.Event()
    async with Node("killed") as node, Probe(node, tick_s=0.05), connect("killed", timeout_s=10.0) as client:
        ref = await node.spawn(agent, name="one")
        ref.cast(over)
        await eventually(client.vitals, lambda vitals: vitals.agents == 2)
        told = await client.kill("one")
        assert told.done
        assert re.fullmatch(what, told.what), told.what
        assert not ref.is_alive
        over.set()
