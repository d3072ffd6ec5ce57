"""Keys that come all at once do what they do one by one: over a slow line they come in lumps."""

from __future__ import annotations

from textual import events
from textual.keys import _character_to_key

from tests.console.driving import Driver, console


def type_at_once(driver: Driver, text: str) -> None:
    """All keys of a text, before the console has seen the first."""
    for letter in text:
        driver.app.post_message(events.Key(_character_to_key(letter), letter))


async def test_a_filter_that_is_typed_at_once_has_all_its_letters() -> None:
    """The letters of a word are no keys of the table, of which some end agents."""
    async with console() as driver:
        type_at_once(driver, "/K session-1")
        await driver.until(lambda: driver.line(" / ").startswith(" / K session-1"))
        assert not driver.shows("Kill this agent?")
        assert driver.app.page.page_name == "agents"


async def test_a_dialog_gets_what_is_typed_after_the_key_that_opens_it() -> None:
    """Also when the dialog is not yet there while the letters come."""
    async with console(control=False) as driver:
        type_at_once(driver, "Wa reason")
        await driver.until(lambda: driver.shows("a reason"))
        await driver.press("escape")
        await driver.until(lambda: not driver.shows("a reason"))
        type_at_once(driver, "jjjt?")
        await driver.until(lambda: driver.shows("│   The tree"))


async def test_whoever_types_on_is_not_waited_for_by_a_key_that_takes_long() -> None:
    """A widget that is busy keeps the next key for half a second, and no longer."""
    async with console() as driver:
        driver.app._follow = lambda turn, way: None  # type: ignore[method-assign]  # a note that is lost on the way
        type_at_once(driver, "jt")
        await driver.until(lambda: driver.app.page.page_name == "tree")
