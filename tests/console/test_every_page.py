"""Every screen in turn, in one console: drawn without Unicode, and to be read in both themes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest
from textual.color import Color

from observe.console.format import NODE_GLYPHS, STATUS_GLYPHS
from observe.console.keys import ACTIONS
from observe.console.plain import PLAIN, plain, wanted
from observe.console.screens import SCREENS, PageName
from observe.console.tones import FAINTEST, LEAST_CONTRAST, contrast
from tests.console.driving import Driver, console
from tests.console.fake_pages import asked_things
from tests.console.test_app_screens import troubled


async def each_page(driver: Driver) -> AsyncIterator[str]:
    """Open one after another, with all that the node has to say there."""
    keys = {action.id: action.keys[0] for action in ACTIONS if action.page == "app"}
    for name in SCREENS:
        await driver.press(keys[f"show_{name}"])
        await driver.until(partial(_is_there, driver, name))
        yield name


def _is_there(driver: Driver, name: PageName) -> bool:
    page = driver.app.pages[name]
    return driver.app.page is page and page.has_picture and not driver.shows("asking")


async def test_without_unicode_no_page_has_a_byte_beyond_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    """A serial console, an old font."""
    monkeypatch.setenv("OBSERVE_ASCII", "1")
    node = troubled()
    asked_things(node)
    async with console(node, screen="overview") as driver:
        seen = set()
        async for name in each_page(driver):
            assert all(line.isascii() for line in driver.screen()), "\n".join(driver.screen())
            seen.add(name)
        for key in ("K", "escape", "question_mark"):
            await driver.press("a", key)
            assert all(line.isascii() for line in driver.screen()), "\n".join(driver.screen())
        assert seen == set(SCREENS)


def test_state_by_state_there_is_another_sign_without_unicode() -> None:
    """And what is well is never told by the sign of what is wrong."""
    assert len({plain(glyph) for glyph in STATUS_GLYPHS.values()}) == len(STATUS_GLYPHS)
    assert len({plain(glyph) for glyph in NODE_GLYPHS.values()}) == len(set(NODE_GLYPHS.values()))
    good, bad = ("✓", "●", "·"), ("✕", "▲", "■")
    assert not {glyph.translate(PLAIN) for glyph in good} & {glyph.translate(PLAIN) for glyph in bad}


def test_ascii_is_asked_for_in_the_environment() -> None:
    """And is as wide as what it stands for."""
    assert not wanted({})
    assert not wanted({"OBSERVE_ASCII": "0"})
    assert wanted({"OBSERVE_ASCII": "1"})
    assert plain("名前 é ●") == "???? ? *"


async def test_every_page_is_to_be_read_in_the_dark_and_in_the_light() -> None:
    """No letter has nearly the colour of its ground, in neither theme; and no line keeps the colours of the other one."""
    node = troubled()
    asked_things(node)
    async with console(node, screen="overview") as driver:
        async for name in each_page(driver):
            for theme in ("observe-light", "observe-dark"):
                driver.app.theme = theme
                await driver.settle()
                too_faint = {(text, ratio) for text, ratio in contrasts(driver) if ratio < FAINTEST}
                assert not too_faint, f"{name} in {theme}: {sorted(too_faint)[:5]}"


def contrasts(driver: Driver) -> list[tuple[str, float]]:
    """Each text on the screen, and how much its colour differs from its ground."""
    found = []
    for strip in driver.app.screen._compositor.render_strips():
        for segment in strip:
            style = segment.style
            if (
                style is None
                or style.color is None
                or style.bgcolor is None
                or not any(map(str.isalnum, segment.text))
            ):
                continue
            ink, ground = Color.from_rich_color(style.color), Color.from_rich_color(style.bgcolor)
            found.append((segment.text.strip(), round(contrast(ink, ground), 2)))
    return found


def test_what_is_as_wcag_measures_it() -> None:
    """Black on white is 21; a grey that is just no longer enough for small letters, 4.48."""
    black, white, grey = Color.parse("#000"), Color.parse("#fff"), Color.parse("#777777")
    assert contrast(black, white) == contrast(white, black) == pytest.approx(21)
    assert round(contrast(grey, white), 2) == 4.48 < LEAST_CONTRAST
