"""Pictures of what is no single live node, as in `test_app_screens`: of several nodes, and of a recording."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import get_args

import pytest

from observe.console.fleet_app import FleetScreen
from observe.console.tones import DARK, LIGHT
from tests.console.driving import Driver
from tests.console.fake_node import FakeNode
from tests.console.fake_past import fleet_console, replay_console
from tests.console.looking import begin_again, comes, press, screen
from tests.console.snapshots import Picture, Pictures, picture
from tests.console.test_app_screens import SIZES, assert_snapshots, troubled

LOST = {"south": "no node named south on this machine"}

SCREENS: tuple[tuple[str, str, str, str], ...] = (
    ("nodes", "nodes", "", "no node named south"),
    ("fleet-agents", "fleet_agents", "", "407 agents"),
    ("fleet-kill", "fleet_agents", "K", "permanent"),
    ("fleet-filter", "fleet_agents", "slash m a i l", " of 407 agents"),
    ("replay", "replay", "right_curly_bracket", "1m00s of 2m00s"),
    ("go-to", "replay", "at", "-90s from the end"),
)  # fmt: skip
"""A name, on which page, keys from its first line, and what stands there when the picture is complete."""


@asynccontextmanager
async def console_on(page: str, size: tuple[int, int], theme: str) -> AsyncIterator[Driver]:
    if page == "replay":
        async with replay_console(troubled(), size=size, theme=theme) as driver:
            yield driver
    else:
        nodes = {"east": troubled(), "west": FakeNode(number=3)}
        async with fleet_console(nodes, screen=page, size=size, theme=theme, lost=LOST) as driver:  # type: ignore[arg-type]  # one of them
            yield driver


async def seen(size: str, theme: str) -> Pictures:
    """The pictures, of each page on one console."""
    pictures: Pictures = {}
    for page in dict.fromkeys(page for _, page, _, _ in SCREENS):
        async with console_on(page, SIZES[size], theme) as driver:
            for name, on, keys, ready in SCREENS:
                if on == page:
                    await begin_again(driver, page)
                    await press(driver, keys)
                    assert await comes(driver, lambda: driver.shows(ready)), f"{name}{screen(driver)}"  # noqa: B023  # waited for here
                    pictures[name] = await still(driver)
    return pictures


async def still(driver: Driver) -> Picture:
    """The picture that the next one is the same as: with scroll bars, and the page behind a dialog."""
    before: Picture = []
    while (now := await _drawn(driver)) != before:
        before = now
    return now


async def _drawn(driver: Driver) -> Picture:
    driver.app.screen.refresh()
    await driver.settle()
    return picture(driver.app)


@pytest.mark.parametrize("size", SIZES)
async def test_screens(size: str) -> None:
    assert_snapshots(size, *[await seen(size, theme) for theme in (DARK, LIGHT)])


def test_no_page_of_a_fleet_is_left_out() -> None:
    """Whoever adds one adds its picture."""
    assert set(get_args(FleetScreen)) <= {page for _, page, _, _ in SCREENS}


async def test_the_filter_over_all_nodes_offers_what_may_be_typed_next() -> None:
    """As on one node: of what stands there now, and not of an empty line."""
    async with console_on("fleet_agents", SIZES["80x24"], DARK) as driver:
        await press(driver, "slash s t a t")
        assert await comes(driver, lambda: driver.shows("Tab status")), screen(driver)
        await press(driver, "tab")
        assert driver.app.page.filter_bar.input.value.startswith("status"), screen(driver)  # type: ignore[attr-defined]  # of this page
        await press(driver, "equals_sign i d l e enter")
        assert not driver.shows("Tab "), screen(driver)
