"""The pages beside the table: one agent, the tree, the crashes, help, palette; and the way between them."""

from __future__ import annotations

from observe.console.pages.crashes import CrashesPage
from observe.console.pages.detail import DetailPage
from observe.console.pages.tree import TreePage
from tests.console.driving import LARGE, Driver, console
from tests.console.fake_node import FakeNode


async def open_agent(driver: Driver, downs: int = 6) -> DetailPage:
    await driver.press(*["down"] * downs, "enter")
    await driver.until(lambda: driver.shows("State"))
    page = driver.app.pages["detail"]
    assert isinstance(page, DetailPage)
    return page


async def test_an_agent_opens_with_all_that_is_known_of_it() -> None:
    """State, mailbox, stack, activity, supervisor: one key away from the table."""
    async with console(size=LARGE) as driver:
        await open_agent(driver, 7)
        assert "session-5 #8" in driver.line("#8")
        assert "waiting" in driver.line("#8")
        assert driver.shows("model:chat  for 17s")
        assert driver.shows("answer = await self.think(text)")
        assert driver.shows("waits for  Future pending")
        assert driver.shows("'customer-8'")
        assert driver.shows("•••••• masked")
        assert driver.shows("{'type': 'tick', 'n': 0}")
        assert driver.shows("sessions #2 (Supervisor)")


async def test_a_value_unfolds_and_stays_so_while_it_is_refreshed() -> None:
    """With the cursor where it was."""
    async with console() as driver:
        page = await open_agent(driver)
        while page.left.current is None or "history" not in page.left.current.text:
            await driver.press("down")
        await driver.press("enter")
        assert driver.shows("1  'where is my lamp?'")
        key = page.left.current.key
        driver.node.set(7, mailbox=5, status="waiting")
        page.poller.wake()
        await driver.until(lambda: driver.shows("mailbox 5"))
        assert driver.shows("1  'where is my lamp?'")
        assert page.left.current.key == key
        await driver.press("left")
        assert not driver.shows("1  'where is my lamp?'")


async def test_going_to_the_supervisor_and_back_and_forward() -> None:
    """As in a browser."""
    async with console() as driver:
        await open_agent(driver)
        await driver.press("u")
        await driver.until(lambda: driver.shows("sessions #2  Supervisor"))
        await driver.press("left_square_bracket")
        await driver.until(lambda: driver.shows("session-4 #7  Session"))
        await driver.press("right_square_bracket")
        await driver.until(lambda: driver.shows("sessions #2  Supervisor"))
        await driver.press("escape", "escape")
        await driver.until(lambda: "session-4 " in driver.chosen_line())


async def test_enter_on_a_child_opens_it() -> None:
    """The relations are links."""
    async with console(size=LARGE) as driver:
        page = await open_agent(driver, 1)
        while page.left.current is None or page.left.current.pid != 3:
            await driver.press("down")
        await driver.press("enter")
        await driver.until(lambda: driver.shows("session-0 #3"))


async def test_the_page_follows_an_agent_to_its_successor() -> None:
    """One looks at session-4, whatever its pid."""
    async with console() as driver:
        await open_agent(driver)
        new = driver.node.restarted(7)
        driver.node.crashed(7, "ValueError: no JSON", restarted=new)
        driver.app.page.poller.wake()
        await driver.until(lambda: driver.shows(f"session-4 #{new}"))
        await driver.until(lambda: driver.shows("ValueError: no JSON"))
        assert driver.shows(f"session-4 came back: #7 is #{new} now")


async def test_an_agent_that_is_gone_leaves_its_last_picture() -> None:
    """What it was doing is the question now."""
    async with console() as driver:
        await open_agent(driver)
        driver.node.remove(7)
        driver.app.page.poller.wake()
        await driver.until(lambda: driver.shows("has ended and did not come back"))
        assert driver.shows("'customer-7'")
        await driver.press("K")
        assert driver.shows("has ended already")


async def test_a_kill_from_the_page_of_an_agent_is_about_that_agent() -> None:
    """And the page goes on with the successor."""
    async with console() as driver:
        await open_agent(driver)
        await driver.press("K")
        await driver.until(lambda: driver.shows("permanent"))
        await driver.press("y")
        await driver.until(lambda: driver.shows("restarted as pid"))
        assert driver.node.killed[0][0] == 7
        await driver.press("escape")
        driver.app.page.poller.wake()
        await driver.until(lambda: driver.shows("session-4 #403"))


async def test_a_wide_screen_shows_the_state_beside_the_stack() -> None:
    """And Tab goes from one half to the other."""
    async with console(size=LARGE) as driver:
        page = await open_agent(driver)
        line = driver.line("State")
        assert "Now" in line
        await driver.press("tab")
        assert page.right.has_focus
        await driver.press("tab")
        assert page.left.has_focus


async def test_the_tree_shows_supervisors_with_counts_and_folds() -> None:
    """Four hundred children are a line, or a screen."""
    async with console() as driver:
        await driver.press("t")
        await driver.until(lambda: driver.shows("sessions #2"))
        assert "400: " in driver.line("sessions #2")
        assert driver.shows("session-0")
        await driver.press("down", "left")
        assert not driver.shows("session-0")
        await driver.press("plus")
        assert driver.shows("session-0")
        await driver.press("t")
        await driver.until(lambda: driver.shows("by crashes"))


async def test_from_the_tree_an_agent_opens_and_children_become_a_table() -> None:
    """Each page leads to the others."""
    async with console() as driver:
        await driver.press("t")
        await driver.until(lambda: driver.shows("sessions #2"))
        await driver.press("down", "down", "enter")
        await driver.until(lambda: driver.shows("State"))
        assert driver.shows("session-0 #3")
        await driver.press("escape")
        await driver.until(lambda: driver.shows("supervision tree"))
        await driver.press("up", "s")
        await driver.until(lambda: driver.shows("400 of 402 agents match supervisor=2"))


async def test_the_rest_of_many_children_is_in_the_table() -> None:
    """The tree shows a hundred and says how many there are."""
    async with console() as driver:
        await driver.press("t")
        await driver.until(lambda: driver.shows("sessions #2"))
        await driver.press("G")
        assert driver.shows("300 more")
        await driver.press("enter")
        await driver.until(lambda: driver.shows("match supervisor=2"))


async def test_a_kill_in_the_tree_is_about_the_agent_on_the_line() -> None:
    """Also while the tree re-sorts itself."""
    async with console() as driver:
        await driver.press("t")
        await driver.until(lambda: driver.shows("sessions #2"))
        await driver.press("down", "down", "K")
        await driver.until(lambda: driver.shows("session-0 pid 3"))
        await driver.press("n")
        assert driver.node.killed == []
        assert isinstance(driver.app.page, TreePage)


def struck() -> FakeNode:
    node = FakeNode()
    for pid in (10, 11, 12):
        node.crashed(pid, "ValueError: no JSON", restarted=node.restarted(pid))
    node.crashed(13, "OSError: disk full", restarted=node.restarted(13))
    return node


async def test_crashes_are_grouped_and_their_traceback_is_below() -> None:
    """What, how often, how many agents, and where."""
    async with console(struck()) as driver:
        await driver.press("c")
        await driver.until(lambda: driver.shows("ValueError: no JSON"))
        assert "3x" in driver.line("ValueError: no JSON")
        assert "3 agents" in driver.line("ValueError: no JSON")
        assert driver.shows("answer = json.loads(text)")
        assert driver.shows("4 crashes since the start")
        await driver.press("down")
        assert driver.shows("restarted as #406")


async def test_from_a_crash_to_the_agent_that_came_back() -> None:
    """`o` opens the successor."""
    async with console(struck()) as driver:
        await driver.press("c")
        await driver.until(lambda: driver.shows("ValueError: no JSON"))
        await driver.press("o")
        await driver.until(lambda: driver.shows("session-9 #405"))
        assert driver.shows("crashed 5.0s ago: ValueError: no JSON")


async def test_enter_goes_to_the_traceback_and_escape_back_to_the_list() -> None:
    """Long tracebacks are scrolled there."""
    async with console(struck()) as driver:
        await driver.press("c")
        await driver.until(lambda: driver.shows("ValueError: no JSON"))
        page = driver.app.page
        assert isinstance(page, CrashesPage)
        await driver.press("enter")
        assert page.traceback.has_focus
        await driver.press("escape")
        assert page.overview.has_focus
        await driver.press("y")
        assert driver.app.clipboard.startswith("Traceback")
        await driver.press("escape")
        await driver.until(lambda: driver.shows("by crashes"))


async def test_no_crash_is_said_in_words() -> None:
    """An empty list might as well be a fault of ours."""
    async with console() as driver:
        await driver.press("c")
        await driver.until(lambda: driver.shows("no crash since the probe began to watch"))


async def test_help_opens_and_closes() -> None:
    """With the keys one tries."""
    async with console() as driver:
        for key in ("question_mark", "f1"):
            await driver.press(key)
            await driver.until(lambda: driver.shows("The table of agents"))
            await driver.press("escape")
            assert not driver.shows("The table of agents")


async def test_help_is_about_the_page_below() -> None:
    """What can be done here, first."""
    async with console() as driver:
        await driver.press("t", "question_mark")
        await driver.until(lambda: driver.shows("The tree"))


async def test_the_palette_finds_actions_by_name() -> None:
    """For those who know what they want and not its key."""
    async with console() as driver:
        await driver.press("colon")
        await driver.until(lambda: driver.shows("Open agent"))
        await driver.press(*"kill")
        await driver.until(lambda: driver.shows("Kill…  (K)"))
        await driver.press(*["backspace"] * 4, *"supervision")
        await driver.until(lambda: driver.shows("Supervision tree  (t)"))
        await driver.press("enter")
        await driver.until(lambda: driver.shows("one_for_one"))


async def test_the_palette_says_why_something_may_not_be_done_now() -> None:
    """Who types "kill" learns what it takes, and that trying it does no harm."""
    async with console(readonly=True) as driver:
        await driver.press("ctrl+p")
        await driver.until(lambda: driver.shows("Open agent"))
        assert not driver.shows("Kill…"), "what can be done stands first"
        await driver.press(*"kill")
        await driver.until(lambda: driver.shows("Kill…  (K)"))
        assert driver.shows("Not now: attached read-only")
        await driver.press("enter")
        await driver.until(lambda: driver.shows("attached read-only: leave out --read-only to act"))
        assert not driver.shows("Kill this agent?")


async def test_the_theme_changes_with_a_key() -> None:
    """A light terminal in the sun, a dark one at night."""
    async with console() as driver:
        assert driver.app.theme == "observe-dark"
        await driver.press("L")
        assert driver.app.theme == "observe-light"
        await driver.press("L")
        assert driver.app.theme == "observe-dark"


async def test_q_goes_back_and_from_the_first_page_out() -> None:
    """As in k9s and less: whoever looked into an agent is back in the table, and no node notices who leaves."""
    async with console() as driver:
        await driver.press("slash", *"session-1", "enter", "enter")
        await driver.until(lambda: driver.app.page.page_name == "detail" and driver.shows("q back"))
        await driver.press("q")
        await driver.until(lambda: driver.app.page.page_name == "agents" and driver.shows("q quit"))
        assert driver.app.table_view.filter
        await driver.press("q")
        assert not driver.app.table_view.filter
        await driver.press("q")
        assert driver.app.return_code == 0
