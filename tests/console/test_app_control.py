"""View mode and control: the way in is to look, and acting begins with a reason."""

from __future__ import annotations

import asyncio
from typing import Self

from observe.console.control import CONTROL_S
from tests.console.driving import SMALL, Driver, app_on, console
from tests.console.fake_node import FakeNode


async def take(driver: Driver, reason: str = "hangs") -> None:
    """Take control as a person does."""
    await driver.press("W")
    await driver.until(lambda: driver.shows("Take control of shop@localhost?"))
    await driver.press(*reason, "enter")


async def test_a_console_begins_by_looking_whatever_its_key_allows() -> None:
    """An admin's reflexes are as quick as anybody's."""
    async with console(FakeNode(role="admin"), control=False) as driver:
        assert driver.shows("admin, view")
        await driver.press("K")
        assert driver.shows("view mode: W takes control first")
        assert not driver.shows("Kill this agent?")


async def test_control_asks_why_and_says_until_when() -> None:
    """The dialog first, the header from then on."""
    async with console(control=False) as driver:
        await driver.press("W")
        await driver.until(lambda: driver.shows("until 22:28:20"))
        await driver.press(*"hangs", "enter")
        await driver.until(lambda: driver.shows("CONTROL 15m00s"))
        assert driver.shows("you have control until 22:28:20")


async def test_the_reason_goes_along_with_the_command() -> None:
    """Said once, recorded with each action."""
    async with console(control=False) as driver:
        await take(driver)
        await driver.press("down", "down", "down", "K")
        await driver.until(lambda: driver.shows("restart     permanent"))
        await driver.press("y")
        await driver.until(lambda: driver.node.killed == [(4, "hangs")])


async def test_a_reason_of_its_own_takes_precedence() -> None:
    """What was typed for this agent is more exact."""
    async with console(control=False) as driver:
        await take(driver)
        await driver.press("down", "down", "down", "K")
        await driver.until(lambda: driver.shows("restart     permanent"))
        await driver.press("tab", "tab", *"loops", "enter", "y")
        await driver.until(lambda: driver.node.killed == [(4, "loops")])


async def test_without_a_reason_there_is_no_control() -> None:
    """An empty one is asked for again, and Esc goes on looking."""
    async with console(control=False) as driver:
        await driver.press("W", "enter")
        assert driver.shows("a reason is needed")
        await driver.press("escape", "K")
        assert driver.shows("view mode: W takes control first")


async def test_a_second_w_gives_it_back() -> None:
    """Before one goes to bed."""
    async with console(control=False) as driver:
        await take(driver)
        await driver.press("W")
        assert driver.shows("view mode again")
        assert driver.shows("operator, view")


async def test_control_ends_in_time_and_says_so() -> None:
    """A console left open overnight does nothing by a cat's paw."""
    async with console(control=False) as driver:
        await take(driver)
        driver.node.at += CONTROL_S
        driver.app.end_control_in_time()
        await driver.settle()
        assert driver.shows("control is over")
        await driver.press("K")
        assert driver.shows("view mode: W takes control first")


async def test_read_only_and_viewers_are_told_why_not() -> None:
    """Before they have typed a reason."""
    async with console(readonly=True) as driver:
        await driver.press("W")
        assert driver.shows("attached read-only")
    async with console(FakeNode(role="viewer"), control=False) as driver:
        await driver.press("W")
        assert driver.shows("your key has the role viewer; acting takes operator")


class Slow(FakeNode):
    """Attaching to it takes until a test lets it."""

    async def __aenter__(self) -> Self:
        self.asked = asyncio.Event()
        await self.asked.wait()
        return await super().__aenter__()


async def test_before_the_node_has_answered_nobody_is_said_to_have_too_small_a_role() -> None:
    node = Slow(role="admin")
    app = app_on(node)
    async with app.run_test(size=SMALL) as pilot:
        driver = Driver(app, node, pilot)
        for key in ("W", "K"):
            await driver.press(key)
            await driver.until(lambda: driver.shows("not attached yet"))
        node.asked.set()
        await driver.until(lambda: driver.shows("admin, view"))
        await driver.press("W")
        await driver.until(lambda: driver.shows("Take control of shop@localhost?"))
