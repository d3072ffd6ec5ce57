"""The page of asyncio tasks: what runs on the event loop beside the agents."""

from __future__ import annotations

from observe.console.pages.tasks import TasksScreen
from observe.probe.errors import RemoteError
from tests.console.driving import Driver, console
from tests.console.fake_node import FakeNode


async def opened(driver: Driver) -> TasksScreen:
    await driver.press("T")
    await driver.until(lambda: driver.shows("packer-0"))
    page = driver.app.pages["tasks"]
    assert isinstance(page, TasksScreen)
    return page


async def test_tasks_are_listed_with_the_chosen_ones_stack_below() -> None:
    """What waits for what, and where it stands, without a key more."""
    async with console() as driver:
        await opened(driver)
        assert "Queue.get" in driver.line("packer-0")
        assert "frozen" in driver.line("cruncher")
        assert "in a ring" in driver.line("the task Task-7")
        assert driver.shows("2 wait in a ring")
        await driver.press("down")
        await driver.until(lambda: driver.shows("packer-0  task 2"))
        assert driver.shows("order = await orders.get()")


async def test_the_cursor_stays_on_its_task_while_others_come_and_go() -> None:
    async with console() as driver:
        page = await opened(driver)
        await driver.press("down", "down")
        assert page.chosen is not None
        chosen = page.chosen.id
        del driver.node.task_list[0]
        page.poller.wake()
        await driver.until(lambda: not driver.shows("Event.wait"))
        assert page.chosen is not None
        assert page.chosen.id == chosen


async def test_a_filter_is_asked_of_the_node_and_escape_clears_it() -> None:
    async with console() as driver:
        await opened(driver)
        await driver.press("slash", *"frozen")
        await driver.until(lambda: driver.shows("1 of 7 tasks match frozen"))
        assert not driver.shows("packer-0")
        await driver.press("enter", "escape")
        await driver.until(lambda: driver.shows("packer-0"))
        assert driver.app.page.page_name == "tasks"


async def test_the_order_is_the_nodes_and_changes_by_one_key() -> None:
    async with console() as driver:
        await opened(driver)
        await driver.press("S")
        await driver.until(lambda: driver.shows("by age_s"))
        assert ("tasks", ("", "age_s")) in driver.node.requests


async def test_a_task_is_cancelled_after_a_question_and_the_outcome_is_told() -> None:
    """Nothing is done by one key."""
    async with console() as driver:
        await opened(driver)
        await driver.press("down", "X")
        await driver.until(lambda: driver.shows("Cancel this task?"))
        assert driver.shows("packer-0, number 2")
        assert not any(verb == "cancel_task" for verb, _ in driver.node.requests)
        await driver.press("y", "y")
        await driver.until(lambda: driver.shows("the task packer-0 was cancelled"))
        assert [asked for verb, asked in driver.node.requests if verb == "cancel_task"] == [(2, "")]
        await driver.press("escape")
        await driver.until(lambda: not driver.shows("packer-0 "))


async def test_the_default_answer_is_no() -> None:
    async with console() as driver:
        await opened(driver)
        await driver.press("down", "X", "enter")
        await driver.until(lambda: not driver.shows("Cancel this task?"))
        assert not any(verb == "cancel_task" for verb, _ in driver.node.requests)


async def test_what_may_not_be_cancelled_says_why() -> None:
    async with console() as driver:
        await opened(driver)
        await driver.press("X")
        await driver.until(lambda: driver.shows("cannot be cancelled: the node was started in it"))


async def test_a_viewer_looks_and_is_told_why_not_more() -> None:
    async with console(FakeNode(role="viewer")) as driver:
        await opened(driver)
        await driver.press("down", "X")
        await driver.until(lambda: driver.shows("your key has the role viewer"))


async def test_a_task_that_ends_while_it_is_looked_at_is_no_error() -> None:
    """Most do, sooner or later."""
    async with console() as driver:
        page = await opened(driver)
        await driver.press("down")
        await driver.until(lambda: driver.shows("packer-0  task 2"))
        del driver.node.task_list[1]
        await page.fetch()
        await driver.until(lambda: not driver.shows("packer-0"))


async def test_a_node_that_does_not_answer_is_told_at_the_bottom_and_the_page_stays() -> None:
    """The list has come and the stack has not; then the node is lost altogether."""
    async with console() as driver:
        page = await opened(driver)
        driver.node.refusals["task"] = RemoteError("node_timeout", "the node did not answer in time")
        await driver.press("down")
        await driver.until(lambda: driver.shows("the node did not answer in time"))
        driver.node.state = "lost"
        await page.fetch()
        assert driver.shows("packer-0")


async def test_the_palette_offers_the_page() -> None:
    async with console() as driver:
        await driver.press("ctrl+p", *"asyncio tasks")
        await driver.until(lambda: driver.shows("Tasks  (T)"))
