"""What is on the screen as a file, and a screen without Unicode."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from observe.console.exports import as_csv
from observe.console.format import NODE_GLYPHS, STATUS_GLYPHS
from observe.console.plain import plain, wanted
from tests.console.driving import Driver, console


async def write(driver: Driver, path: Path) -> None:
    await driver.press("w")
    await driver.until(lambda: driver.shows("Write what is on the screen"))
    field = driver.app.screen.query_one("#path")
    assert field.value.startswith("observe-shop-")  # type: ignore[attr-defined]  # an Input
    field.value = str(path)  # type: ignore[attr-defined]  # an Input
    await driver.press("enter")


async def test_the_rows_of_the_table_become_json_and_csv(tmp_path: Path) -> None:
    """As the node told them, not as they were drawn."""
    async with console() as driver:
        await driver.press("slash", *"session-39", "enter")
        await driver.until(lambda: driver.shows("of 402 agents match"))
        await driver.refresh()
        await write(driver, tmp_path / "a.json")
        await driver.until(lambda: driver.shows("bytes written to"))
        rows = json.loads((tmp_path / "a.json").read_text())
        assert rows[0]["name"].startswith("session-39")
        await write(driver, tmp_path / "a.csv")
        await driver.until(lambda: (tmp_path / "a.csv").exists())
        with (tmp_path / "a.csv").open() as file:
            assert [row["pid"] for row in csv.DictReader(file)] == [str(row["pid"]) for row in rows]


async def test_the_screen_becomes_text_and_svg_and_nothing_is_overwritten(tmp_path: Path) -> None:
    """For the report the next morning."""
    async with console(screen="tree") as driver:
        await driver.until(lambda: driver.shows("sessions #2"))
        await write(driver, tmp_path / "t.txt")
        await driver.until(lambda: (tmp_path / "t.txt").exists())
        assert "sessions #2" in (tmp_path / "t.txt").read_text()
        await write(driver, tmp_path / "t.svg")
        await driver.until(lambda: (tmp_path / "t.svg").exists())
        assert (tmp_path / "t.svg").read_text().startswith("<svg")
        await write(driver, tmp_path / "t.txt")
        await driver.until(lambda: driver.shows("exists, and is not overwritten"))
        await driver.press("escape")
        await write(driver, tmp_path / "t.doc")
        await driver.until(lambda: driver.shows("the name must end in"))


def test_no_cell_of_a_csv_is_a_formula() -> None:
    """An agent may be called anything."""
    assert as_csv(["name", "n"], [["=cmd()", 1], [None, -2.5], ["a,b", 0]]).splitlines() == [
        "name,n", "'=cmd(),1", ",-2.5", '"a,b",0',
    ]  # fmt: skip


async def test_without_unicode_everything_can_still_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A serial console, an old font: state by state another sign, and not a byte beyond ASCII."""
    monkeypatch.setenv("OBSERVE_ASCII", "1")
    node_signs = {plain(glyph) for glyph in NODE_GLYPHS.values()}
    assert len({plain(glyph) for glyph in STATUS_GLYPHS.values()}) == len(STATUS_GLYPHS)
    assert len(node_signs) == len(set(NODE_GLYPHS.values()))
    async with console(screen="overview") as driver:
        await driver.until(lambda: driver.shows("Busiest"))
        for key in ("a", "t", "K", "escape", "f", "question_mark"):
            await driver.press(key)
            assert all(line.isascii() for line in driver.screen()), "\n".join(driver.screen())


def test_ascii_is_asked_for_in_the_environment() -> None:
    """And is as wide as what it stands for."""
    assert not wanted({})
    assert not wanted({"OBSERVE_ASCII": "0"})
    assert wanted({"OBSERVE_ASCII": "1"})
    assert plain("名前 é ●") == "???? ? *"
