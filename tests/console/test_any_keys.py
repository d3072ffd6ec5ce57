"""Any keys in any order, as of a cat on the keyboard or a pasted log: the console lives and shows what it did."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from observe.console.keys import ACTIONS
from tests.console.driving import LARGE, SMALL, console

KEYS = sorted(
    {key for action in ACTIONS for key in action.keys}
    | set("abcxyz0123456789 =>~!\"'/:")
    | {"escape", "enter", "tab", "up", "down", "left", "right", "pagedown", "home", "end", "backspace"}
)
PRESSED = 150


@pytest.mark.parametrize(
    ("seed", "size", "readonly"),
    [(1, SMALL, False), (2, LARGE, False), (3, (40, 12), False), (4, SMALL, True)],
)
async def test_no_key_on_any_page_ends_the_console(
    seed: int, size: tuple[int, int], readonly: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # some of them export what is shown
    chance = random.Random(seed)
    async with console(size=size, readonly=readonly) as driver:
        monkeypatch.setattr(driver.app, "exit", lambda *_, **__: None)  # q is among them
        for _ in range(PRESSED):
            await driver.press(chance.choice(KEYS))
        for _ in range(10):
            await driver.press("escape")
        assert driver.app.is_running
        assert driver.shows("shop@localhost")
