"""What is on the screen as a file, and a screen without Unicode."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from observe.console.exports import as_csv
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
