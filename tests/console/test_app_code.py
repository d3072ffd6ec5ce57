"""The page of the code: what is loaded, what has changed on the disk, and reloading it after a look at what that touches."""

from __future__ import annotations

import pytest

from observe.console.pages.code import CodePage
from tests.console.driving import Driver, console
from tests.console.fake_code import module
from tests.console.fake_node import FakeNode


async def opened(driver: Driver) -> CodePage:
    await driver.press("number_sign")
    await driver.until(lambda: driver.shows("+    return count * 3 + fee()"))
    page = driver.app.pages["code"]
    assert isinstance(page, CodePage)
    return page


def reloads(node: FakeNode) -> list[object]:
    return [asked for verb, asked in node.requests if verb == "reload"]


async def test_what_has_changed_comes_first_with_its_difference_and_whom_it_touches() -> None:
    async with console(FakeNode(role="viewer")) as driver:
        page = await opened(driver)
        assert "changed +4 -1" in driver.line("shop.prices")
        assert "400 Session, 1 Desk" in driver.line("shop.orders")
        assert driver.shows("4 modules  1 changed on the disk")
        await driver.press("down")
        await driver.until(lambda: driver.shows("shop.orders  version 3"))
        await driver.press("enter")
        assert page.below.has_focus
        await driver.press("escape", "y")
        assert driver.app.clipboard == "shop.orders"
        columns, rows = page.listed()
        assert [row[columns.index("agents")] for row in rows] == [0, 401, 0, 0]


async def test_the_difference_is_asked_for_once_and_again_when_the_file_is_written() -> None:
    async with console(FakeNode(role="admin")) as driver:
        page = await opened(driver)
        for _ in range(3):
            await page.fetch()
        assert [asked for verb, asked in driver.node.requests if verb == "code" and asked] == ["shop.prices"]
        driver.node.loaded[0] = module("shop.prices", state="changed", changed_at=driver.node.at, added=9)
        await page.fetch()
        await driver.until(
            lambda: [asked for verb, asked in driver.node.requests if verb == "code" and asked][1:]
        )
        driver.node.loaded[0] = module("shop.prices", state="missing")
        await page.fetch()
        await driver.until(lambda: "✕ cannot be read" in driver.line("shop.prices  version 1"))


async def test_modules_are_filtered_by_name_and_class_and_by_change() -> None:
    async with console(FakeNode(role="admin")) as driver:
        page = await opened(driver)
        await driver.press("slash", *"desk")
        await driver.until(lambda: driver.shows("1 of 4 modules match desk"))
        await driver.press("enter", "escape", "s")
        await driver.until(lambda: driver.shows("1 of 4 modules match changed"))
        await driver.press("s")
        await driver.until(lambda: driver.shows("4 modules"))
        await driver.press("slash", *"orders", "enter")
        await driver.until(lambda: page.view.has_focus)
        await driver.press("o")
        await driver.until(lambda: driver.app.page.page_name == "agents")
        assert driver.app.table_view.filter == "class=Session,Desk"


async def test_a_reload_shows_what_it_touches_before_and_what_came_of_it_after() -> None:
    """Nothing is changed by one key, and what was done can be undone while one looks at it."""
    async with console(FakeNode(role="admin")) as driver:
        await opened(driver)
        await driver.press("space", "space", "r")
        await driver.until(lambda: driver.shows("y does it"))
        assert "shop.prices, shop.orders" in driver.line("modules ") or driver.shows(
            "shop.orders, shop.prices"
        )
        assert "400 Session, 1 Desk" in driver.line("│  agents")
        assert "shop.prices.fee" in driver.line("added")
        assert reloads(driver.node) == [(["shop.orders", "shop.prices"], True, False, "")]
        await driver.press("y")
        await driver.until(lambda: driver.shows("now shop.orders 4, shop.prices 2"))
        assert driver.shows("paused for 12.0ms")
        await driver.press("u")
        await driver.until(lambda: driver.shows("undone: back to shop.orders 3, shop.prices 1"))
        assert reloads(driver.node)[1:] == [
            (["shop.orders", "shop.prices"], False, False, ""),
            (["shop.orders", "shop.prices"], False, True, ""),
        ]
        await driver.press("enter")
        await driver.until(lambda: driver.shows("4 modules  0 changed"))
        assert not driver.shows("marked")
        assert driver.shows("shop.orders  version 3"), "what was reloaded is what is looked at"


async def test_the_default_answer_is_no() -> None:
    async with console(FakeNode(role="admin")) as driver:
        await opened(driver)
        await driver.press("r")
        await driver.until(lambda: driver.shows("y does it"))
        await driver.press("enter")
        await driver.until(lambda: not driver.shows("Reload this code?"))
        assert len(reloads(driver.node)) == 1


async def test_why_it_cannot_be_is_told_and_nothing_is_asked_for() -> None:
    """By the look before; and by the reload itself, when it comes to that."""
    node = FakeNode(role="admin")
    node.reload_refusals = ["Session.cart became a property"]
    async with console(node) as driver:
        await opened(driver)
        await driver.press("r")
        await driver.until(lambda: driver.shows("Session.cart became a property"))
        await driver.press("y")
        assert len(reloads(node)) == 1
        node.reload_refusals = []
        await driver.press("escape", "r")
        await driver.until(lambda: driver.shows("y does it"))
        node.reload_refusals = ["the step of session-3 did not end within 3 s"]
        await driver.press("y")
        await driver.until(lambda: driver.shows("did not end within 3 s; everything"))
        assert "changed +4 -1" in driver.line("▲ shop.prices")


async def test_the_newest_reload_is_undone_after_a_question() -> None:
    async with console(FakeNode(role="admin")) as driver:
        await opened(driver)
        await driver.press("u")
        await driver.until(lambda: driver.shows("Undo the newest reload?"))
        assert not reloads(driver.node)
        await driver.press("y")
        await driver.until(lambda: driver.shows("undone: back to shop.orders 2"))
        await driver.press("escape")
        driver.node.loaded[2] = module("shop.orders")
        driver.app.pages["code"].poller.wake()
        await driver.until(lambda: not driver.shows("u undoes it"))
        await driver.press("u")
        await driver.until(lambda: driver.shows("nothing was reloaded"))


@pytest.mark.parametrize(
    ("node", "control", "why"),
    [
        (FakeNode(role="operator"), True, "reloading takes admin"),
        (FakeNode(role="viewer"), True, "reloading takes admin"),
        (FakeNode(role="admin"), False, "W takes control first"),
    ],
)
async def test_who_may_not_is_told_why(node: FakeNode, control: bool, why: str) -> None:
    async with console(node, control=control) as driver:
        await opened(driver)
        for key in ("r", "u"):
            await driver.press(key)
            await driver.until(lambda: driver.shows(why))
        assert not reloads(node)
