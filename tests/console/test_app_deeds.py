"""Acting on agents from every screen: by key, menu and palette, with a question, an outcome, and a way back."""

from __future__ import annotations

from observe.probe.errors import RemoteError
from observe.probe.wire_actions import Change
from tests.console.driving import Driver, console
from tests.console.fake_node import FakeNode


async def on_session_1(driver: Driver) -> None:
    """The cursor on session-1, pid 4."""
    await driver.press("down", "down", "down")


async def test_a_suspension_is_asked_about_done_and_undone() -> None:
    """Looked at in peace, then let go with one key."""
    async with console() as driver:
        await on_session_1(driver)
        await driver.press("z")
        await driver.until(lambda: driver.shows("Suspend this agent?") and driver.shows("22 messages wait"))
        assert driver.node.acted == []
        await driver.press("y")
        await driver.until(lambda: driver.shows("session-1 #4: suspend done"))
        await driver.press("u")
        await driver.until(lambda: driver.shows("session-1 #4: resume done"))
        assert [verb for verb, _ in driver.node.acted] == ["suspend", "resume"]


async def test_resuming_does_no_harm_and_does_not_ask() -> None:
    """Its outcome stands in the status bar."""
    async with console() as driver:
        await on_session_1(driver)
        await driver.press("Z")
        await driver.until(lambda: driver.shows("session-1 #4: resume done"))


async def test_a_field_is_edited_from_its_line_with_the_difference_first() -> None:
    """Prefilled, rehearsed, confirmed, undone."""
    node = FakeNode(role="admin")
    node.diff = [Change(path="/step", old="3", new="4")]
    async with console(node) as driver:
        await on_session_1(driver)
        await driver.press("enter")
        await driver.until(lambda: driver.shows("step  3"))
        view = driver.app.page.left  # type: ignore[attr-defined]  # the agent's page
        view.go_to(next(n for n, line in enumerate(view.lines) if "step" in line.text))
        await driver.press("e")
        await driver.until(lambda: driver.shows("Edit a field of its state?"))
        field = driver.app.screen.query_one("#want-value")
        field.value = "4"  # type: ignore[attr-defined]  # an Input
        field.focus()
        await driver.press("enter")
        await driver.until(
            lambda: driver.shows("edit would change session-1") and driver.shows("/step: 3 → 4")
        )
        assert node.acted == []
        await driver.press("y")
        await driver.until(lambda: driver.shows("u undoes it"))
        assert node.acted[0][1]["value"] == 4
        assert node.acted[0][1]["field"] == "step"
        await driver.press("u")
        await driver.until(lambda: len(node.acted) == 2)
        assert node.acted[1][1]["value"] == 3


async def test_whoever_was_fenced_in_by_mistake_is_let_out_with_one_key() -> None:
    async with console() as driver:
        await on_session_1(driver)
        await driver.press("I", *"isolated", "tab", "tab", "tab", "tab", "tab", "y")
        await driver.until(lambda: driver.shows("Contain this agent?"))
        await driver.press("y")
        await driver.until(lambda: driver.shows("session-1 #4 is isolated") and driver.shows("u undoes it"))
        await driver.press("u")
        await driver.until(lambda: driver.shows("session-1 #4 is none"))
        assert [arguments["level"] for _, arguments in driver.node.acted] == ["isolated", "none"]


async def test_what_cannot_be_read_is_not_sent() -> None:
    """The dialog says what is wrong and stays."""
    async with console() as driver:
        await on_session_1(driver)
        await driver.press("i")
        await driver.until(lambda: driver.shows("Send it a message?"))
        await driver.press(*"hello", "enter", "y")
        await driver.until(lambda: driver.shows("no JSON value"))
        assert driver.node.acted == []


async def test_the_menu_lists_everything_with_the_reason_for_what_may_not_be_done() -> None:
    """A viewer learns whom to ask; an operator finds the key."""
    async with console(FakeNode(role="operator")) as driver:
        await on_session_1(driver)
        await driver.press("A")
        await driver.until(lambda: driver.shows("Act on 1 agent"))
        assert "your key has the role operator" in driver.line("Edit a field")
        await driver.press("C")
        await driver.until(lambda: driver.shows("session-1 #4: checkpoint done"))


async def test_in_view_mode_the_menu_says_what_it_takes() -> None:
    """And its keys do nothing."""
    async with console(control=False) as driver:
        await on_session_1(driver)
        await driver.press("A")
        await driver.until(lambda: driver.shows("view mode"))
        await driver.press("Z", "escape")
        assert driver.node.acted == []


async def test_all_marked_agents_are_acted_on_after_the_node_s_name() -> None:
    """And one that says no is counted and named."""
    async with console() as driver:
        await on_session_1(driver)
        await driver.press("space", "space", "z")
        await driver.until(lambda: driver.shows("Suspend 2 agents?"))
        await driver.press(*"shop", "enter")
        await driver.until(lambda: driver.shows("2 of 2 suspended"))
        assert [arguments["agent"] for _, arguments in driver.node.acted] == [4, 5]


async def test_a_field_of_several_agents_is_not_edited_at_once() -> None:
    """Their states differ."""
    async with console(FakeNode(role="admin")) as driver:
        await on_session_1(driver)
        await driver.press("space", "space", "e")
        assert driver.shows("one agent at a time")


async def test_the_tree_and_the_overview_act_on_the_line_under_the_cursor() -> None:
    """By pid, looked up first: a line may be a second old."""
    async with console() as driver:
        await driver.press("t")
        await driver.until(lambda: driver.shows("sessions #2"))
        await driver.press("down", "down", "R")
        await driver.until(lambda: driver.shows("Restart this agent?"))
        await driver.press("tab", "tab", "enter")
        await driver.press("escape", "v")
        await driver.until(lambda: driver.shows("Busiest"))
        await driver.press("home", "K")
        await driver.until(lambda: driver.shows("there is no agent on this line"))


async def test_actions_on_the_node_ask_as_well() -> None:
    """The level of a logger; no agent is needed."""
    async with console(screen="crashes") as driver:
        await driver.press("D")
        await driver.until(lambda: driver.shows("Set the level of a logger?"))
        await driver.press(*"debug", "enter", *"shop.orders", "enter", "y")
        await driver.until(lambda: driver.shows("log_level done"))
        assert (
            "log_level",
            {"level": "DEBUG", "logger": "shop.orders", "reason": ""},
        ) in driver.node.requests


async def test_a_refusal_keeps_its_hint() -> None:
    """What to do next."""
    async with console() as driver:
        driver.node.refusals["stop"] = RemoteError("scheduler_held", "agent 9 holds the scheduler", "kill it")
        await on_session_1(driver)
        await driver.press("E", "y")
        await driver.until(lambda: driver.shows("not stopped: agent 9 holds the scheduler"))
        assert driver.shows("kill it")
