"""A person's own keys: checked before the screen changes, and then the only truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from observe.console.keymap import BadKeyFile, default_path, listed, load, name_of
from observe.console.keys import ACTIONS, find, rebind
from tests.console.driving import console


@pytest.fixture(autouse=True)
def _own_keys() -> Iterator[None]:
    yield
    rebind({})


def keys(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text("[keys]\n" + text)
    return path


async def test_other_keys_do_what_ours_did_and_are_shown_everywhere(tmp_path: Path) -> None:
    """In the footer, the help and the menu; the old key does nothing."""
    rebind(
        load(keys(tmp_path, '"agents.filter" = ["f6", "ctrl+f"]\n"agent.suspend" = "H"\n"app.leave" = "Q"'))
    )
    async with console() as driver:
        assert driver.shows("f6 filter")
        assert driver.shows("Q quit")
        await driver.press("slash")
        assert not driver.app.agents_page.filter_bar.is_open
        await driver.press("f6")
        await driver.until(lambda: driver.app.agents_page.filter_bar.is_open)
        await driver.press("escape")
        await driver.until(lambda: driver.app.agents_page.table.has_focus)
        await driver.press("down", "A")
        await driver.until(lambda: "Suspend" in driver.line("H Suspend"))
        await driver.press("H")
        await driver.until(lambda: driver.shows("Suspend this agent?"))
        await driver.press("escape", "question_mark")
        await driver.until(lambda: driver.shows("f6 ctrl+f"))


def test_without_a_file_there_is_nothing_to_do(tmp_path: Path) -> None:
    """Nobody needs one."""
    assert load(tmp_path / "none.toml") == {}


def test_what_is_listed_can_be_loaded(tmp_path: Path) -> None:
    """`observe attach --keys > keys.toml` is where one begins."""
    path = tmp_path / "keys.toml"
    path.write_text("\n".join(listed(ACTIONS)))
    assert len(load(path)) == len({name_of(action) for action in ACTIONS})
    assert find("agents", "filter").keys == ("slash",)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('"agents.filtre" = "f"', "no action 'agents.filtre'"),
        ('"agents.filter" = "ctrl+"', "no key 'ctrl+'"),
        ('"agents.filter" = "hyper+f"', "no key 'hyper+f'"),
        ('"agents.filter" = 3', "takes a key"),
        ('"agents.filter" = []', "takes a key"),
        ('"agents.filter" = "K"', "K would be both"),
        ('"app.quit" = "r"', "r would be both"),
        ('"tree.children" = "j"', "moves in every view made of lines"),
        ('"agents.filter" = ', "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, why: str) -> None:
    """And none of it is."""
    with pytest.raises(BadKeyFile, match=why.replace("+", r"\+")):
        load(keys(tmp_path, text))


def test_a_list_in_place_of_the_table_and_a_file_of_another_kind(tmp_path: Path) -> None:
    """Whatever stands there."""
    path = tmp_path / "keys.toml"
    path.write_text("keys = 3")
    with pytest.raises(BadKeyFile, match="no table"):
        load(path)
    path.write_bytes(b"x" * 200_000)
    with pytest.raises(BadKeyFile, match="larger than"):
        load(path)


def test_the_place_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file for a team, on a shared disc."""
    monkeypatch.setenv("OBSERVE_KEYS_FILE", str(tmp_path / "team.toml"))
    assert default_path() == tmp_path / "team.toml"
