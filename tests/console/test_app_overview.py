"""The first screen: what somebody woken at night wants to know, and the way from there to the place of it."""

from __future__ import annotations

import pytest

from observe.console.keys import find
from observe.console.screens import SCREENS, PageName
from observe.console.signs import Signs
from observe.probe.errors import RemoteError
from tests.console.driving import LARGE, Driver, console
from tests.console.fake_node import FakeNode


def troubled() -> FakeNode:
    """Two places crash, one of them twice; a mailbox is full."""
    node = FakeNode()
    for pid, reason in (
        (10, "ValueError: no JSON"),
        (11, "ValueError: no JSON"),
        (12, "TimeoutError: model"),
    ):
        node.crashed(pid, reason, restarted=node.restarted(pid))
    node.set(40, mailbox=1204)
    return node


async def at_line(driver: Driver, text: str) -> None:
    """Move the cursor to the first line that holds a text."""
    page = driver.app.pages["overview"]
    view = page.left  # type: ignore[attr-defined]  # the overview's
    await driver.until(lambda: any(text in line.text for line in view.lines))
    view.go_to(next(index for index, line in enumerate(view.lines) if text in line.text))
    await driver.settle()


async def test_it_comes_first_and_says_what_is_wrong_and_where_it_crashes() -> None:
    """One line a fault, with its count, without a key pressed."""
    async with console(troubled(), screen="overview") as driver:
        await driver.until(lambda: driver.shows("2x"))
        assert "ValueError: no JSON" in driver.line("2x")
        assert "2 agents" in driver.line("2x")
        assert driver.shows("mailbox that does not get emptier, fullest session-37")
        assert driver.shows("Busiest")


async def test_who_is_fenced_in_is_told_and_one_key_away() -> None:
    """What contains itself at night must not be found by chance in the morning. A node that knows no containment has no sign."""
    node = FakeNode()
    node.set(20, containment="isolated", status="suspended", status_s=71.0)
    async with console(node, screen="overview") as driver:
        await driver.until(lambda: driver.shows("1 agent is fenced in"))
        assert "isolated" in driver.line("session-17 #20")
        await at_line(driver, "session-17 #20")
        await driver.press("I")
        await driver.until(lambda: driver.shows("Contain this agent?"))
        await driver.press("escape")
        node.set(20, containment="none")
        await driver.app.page.fetch()
        await driver.until(lambda: not driver.shows("fenced in"))
        node.refusals["agents"] = RemoteError("bad_filter", "no column containment")
        await driver.app.page.fetch()


async def test_a_quiet_node_is_said_to_be_calm() -> None:
    """Nothing wrong is a finding as well."""
    async with console(screen="overview") as driver:
        await driver.until(lambda: driver.shows("Busiest"))
        assert "calm" in driver.line("● calm")
        assert "none" in driver.line("Recent crashes")


async def test_an_agent_on_a_line_opens_and_escape_comes_back() -> None:
    """The busiest agent is one key away."""
    async with console(troubled(), screen="overview") as driver:
        await at_line(driver, "session-37 #40")
        await driver.press("enter")
        await driver.until(lambda: driver.app.page.page_name in ("detail", "agents"))
        await driver.press("escape", "escape")
        assert driver.app.page.page_name == "overview"


async def test_a_place_of_crashes_leads_to_its_traceback() -> None:
    """With the cursor on that group."""
    async with console(troubled(), screen="overview") as driver:
        await at_line(driver, "1x")
        await driver.press("enter")
        await driver.until(lambda: driver.app.page.page_name == "crashes" and driver.shows("in handle"))
        await driver.until(lambda: driver.app.page.crash.reason == "TimeoutError: model")  # type: ignore[attr-defined]  # the page of crashes


async def test_a_finding_leads_to_its_agents() -> None:
    """Filtered, in the order that fits."""
    async with console(troubled(), screen="overview") as driver:
        await at_line(driver, "fullest session-37")
        await driver.press("enter")
        await driver.until(lambda: driver.app.table_view.filter == "mailbox>=100")
        assert driver.app.page.page_name == "agents"


async def test_a_section_becomes_the_table_in_its_order() -> None:
    """s on the fullest mailboxes sorts the table by mailbox."""
    async with console(troubled(), screen="overview") as driver:
        await at_line(driver, "Fullest mailboxes")
        await driver.press("s")
        assert driver.app.table_view.sort == "mailbox"
        assert driver.app.page.page_name == "agents"


async def test_the_costliest_are_told_with_what_they_have_used() -> None:
    async with console(screen="overview", size=LARGE) as driver:
        await driver.until(lambda: driver.shows("58.6k tokens"))
        assert "1.47" in driver.line("58.6k tokens")
        await at_line(driver, "Costliest")
        await driver.press("s")
        assert driver.app.table_view.sort == "cost"


async def test_copy_takes_the_line() -> None:
    """For the chat with the colleagues."""
    async with console(troubled(), screen="overview") as driver:
        await at_line(driver, "2x")
        await driver.press("y")
        assert "ValueError: no JSON" in driver.app.clipboard


async def test_a_kill_asks_about_the_agent_on_the_line() -> None:
    """As on every page."""
    async with console(troubled(), screen="overview") as driver:
        await at_line(driver, "most 1")
        await driver.press("K")
        await driver.until(lambda: driver.shows("Kill this agent?"))


async def test_a_wide_screen_has_every_vital_sign_with_its_past() -> None:
    """Also what observation costs."""
    async with console(troubled(), screen="overview", size=LARGE) as driver:
        await driver.until(lambda: driver.shows("Vital signs"))
        assert driver.shows("observing costs    0.8%")
        assert driver.shows("tokens/min         5.1k")
        assert driver.shows("cost/min           0.31")
        await driver.press("tab", "down", "left")
        assert driver.shows("Vital signs")


async def test_what_is_not_known_is_not_zero() -> None:
    """Before the first vital signs there is a dash."""
    async with console(screen="overview", size=LARGE) as driver:
        driver.app.node.signs = Signs()
        driver.app.page.draw()  # type: ignore[attr-defined]  # the page of crashes
        await driver.settle()
        assert "memory" in driver.line("memory" + " " * 16 + "-")


@pytest.mark.parametrize("screen", SCREENS)
async def test_the_console_opens_on_the_screen_that_is_asked_for(screen: PageName) -> None:
    """`observe attach shop --screen tree`; and each has a number key."""
    async with console(screen=screen) as driver:
        assert driver.app.page.page_name == screen
        await driver.press(find("app", "show_agents").keys[-1], find("app", f"show_{screen}").keys[-1])
        assert driver.app.page.page_name in (screen, "agents")
