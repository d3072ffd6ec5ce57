"""The console on a recording: the screens of a live node, at any moment, with nothing to be done."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from textual.pilot import Pilot

from observe.console.cli import main
from observe.console.keys import on_page
from observe.console.replay_app import ReplayApp
from observe.console.screens import SCREENS, PageName
from observe.console.widgets.help import help_lines
from observe.probe.past import Past
from observe.probe.recording import segments_at
from observe.probe.replay import Replay
from tests.probe.a_life import record_a_life
from tests.probe.live import eventually


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay")
    record_a_life(folder)
    return folder


class Replayed:
    """Keys in, screen out."""

    def __init__(self, app: ReplayApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    def shows(self, text: str) -> bool:
        """Whether a text is on the screen."""
        return any(text in strip.text for strip in self.app.screen._compositor.render_strips())

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition."""

        async def look() -> bool:
            await self.pilot.pause(0.01)
            return bool(condition())

        await eventually(look, what="\n".join(s.text for s in self.app.screen._compositor.render_strips()))


@asynccontextmanager
async def replayed(path: Path, screen: PageName = "overview", at: str = "") -> AsyncIterator[Replayed]:
    async with Replay(path, at=at, paused=True) as replay:
        app = ReplayApp(replay, screen=screen)
        async with app.run_test(size=(120, 34)) as pilot:
            yield Replayed(app, pilot)


@pytest.mark.parametrize(
    "screen",
    [
        screen
        for screen in SCREENS
        if screen not in ("code", "tasks", "approvals", "audit", "log", "letters", "budgets", "names")
    ],
)
async def test_every_screen_shows_the_past(recorded: Path, screen: PageName) -> None:
    async with replayed(recorded, screen, at="end") as console:
        await console.until(console.app.first_paint.is_set)
        await console.until(lambda: console.shows("DEAD"))
        assert console.shows("RECORDING")


async def test_the_overview_of_a_dead_node_says_how_it_died(recorded: Path) -> None:
    """What ended it, what was open, what happened last: here of a recording, and so of a node whose probe is still there."""
    async with replayed(recorded, at="end") as console:
        await console.until(lambda: console.shows("SIGKILL") and console.shows("Open activities  1"))
        view = console.app.pages["overview"].left  # type: ignore[attr-defined]  # the overview's
        for key in ("death/open", "death/events"):
            view.go_to(next(number for number, line in enumerate(view.lines) if line.key == key))
            await console.pilot.press("right")
        await console.until(lambda: console.shows("tool:search for") and console.shows("waiter-1 (pid"))
        assert console.shows("memory at most")
        await console.pilot.press("left_curly_bracket")
        await console.until(lambda: not console.shows("Open activities"))


async def test_what_is_not_in_a_recording_is_said_to_be_missing(recorded: Path) -> None:
    """Tasks and approvals are asked of the service, and there is none."""
    async with replayed(recorded, "tasks", at="end") as console:
        await console.until(lambda: console.shows("there is no service to ask"))
        await console.pilot.press("J")
        await console.until(lambda: console.app.page.page_name == "approvals")
        await console.until(lambda: console.shows("there is no service to ask") and console.shows("asking"))


async def test_semicolon_goes_to_the_crash_and_then_to_the_death(recorded: Path) -> None:
    """It says what is there, and stands still."""
    async with replayed(recorded, "crashes") as console:
        await console.until(lambda: console.shows("UP"))
        await console.pilot.press("vertical_line")
        await console.pilot.press("semicolon")
        await console.until(lambda: console.shows("waiter-1") and console.shows("ValueError"))
        assert console.app.replay.is_paused
        await console.pilot.press("semicolon")
        await console.until(lambda: console.shows("the node died"))
        await console.until(lambda: console.shows("DEAD"))
        await console.pilot.press("semicolon")
        await console.until(lambda: console.shows("no crash after this moment"))
        await console.pilot.press("comma")
        await console.until(lambda: console.shows("UP"))


async def test_going_to_a_time_and_back_by_steps(recorded: Path) -> None:
    async with replayed(recorded, at="end") as console:
        replay = console.app.replay
        await console.until(lambda: console.shows("DEAD"))
        await console.pilot.press("left_curly_bracket")
        await console.until(lambda: replay.at == replay.start)
        await console.until(lambda: console.shows("UP"))
        await console.pilot.press("right_curly_bracket")
        await console.until(lambda: replay.at == replay.end)
        await console.pilot.press("at")
        await console.until(lambda: console.shows("Go to"))
        await console.pilot.press(*"crash", "enter")
        await console.until(lambda: replay.at == replay.past.crashes[-1].wall_us / 1e6)
        await console.pilot.press("at", *"soon", "enter")
        await console.until(lambda: console.shows("is no time"))


async def test_it_plays_at_the_speed_that_is_chosen(recorded: Path) -> None:
    async with replayed(recorded) as console:
        replay = console.app.replay
        await console.pilot.press("circumflex_accent", "circumflex_accent", "underscore")
        assert replay.speed == 2.0
        await console.pilot.press("vertical_line")
        await console.until(lambda: replay.is_over)
        await console.until(lambda: console.shows("■ end"))


async def test_nothing_can_be_done_to_the_past(recorded: Path) -> None:
    """Neither by taking control nor by a key that acts."""
    async with replayed(recorded, "agents", at="end") as console:
        await console.until(console.app.first_paint.is_set)
        for key in ("W", "K"):
            await console.pilot.press(key)
            await console.until(lambda: console.shows("nothing can be done to the past"))
            console.app.say("")


async def test_the_help_has_the_keys_of_the_recording(recorded: Path) -> None:
    async with replayed(recorded) as console:
        await console.pilot.press("question_mark")
        await console.until(lambda: console.shows("The recording"))
        assert console.shows("Play or pause")
    text = "\n".join(line.text for line in help_lines("tree", "viewer", 200, also=("replay",)))
    for action in on_page("replay"):
        assert f"{action.name}: {action.description}" in text


async def test_a_damaged_recording_says_so_at_once(recorded: Path, tmp_path: Path) -> None:
    whole = segments_at(recorded)[0].path
    path = tmp_path / whole.name
    path.write_bytes(whole.read_bytes()[:-20])
    async with replayed(path) as console:
        await console.until(lambda: console.shows("is damaged at byte"))
        assert console.shows("damaged")


def test_scripts_get_the_same_from_the_command_line(recorded: Path, tmp_path: Path) -> None:
    """What is in it, and every verb that reads, at a time."""
    runner = CliRunner()
    found = runner.invoke(main, ["replay", str(recorded), "--at", "end", "--json"])
    facts = json.loads(found.stdout)
    assert (facts["state"], facts["agents"], facts["crashes_total"], facts["damage"]) == ("dead", 7, 2, [])
    assert "waiter-1" in facts["crashes"][0]["text"]
    page = runner.invoke(main, ["ps", f"{recorded}/@crash", "--sort", "mailbox", "--limit", "1", "--json"])
    assert (page.exit_code, json.loads(page.stdout)["agents"][0]["name"]) == (0, "waiter-0")
    for verb in (["vitals"], ["tree"], ["crashes"], ["findings"], ["inspect", "waiter-0"]):
        done = runner.invoke(main, [verb[0], f"{recorded}/@crash", *verb[1:], "--json"])
        assert done.exit_code == 0, (verb, done.output)
    refused = runner.invoke(main, ["kill", f"{recorded}/", "waiter-0", "--yes"])
    assert (refused.exit_code, "nothing can be done to the past" in refused.stderr) == (1, True)
    missing = runner.invoke(main, ["replay", str(recorded), "--at", "yesterday", "--json"])
    assert (missing.exit_code, "is no time" in missing.stderr) == (1, True)
    (whole,) = recorded.iterdir()
    (tmp_path / whole.name).write_bytes(whole.read_bytes()[:-20])
    (damage,) = json.loads(runner.invoke(main, ["replay", str(tmp_path), "--json"]).stdout)["damage"]
    assert (damage["file"], damage["why"]) == (whole.name, "it ends in the middle of a record")
    assert damage["after"] == Past(tmp_path).end_us / 1e6
