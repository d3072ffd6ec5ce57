"""Reloads that nobody at a console has ordered are on record as well."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from observe.audit.reading import read
from observe.probe import Probe
from observe.probe.client import connect
from observe.runtime import Node
from observe.runtime.errors import ReloadRefused
from tests.probe.live import eventually, private_runtime
from tests.runtime.project import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with private_runtime(monkeypatch):
        made = Project(tmp_path)
        yield made
    for name in made.names:
        sys.modules.pop(name, None)


async def test_reloads_of_the_service_itself_are_on_record(project: Project, tmp_path: Path) -> None:
    """With who has ordered it and what came of it; an operator's has the records of the command alone."""
    project.load("governed_a", "X = 1\n")
    audit = tmp_path / "audit"

    def records() -> list[tuple[Any, ...]]:
        found = [one for one in read(audit)[0] if one.what == "governed_reload"]
        return [(one.phase, one.who.name, one.target.get("on"), one.reason[:15]) for one in found]

    async with (
        Node("reloaded", watch=True) as node,
        Probe(node, tick_s=0.05, audit=audit),
        connect("reloaded", timeout_s=10.0) as client,
    ):
        looks = node._watching
        assert looks is not None
        async with asyncio.timeout(30):
            while "governed_a" not in looks._stamps:  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.01)
        project.write("governed_a", "X = 22\n")
        await eventually(lambda: asyncio.to_thread(records))
        await looks.stop()
        project.write("governed_a", "X = 333\n1 / 0\n")
        with pytest.raises(ReloadRefused):
            await node.reloader.reload(["governed_a"])
        await node.reloader.rollback()
        before = await eventually(lambda: asyncio.to_thread(records), lambda found: len(found) == 3)
        project.write("governed_a", "X = 4444\n")
        assert (await client.reload(["governed_a"])).done
    assert await asyncio.to_thread(records) == before
    assert before == [
        ("completed", "watch", "governed_a 2", "0 agents, 0 mig"),
        ("failed", "the service", "governed_a", "governed_a cann"),
        ("completed", "the service", "governed_a 1", "0 agents, 0 mig"),
    ]
