"""What a console remembers: per node, bounded, and never a reason not to open."""

from __future__ import annotations

from pathlib import Path

import pytest

from observe.console.columns import fit
from observe.console.memory import NODES, Memory, default_path
from tests.console.driving import console


def test_each_node_has_its_own_and_the_oldest_are_forgotten(tmp_path: Path) -> None:
    """A laptop sees very many nodes."""
    memory = Memory(tmp_path / "deep" / "console.json")
    assert memory.of("shop") == {}
    assert memory.keep("first", {"sort": "load"})
    for number in range(NODES):
        assert memory.keep(f"node-{number}", {"sort": "pid"})
    assert memory.of("first") == {}
    assert memory.of("node-7") == {"sort": "pid"}
    assert [path.name for path in memory.path.parent.iterdir()] == ["console.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"nodes": 3}', '{"nodes": {"shop": 3}}', "[" * 200_000])
def test_a_file_that_cannot_be_read_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    """A half-written file must not cost a night."""
    path = tmp_path / "console.json"
    path.write_text(content)
    memory = Memory(path)
    assert memory.of("shop") == {}
    assert memory.keep("shop", {"theme": "observe-light"})
    assert memory.of("shop") == {"theme": "observe-light"}


def test_a_place_that_cannot_be_written_is_told_and_no_fault(tmp_path: Path) -> None:
    """A read-only home."""
    (tmp_path / "file").write_text("")
    assert not Memory(tmp_path / "file" / "console.json").keep("shop", {})


def test_the_place_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests, containers, and homes on slow discs."""
    monkeypatch.setenv("OBSERVE_STATE_DIR", str(tmp_path))
    assert default_path() == tmp_path / "console.json"


def test_chosen_columns_stand_in_their_order_and_give_way_by_need() -> None:
    """The one that is sorted by is always there."""
    names = [column.name for column, _ in fit(200, "load", ("age_s", "name", "pid"))]
    assert names == ["age_s", "name", "pid", "load"]
    narrow = [column.name for column, _ in fit(26, "load", ("age_s", "name", "pid"))]
    assert narrow == ["name", "load"]


async def test_order_columns_and_theme_come_back(tmp_path: Path) -> None:
    """As it was left, so that one finds one's way half asleep."""
    memory = Memory(tmp_path / "console.json")
    async with console(memory=memory) as driver:
        await driver.press("L", "o", "down", "space", "enter", "S", "end", "enter")
        await driver.until(lambda: driver.app.table_view.sort == "containment")
        assert "status" not in driver.app.table_view.columns
    async with console(memory=memory) as driver:
        await driver.until(lambda: driver.app.table_view.sort == "containment")
        assert driver.app.theme == "observe-light"
        assert "status" not in driver.line("mailbox  msg/s")


async def test_what_was_remembered_and_no_longer_exists_is_passed_over(tmp_path: Path) -> None:
    """Written by a later version, or by hand."""
    memory = Memory(tmp_path / "console.json")
    memory.keep(
        "shop@localhost", {"sort": "colour", "columns": ["x", 3, "name"], "theme": "none", "descending": 1}
    )
    async with console(memory=memory) as driver:
        assert driver.app.table_view.sort == "crashes"
        assert driver.app.table_view.columns == ("name",)
