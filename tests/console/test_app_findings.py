"""The findings: the node's own diagnoses on their page, on the rows of the table and on the agent's page."""

from __future__ import annotations

from tests.console.driving import Driver, console
from tests.console.fake_node import FakeNode


def ill() -> FakeNode:
    """One full mailbox, two agents that hang."""
    node = FakeNode()
    node.set(40, mailbox=1204)
    node.set(44, activity="tool:search", activity_s=71.0, status="waiting")
    node.set(45, activity="tool:search", activity_s=90.0, status="waiting")
    return node


async def opened(driver: Driver) -> None:
    await driver.press("f")
    await driver.until(lambda: driver.shows("what to do about stuck"))


async def test_the_page_has_evidence_and_advice_and_enter_goes_to_the_worst_agent() -> None:
    """From the diagnosis to the patient in one key."""
    async with console(ill()) as driver:
        await opened(driver)
        assert driver.shows("mailbox       1204")
        assert "2" in driver.line("activity_s>60s")
        await driver.press("enter")
        await driver.until(lambda: driver.app.page.page_name == "detail" and driver.shows("session-37"))
        assert driver.shows("▲ mailbox_grows  what to do about mailbox_grows")


async def test_all_agents_concerned_are_one_key_away() -> None:
    """In the order of what is wrong with them."""
    async with console(ill()) as driver:
        await opened(driver)
        page = driver.app.pages["findings"]
        view = page.view  # type: ignore[attr-defined]  # the page's
        view.go_to(next(n for n, line in enumerate(view.lines) if "stuck" in line.key))
        await driver.press("s")
        await driver.until(lambda: driver.shows("2 of 402 agents match activity_s>60s"))
        assert driver.app.table_view.sort == "activity_s"


async def test_rows_of_agents_with_a_finding_are_marked_and_the_check_is_named() -> None:
    """All agents concerned, not only the worst; never by colour alone."""
    async with console(ill()) as driver:
        await driver.press("slash", *"activity_s>50", "enter")
        await driver.until(lambda: driver.shows("2 of 402"))
        assert driver.line("session-41 ").startswith(("▌ ▲", "  ▲"))
        assert driver.line("session-42 ").startswith(("▌ ▲", "  ▲"))
        await driver.until(lambda: driver.shows("▲ stuck"))


async def test_a_finding_that_begins_is_asked_for_at_once() -> None:
    """The event is the knock on the door; two seconds are long at night."""
    async with console() as driver:
        driver.node.set(40, mailbox=1204)
        asked = sum(verb == "findings" for verb, _ in driver.node.requests)
        driver.node.happened("finding", 40, "a mailbox grows")
        await driver.until(lambda: sum(verb == "findings" for verb, _ in driver.node.requests) > asked)
        await driver.until(lambda: driver.shows("▲ 1 agent with a mailbox"))


async def test_without_findings_the_page_says_so() -> None:
    """Calm is a finding as well."""
    async with console() as driver:
        await driver.press("f")
        await driver.until(lambda: driver.shows("calm: no crash in a minute"))
