"""The page of process groups and names: who is reached under which name."""

from __future__ import annotations

from tests.console.driving import console


async def test_groups_unfold_to_their_members_and_names_lead_to_their_agents() -> None:
    async with console() as driver:
        await driver.press("f5")
        await driver.until(lambda: driver.shows("Process groups  2") and driver.shows("session-8"))
        assert "2 members, joined 3 times" in driver.line("prices")
        await driver.press("down", "enter")
        await driver.until(lambda: driver.shows("Session 5  x2"))
        await driver.press("down", "enter")
        await driver.until(lambda: driver.app.page.page_name == "detail" and driver.shows("session-2"))
        await driver.press("f5", "slash", *"n-7")
        await driver.until(lambda: driver.shows("1 match n-7"))
        assert "none matches" in driver.line("none")
        await driver.press("enter", "escape")
        await driver.until(lambda: driver.shows("prices"))
