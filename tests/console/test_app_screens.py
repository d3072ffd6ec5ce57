"""One picture of each screen and dialog, small and large, dark and light: so that a change is seen by whoever makes it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, get_args

import pytest
from textual.command import CommandPalette
from textual.filter import Monochrome
from textual.screen import ModalScreen, Screen

import observe.console
from observe.console.replay_app import GoToDialog
from observe.console.screens import PageName
from observe.console.tones import DARK, LIGHT
from observe.console.widgets.cancel_dialog import CancelDialog, ResendDialog
from observe.console.widgets.columns_menu import ColumnsMenu
from observe.console.widgets.control_dialog import ControlDialog
from observe.console.widgets.deed_dialog import DeedDialog
from observe.console.widgets.deed_menu import DeedMenu
from observe.console.widgets.deeds_dialog import DeedsDialog
from observe.console.widgets.export_dialog import ExportDialog
from observe.console.widgets.held_stack import HeldStack
from observe.console.widgets.help import HelpOverlay
from observe.console.widgets.reload_dialog import ReloadDialog
from observe.console.widgets.sort_menu import SortMenu
from observe.console.widgets.trace_dialog import TraceDialog
from observe.probe.wire import Held
from observe.probe.wire_base import Frame
from tests.console.driving import LARGE, SMALL, Driver, console
from tests.console.fake_node import FakeNode
from tests.console.fake_pages import asked_things, talk
from tests.console.snapshots import Pictures, assert_snapshot, picture

SIZES = {"80x24": SMALL, "200x60": LARGE}


def troubled() -> FakeNode:
    """A node at night: crashes, a restart loop, a full mailbox, a tool that hangs."""
    node = FakeNode()
    for pid in (6, 10, 10, 31, 32):
        new = node.restarted(node.columns["pid"][pid])
        reason = "JSONDecodeError: Expecting value" if new % 2 else "TimeoutError: the model did not answer"
        node.crashed(int(node.columns["pid"][pid]), reason, restarted=new)
    node.set(40, mailbox=1204, mailbox_max=1300)
    node.set(44, activity="tool:search", activity_s=71.0, status="waiting")
    node.vital = node.vital.model_copy(
        update={"crashes_min": 5, "restarts_min": 5, "use": 0.97, "lag_s": 0.13}
    )
    return node


OVERVIEW_READY = "JSONDecodeError"


def listens(driver: Driver) -> bool:
    """A session has heard agents talk."""
    if driver.node.traces and not driver.node.traces[0].told:
        driver.node.traces[0].told = True
        driver.node.traces[0].push(*talk())
    return driver.shows("13 heard")


Ready = Callable[[Driver], object]

PAGES: tuple[tuple[str, str, Ready], ...] = (
    ("agents", "", lambda driver: driver.shows("crashes in the last minute")),
    ("filter", "slash w a i t i n g", lambda driver: driver.shows("match waiting") and driver.shows("▌")),
    ("detail", "escape g down down enter", lambda driver: driver.shows("State")),
    ("tree", "t", lambda driver: driver.shows("sessions #2")),
    ("crashes", "c right", lambda driver: driver.shows("json.loads")),
    ("findings", "f", lambda driver: driver.shows("do            what to do about mailbox_grows")),
    ("tasks", "T down", lambda driver: driver.shows("order = await orders.get()")),
    ("code", "number_sign", lambda driver: driver.shows("+    return count * 3 + fee()")),
    ("groups", "b", lambda driver: driver.shows("3 groups by class")),
    ("traces", "8 Y c l a s s : S e s s i o n enter", listens),
    ("chart", "o", lambda driver: driver.shows("▶")),
    ("waterfall", "o", lambda driver: driver.shows("├─")),
    ("audit", "apostrophe", lambda driver: driver.shows("✕ UNSIGNED") and driver.shows("record 6")),
    ("log", "f2 up enter", lambda driver: driver.shows("json.loads(text)")),
    ("letters", "f3 down", lambda driver: driver.shows("killed: hangs") and driver.shows("kind  refund")),
    ("budgets", "f4 right", lambda driver: driver.shows("a limit: suspended")),
    ("names", "f5 down right", lambda driver: driver.shows("x2")),
    ("overview", "v", lambda driver: driver.shows(OVERVIEW_READY) and driver.shows("Busiest")),
)  # fmt: skip
"""In their order: a name, what to press after the one before, and when the picture is complete."""

ASKED: tuple[tuple[str, str, Ready], ...] = (
    ("overview-asked", "v", lambda driver: driver.shows("3 agents wait for a person") and driver.shows(OVERVIEW_READY)),
    ("approvals", "J", lambda driver: driver.shows("approval 12")),
)  # fmt: skip
"""The same while agents wait for a person."""

DIALOGS: tuple[tuple[str, type[Screen[Any]], str, Ready], ...] = (
    ("help", HelpOverlay, "question_mark", lambda driver: driver.shows("The table of agents")),
    ("palette", CommandPalette, "colon d e a d", lambda driver: driver.shows("Messages that reached nobody")),
    ("sort", SortMenu, "S", lambda driver: driver.shows("Sort by")),
    ("columns", ColumnsMenu, "o", lambda driver: driver.shows("Space shows or hides")),
    ("export", ExportDialog, "w", lambda driver: driver.shows("Enter writes")),
    ("menu", DeedMenu, "A", lambda driver: driver.shows("Act on 1 agent")),
    ("kill", DeedDialog, "K", lambda driver: driver.shows("permanent")),
    ("send", DeedDialog, "i", lambda driver: driver.shows("0 messages wait")),
    ("contain", DeedDialog, "I", lambda driver: driver.shows("0 messages wait")),
    ("drop", DeedDialog, "d", lambda driver: driver.shows("oldest 1, newest 3") and driver.shows("0 messages wait")),
    ("log-level", DeedDialog, "D", lambda driver: driver.shows("Set the level of a logger?")),
    ("trace", TraceDialog, "Y", lambda driver: driver.shows("Listen to agents")),
    ("edit", DeedDialog, "enter e", lambda driver: driver.shows("Edit a field of its state?") and driver.shows("0 messages wait")),
    ("reload", ReloadDialog, "number_sign space r", lambda driver: driver.shows("y does it")),
    ("rollback", ReloadDialog, "number_sign u", lambda driver: driver.shows("y does it")),
    ("cancel-task", CancelDialog, "T down X", lambda driver: driver.shows("Cancel this task?")),
    ("resend", ResendDialog, "f3 s", lambda driver: driver.shows("Send this message again?")),
    ("approve", DeedDialog, "J O", lambda driver: driver.shows("Let it do what it waits to do?")),
    ("held", HeldStack, "h", lambda driver: driver.shows("outside any agent")),
    ("kill-marked", DeedsDialog, "space space K", lambda driver: driver.shows("type shop to kill them")),
    ("control", ControlDialog, "W W", lambda driver: driver.shows("Take control of")),
)  # fmt: skip
"""Whatever asks, lists or tells over a page: a name, its class, what to press from the third agent of the table, and when it is
complete."""


async def seen_on(tour: Iterable[tuple[str, str, Ready]], node: FakeNode, size: str, theme: str) -> Pictures:
    """The pictures of these pages, one after the other in one console."""
    pictures = {}
    async with console(node, size=SIZES[size], theme=theme) as driver:
        for name, keys, ready in tour:
            await driver.press(*keys.split())
            await driver.until(partial(ready, driver))
            pictures[name] = picture(driver.app)
    return pictures


async def seen_over_pages(size: str, theme: str) -> Pictures:
    """The pictures of the dialogs, of whoever may open all of them."""
    node, pictures = troubled(), {}
    node.role = "admin"
    node.vital = node.vital.model_copy(update={"held": held_by_nobody()})
    asked_things(node)
    async with console(node, size=SIZES[size], theme=theme) as driver:
        for name, kind, keys, ready in DIALOGS:
            await driver.press("a", "g", "down", "down")
            await driver.press(*keys.split())
            await driver.until(partial(ready, driver))
            assert isinstance(driver.app.screen, kind)
            pictures[name] = picture(driver.app)
            await driver.press("escape")
            await driver.until(lambda: not isinstance(driver.app.screen, kind))  # noqa: B023  # waited for here
    return pictures


def assert_snapshots(size: str, *themes: Pictures) -> None:
    """Those of all screens, so that one look tells all that has changed."""
    changed = []
    for name in themes[0]:
        try:
            assert_snapshot(f"{name}-{size}", *(pictures[name] for pictures in themes))
        except AssertionError as error:
            changed.append(str(error))
    assert not changed, "\n\n".join(changed)


@pytest.mark.parametrize("size", SIZES)
async def test_pages(size: str) -> None:
    assert_snapshots(size, *[await seen_on(PAGES, troubled(), size, theme) for theme in (DARK, LIGHT)])


@pytest.mark.parametrize("size", SIZES)
async def test_pages_while_agents_wait_for_a_person(size: str) -> None:
    seen = []
    for theme in (DARK, LIGHT):
        node = troubled()
        asked_things(node)
        seen.append(await seen_on(ASKED, node, size, theme))
    assert_snapshots(size, *seen)


@pytest.mark.parametrize("size", SIZES)
async def test_dialogs(size: str) -> None:
    assert_snapshots(size, *[await seen_over_pages(size, theme) for theme in (DARK, LIGHT)])


def held_by_nobody() -> Held:
    """Code outside of any agent that computes."""
    stack = [Frame(file="/srv/shop/report.py", line=12, function="sum_up", source="for order in orders:")]
    return Held(pid=0, name=None, class_name="", since_s=3.2, where="python", stack=stack)


def test_no_screen_is_left_out() -> None:
    """Whoever adds a page or a dialog adds its picture. A fleet and a recording are in `test_past_screens.py`."""
    assert set(get_args(PageName)) <= {name for name, _, _ in (*PAGES, *ASKED)}
    for module in pkgutil.walk_packages(observe.console.__path__, "observe.console."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = {kind for kind in _below(ModalScreen) if kind.__module__.startswith("observe.console")}
    final = {kind for kind in ours if not _below(kind)}
    assert final - {GoToDialog} <= {kind for _, kind, _, _ in DIALOGS}


def _below(kind: type[Any]) -> set[type[Any]]:
    return {one for direct in kind.__subclasses__() for one in (direct, *_below(direct))}


async def test_whoever_switches_has_no_line_left_in_the_colours_of_before() -> None:
    """The light theme by its key is the one that a console begins in."""
    overview = [one for one in PAGES if one[0] == "overview"]
    async with console(troubled()) as driver:
        await driver.press("v")
        await driver.until(lambda: overview[0][2](driver))
        await driver.press("L")
        await driver.until(lambda: driver.app.theme == LIGHT)
        switched = picture(driver.app)
    assert switched == (await seen_on(overview, troubled(), "80x24", LIGHT))["overview"]


@pytest.mark.parametrize("state", ["held", "dead", "lost"])
async def test_screen_of_a_node_in_need(state: str) -> None:
    """The first thing to be seen is that something is wrong, and what."""
    pictures = []
    for theme in (DARK, LIGHT):
        async with console(theme=theme) as driver:
            if state == "held":
                driver.node.hold(9)
            elif state == "dead":
                driver.node.push_vitals(state="dead")
            else:
                driver.node.lose()
            await driver.until(lambda: driver.shows(state.upper()))  # waited for here
            pictures.append(picture(driver.app))
    assert_snapshot(f"{state}-node-80x24", *pictures)


async def test_without_colours_everything_can_still_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR, or eyes that do not tell red from green: status, choice and order have shapes and words."""
    monkeypatch.setenv("NO_COLOR", "1")
    async with console(troubled()) as driver:
        assert driver.app.no_color
        assert driver.shows("● UP")
        assert driver.chosen_line()
        assert driver.shows("▼crash")
        assert "◐ waiting" in driver.line("session-5 ")
        assert any(isinstance(line_filter, Monochrome) for line_filter in driver.app._filters)
