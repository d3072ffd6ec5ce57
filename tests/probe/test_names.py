"""Process groups and names through the probe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from observe.probe import Probe
from observe.probe.client import connect
from observe.runtime import Agent, Node
from tests.probe.live import private_runtime


class Shelf(Agent):
    async def handle(self, message: Any) -> Any:
        return None


async def test_groups_have_their_members_and_names_their_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest group first, the names in order; whoever has ended is in neither."""
    with private_runtime(monkeypatch) as path:
        assert isinstance(path, Path)
        async with (
            Node("lists") as node,
            Probe(node, placement="thread", tick_s=0.05),
            connect("lists", timeout_s=20.0) as client,
        ):
            refs = [await node.spawn(Shelf, name=f"shelf-{number}") for number in range(3)]
            nameless = await node.spawn(Shelf)
            for ref in (*refs, nameless):
                node.groups.join("stock", ref)
            node.groups.join("stock", refs[1])
            node.groups.join("night", refs[2])
            page = await client.names()
            assert [(group.name, group.memberships, group.members_total) for group in page.groups] == [
                ("stock", 5, 4),
                ("night", 1, 1),
            ]
            members = page.groups[0].members
            assert [(one.pid, one.name, one.times) for one in members][1] == (refs[1].pid, "shelf-1", 2)
            assert [(one.name, one.class_name) for one in members][-1] == (None, "Shelf")
            assert [(one.name, one.pid, one.status) for one in page.names if one.class_name == "Shelf"] == [
                (f"shelf-{number}", ref.pid, "idle") for number, ref in enumerate(refs)
            ]
            few = await client.names(text="SHELF", limit=2)
            assert ([one.name for one in few.names], few.names_matched, few.groups) == (
                ["shelf-0", "shelf-1"],
                3,
                [],
            )
            assert few.groups_total == 2
            refs[2].exit()
            await refs[2].wait_exit()
            page = await client.names()
            assert [group.name for group in page.groups] == ["stock"]
            assert "shelf-2" not in {one.name for one in page.names}
