"""The node goes away, comes back, is stuck, is dead: the screen says so in words, and goes on by itself."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest

from observe.console.app import ObserveApp, run_console
from observe.console.pages.names import NamesScreen
from observe.probe.cards import RUNTIME_DIRECTORY_VARIABLE
from observe.probe.errors import AttachError, NodeUnreachable, NoSuchNode, RemoteError
from observe.probe.wire import Held
from observe.probe.wire_base import Frame
from tests.console.driving import app_on, console
from tests.console.fake_node import FakeNode


async def test_the_page_one_begins_with_is_there_as_soon_as_the_node_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It does not wait for the time at which it would have asked anew."""
    monkeypatch.setattr(NamesScreen, "interval_s", 3600.0)
    async with console(screen="names") as driver:
        assert driver.shows("session-0")


async def test_a_lost_connection_is_said_and_the_last_picture_stays() -> None:
    """Dimmed, so that nobody takes it for the present."""
    async with console() as driver:
        driver.node.lose("the connection to shop was lost")
        await driver.until(lambda: driver.shows("LOST"))
        assert driver.shows("reconnecting")
        assert driver.shows("the connection to shop was lost; last picture 22:13:20")
        assert driver.shows("session-1")
        assert driver.app.agents_page.table.stale


async def test_the_console_goes_on_when_the_node_is_back() -> None:
    """Nobody presses anything."""
    async with console() as driver:
        await driver.press("down", "down", "down")
        driver.node.lose()
        await driver.until(lambda: driver.shows("LOST"))
        driver.node.set(4, mailbox=777)
        driver.node.return_()
        await driver.until(lambda: driver.shows("777"))
        assert driver.shows("UP")
        assert driver.shows("attached to shop@localhost again")
        assert "session-1 " in driver.chosen_line()


async def test_another_process_of_the_node_is_told_apart() -> None:
    """It has begun anew: other pids, another past."""
    async with console() as driver:
        await driver.press("down", "down", "down")
        driver.node.lose()
        await driver.until(lambda: driver.shows("LOST"))
        driver.node.columns["pid"] += 1000
        driver.node.columns["supervisor"] += 1000
        driver.node.return_(incarnation="two")
        await driver.until(lambda: driver.shows("is back as a new process"))
        await driver.until(lambda: "session-1 " in driver.chosen_line())
        assert driver.app.table_view.chosen is not None
        assert driver.app.table_view.chosen.pid == 1004


async def test_while_it_is_lost_keys_work_and_no_error_piles_up() -> None:
    """The header says all there is to say."""
    async with console() as driver:
        driver.node.lose()
        await driver.until(lambda: driver.shows("LOST"))
        await driver.press(
            "down", "down", "t", "c", "escape", "escape", "slash", "x", "escape", "G", "full_stop"
        )
        assert driver.shows("LOST")
        assert not driver.shows("Traceback")


async def test_a_dead_node_shows_its_last_picture_and_the_age_of_it() -> None:
    """What was it doing when it died?"""
    async with console() as driver:
        driver.node.push_vitals(state="dead")
        await driver.until(lambda: driver.shows("DEAD"))
        assert driver.shows("process 4711 is gone")
        assert driver.shows("last picture 22:13:21")
        assert driver.shows("session-1")


async def test_a_held_scheduler_names_the_agent_and_its_stack_is_one_key_away() -> None:
    """Also though the node itself answers nothing."""
    async with console() as driver:
        driver.node.hold(9)
        await driver.until(lambda: driver.shows("HELD by session-6 #9 for 3.2s"))
        assert driver.shows("in handle (sessions.py:88)")
        await driver.press("h")
        await driver.until(lambda: driver.shows("while True: pass"))
        assert driver.shows("agent 9 holds the scheduler; shown is what the probe knows")
        assert driver.shows("■ holding")
        assert driver.shows("nothing else on the node runs")
        assert not driver.shows("Mailbox")


async def test_while_the_scheduler_is_held_the_question_before_a_kill_says_what_the_probe_knows() -> None:
    """One need not wait for a node that cannot answer to see what one is about to do."""
    async with console() as driver:
        driver.node.set(9, mailbox=33)
        driver.node.hold(9)
        await driver.until(lambda: driver.shows("HELD"))
        await driver.press("h", "K")
        await driver.until(lambda: driver.shows("33 messages will be lost"))
        assert driver.shows("agent 9 holds the scheduler")


async def test_other_code_that_holds_the_scheduler_shows_its_stack_too() -> None:
    """Not every loop is an agent's."""
    async with console() as driver:
        frames = [Frame(file="/srv/x.py", line=3, function="poll", source="time.sleep(60)")]
        held = Held(pid=0, name=None, class_name="", since_s=2.0, where="c", stack=frames)
        driver.node.push_vitals(state="held", held=held)
        await driver.until(lambda: driver.shows("code outside any agent"))
        await driver.press("h")
        await driver.until(lambda: driver.shows("time.sleep(60)"))
        await driver.press("escape")
        assert not driver.shows("time.sleep(60)")


async def test_h_without_a_holder_says_so() -> None:
    """A key that does nothing leaves one wondering."""
    async with console() as driver:
        await driver.press("h")
        assert driver.shows("nobody holds the scheduler")


async def test_a_request_that_is_refused_is_a_sentence_in_the_status_bar() -> None:
    """With its hint."""
    async with console() as driver:
        driver.node.refusals["tree"] = RemoteError("busy", "too many requests", "try again later")
        await driver.press("t")
        await driver.until(lambda: driver.shows("too many requests (try again later)"))


async def test_findings_lead_to_the_agents_concerned() -> None:
    """The line under the header is a link, and `!` is its key."""
    node = FakeNode()
    for pid in (10, 11, 12):
        node.crashed(pid, "ValueError: no JSON", restarted=node.restarted(pid))
    node.vital = node.vital.model_copy(update={"crashes_min": 3})
    async with console(node) as driver:
        assert driver.shows("3 crashes in the last minute, most: Session ValueError: no JSON")
        await driver.press("exclamation_mark")
        await driver.until(lambda: driver.shows("3 of 402 agents match crashes>0"))
        await driver.press("escape")
        await driver.until(lambda: driver.shows("402 agents  by crashes"))


async def test_a_click_on_the_findings_does_the_same() -> None:
    """It looks like one thing to click on."""
    node = FakeNode()
    node.set(40, mailbox=1204)
    async with console(node) as driver:
        assert driver.shows("1 agent with a mailbox that does not get emptier")
        await driver.pilot.click("VitalsHeader", offset=(10, 3))
        await driver.until(lambda: driver.shows("1 of 402 agents match mailbox>=100"))


async def test_a_burst_of_pictures_is_painted_once() -> None:
    """A flood of updates must not make the keys wait."""
    async with console() as driver:
        painted = 0
        update = driver.app.header.update

        def counting() -> None:
            nonlocal painted
            painted += 1
            update()

        driver.app.header.update = counting  # type: ignore[method-assign]  # counts
        for rate in range(500):
            driver.node.push_vitals(rate=float(rate))
        await driver.until(lambda: driver.app.node.vitals is not None and driver.app.node.vitals.rate == 499)
        assert painted < 250


async def test_when_attaching_fails_the_console_ends_with_the_reason() -> None:
    """The command line says it in a sentence; no screen is left behind."""
    node = FakeNode(fails_to_attach=NodeUnreachable("shop did not answer within 3 s"))
    app = app_on(node)
    async with app.run_test():
        pass
    assert isinstance(app.failure, NodeUnreachable)
    assert app.return_code == 1


def test_an_unknown_node_is_an_error_with_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run_console` passes on what the client said."""
    monkeypatch.setenv(RUNTIME_DIRECTORY_VARIABLE, str(tmp_path))
    monkeypatch.setattr("observe.console.app.ObserveApp.run", _run_headless)
    monkeypatch.setattr("sys.__stderr__", _Terminal())
    with pytest.raises(NoSuchNode):
        run_console("surely-no-such-node")


def test_without_a_terminal_there_is_no_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """Textual draws on stderr: redirected, the screen would stay black and the keys would act."""
    monkeypatch.setattr("sys.__stderr__", io.StringIO())
    with pytest.raises(AttachError, match="not a terminal"):
        run_console("surely-no-such-node")


class _Terminal(io.StringIO):
    """Says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def _run_headless(self: object) -> None:
    assert isinstance(self, ObserveApp)
    asyncio.run(self.run_async(headless=True))
