"""The page of approvals: what waits for whom, and the way from reading it to deciding it."""

from __future__ import annotations

from observe.console.approval_lines import decided_detail, page_lines
from observe.console.lines import Folds
from observe.console.pages.approvals import ApprovalsPage
from observe.probe.errors import RemoteError
from tests.console.driving import LARGE, Driver, console
from tests.console.fake_node import FakeNode
from tests.console.fake_pages import asked_things


def asked() -> FakeNode:
    node = FakeNode()
    asked_things(node)
    return node


async def opened(driver: Driver) -> ApprovalsPage:
    await driver.press("J")
    await driver.until(lambda: driver.shows("approval 12"))
    page = driver.app.pages["approvals"]
    assert isinstance(page, ApprovalsPage)
    return page


async def test_the_overview_says_that_somebody_waits_and_leads_there() -> None:
    """Nobody looks at a page of which they do not know that there is something on it."""
    async with console(asked(), screen="overview") as driver:
        await driver.until(lambda: driver.shows("3 agents wait for a person"))
        assert "asks for tool:refund" in driver.line("session-18 #21")
        view = driver.app.pages["overview"].left  # type: ignore[attr-defined]  # the overview's
        view.go_to(next(index for index, line in enumerate(view.lines) if line.key == "approvals/21"))
        await driver.press("enter")
        await driver.until(lambda: driver.shows("approval 12"))
        await driver.press("escape")
        await driver.until(lambda: driver.app.page.page_name == "overview")


async def test_while_the_scheduler_is_held_it_says_why_nothing_comes() -> None:
    """`asking …` for ever would look like a console that hangs; when the node is free again, the answer is there."""
    async with console(asked()) as driver:
        driver.node.hold(9)
        driver.node.refusals["approvals"] = driver.node.refusals["kill"]
        await driver.until(lambda: driver.shows("HELD"))
        await driver.press("J")
        await driver.until(lambda: driver.shows("cannot answer this while its scheduler is held"))
        driver.node.refusals.clear()
        driver.node.push_vitals(state="up", held=None)
        driver.app.page.poller.wake()
        await driver.until(lambda: driver.shows("approval 12"))


async def test_who_waits_for_what_until_when_and_what_follows() -> None:
    """The longest waiting is chosen, and told in full without another key."""
    async with console(asked(), size=LARGE) as driver:
        await opened(driver)
        assert driver.shows("3 activities wait")
        assert driver.shows("2 for less than a minute more")
        assert "19s" in driver.line("session-18 #21")
        for said in (
            "refund 128.00 for the kettle of order 10042 to Ada", "'card': '••••'", "the policy refunds", "to shift lead",
            "refused by itself, if nobody answers", "any operator",
        ):  # fmt: skip
            assert driver.shows(said), said
        await driver.press("down")
        await driver.until(lambda: driver.shows("approval 13"))
        assert driver.shows("admin or ann, 2 people with different keys")
        assert driver.shows("operator ann; 1 more must agree")
        await driver.press("down")
        await driver.until(lambda: driver.shows("granted by itself, if nobody answers"))
        assert "yes" in driver.line("mail to all customers")
        await driver.press("down", "down", "down")
        await driver.until(lambda: driver.shows("refused by operator bob: twice the price"))
        assert driver.shows("observe audit search NODE approval-5")


async def test_what_was_read_is_what_is_granted() -> None:
    """Its number goes with the answer: an agent that asks for something else meanwhile does not get that."""
    async with console(asked()) as driver:
        page = await opened(driver)
        await driver.press("O")
        await driver.until(lambda: driver.shows("Let it do what it waits to do?"))
        await driver.until(lambda: driver.shows("refund 128.00 for the kettle"))
        await driver.press("y")
        await driver.until(lambda: driver.node.acted)
        verb, arguments = driver.node.acted[0]
        assert (verb, arguments["agent"], arguments["approval"]) == ("approve", 21, 12)
        driver.node.decided(12, "granted", "operator me", "known")
        page.poller.wake()
        await driver.until(lambda: driver.shows("approve done"))
        await driver.press("escape")
        await driver.until(lambda: driver.shows("granted by operator me: known"))
        assert page.chosen is not None
        assert page.chosen.number == 12  # the cursor has gone with it
        await driver.press("O")
        await driver.until(lambda: driver.shows("that was decided already"))


async def test_the_number_is_filled_in_wherever_the_question_was_asked() -> None:
    """From the table as from the page."""
    async with console(asked()) as driver:
        await driver.press("slash", *"approval:", "enter")
        await driver.until(lambda: driver.shows("3 of 402"))
        await driver.until(lambda: driver.chosen_line())
        await driver.press("G", "V")
        await driver.until(lambda: driver.shows("mail to all customers"))
        await driver.press("y")
        await driver.until(lambda: driver.node.acted)
        verb, arguments = driver.node.acted[0]
        assert (verb, arguments["agent"], arguments["approval"]) == ("refuse", 23, 14)


async def test_who_only_looks_is_told_what_it_takes() -> None:
    """On the page, before a key is tried."""
    async with console(asked(), control=False) as driver:
        await opened(driver)
        assert driver.shows("view mode: W takes control first")
        await driver.press("O")
        assert not driver.shows("Let it do what it waits to do?")
        await driver.press("enter", "enter")
        await driver.until(lambda: driver.app.page.page_name == "detail")


async def test_a_quiet_node_an_older_node_and_one_that_does_not_answer() -> None:
    async with console() as driver:
        await driver.press("ctrl+p", *"agrees")
        await driver.until(lambda: driver.shows("Approvals  (J)"))
        await driver.press("escape", "J")
        await driver.until(lambda: driver.shows("nothing waits for a person"))
        assert driver.shows("none since the start")
        await driver.press("O")
        await driver.until(lambda: driver.shows("nothing waits on this line"))
        driver.node.refusals["approvals"] = RemoteError("unknown_verb", "the node knows no verb approvals")
        await driver.app.pages["approvals"].fetch()
        await driver.until(lambda: driver.shows("the node knows no verb approvals"))


def test_what_is_given_up_or_expires_is_not_told_as_somebodys_decision() -> None:
    node = FakeNode()
    for number, outcome, reason in (
        (1, "expired", "nobody has answered within 300 s"),
        (2, "given up", "it was given up: Contained"),
    ):
        node.ask(number, 7, "x", 1, 1)
        node.decided(number, outcome, "", reason)
    lines = page_lines(node.asks, Folds(), 80, node.at)
    text = "\n".join(line.text for line in lines)
    assert "nobody answered: refused by itself" in text
    assert "given up: Contained" in text
    assert not any("None" in line.text for line in decided_detail(node.asks.decided[0], 80, node.at))
