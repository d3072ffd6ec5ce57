"""Marked agents: chosen one by one, acted on together, never by one key."""

from __future__ import annotations

from tests.console.driving import Driver, console


async def mark_two(driver: Driver) -> None:
    """session-1 and session-2, pids 4 and 5, and ask."""
    await driver.press("down", "down", "down", "space", "space")
    assert driver.shows("◆ 2 marked")
    await driver.press("K")
    await driver.until(lambda: driver.shows("Kill 2 agents?") and driver.shows("will be lost"))


async def test_space_marks_and_unmarks() -> None:
    """And goes one down, so that a block is marked with one finger."""
    async with console() as driver:
        await driver.press("down", "space")
        assert "◆" in driver.line("sessions ")
        await driver.press("up", "space")
        assert not driver.shows("marked")
        await driver.press("space", "U")
        assert not driver.shows("marked")


async def test_several_are_listed_and_the_node_s_name_confirms() -> None:
    """Who, what goes with them, and something that no reflex types."""
    async with console() as driver:
        await mark_two(driver)
        assert driver.shows("session-1 #4")
        assert driver.shows("session-2 #5")
        await driver.press("y", "enter")
        assert driver.shows("nothing was done")
        assert driver.node.killed == []
        await driver.press("backspace", *"shop", "enter")
        await driver.until(lambda: driver.shows("2 of 2 killed"))
        assert [pid for pid, _ in driver.node.killed] == [4, 5]
        await driver.press("enter")
        await driver.until(lambda: not driver.shows("marked"))


async def test_an_agent_that_ended_meanwhile_is_told_and_its_successor_spared() -> None:
    """The list is of pids, frozen when the question was asked."""
    async with console() as driver:
        await mark_two(driver)
        driver.node.restarted(4)
        await driver.press(*"shop", "enter")
        await driver.until(lambda: driver.shows("1 of 2 killed"))
        assert driver.shows("1 not: session-1 #4")
        assert [pid for pid, _ in driver.node.killed] == [5]


async def test_in_view_mode_marks_are_harmless() -> None:
    """One may prepare, and is told what acting takes."""
    async with console(control=False) as driver:
        await driver.press("down", "space", "space", "K")
        assert driver.shows("view mode: W takes control first")
