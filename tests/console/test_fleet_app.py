"""The console on several real nodes: one of them stopped or gone holds up nothing, and every action finds its node."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pexpect
import pytest
from textual.pilot import Pilot

from observe.console.fleet_app import FleetApp, FleetScreen
from observe.console.fleet_view import FleetView, Opening
from observe.probe.client import NodeClient, connect
from observe.probe.fleet import Fleet
from observe.probe.fleet_watch import FleetWatch
from tests.probe.live import LiveService, eventually, private_runtime


@pytest.fixture(scope="module")
def services() -> Iterator[list[LiveService]]:
    with (
        pytest.MonkeyPatch.context() as patch,
        private_runtime(patch) as runtime,
        LiveService(runtime, "east") as east,
        LiveService(runtime, "west", waiters=4) as west,
    ):
        yield [east, west]


class Fleeted:
    """Keys in, screen out."""

    def __init__(self, app: FleetApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    def screen(self) -> list[str]:
        """The text on the screen."""
        return [strip.text.rstrip() for strip in self.app.screen._compositor.render_strips()]

    def line(self, text: str) -> str:
        """The first line with a text; empty when there is none."""
        return next((line for line in self.screen() if text in line), "")

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition."""

        async def look() -> bool:
            await self.pilot.pause(0.01)
            return bool(condition())

        try:
            await eventually(look)
        except AssertionError:
            raise AssertionError("this did not come to pass:\n" + "\n".join(self.screen())) from None

    async def to_line(self, key: str) -> None:
        """Put the cursor on a line."""
        lines = self.app.page.lines
        await self.until(lambda: any(line.key.startswith(key) for line in lines.lines))
        lines.go_to(next(number for number, line in enumerate(lines.lines) if line.key.startswith(key)))
        await self.pilot.pause()


@asynccontextmanager
async def fleet_console(
    *nodes: str, screen: FleetScreen = "nodes", timeout_s: float = 3.0
) -> AsyncIterator[Fleeted]:
    async with Fleet(nodes, timeout_s=timeout_s) as fleet, FleetWatch(fleet, timeout_s=timeout_s) as watch:
        app = FleetApp(fleet, FleetView(watch), screen=screen)
        async with app.run_test(size=(120, 30)) as pilot:
            yield Fleeted(app, pilot)


async def test_a_line_for_each_node_and_the_sums(services: list[LiveService]) -> None:
    """Also for one that is not there: with the reason, and on top."""
    async with fleet_console("east", "west", "south") as console:
        await console.until(lambda: "up" in console.line("west "))
        await console.until(lambda: "lost" in console.line("south "))
        await console.until(lambda: "15 agents" in console.line("msg/s  "))
        assert "3 nodes" in console.screen()[0]
        assert "1 lost" in console.screen()[0]
        assert "2 up" in console.screen()[0]
        assert "no node named south" in console.line("south ")
        names = [
            line.split()[0] for line in console.screen() if line.strip()[:5] in ("east ", "west ", "south")
        ]
        assert names[0] == "south"


async def test_a_stopped_node_is_shown_as_lost_while_the_others_go_on(services: list[LiveService]) -> None:
    east = services[0]
    async with fleet_console("east", "west", timeout_s=1.0) as console:
        await console.until(lambda: "up" in console.line("east ") and "up" in console.line("west "))
        os.kill(east.probe_pid, signal.SIGSTOP)
        try:
            await console.until(lambda: "lost" in console.line("east "))
            assert "last picture" in console.line("east ")
            west = console.app.node.watch.sights["west"]
            came = west.came
            await console.until(lambda: west.came > came)
            await console.pilot.press("a")
            await console.until(lambda: "west" in console.line("waiter-3"))
            await console.until(lambda: "east is not in it" in console.line("▲ east"))
        finally:
            os.kill(east.probe_pid, signal.SIGCONT)
        await console.pilot.press("n")
        await console.until(lambda: "up" in console.line("east "))


async def test_one_table_sorted_and_filtered_over_all_nodes(services: list[LiveService]) -> None:
    async with fleet_console("east", "west", screen="fleet_agents") as console:
        await console.pilot.press("slash", *"waiter-")
        await console.until(lambda: console.line("7 of 15 agents"))
        await console.pilot.press("enter", "S")
        await console.pilot.press("j", "enter")
        await console.until(lambda: console.app.node.page and console.app.node.page.matched == 7)
        shown = {(row[0], row[2]) for row in console.app.node.page.rows}  # type: ignore[union-attr]  # waited for
        assert {("east", "waiter-0"), ("west", "waiter-3")} <= shown
        await console.pilot.press("escape")
        await console.until(lambda: console.line("15 agents  by"))


async def test_opening_an_agent_leads_to_its_node(services: list[LiveService]) -> None:
    """Pids are the same on both; the line knows which node it is of."""
    async with fleet_console("east", "west", screen="fleet_agents") as console:
        await console.to_line("agent/west/")
        key = console.app.page.lines.current.key  # type: ignore[union-attr]  # there is a line
        await console.pilot.press("enter")
        assert console.app.opening == Opening("west", int(key.rpartition("/")[2]))


async def test_opening_a_node(services: list[LiveService]) -> None:
    async with fleet_console("east", "west") as console:
        await console.to_line("node/west")
        await console.pilot.press("enter")
        assert console.app.opening == Opening("west")


async def test_a_kill_reaches_the_agents_own_node_alone(services: list[LiveService]) -> None:
    """After control was taken, and a question that names the node."""
    async with connect("west") as west, connect("east") as east:
        [row] = await eventually(lambda: _rows(west, "name=waiter-1"))
        await eventually(lambda: _rows(east, "name=waiter-1"))
        before = await _rows(east, "name=waiter-1")
        async with fleet_console("east", "west", screen="fleet_agents") as console:
            await console.to_line(f"agent/west/{row[0]}")
            await console.pilot.press("K")
            await console.until(lambda: "view mode" in console.line("view mode"))
            await console.pilot.press("W", *"test", "enter")
            await console.pilot.press("K")
            await console.until(lambda: "west" in console.line("│  node "))
            await console.pilot.press("y")
            await eventually(lambda: _rows(west, f"pid={row[0]}"), lambda rows: not rows)
            await console.pilot.press("escape")
        assert await _rows(east, "name=waiter-1") == before


async def _rows(node: NodeClient, text: str) -> list[list[Any]]:
    return (await node.agents(filter=text, columns=["pid"])).rows


async def test_the_help_has_the_keys_of_the_fleet(services: list[LiveService]) -> None:
    async with fleet_console("east", "west") as console:
        await console.pilot.press("question_mark")
        await console.until(lambda: console.line("The nodes of a fleet"))
        assert console.line("Take control of all")


def test_into_a_node_and_back_and_out(services: list[LiveService]) -> None:
    """As a person does it, in a terminal: the whole way through the command line."""
    command = Path(sys.executable).with_name("observe")
    terminal = pexpect.spawn(
        str(command), ["attach", "east", "west"], dimensions=(30, 120), timeout=30, encoding="utf-8"
    )
    try:
        terminal.expect("2 nodes")
        terminal.expect("2 up")
        terminal.send("\r")
        terminal.expect("Vital signs|Busiest")
        terminal.send("n")
        terminal.expect("2 nodes")
        terminal.send("q")
        terminal.expect(pexpect.EOF)
        terminal.close()
        assert terminal.exitstatus == 0
    finally:
        terminal.close(force=True)
