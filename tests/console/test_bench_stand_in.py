"""The stand-in for a node on which the console is measured answers all that the console asks."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path

import pytest
from textual.message import Message

from observe.console.app import ObserveApp
from observe.console.messages import Failed
from tests.console.driving import LARGE


async def test_the_console_shows_the_stand_in_as_it_shows_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field or verb that the console has begun to read would else be missed by whoever measures, weeks later."""
    answers: list[float] = []
    monkeypatch.syspath_prepend(Path(__file__).parents[2])  # benchmarks are no part of the package
    node = importlib.import_module("benchmarks.console").StandIn(1000, answered=lambda: answers.append(0.0))
    app = ObserveApp(lambda: node, "bench", screen="agents")
    failed: list[str] = []

    def see(message: Message) -> None:
        if isinstance(message, Failed):
            failed.append(message.text)

    async with app.run_test(size=LARGE, message_hook=see):
        async with asyncio.timeout(30):
            while app.node.vitals is None or app.node.told is None or not answers or not app.table_view.rows:  # noqa: ASYNC110  # a picture is no event
                await asyncio.sleep(0.01)
        lines = [strip.text for strip in app.screen._compositor.render_strips()]
    assert not failed
    assert any("session-1 " in line for line in lines)
    assert any("1,000 agents" in line for line in lines)
