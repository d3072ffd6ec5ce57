"""The page of budgets: who is about to run into a limit, and what all of it costs a minute."""

from __future__ import annotations

from observe.console.pages.budgets import BudgetsScreen
from tests.console.driving import Driver, console


async def opened(driver: Driver) -> BudgetsScreen:
    await driver.press("f4")
    await driver.until(lambda: driver.shows("sessions/*"))
    page = driver.app.pages["budgets"]
    assert isinstance(page, BudgetsScreen)
    return page


async def test_the_worst_stands_first_with_how_long_its_limit_lasts() -> None:
    """At a glance: who, how much of which limit, for how long, how fast."""
    async with console() as driver:
        await opened(driver)
        first, tree = driver.line("session-6 "), driver.line("sessions/*")
        assert "✕102%" in first
        assert "now" in first
        assert "▲86%" in tree
        assert "3m07s" in tree
        assert driver.shows("5.1k tokens, 0.31 a minute")
        await driver.press("right")
        await driver.until(lambda: driver.shows("a limit: suspended"))
        assert "720/min" in driver.line("10.2k of 10.0k")


async def test_orders_classes_and_filters_are_asked_of_the_service() -> None:
    async with console() as driver:
        await opened(driver)
        await driver.press("S")
        await driver.until(lambda: driver.shows("▼lasts") and driver.shows("sessions/*"))
        await driver.press("o")
        await driver.until(lambda: driver.shows("Session x3"))
        assert not driver.shows("sessions/*")
        await driver.press("o")
        await driver.until(lambda: driver.shows("acme (tenants)"))
        assert "▲96%" in driver.line("acme (tenants)")
        assert "1m30s" in driver.line("acme (tenants)")
        await driver.press("enter")  # nobody's page: what there is of it is below
        await driver.until(lambda: driver.shows("of 20"))
        await driver.press("o", "slash", *"n-9")
        await driver.until(lambda: driver.shows("1 match n-") and not driver.shows("sessions/*"))
        assert ("budgets", ("owner", "left_s", "n-9")) in driver.node.requests


async def test_a_line_leads_to_its_agent_and_a_class_to_its_agents() -> None:
    async with console() as driver:
        page = await opened(driver)
        columns, rows = page.listed()
        assert dict(zip(columns, rows[0], strict=True))["share"] == 1.02
        await driver.press("o")
        await driver.until(lambda: driver.shows("Session x3"))
        await driver.press("enter")
        await driver.until(lambda: driver.app.page.page_name == "agents" and driver.shows("class=Session"))
        await driver.press("f4", "o", "o")
        await driver.until(lambda: driver.shows("sessions/*"))
        await driver.press("enter")
        await driver.until(lambda: driver.app.page.page_name == "detail" and driver.shows("session-6"))
