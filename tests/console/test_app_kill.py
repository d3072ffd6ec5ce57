"""Killing an agent: nobody by accident, nobody else instead, and what became of it is said."""

from __future__ import annotations

import pytest

from observe.probe.errors import RemoteError
from tests.console.driving import Driver, console
from tests.console.fake_node import FakeNode


async def ask(driver: Driver) -> None:
    """Open the question about session-1, pid 4."""
    await driver.press("down", "down", "down", "K")
    await driver.until(lambda: driver.shows("restart     permanent") or driver.shows("restart     temporary"))


async def test_the_question_says_who_and_what_will_be_lost() -> None:
    """One line each: identity, what its supervisor will do, its messages."""
    async with console() as driver:
        await ask(driver)
        assert "session-1 pid 4" in driver.line("agent ")
        assert "sessions #2" in driver.line("supervisor")
        assert "its supervisor will restart it" in driver.line("permanent")
        assert "22 messages will be lost" in driver.line("will be lost")


async def test_a_supervisor_s_children_are_counted() -> None:
    """Four hundred sessions end with it."""
    async with console() as driver:
        await driver.press("down", "K")
        await driver.until(lambda: driver.shows("400 agents will end with it"))


async def test_yes_kills_and_the_successor_is_named() -> None:
    """Accepted, done, restarted as: seen, not assumed."""
    async with console() as driver:
        await ask(driver)
        await driver.press("y")
        await driver.until(lambda: driver.shows("restarted as pid 403"))
        assert driver.shows("asked the node to kill #4")
        assert driver.shows("session-1 #4 killed")
        assert driver.node.killed == [(4, "")]
        await driver.press("enter")
        await driver.until(lambda: "session-1 " in driver.chosen_line())
        assert driver.app.table_view.chosen is not None
        assert driver.app.table_view.chosen.pid == 403


async def test_tab_and_enter_kill_as_well() -> None:
    """For those who move through dialogs with Tab."""
    async with console() as driver:
        await ask(driver)
        await driver.press("tab", "enter")
        await driver.until(lambda: bool(driver.node.killed))


@pytest.mark.parametrize(
    "keys", [["enter"], ["enter", "enter"], ["escape"], ["n"], ["space"], ["K", "enter"]]
)
async def test_nothing_else_kills(keys: list[str]) -> None:
    """Enter by reflex, a second K, a stray space: the default answer is no."""
    async with console() as driver:
        await ask(driver)
        await driver.press(*keys)
        assert driver.node.killed == []


async def test_rows_that_move_meanwhile_change_nothing() -> None:
    """The dialog is about one pid, whoever is under the cursor by now."""
    async with console() as driver:
        await ask(driver)
        for pid in range(50, 80):
            driver.node.set(pid, crashes=5)
        await driver.refresh()
        await driver.press("y")
        await driver.until(lambda: bool(driver.node.killed))
        assert driver.node.killed[0][0] == 4


async def test_an_agent_that_ended_meanwhile_is_not_killed_again() -> None:
    """Its successor has done nothing wrong."""
    async with console() as driver:
        await ask(driver)
        driver.node.restarted(4)
        await driver.press("y")
        await driver.until(lambda: driver.shows("not killed: no live agent is 4"))
        assert driver.node.killed == []


async def test_a_temporary_agent_is_said_not_to_come_back() -> None:
    """Before and after."""
    async with console(FakeNode(restart="temporary")) as driver:
        await ask(driver)
        assert driver.shows("it will NOT be restarted")
        await driver.press("y")
        await driver.until(lambda: driver.shows("not restarted: its child spec says temporary"))


async def test_a_reason_goes_along_and_enter_behind_it_confirms_nothing() -> None:
    """The letter y in a reason is a letter."""
    async with console() as driver:
        await ask(driver)
        await driver.press("tab", "tab", *"why", "enter")
        assert driver.node.killed == []
        await driver.press("y")
        await driver.until(lambda: driver.node.killed == [(4, "why")])


async def test_a_refusal_is_a_sentence() -> None:
    """With what to do next."""
    async with console() as driver:
        await ask(driver)
        driver.node.refusals["kill"] = RemoteError(
            "scheduler_held", "agent 9 holds the scheduler", "see its stack"
        )
        await driver.press("y")
        await driver.until(lambda: driver.shows("not killed: agent 9 holds the scheduler"))
        assert driver.shows("see its stack")
        await driver.press("escape")
        assert driver.shows("402 agents")


async def test_read_only_offers_no_kill() -> None:
    """Chosen with --readonly: the key says so instead of asking."""
    async with console(readonly=True) as driver:
        await driver.press("K")
        assert driver.shows("attached read-only")
        assert not driver.shows("Kill this agent?")


async def test_a_viewer_is_told_what_it_takes() -> None:
    """Rather than being refused after the question."""
    async with console(FakeNode(role="viewer")) as driver:
        await driver.press("K")
        assert driver.shows("your key has the role viewer; killing takes operator")
