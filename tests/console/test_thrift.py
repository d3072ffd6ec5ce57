"""Fewer bytes for the same screen, and collections of garbage that nobody waits for."""

from __future__ import annotations

import asyncio
import gc

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual._compositor import ChopsUpdate

from observe.console.collecting import collect_at_leisure
from observe.console.narrow import NarrowUpdate
from observe.console.screens import PageName
from observe.console.thrift import difference, thrifty
from tests.console.driving import LARGE, console

INK = ["31", "97", "39", "38;5;200", "38;2;1;2;3", "38;2;200;100;50"]
GROUND = ["41", "107", "48;5;17", "48;2;17;21;27", "48;2;9;9;9"]
PLAIN = ["1", "2", "3", "4", "7", "1;3"]

styles = st.tuples(
    st.sampled_from(["", *PLAIN]), st.sampled_from(["", *INK]), st.sampled_from(["", *GROUND])
).map(lambda parts: ";".join(part for part in parts if part))
texts = st.text("ab 1é●█", min_size=1, max_size=6)
places = st.tuples(st.integers(1, 6), st.integers(1, 30)).map(lambda place: f"\x1b[{place[0]};{place[1]}H")
runs = st.tuples(st.one_of(st.just(""), places), styles, texts).map(
    lambda run: run[0] + (f"\x1b[{run[1]}m{run[2]}\x1b[0m" if run[1] else run[2])
)


def shown(text: str) -> list[object]:
    """Each cell of the screen, with its colours and attributes."""
    screen = pyte.Screen(40, 8)
    pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
    return [screen.buffer[line][column] for line in range(8) for column in range(40)]


@settings(max_examples=150, deadline=None)
@given(st.lists(runs, max_size=12))
def test_the_screen_is_the_same_to_the_last_cell(written: list[str]) -> None:
    """Whatever follows whatever: styled and plain runs, next to each other or elsewhere on the screen."""
    text = "".join(written)
    assert shown(thrifty(text)) == shown(text)
    assert len(thrifty(text)) <= len(text) + 2 * len(written)


def test_only_what_differs_is_told() -> None:
    assert difference("38;2;1;2;3;48;2;9;9;9", "38;2;4;5;6;48;2;9;9;9") == "\x1b[38;2;4;5;6m"
    assert difference("38;2;1;2;3;48;2;9;9;9", "38;2;1;2;3;48;2;9;9;9") == ""
    assert difference("1;31;41", "31;41") == "\x1b[0;31;41m"
    assert difference("31;41", "31") == "\x1b[0;31m"


def test_what_is_no_style_passes_unchanged() -> None:
    """Modes, mouse, clipboard, bells."""
    text = "\x1b[?1049h\x1b[?1003h\x1b]52;c;aGVsbG8=\a\x1b[2J\x1b[31mx\x1b[0m\x1b[?25l"
    assert thrifty(text) == text


@pytest.mark.parametrize("page", ["agents", "overview", "tree"])
async def test_a_screen_of_the_console_looks_the_same_in_fewer_bytes(page: PageName) -> None:
    """What Textual really writes, whole screens of it."""
    async with console(screen=page, size=LARGE) as driver:
        text = driver.app.screen._compositor.render_full_update().render_segments(driver.app.console)
        assert len(thrifty(text)) < 0.9 * len(text)
        screen = [pyte.Screen(200, 60), pyte.Screen(200, 60)]
        for one, written in zip(screen, (text, thrifty(text)), strict=True):
            pyte.Stream(one).feed(written.replace("\n", "\r\n"))
        assert screen[0].buffer == screen[1].buffer


async def test_collections_are_ours_while_it_runs_and_pythons_afterwards() -> None:
    """A console within another program, as in these tests, leaves no trace of it."""
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    picture = asyncio.Event()
    task = asyncio.create_task(collect_at_leisure(picture))
    await asyncio.sleep(0)
    assert gc.get_threshold() == before
    picture.set()
    async with asyncio.timeout(30):
        while gc.get_freeze_count() == frozen:  # noqa: ASYNC110  nobody tells of it
            await asyncio.sleep(0.05)
    assert gc.get_threshold() != before
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


async def test_of_a_line_that_changes_in_part_only_that_part_is_written() -> None:
    """The same screen, without the names and classes that stand to the left of the numbers."""
    async with console(size=LARGE) as driver:
        app, table = driver.app, driver.app.agents_page.table
        screens = [pyte.Screen(200, 60), pyte.Screen(200, 60)]
        streams = [pyte.Stream(one) for one in screens]
        for stream in streams:
            stream.feed(
                app.screen._compositor.render_full_update().render_segments(app.console).replace("\n", "\r\n")
            )
        for number in range(5, 45):
            driver.node.set(number, mailbox=number, load=number / 100)
        written: list[tuple[str, str]] = []

        def display(_screen: object, update: object) -> None:
            if type(update) is ChopsUpdate:
                whole, narrow = (
                    one.render_segments(app.console) for one in (update, NarrowUpdate.of(update))
                )
                written.append((whole, narrow))

        app._display = display  # type: ignore[method-assign, assignment]  # looked at from outside
        await driver.refresh()
        await driver.until(lambda: written)
        for pair in written:
            for stream, text in zip(streams, pair, strict=True):
                stream.feed(text)
        assert screens[0].buffer == screens[1].buffer
        assert "".join(screens[1].display[table.region.y + 5]).count("%")
        whole, narrow = (sum(len(pair[n]) for pair in written) for n in (0, 1))
        assert narrow < 0.8 * whole
