"""The table of agents, driven by keys and mouse."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from observe.console.columns import NAME, PID
from observe.probe.wire_table import Query
from tests.console.driving import LARGE, Driver, console
from tests.console.fake_node import FakeNode


async def test_the_first_screen_shows_the_node_and_its_agents() -> None:
    """Who is alive and what each is doing, without a key."""
    async with console() as driver:
        assert "UP 2h05m" in driver.line("shop@localhost")
        assert "402" in driver.line("agents")
        assert "session-0" in driver.line("session-0")
        assert driver.app.first_paint_at > 0


async def test_only_the_rows_in_sight_and_a_screen_around_them_are_fetched() -> None:
    """A hundred thousand agents: the node is asked for some dozens, wherever one scrolls."""
    async with console(FakeNode(number=100_000)) as driver:
        await driver.press("G")
        await driver.until(lambda: "session-99999" in driver.chosen_line())
        await driver.press("g", "pagedown", "pagedown")
        await driver.until(lambda: "session-30 " in driver.chosen_line())
        asked = [
            query for verb, query in driver.node.requests if verb == "agents" and isinstance(query, Query)
        ]
        assert max(query.limit for query in asked) <= 60


async def test_keys_do_not_wait_for_rows() -> None:
    """While the network is slow the cursor goes on, over placeholders, and the rows appear when they come."""
    async with console(FakeNode(number=5000)) as driver:
        driver.node.gate.clear()
        await driver.press("pagedown", "pagedown", "pagedown", "pagedown", "pagedown", "pagedown")
        assert driver.app.table_view.index == 96
        assert "·  ·" in driver.screen()[8]
        driver.node.gate.set()
        await driver.until(lambda: "session-94" in driver.chosen_line())


def on(driver: Driver, name: str) -> bool:
    return f" {name} " in driver.chosen_line()


async def test_the_cursor_moves_by_line_page_and_to_both_ends() -> None:
    """By arrows or as in vi."""
    async with console() as driver:
        for keys, name in (
            (["down"], "sessions"), (["j"], "session-0"), (["up"], "sessions"), (["k"], "root"),
            (["pagedown"], "session-14"), (["pageup"], "root"), (["end"], "session-399"), (["home"], "root"),
            (["G"], "session-399"), (["g"], "root"),
        ):  # fmt: skip
            await driver.press(*keys)
            await driver.until(partial(on, driver, name))


async def test_the_table_sorts_by_each_column_with_keys() -> None:
    """`>` and `<` go along the columns, `r` turns the order round."""
    async with console() as driver:
        await driver.press("greater_than_sign")
        assert driver.app.table_view.sort == "activity"
        await driver.press("less_than_sign", "less_than_sign")
        assert driver.app.table_view.sort == "restarts"
        await driver.press("r")
        assert not driver.app.table_view.descending
        await driver.until(lambda: driver.shows("▲rest"))


async def test_a_click_on_a_heading_sorts_and_a_second_one_reverses() -> None:
    """As everywhere."""
    async with console() as driver:
        x = driver.line("msg/s load").index("load")
        await driver.pilot.click("AgentsTable", offset=(x, 0))
        await driver.until(lambda: driver.app.table_view.sort == "load")
        await driver.pilot.click("AgentsTable", offset=(x, 0))
        await driver.until(lambda: not driver.app.table_view.descending)


async def test_the_sort_menu_offers_all_columns() -> None:
    """Also those for which there is no room."""
    async with console() as driver:
        await driver.press("S")
        assert driver.shows("Microseconds for which it held its scheduler")
        await driver.press("up", "up", "up", "enter")
        await driver.until(lambda: driver.app.table_view.sort == "reductions")
        await driver.until(lambda: driver.shows("▼reduct"))
        await driver.press("S", "escape")
        assert driver.app.table_view.sort == "reductions"


async def test_rows_move_and_the_choice_stays_on_its_agent() -> None:
    """Somebody else's burst of crashes must not put another agent under the cursor."""
    async with console() as driver:
        await driver.press("down", "down", "down")
        assert "session-1 " in driver.chosen_line()
        for pid in (50, 60, 70):
            driver.node.set(pid, crashes=5)
        await driver.refresh()
        assert "session-1 " in driver.chosen_line()
        assert driver.app.table_view.index == 6


async def test_a_restarted_agent_keeps_the_cursor_and_stands_out() -> None:
    """Its pid is another; it is the same child."""
    async with console() as driver:
        await driver.press("down", "down", "down")
        new = driver.node.restarted(4)
        await driver.refresh()
        assert "session-1 " in driver.chosen_line()
        assert driver.app.table_view.chosen is not None
        assert driver.app.table_view.chosen.pid == new
        assert driver.shows(f"session-1 came back: #4 is #{new} now")


async def test_an_agent_out_of_sight_stays_chosen_and_can_be_gone_to() -> None:
    """The view does not jump by itself; `.` jumps."""
    async with console() as driver:
        await driver.press("down", "down", "down")
        for pid in range(100, 200):
            driver.node.set(pid, crashes=5)
        await driver.refresh()
        assert driver.chosen_line() == ""
        assert driver.shows("session-1 #4 is out of sight")
        await driver.press("full_stop")
        await driver.until(lambda: "session-1 " in driver.chosen_line())
        assert driver.app.table_view.index == 103


async def test_following_scrolls_along() -> None:
    """For whoever wants the view to jump."""
    async with console() as driver:
        await driver.press("down", "down", "down", "F")
        for pid in range(100, 200):
            driver.node.set(pid, crashes=5)
        await driver.refresh()
        await driver.until(lambda: "session-1 " in driver.chosen_line())
        assert driver.shows("following")


async def test_the_filter_works_as_one_types_and_escape_clears_it() -> None:
    """And the cursor is back on its agent afterwards, with that agent in sight."""
    async with console() as driver:
        await driver.press("G")
        await driver.until(lambda: "session-399" in driver.chosen_line())
        await driver.press("slash", *"session-12")
        await driver.until(lambda: driver.shows("11 of 402 agents"))
        assert "session-12 " in driver.chosen_line()
        await driver.press("escape")
        await driver.until(lambda: driver.shows("402 agents"))
        await driver.until(lambda: "session-399" in driver.chosen_line())


async def test_while_typing_a_filter_the_arrows_move_and_enter_keeps_it() -> None:
    """One need not leave the line to look around."""
    async with console() as driver:
        await driver.press("slash", *"session-12")
        await driver.until(lambda: driver.shows("11 of 402 agents"))
        await driver.press("down", "enter")
        assert "session-120 " in driver.chosen_line()
        await driver.press("enter")
        await driver.until(lambda: driver.shows("State"))
        await driver.press("escape")
        await driver.until(lambda: driver.shows("11 of 402 agents"))


async def test_terms_of_a_filter_compare_columns() -> None:
    """As docs/protocol.md says; the console only passes them on."""
    async with console() as driver:
        await driver.press("slash", *"mailbox>80", "space", *"status=idle")
        await driver.until(lambda: driver.shows("of 402 agents match mailbox>80 status=idle"))
        assert driver.app.table_view.matched < 50


async def test_a_filter_that_the_node_refuses_is_explained_in_words() -> None:
    """A misspelt column is no reason for a traceback."""
    async with console() as driver:
        await driver.press("slash", *"mailbux>8")
        await driver.until(lambda: driver.shows("the agents table has no column 'mailbux'"))
        await driver.press("left", "left", "left", "backspace", "o")
        await driver.until(lambda: driver.shows("match mailbox>8"))
        assert driver.app.status_bar.said == "", "what can be read is not complained of"


async def test_a_long_message_does_not_hide_that_the_view_stands_still() -> None:
    """Whoever pauses just after something was said sees it at once."""
    async with console() as driver:
        driver.app.say("12,345 bytes written to a file " + "with a long name " * 9)
        await driver.press("P")
        assert driver.shows("PAUSED")


async def test_a_paused_view_does_not_change() -> None:
    """To read what would scroll away; the node goes on."""
    async with console() as driver:
        await driver.press("P")
        driver.node.set(4, mailbox=777)
        asked = len(driver.node.requests)
        driver.app.attachment.rows.wake()
        await driver.pilot.pause(0.05)
        assert not any(verb == "agents" and query.limit > 1 for verb, query in driver.node.requests[asked:])
        assert driver.shows("PAUSED")
        assert not driver.shows("777")
        await driver.press("P")
        await driver.until(lambda: driver.shows("777"))


async def test_an_agent_that_ends_for_good_is_said_to_be_gone() -> None:
    """And what one does next is not done to its neighbour."""
    async with console(FakeNode(number=10)) as driver:
        await driver.press("down", "down", "down")
        driver.node.remove(4)
        await driver.refresh()
        assert driver.shows("session-1 #4 is gone")
        assert driver.chosen_line() == ""


async def test_who_ends_in_sight_is_told_of_for_a_while() -> None:
    """A row that is simply not there any more is a row that nobody has seen; a restarted agent has not ended."""
    async with console(size=LARGE) as driver:
        node, table = driver.node, driver.app.table_view
        gone, name, old = table.rows[3][PID], table.rows[3][NAME], table.rows[5][PID]
        node.remove(gone)
        node.happened("exit", gone, "it ended")
        new = node.restarted(old)
        node.happened("exit", old, "it ended")
        await driver.until(lambda: driver.shows("✕ exited"))
        assert "✕" in driver.line(f" {name} ")[:2]
        await driver.until(lambda: any(row[PID] == new for row in table.rows))
        assert sum("✕ exited" in line for line in driver.screen()) == 1
        table._ended = {pid: (row, at - 60.0) for pid, (row, at) in table._ended.items()}
        await driver.refresh()
        await driver.until(lambda: not driver.shows("✕ exited"))


async def test_ages_can_be_told_as_the_time_at_which_they_began() -> None:
    """To be laid beside a log; what began on another day has its date."""
    async with console(size=LARGE) as driver:
        driver.node.set(5, status_s=61.0, age_s=3 * 86_400.0)
        await driver.refresh()
        await driver.until(lambda: "1m01s" in driver.line("session-2 "))
        await driver.press("~")
        await driver.until(lambda: "since" in driver.line("▼crash"))
        began = [datetime.fromtimestamp(driver.node.at - ago_s) for ago_s in (61.0, 3 * 86_400.0)]
        line = driver.line("session-2 ")
        assert f"{began[0]:%H:%M} " in line
        assert f"{began[1]:%b %d}" in line
        await driver.press("~")
        await driver.until(lambda: "1m01s" in driver.line("session-2 "))


async def test_a_click_chooses_and_a_double_click_opens() -> None:
    """With the mouse alone."""
    async with console() as driver:
        await driver.pilot.click("AgentsTable", offset=(10, 5))
        assert "session-2 " in driver.chosen_line()
        await driver.pilot.click("AgentsTable", offset=(10, 6), times=2)
        await driver.until(lambda: driver.shows("Supervision") or driver.shows("State"))
        assert driver.shows("session-3 #6")


async def test_the_wheel_scrolls_and_leaves_the_choice() -> None:
    """One looks around without letting go."""
    async with console() as driver:
        table = driver.app.agents_page.table
        table.scroll_to(0, 60, animate=False)
        await driver.until(lambda: driver.shows("session-60"))
        assert driver.app.table_view.chosen is not None
        assert driver.app.table_view.chosen.pid == 1
        assert driver.shows("root #1 is out of sight")


async def test_a_wide_screen_has_more_columns() -> None:
    """And a narrow one drops what matters least."""
    async with console(size=LARGE) as driver:
        header = driver.line("pid name")
        assert all(word in header for word in ("class", "handled", "reduct", "superv", "child"))
    async with console() as driver:
        assert "handled" not in driver.line("status")


async def test_copying_puts_name_and_pid_on_the_clipboard() -> None:
    """For the chat in which the incident is discussed."""
    async with console() as driver:
        await driver.press("down", "down", "y")
        assert driver.app.clipboard == "session-0 #3"


async def test_a_key_in_the_footer_can_be_clicked() -> None:
    """It says what can be done, and does it."""
    async with console() as driver:
        x = driver.line("Enter open").index("t tree")
        await driver.pilot.click("KeyHints", offset=(x, 0))
        await driver.until(lambda: driver.shows("one_for_one"))
