"""The keys of dialogs and menus, which are not in the key map: each is pressed, and must change what its row says."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
from textual.binding import Binding
from textual.dom import DOMNode

import observe.console
from observe.console.widgets.line_view import LineView
from tests.console.driving import Driver
from tests.console.looking import Row, asked, assert_row, dialog, focus, opened, table, times_asked


def highlighted(driver: Driver) -> object:
    """Which line of a menu is chosen."""
    return driver.app.screen.lines.highlighted  # type: ignore[attr-defined]  # a menu


def is_ticked(driver: Driver) -> object:
    """Whether the first line of the menu of columns is."""
    return str(driver.app.screen.lines.get_option_at_index(0).prompt).startswith("✓")  # type: ignore[attr-defined]  # a menu


def typed(driver: Driver) -> object:
    """What stands in the filter."""
    return driver.app.agents_page.filter_bar.input.value


CLOSED = ""
"""What `dialog` sees when none is open."""

ROWS: dict[str, tuple[str, Row]] = {
    "ListMenu.leave": ("app", Row(dialog, CLOSED, first="S")),
    "ListMenu.down": ("app", Row(highlighted, 1, first="A home")),
    "ListMenu.up": ("app", Row(highlighted, 0, first="A home down")),
    "DeedMenu.leave": ("app", Row(dialog, CLOSED, first="A")),
    "SortMenu.leave": ("app", Row(dialog, CLOSED, first="S")),
    "ColumnsMenu.leave": ("app", Row(dialog, CLOSED, first="o")),
    "ColumnsMenu.show_or_hide": ("app", Row(is_ticked, False, first="o")),
    "ColumnsMenu.accept": ("app", Row(lambda driver: bool(driver.app.table_view.columns), True, first="o", undo="o 0")),
    "ColumnsMenu.later": ("app", Row(highlighted, 1, first="o")),
    "ColumnsMenu.sooner": ("app", Row(highlighted, 0, first="o plus")),
    "ColumnsMenu.automatic": ("app", Row(table("columns"), (), first="o enter o")),
    "Question.leave": ("app", Row(dialog, CLOSED, first="w")),
    "YesNo.confirm": ("app", Row(times_asked("suspend"), 1, first="z")),
    "YesNo.leave": ("app", Row(dialog, CLOSED, first="z")),
    "YesNo.app.focus_next": ("app", Row(focus, "yes", first="z")),
    "YesNo.app.focus_previous": ("app", Row(focus, "no", first="z right")),
    "DeedDialog.undo": ("app", Row(times_asked("resume"), 1, first="z y")),
    "DeedDialog.close_when_over": ("app", Row(dialog, CLOSED, first="z y")),
    "DeedsDialog.leave": ("app", Row(dialog, CLOSED, first="space space z", undo="U")),
    "ReloadDialog.undo": ("code", Row(asked("reload"), [(["shop.prices"], False, True, "")], first="r y")),
    "ReloadDialog.close_when_over": ("code", Row(dialog, CLOSED, first="u y")),
    "HelpOverlay.leave": ("app", Row(dialog, CLOSED, first="question_mark")),
    "HeldStack.leave": ("held", Row(dialog, CLOSED, first="h")),
    "GoToDialog.leave": ("replay", Row(dialog, CLOSED, first="at")),
    "FilterInput.complete": ("app", Row(typed, "mailbox", first="slash m a i l")),
}  # fmt: skip
"""Class and action: on which page, and what comes of the key there."""


def declared() -> dict[str, list[str]]:
    """The actions of all bindings of our widgets and dialogs that are not made from the key map, with their keys."""
    for module in pkgutil.walk_packages(observe.console.__path__, "observe.console."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: dict[str, list[str]] = {}
    for kind in _below(DOMNode):
        if (
            kind.__module__.startswith("observe.console") and kind is not LineView
        ):  # whose keys have rows in `test_every_key`
            for one in vars(kind).get("BINDINGS", ()):
                assert isinstance(one, Binding), f"{kind.__name__}: {one}"
                if one.id is None:  # those of the key map have ids
                    found.setdefault(f"{kind.__name__}.{one.action}", []).extend(one.key.split(","))
    return found


def _below(kind: type[DOMNode]) -> set[type[DOMNode]]:
    return {one for direct in kind.__subclasses__() for one in (direct, *_below(direct))}


def test_every_key_of_a_dialog_has_a_row() -> None:
    """Whoever adds one says here what comes of it."""
    missing, others = declared().keys() - ROWS.keys(), ROWS.keys() - declared().keys()
    assert not missing, f"no row of ROWS says what comes of {', '.join(sorted(missing))}"
    assert not others, f"rows of keys that do not exist: {', '.join(sorted(others))}"


@pytest.mark.parametrize("of", sorted({of for of, _ in ROWS.values()}))
async def test_every_key_of_a_dialog_does_what_its_row_says(of: str) -> None:
    """On one console, one after another."""
    keys = declared()
    async with opened(of) as driver:
        for name, (on, row) in ROWS.items():
            if on == of:
                for key in keys[name]:
                    await assert_row(driver, of, name, row, key)
