"""The page of trace sessions: begun by a dialog, shown as they happen, filtered, drawn, saved, stopped."""

from __future__ import annotations

import json
from pathlib import Path

from observe.console.pages.traces import TracesPage
from observe.console.trace_asked import Wanted
from observe.console.trace_feed import KEPT, MOST_SESSIONS, Feed
from observe.probe.errors import RemoteError
from tests.console.driving import LARGE, Driver, console
from tests.console.fake_node import FakeNode
from tests.console.fake_pages import event, talk


def page_of(driver: Driver) -> TracesPage:
    page = driver.app.pages["traces"]
    assert isinstance(page, TracesPage)
    return page


async def listening(driver: Driver, selector: str = "class:Session") -> TracesPage:
    """A session begun by keys, and what it has heard on the screen."""
    await driver.press("8", "Y")
    await driver.until(lambda: driver.shows("Listen to agents"))
    await driver.press(*selector, "enter")
    await driver.until(lambda: driver.shows("● listening"))
    driver.node.traces[-1].push(*talk())
    await driver.until(lambda: driver.shows("ValueError: no lamp"))
    return page_of(driver)


async def test_a_session_begins_with_the_agent_on_the_line_and_its_bounds() -> None:
    """Two keys from an agent to what it says."""
    async with console() as driver:
        await driver.press("down", "down", "down", "Y")
        await driver.until(lambda: driver.shows("Listen to agents"))
        await driver.press("enter")
        await driver.until(lambda: driver.shows("● listening"))
        (asked,) = [asked for verb, asked in driver.node.requests if verb == "trace"]
        assert asked[0] == "session-1"
        assert (asked[1]["count"], asked[1]["for_s"], asked[1]["rate"]) == (1000, 60.0, 1000.0)
        assert driver.app.page.page_name == "traces"


async def test_marked_agents_get_a_session_each() -> None:
    async with console() as driver:
        await driver.press("down", "space", "down", "space", "Y")
        await driver.until(lambda: driver.shows("Listen to agents"))
        await driver.press("enter")
        await driver.until(lambda: driver.shows("2 sessions, 2 listening"))
        assert len(driver.node.traces) == 2


async def test_events_are_lines_and_enter_opens_the_agent() -> None:
    async with console() as driver:
        page = await listening(driver)
        assert "→ session-4" in driver.line("price of lamp 0")
        assert driver.shows("13 heard")
        page.view.go_to(0)
        await driver.press("enter")
        await driver.until(lambda: driver.app.page.page_name == "detail" and driver.shows("session-2 #5"))


async def test_a_filter_keeps_the_lines_with_its_words_and_escape_clears_it() -> None:
    async with console() as driver:
        await listening(driver)
        await driver.press("slash", *"lamp -crash")
        await driver.until(lambda: driver.shows("4 match lamp -crash"))
        assert not driver.shows("model:chat")
        await driver.press("enter", "escape")
        await driver.until(lambda: driver.shows("model:chat"))
        assert driver.app.page.page_name == "traces"


async def test_the_chart_has_agents_as_lanes() -> None:
    async with console(size=LARGE) as driver:
        await listening(driver)
        await driver.press("o")
        await driver.until(lambda: driver.shows("▶"))
        head = driver.line("session-2  ")
        assert "session-4" in head
        assert "session-6" in head
        await driver.press("o")
        await driver.until(lambda: not driver.shows("▶"))
        await driver.press("o")


async def test_the_waterfall_has_a_bar_for_each_piece_of_work_and_goes_to_its_agent() -> None:
    async with console(size=LARGE) as driver:
        page = await listening(driver)
        await driver.press("o", "o")
        await driver.until(
            lambda: page.drawing == "waterfall" and any(one.key.startswith("bar/") for one in page.view.lines)
        )
        bars = [line for line in page.view.lines if line.key.startswith("bar/")]
        assert any("model:chat" in line.text for line in bars)
        page.view.go_to(0)
        assert page.view.current is not None
        assert page.view.current.pid
        await driver.press("o")
        await driver.until(lambda: driver.shows("who, what, to or from whom"))


async def test_the_newest_is_followed_at_the_bottom_or_at_the_top() -> None:
    """Who reads something older is not moved."""
    async with console() as driver:
        page = await listening(driver)
        trace = driver.node.traces[0]
        trace.push(*(event(n, "send", 5, 6, f"'word {n}'") for n in range(20, 80)))
        await driver.until(lambda: driver.shows("word 79"))
        page.view.go_to(3)
        trace.push(*(event(n, "send", 5, 6, f"'word {n}'") for n in range(80, 120)))
        await driver.until(lambda: driver.shows("113 heard"))
        assert page.view.cursor == 3
        await driver.press("S")
        await driver.until(lambda: driver.shows("word 119"))
        assert page.view.cursor == 0
        trace.push(event(120, "send", 5, 6, "'word 120'"))
        await driver.until(lambda: driver.shows("word 120"))


async def test_what_was_left_out_is_told() -> None:
    async with console() as driver:
        await listening(driver)
        driver.node.traces[0].push(event(20, "send", 5, 6, "'one'"), dropped=1234)
        await driver.until(lambda: driver.shows("1,234 left out"))


async def test_x_stops_a_session_and_then_takes_it_off_the_list() -> None:
    async with console() as driver:
        await listening(driver)
        await driver.press("X")
        await driver.until(lambda: driver.shows("ended: stopped here"))
        assert driver.node.traces[0].is_closed
        assert driver.shows("ValueError: no lamp")
        await driver.press("X")
        await driver.until(lambda: driver.shows("No session yet"))


async def test_a_session_that_reaches_its_bounds_says_so_and_keeps_what_it_heard() -> None:
    async with console() as driver:
        await listening(driver)
        driver.node.traces[0].end("after 13 events")
        await driver.until(lambda: driver.shows("ended: after 13 events"))
        assert driver.shows("ValueError: no lamp")


async def test_sessions_go_on_while_other_pages_are_looked_at_and_stand_still_when_paused() -> None:
    async with console() as driver:
        await listening(driver)
        await driver.press("a")
        driver.node.traces[0].push(event(20, "send", 5, 6, "'later'"))
        await driver.until(lambda: page_of(driver).feed.sessions[0].heard == 14)
        await driver.press("8")
        await driver.until(lambda: driver.shows("later"))
        await driver.press("P")
        driver.node.traces[0].push(event(21, "send", 5, 6, "'unseen'"))
        await driver.until(lambda: page_of(driver).feed.sessions[0].heard == 15)
        assert not driver.shows("unseen")
        await driver.press("P")
        await driver.until(lambda: driver.shows("unseen"))


async def test_the_events_are_saved_as_a_file_of_the_command(tmp_path: Path) -> None:
    async with console() as driver:
        await listening(driver)
        await driver.press("s")
        await driver.until(lambda: driver.shows("Write 13 events into a file"))
        driver.app.screen.query_one("#path").value = str(tmp_path / "heard.jsonl")  # type: ignore[attr-defined]  # an Input
        await driver.press("enter")
        await driver.until(lambda: driver.shows("bytes written"))
        first, *lines = [json.loads(line) for line in (tmp_path / "heard.jsonl").read_text().splitlines()]
        assert first["selector"] == "class:Session"
        assert len(lines) == 13


async def test_what_the_node_refuses_stands_in_the_dialog() -> None:
    """And what cannot be read is not sent."""
    async with console() as driver:
        driver.node.refusals["trace"] = RemoteError("bad_selector", "it matches every agent", "narrow it")
        await driver.press("8", "Y")
        await driver.press("enter")
        await driver.until(lambda: driver.shows("say whom to listen to"))
        await driver.press(*"*", "enter")
        await driver.until(lambda: driver.shows("it matches every agent (narrow it)"))
        await driver.press("escape")
        assert driver.shows("No session yet")


async def test_who_only_looks_is_told_why_not() -> None:
    async with console(FakeNode(role="viewer")) as driver:
        await driver.press("8", "Y")
        await driver.until(lambda: driver.shows("your key has the role viewer"))


async def test_copy_takes_the_line() -> None:
    async with console() as driver:
        await listening(driver)
        await driver.press("y")
        await driver.until(lambda: driver.shows("copied"))
        assert "ValueError: no lamp" in driver.app.clipboard


def test_what_is_kept_is_bounded_and_the_rest_counted() -> None:
    """An hour of events is not a gigabyte."""
    feed = Feed()
    wanted = Wanted("x", None, "", 10, 1.0, 1.0, "")
    session = feed.begin(wanted, 1, 0.0)
    for start in range(0, KEPT + 3000, 1000):
        session.take([event(start + n, "send", 5, 6, "'x'") for n in range(1000)], 0)
    assert (session.heard, len(session.kept)) == (KEPT + 3000, KEPT)
    assert session.forgotten == 3000
    for _ in range(MOST_SESSIONS):
        session.end("over", 1.0)
        session = feed.begin(wanted, 1, 0.0)
    assert len(feed.sessions) == MOST_SESSIONS
