"""What is no single live node, in memory: several nodes as a fleet, and a recording. They stand still as `FakeNode` does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

from observe.console.control import CONTROL_S, Taken
from observe.console.fleet_app import FleetApp, FleetScreen
from observe.console.fleet_view import FleetView
from observe.console.replay_app import ReplayApp
from observe.console.screens import PageName
from observe.probe.client import NodeClient
from observe.probe.fleet import Fleet
from observe.probe.fleet_watch import FleetWatch
from observe.probe.past import Mark
from observe.probe.replay import Replay
from tests.console.driving import SMALL, Driver
from tests.console.fake_facts import AT
from tests.console.fake_node import FakeNode

SECONDS = 120
"""How long the recording is; it ends where the node in memory stands."""


class FakeFleet(Fleet):
    """Nodes in memory that are attached, and such as cannot be, with the reason."""

    def __init__(self, nodes: Mapping[str, FakeNode], lost: Mapping[str, str]) -> None:
        super().__init__([*nodes, *lost])
        self._clients = cast("dict[str, NodeClient]", dict(nodes))
        self._troubles |= lost

    async def __aenter__(self) -> Self:
        for tried in self._tried.values():
            tried.set()
        return self


@asynccontextmanager
async def fleet_console(
    nodes: Mapping[str, FakeNode],
    *,
    screen: FleetScreen = "nodes",
    size: tuple[int, int] = SMALL,
    theme: str = "",
    lost: Mapping[str, str] | None = None,
) -> AsyncIterator[Driver]:
    """The console on several nodes, with control taken, after each has told how it is."""
    async with FakeFleet(nodes, lost or {}) as fleet, FleetWatch(fleet) as watch:
        view = FleetView(watch, control=Taken("", AT + CONTROL_S), clock=lambda: AT)
        app = FleetApp(fleet, view, screen=screen)
        app.theme = theme or app.theme
        async with app.run_test(size=size) as pilot:
            driver = Driver(cast(Any, app), next(iter(nodes.values())), pilot)
            await driver.until(lambda: all(sight.state != "connecting" for sight in watch.sights.values()))
            await driver.until(lambda: screen == "nodes" or view.page is not None)
            app.refresh_fleet()
            await driver.settle()
            yield driver


class FakeReplay(Replay):
    """Two minutes of a node in memory, which is the same at each moment, with a crash after the first."""

    def __init__(self, node: FakeNode) -> None:
        end_us = int(AT * 1e6)
        start_us = end_us - SECONDS * 1_000_000
        crash = Mark(start_us + 60_000_000, 0, 0, "session-4 crashed: no JSON")
        self.past = cast(
            Any,
            SimpleNamespace(
                path=Path("shop.obsrec"), start_us=start_us, end_us=end_us, crashes=[crash], damage=[]
            ),
        )
        self.speed, self.is_paused = 1.0, True
        self._at = self.start
        self._node = node

    def client(self) -> NodeClient:
        return cast(NodeClient, self._node)

    async def seek(self, at: float) -> None:
        self._at = min(max(at, self.start), self.end)


@asynccontextmanager
async def replay_console(
    node: FakeNode, *, screen: PageName = "agents", size: tuple[int, int] = SMALL, theme: str = ""
) -> AsyncIterator[Driver]:
    """The console on a recording that stands still at its beginning."""
    app = ReplayApp(FakeReplay(node), screen=screen)
    app.theme = theme or app.theme
    async with app.run_test(size=size) as pilot:
        driver = Driver(app, node, pilot)
        await driver.until(app.first_paint.is_set)
        yield driver
