"""One picture of each screen, small and large, dark, and one in the light: so that a change is seen by whoever makes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.filter import Monochrome

from tests.console.driving import LARGE, SMALL, Driver, console
from tests.console.fake_node import FakeNode
from tests.console.fake_pages import asked_things, talk
from tests.console.snapshots import assert_snapshot

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
    return driver.shows("no lamp")


SCREENS: dict[str, tuple[list[str], Callable[[Driver], object]]] = {
    "agents": ([], lambda driver: driver.shows("crashes in the last minute")),
    "filter": (["slash", *"waiting"], lambda driver: driver.shows("match waiting") and driver.shows("▌")),
    "detail": (["down", "down", "down", "enter"], lambda driver: driver.shows("State")),
    "tree": (["t"], lambda driver: driver.shows("sessions #2")),
    "crashes": (["c", "right"], lambda driver: driver.shows("json.loads")),
    "kill": (["down", "K"], lambda driver: driver.shows("permanent")),
    "findings": (["f"], lambda driver: driver.shows("do            what to do about mailbox_grows")),
    "tasks": (["T", "down"], lambda driver: driver.shows("order = await orders.get()")),
    "code": (["number_sign"], lambda driver: driver.shows("+    return count * 3 + fee()")),
    "reload": (["number_sign", "space", "r"], lambda driver: driver.shows("y does it")),
    "groups": (["b"], lambda driver: driver.shows("3 groups by class")),
    "traces": (["8", "Y", *"class:Session", "enter"], listens),
    "audit": (["apostrophe"], lambda driver: driver.shows("✕ UNSIGNED") and driver.shows("record 6")),
    "log": (["f2", "up", "enter"], lambda driver: driver.shows("json.loads(text)")),
    "letters": (
        ["f3", "down"],
        lambda driver: driver.shows("killed: hangs") and driver.shows("kind  refund"),
    ),
    "budgets": (["f4", "right"], lambda driver: driver.shows("a limit: suspended")),
    "names": (["f5", "down", "right"], lambda driver: driver.shows("x2")),
    "trace": (["down", "Y"], lambda driver: driver.shows("Listen to agents")),
    "menu": (["down", "A"], lambda driver: driver.shows("Act on 1 agent")),
    "send": (["down", "i"], lambda driver: driver.shows("0 messages wait")),
    "columns": (["o"], lambda driver: driver.shows("Space shows or hides")),
    "overview": (["v"], lambda driver: driver.shows(OVERVIEW_READY) and driver.shows("Busiest")),
    "control": (["W", "W"], lambda driver: driver.shows("Take control of")),
    "help": (["question_mark"], lambda driver: driver.shows("The table of agents")),
    "sort": (["S"], lambda driver: driver.shows("Sort by")),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("screen", SCREENS)
async def test_screen(screen: str, size: str) -> None:
    """See the module's docstring."""
    keys, ready = SCREENS[screen]
    node = troubled()
    node.role = "admin" if screen == "reload" else node.role
    async with console(node, size=SIZES[size]) as driver:
        await driver.press(*keys)
        await driver.until(lambda: ready(driver))
        assert_snapshot(driver.app, f"{screen}-{size}")


@pytest.mark.parametrize("size", SIZES)
async def test_screen_of_a_sequence_chart(size: str) -> None:
    """Agents as lanes, time going down."""
    async with console(troubled(), size=SIZES[size]) as driver:
        await driver.press("8", "Y", *"class:Session", "enter")
        await driver.until(lambda: listens(driver))
        await driver.press("o")
        await driver.until(lambda: driver.shows("▶"))
        assert_snapshot(driver.app, f"chart-{size}")


@pytest.mark.parametrize("size", SIZES)
async def test_screen_of_approvals(size: str) -> None:
    """What waits for a person, with the longest waiting chosen; and its sign on the overview."""
    node = troubled()
    asked_things(node)
    async with console(node, size=SIZES[size], screen="overview") as driver:
        await driver.until(lambda: driver.shows("3 agents wait for a person") and driver.shows("Busiest"))
        await driver.until(lambda: driver.shows(OVERVIEW_READY))
        assert_snapshot(driver.app, f"overview-asked-{size}")
        await driver.press("J")
        await driver.until(lambda: driver.shows("approval 12"))
        assert_snapshot(driver.app, f"approvals-{size}")


async def test_screen_in_the_light() -> None:
    """Both of our themes are looked at; whoever switches has no line left in the colours of before."""
    async with console(troubled()) as driver:
        await driver.press("L")
        await driver.until(lambda: driver.app.theme == "observe-light")
        assert_snapshot(driver.app, "agents-80x24-light")
        await driver.press("v")
        await driver.until(lambda: driver.shows(OVERVIEW_READY) and driver.shows("Busiest"))
        assert_snapshot(driver.app, "overview-80x24-light")
        await driver.press("f2")
        await driver.until(lambda: driver.shows("on fire"))
        assert_snapshot(driver.app, "log-80x24-light")
        await driver.press("f3", "down")
        await driver.until(lambda: driver.shows("kind  refund"))
        assert_snapshot(driver.app, "letters-80x24-light")
        await driver.press("f4")
        await driver.until(lambda: driver.shows("sessions/*"))
        assert_snapshot(driver.app, "budgets-80x24-light")


@pytest.mark.parametrize("state", ["held", "dead", "lost"])
async def test_screen_of_a_node_in_need(state: str) -> None:
    """The first thing to be seen is that something is wrong, and what."""
    async with console() as driver:
        if state == "held":
            driver.node.hold(9)
        elif state == "dead":
            driver.node.push_vitals(state="dead")
        else:
            driver.node.lose()
        await driver.until(lambda: driver.shows(state.upper()))
        assert_snapshot(driver.app, f"{state}-80x24")


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
