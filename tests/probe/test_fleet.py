"""Several nodes as one: merged tables, and nobody waits for a node that is slow or gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from observe.probe.errors import RemoteError
from observe.probe.fleet import Fleet, read_nodes_file
from observe.probe.wire_table import Query
from tests.probe.live import LiveService, eventually, private_runtime


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[LiveService]]:
    with (
        private_runtime(monkeypatch) as runtime,
        LiveService(runtime, "east") as east,
        LiveService(runtime, "west", waiters=4) as west,
    ):
        yield [east, west]


async def test_agents_of_several_nodes_in_one_order(services: list[LiveService]) -> None:
    """The fullest mailbox of the fleet, wherever it is; acting reaches its node alone."""
    async with Fleet(["east", "west", "south"], timeout_s=10.0) as fleet:
        query = Query(sort="name", descending=False, filter="class=Waiter", limit=3, columns=["name"])
        page = await eventually(lambda: fleet.agents(query), lambda found: found.matched == 7)
        assert page.columns == ["node", "name"]
        assert page.rows == [["east", "waiter-0"], ["west", "waiter-0"], ["east", "waiter-1"]]
        assert page.total == 15
        assert list(page.missing) == ["south"]
        assert "south" in page.missing["south"]
        rest = await fleet.agents(query.model_copy(update={"offset": 3, "limit": 50}))
        assert len(rest.rows) == 4
        await fleet.client("west").kill("waiter-3", reason="an example")
        with pytest.raises(RemoteError, match="no column"):
            await fleet.agents(Query(sort="nonsense"))


async def test_a_node_that_does_not_answer_holds_up_nobody(services: list[LiveService]) -> None:
    async with Fleet(["east", "west"], timeout_s=1.0) as fleet:
        query = Query(filter="class=Waiter")
        await eventually(lambda: fleet.agents(query), lambda found: found.matched == 7)
        stopped = services[0].probe_pid
        os.kill(stopped, signal.SIGSTOP)
        try:
            began = time.monotonic()
            page = await eventually(lambda: fleet.agents(query), lambda found: found.matched == 4)
            assert time.monotonic() - began < 20
            assert list(page.missing) == ["east"]
        finally:
            os.kill(stopped, signal.SIGCONT)
        await eventually(lambda: fleet.agents(query), lambda found: found.matched == 7)


def test_a_nodes_file(tmp_path: Path) -> None:
    path = tmp_path / "nodes.txt"
    path.write_text("# ours\nshop@localhost\n\nbank  # the other one\nbank\n")
    assert read_nodes_file(path) == ["shop@localhost", "bank"]
    path.write_text("shop bank\n")
    with pytest.raises(ValueError, match="line 1"):
        read_nodes_file(path)
    path.write_text("# none\n")
    with pytest.raises(ValueError, match="0 nodes"):
        read_nodes_file(path)
