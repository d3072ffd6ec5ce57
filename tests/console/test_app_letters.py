"""The page of dead letters: what reached nobody, and what can be done about it."""

from __future__ import annotations

from observe.console.pages.letters import LettersScreen
from tests.console.driving import Driver, console
from tests.console.fake_node import FakeNode


async def opened(driver: Driver) -> LettersScreen:
    await driver.press("f3")
    await driver.until(lambda: driver.shows("for Session 31 (session-28)"))
    page = driver.app.pages["letters"]
    assert isinstance(page, LettersScreen)
    return page


async def test_the_largest_group_stands_first_with_its_newest_message_in_full() -> None:
    """For whom, why, how many and how lately: without a key more."""
    async with console() as driver:
        await opened(driver)
        assert driver.line("for Session 31").split()[1] == "3"
        assert driver.shows("1,204 dead letters  3 in a minute")
        await driver.until(lambda: driver.shows("killed: hangs") and driver.shows("kind  refund"))
        await driver.press("S")
        await driver.until(lambda: driver.shows("mailbox full  newest") and driver.shows("by why"))
        await driver.press("S")
        await driver.until(lambda: driver.shows("from Desk 4 (desk)"))


async def test_a_letter_is_sent_again_once_after_a_question_that_says_to_whom() -> None:
    """The heir of the name, or whoever is named."""
    async with console() as driver:
        await opened(driver)
        await driver.press("down", "s")
        await driver.until(lambda: driver.shows("Send this message again?"))
        assert driver.shows("goes to     Session 33 (session-28)")
        assert not any(verb == "resend" for verb, _ in driver.node.requests)
        await driver.press("y")
        await driver.until(lambda: driver.shows("is in the mailbox of Session 8"))
        assert [asked for verb, asked in driver.node.requests if verb == "resend"] == [(1204, 33, "")]
        await driver.press("escape")
        await driver.until(lambda: driver.shows("sent again"))
        await driver.press("s")
        await driver.until(lambda: driver.shows("it was sent again already, to Session 8"))


async def test_a_letter_for_nobody_goes_to_whom_one_says() -> None:
    async with console() as driver:
        page = await opened(driver)
        await driver.press("slash", *"archive")
        await driver.until(lambda: driver.shows("1 match archive"))
        await driver.press("enter")
        await driver.until(lambda: page.view.has_focus)
        await driver.press("s")
        await driver.until(lambda: driver.shows("nobody: say to whom"))
        await driver.press("shift+tab", *"session-5", "tab", "tab", "enter")
        await driver.until(lambda: driver.shows("is in the mailbox of"))
        assert [asked for verb, asked in driver.node.requests if verb == "resend"] == [
            (1199, "session-5", "")
        ]


async def test_the_agent_behind_a_letter_is_opened_and_nobody_is_said_to_be_nobody() -> None:
    async with console() as driver:
        await opened(driver)
        await driver.press("o")
        await driver.until(lambda: driver.app.page.page_name == "detail" and driver.shows("session-30"))


async def test_a_viewer_looks_and_is_told_why_not_more() -> None:
    async with console(FakeNode(role="viewer")) as driver:
        await opened(driver)
        await driver.press("s")
        await driver.until(lambda: driver.shows("your key has the role viewer"))


async def test_a_node_without_dead_letters_says_that_this_is_good() -> None:
    async with console() as driver:
        driver.node.letters.clear()
        await driver.press("f3")
        await driver.until(lambda: driver.shows("no message has reached nobody"))
        await driver.press("o")
        await driver.until(lambda: driver.shows("nobody has this name"))
