"""The table as a person wants it: columns, pins, and a filter that completes itself."""

from __future__ import annotations

from tests.console.driving import LARGE, console


async def test_columns_are_hidden_and_moved() -> None:
    """Chosen from a list with what each means; 0 goes back to those that fit."""
    async with console(size=LARGE) as driver:
        await driver.press("o")
        await driver.until(lambda: driver.shows("Space shows or hides"))
        await driver.press("plus", "enter")
        assert driver.app.table_view.columns[:2] == ("name", "pid")
        assert driver.line("mailbox  ").index("name") < driver.line("mailbox  ").index("pid")
        await driver.press("o", "space", "enter")
        assert driver.app.table_view.columns[0] == "pid"
        await driver.press("o", "0")
        assert driver.app.table_view.columns == ()


async def test_tab_completes_the_filter_step_by_step() -> None:
    """Column, operator, value; nobody remembers names at night."""
    async with console() as driver:
        await driver.press("slash", *"cl")
        await driver.until(lambda: driver.shows("Tab class"))
        await driver.press("tab", "tab")
        await driver.until(lambda: driver.app.agents_page.filter_bar.input.value == "class=")
        await driver.press(*"S")
        await driver.until(lambda: driver.shows("Session  Supervisor"))
        await driver.press("tab")
        await driver.until(lambda: driver.shows("400 of 402 agents match class=Session"))
        await driver.press("enter")
        assert not driver.shows("Tab ")


async def test_a_filter_that_cannot_be_read_is_explained_while_it_is_typed() -> None:
    """Where, and what to write instead."""
    async with console(size=LARGE) as driver:
        await driver.press("slash", *"mailbox>x")
        await driver.until(lambda: driver.shows("'x' is not a number"))
        assert driver.shows("for example mailbox>10")


async def test_a_pinned_agent_stays_in_sight_also_as_its_successor() -> None:
    """Watch one while looking at the others."""
    async with console() as driver:
        await driver.press("down", "down", "down", "p")
        await driver.refresh()
        await driver.until(lambda: driver.line("session-1 ").startswith("↑"))
        new = driver.node.restarted(4)
        driver.node.set(new, mailbox=77)
        await driver.press("slash", *"session-9", "enter")
        await driver.refresh()
        await driver.until(lambda: "77" in driver.line("↑"))
        await driver.pilot.click("PinnedRows", offset=(10, 0))
        assert driver.app.table_view.chosen is not None
        await driver.press("escape", "p")
        await driver.refresh()
        await driver.until(lambda: not driver.shows("↑"))


async def test_pins_are_bounded() -> None:
    """They take their lines from the table."""
    async with console() as driver:
        for _ in range(6):
            await driver.press("p", "down")
        assert driver.shows("no more than 5 agents can be pinned")
