"""The page of the log: what the service logs, and which agent."""

from __future__ import annotations

from observe.console.log_lines import Wanted, wanted
from observe.console.pages.log import LogScreen
from tests.console.driving import Driver, console
from tests.console.fake_pages import log_line


async def opened(driver: Driver) -> LogScreen:
    await driver.press("f2")
    await driver.until(lambda: driver.shows("the till is on fire"))
    page = driver.app.pages["log"]
    assert isinstance(page, LogScreen)
    return page


async def come(driver: Driver, page: LogScreen, *texts: str) -> None:
    """Something is logged, and read."""
    for text in texts:
        driver.node.log_records.append(log_line(len(driver.node.log_records) + 1, "INFO", text))
    await page.fetch()
    await driver.settle()


async def test_it_follows_until_somebody_reads_and_goes_on_by_a_key() -> None:
    """New records come at the bottom; whoever has gone up is not taken away from what they read."""
    async with console() as driver:
        page = await opened(driver)
        assert driver.shows("following")
        await come(driver, page, *(f"sold lamp {number}" for number in range(40)))
        assert driver.shows("sold lamp 39")
        await driver.press("pageup")
        assert not driver.shows("following")
        await come(driver, page, "sold lamp 40")
        assert not driver.shows("sold lamp 40")
        await driver.press("F")
        await driver.until(lambda: driver.shows("sold lamp 40") and driver.shows("following"))


async def test_a_record_is_unfolded_with_its_exception_and_leads_to_its_agent() -> None:
    """The way from a line of the log to who wrote it is one key."""
    async with console() as driver:
        await opened(driver)
        assert "ValueError: no lamp" in driver.line("no answer")
        await driver.press("up", "enter")
        await driver.until(lambda: driver.shows("return json.loads(text)"))
        assert driver.shows("sessions.py:54 in handle")
        await driver.press("down", "o")
        await driver.until(lambda: driver.app.page.page_name == "detail")
        assert driver.shows("session-6")


async def test_what_is_unfolded_at_the_bottom_of_the_screen_comes_into_sight() -> None:
    """Whoever unfolds the last line wants to read what it holds, not to scroll for it."""
    async with console() as driver:
        page = await opened(driver)
        await come(driver, page, *(f"sold lamp {number}" for number in range(40)))
        await driver.press("enter")
        await driver.until(lambda: driver.shows("logger "))
        assert driver.shows("sold lamp 39")
        await driver.press("enter")
        await driver.until(lambda: not driver.shows("logger "))


async def test_what_no_agent_has_logged_leads_nowhere_and_says_so() -> None:
    async with console() as driver:
        await opened(driver)
        await driver.press("o")
        await driver.until(lambda: driver.shows("this was not logged by an agent"))


async def test_filters_are_asked_of_the_service_and_escape_clears_them() -> None:
    async with console() as driver:
        await opened(driver)
        await driver.press("slash", *"agent=5 so")
        await driver.until(lambda: driver.shows("match agent=5 so") and driver.shows("order=17"))
        assert not driver.shows("on fire")
        await driver.press("enter", "escape")
        await driver.until(lambda: driver.shows("on fire"))
        await driver.press("S", "S")
        await driver.until(lambda: driver.shows("from warning") and driver.shows("no answer"))
        assert not driver.shows("order=17")


async def test_from_an_agents_page_it_is_that_agents_log() -> None:
    async with console(screen="agents") as driver:
        await driver.press("down", "down", "down", "down", "enter")
        await driver.until(lambda: driver.app.page.page_name == "detail" and driver.shows("State"))
        agent = driver.app.history.current.agent
        assert agent is not None
        await driver.press("f2")
        await driver.until(lambda: driver.shows(f"match agent={agent.pid}"))
        asked = [argument for verb, argument in driver.node.requests if verb == "log"]
        assert asked[-1]["agent"] == agent.pid


async def test_a_service_that_has_started_anew_is_read_from_its_beginning() -> None:
    """Its numbers begin anew: nothing of it may be taken for old."""
    async with console() as driver:
        page = await opened(driver)
        driver.node.log_records[:] = [log_line(1, "INFO", "open again")]
        await page.fetch()
        await driver.until(lambda: driver.shows("open again"))
        assert not driver.shows("on fire")


async def test_a_file_has_the_records_in_full() -> None:
    async with console() as driver:
        page = await opened(driver)
        columns, rows = page.listed()
        assert dict(zip(columns, rows[4], strict=True))["traceback"].endswith("ValueError: no lamp")  # type: ignore[attr-defined]  # a text


def test_whatever_is_typed_is_read() -> None:
    assert wanted("agent=7 time out logger=shop.tools") == Wanted(7, "shop.tools", "time out")
    assert wanted("agent=session-7 level=ERROR") == Wanted("session-7", level="error")
    assert wanted("level=loud agent= x=1") == Wanted(text="level=loud agent= x=1")
