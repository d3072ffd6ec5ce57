"""Drives the console in tests: opened on a `FakeNode`, waited for by condition, never by time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot

from observe.console.app import ObserveApp
from observe.console.control import CONTROL_S, Taken
from observe.console.memory import Memory
from observe.console.screens import PageName
from tests.console.fake_node import FakeNode

SMALL = (80, 24)
LARGE = (200, 60)


def app_on(node: FakeNode, *, readonly: bool = False, screen: PageName = "agents") -> ObserveApp:
    """The console, to be attached to the node; its clock is the node's, which stands still."""
    return ObserveApp(
        cast(Any, lambda: node), "shop", readonly=readonly, screen=screen, clock=lambda: node.at
    )


@asynccontextmanager
async def console(
    node: FakeNode | None = None,
    *,
    size: tuple[int, int] = SMALL,
    readonly: bool = False,
    theme: str = "",
    screen: PageName = "agents",
    control: bool = True,
    memory: Memory | None = None,
) -> AsyncIterator[Driver]:
    """The console on a node, after its first rows, vital signs and findings have come."""
    node = node or FakeNode()
    app = app_on(node, readonly=readonly, screen=screen)
    app.memory = memory
    if control and not readonly:
        app.node.control = Taken("", node.at + CONTROL_S)
    if theme:
        app.theme = theme
    async with app.run_test(size=size) as pilot:
        driver = Driver(app, node, pilot)
        await driver.until(app.first_paint.is_set)
        await driver.until(lambda: app.node.vitals is not None and app.node.told is not None)
        await driver.settle()
        yield driver


class Driver:
    """Keys in, screen out."""

    def __init__(self, app: ObserveApp, node: FakeNode, pilot: Pilot[None]) -> None:
        self.app = app
        self.node = node
        self.pilot = pilot

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition, at most some seconds, while the app works."""
        try:
            async with asyncio.timeout(10):
                pause_s = 0.005
                while not condition():
                    await asyncio.sleep(pause_s)
                    pause_s = min(
                        0.04, 1.5 * pause_s
                    )  # to look takes longer than that, and the app waits meanwhile
        except TimeoutError:
            raise AssertionError("this did not come to pass:\n" + "\n".join(self.screen())) from None
        await self.settle()

    async def press(self, *keys: str) -> None:
        """Press keys, one after another, and let the app work."""
        for key in keys:
            name = _character_to_key(key) if len(key) == 1 else key
            character = key if len(key) == 1 else " " if key == "space" else None
            self.app.post_message(events.Key(name, character))
        await self.pilot._wait_for_screen()
        while self.app.has_keys:  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.002)
        await self.settle()

    async def settle(self) -> None:
        """Every widget has handled what was on its way. `Pilot.pause` waits for an idle processor as well, which
        takes a tenth of a second and says nothing on a busy machine."""
        for _ in range(2):
            await self.pilot._wait_for_screen()
        self.app.screen._on_timer_update()

    async def refresh(self) -> None:
        """The next picture of the table, now."""
        asked = len(self.node.requests)
        self.app.attachment.rows.wake()
        await self.until(lambda: any(verb == "agents" for verb, _ in self.node.requests[asked:]))
        await self.settle()

    def screen(self) -> list[str]:
        """The text on the screen, line by line."""
        return [strip.text.rstrip() for strip in self.app.screen._compositor.render_strips()]

    def line(self, containing: str) -> str:
        """The first line of the screen that contains a text; fails with the whole screen otherwise."""
        for line in self.screen():
            if containing in line:
                return line
        raise AssertionError(f"{containing!r} is not on the screen:\n" + "\n".join(self.screen()))

    def shows(self, text: str) -> bool:
        """Whether a text is on the screen."""
        return any(text in line for line in self.screen())

    def chosen_line(self) -> str:
        """The line of the table with the mark of the chosen row; empty when it is out of sight."""
        return next((line for line in self.screen() if line.startswith("▌")), "")
