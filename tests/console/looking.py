"""What tests of keys look at, and how they press them: on one console for many rows, each from the first line of its page."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from textual import events

from observe.console.keys import FLEET_PAGES, key_name
from observe.console.navigation import Place
from observe.console.screens import SCREENS
from observe.console.state import Identity
from observe.probe.wire import Held
from observe.probe.wire_base import Frame
from tests.console.driving import Driver, console
from tests.console.fake_node import FakeNode
from tests.console.fake_pages import asked_things, talk
from tests.console.fake_past import fleet_console, replay_console

Look = Callable[[Driver], object]

ANOTHER = object()
"""Whatever it was not before."""


class Row(NamedTuple):
    """One action. Keys are named as in the key map, with spaces between them."""

    look: Look
    """What is looked at: of the screen, or of what the node was asked."""

    becomes: object
    """What is seen there after the key, and not before it."""

    first: str = ""
    """Keys to where the action has something to do, from the first line of its page."""

    then: str = ""
    """Keys after it, that belong to it."""

    undo: str = ""
    """Keys that take back what the next row would otherwise find."""

    alone: bool = False
    """The console is another one after it."""


BRIEF = frozenset({"visit", "seek", "control", "reveal", "do", "act", "reload"})
"""Groups of workers that a key begins, and that end by themselves at once."""


PRESSED_ON = {"app": "agents", "agent": "agents", "detail": "agents", "held": "agents", "lines": "letters"}
"""Of what is no page that stands on its own, the page on which its keys are pressed; `held` is a node that answers nothing."""


# -- the console


def eventful() -> FakeNode:
    """A node with something on every page."""
    node = FakeNode(role="admin")
    for pid in (11, node.next_pid):
        new = node.restarted(pid)
        node.crashed(pid, restarted=new)
    node.set(40, mailbox=1204)
    asked_things(node)
    return node


@asynccontextmanager
async def opened(of: str) -> AsyncIterator[Driver]:
    """The console on which the keys of a page of the key map are pressed."""
    if of in ("fleet", *FLEET_PAGES):
        nodes = {"east": eventful(), "west": FakeNode(number=3)}
        async with fleet_console(nodes, screen="nodes" if of == "fleet" else of) as driver:  # type: ignore[arg-type]  # one of them
            yield driver
    elif of == "replay":
        async with replay_console(eventful()) as driver:
            yield driver
    else:
        first = PRESSED_ON.get(of, of)
        async with console(eventful(), screen=first) as driver:  # type: ignore[arg-type]  # one that stands on its own
            await _filled(driver, of)
            yield driver


async def _filled(driver: Driver, of: str) -> None:
    """With all that its page shows at first."""
    if of == "detail":
        driver.app.visit_agent(Identity(8, "session-5", "Session", 2, "s5"))
        await driver.until(lambda: driver.shows("mailbox 1"))
    if of == "traces":
        await press(driver, "Y c l a s s colon S e s s i o n enter")
        driver.node.traces[0].push(*talk())
        await driver.until(lambda: driver.shows("no lamp"))
    if of == "held":
        stack = [Frame(file="/srv/shop/report.py", line=12, function="sum_up", source="for order in orders:")]
        held = Held(pid=0, name=None, class_name="", since_s=3.2, where="python", stack=stack)
        driver.node.push_vitals(state="held", held=held)
        await driver.until(lambda: driver.shows("HELD"))
    if of == "audit":
        await driver.until(lambda: driver.app.page.report)  # type: ignore[attr-defined]  # of the audit page
    if of in SCREENS:
        await driver.until(lambda: driver.app.page.has_picture)


async def press(driver: Driver, keys: str) -> None:
    """Press keys with spaces between them, and wait until what each begins has ended: no more than that, as there are hundreds."""
    app = driver.app
    for key in keys.split():
        character = key_name(key)
        app.post_message(
            events.Key(key, " " if key == "space" else character if len(character) == 1 else None)
        )
        taken = asyncio.Event()
        app.call_later(taken.set)
        while app.is_running and (not taken.is_set() or app.has_keys or _is_busy(driver)):  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.001)


def _is_busy(driver: Driver) -> bool:
    if getattr(driver.app.screen, "stage", "") == "looking":
        return True  # before it asks
    return any(one.is_running and one.group in BRIEF for one in driver.app.workers)


async def comes(driver: Driver, condition: Callable[[], object]) -> bool:
    """Whether a condition is met within some seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            pause_s = 0.002
            while not condition():
                await asyncio.sleep(pause_s)
                pause_s = min(0.04, 1.5 * pause_s)  # to look takes longer than that
    return bool(condition())


async def begin_again(driver: Driver, of: str) -> None:
    """Close what is open, and go to the first line of the page."""
    while len(driver.app.screen_stack) > 1:
        await press(driver, "escape")
    if of in ("fleet", *FLEET_PAGES):
        await press(driver, "a" if of == "fleet_agents" else "n")
    elif of == "detail":
        driver.app.visit(Place("detail", Identity(8, "session-5", "Session", 2, "s5")))
    elif of != "replay":
        driver.app.visit(Place(PRESSED_ON.get(of, of)))  # type: ignore[arg-type]  # as above
    while driver.app.page.close_inner():
        await driver.settle()
    await press(driver, "home")


# -- what is looked at


def page(driver: Driver) -> object:
    """Which page is on the screen."""
    return driver.app.page.page_name


def dialog(driver: Driver) -> object:
    """Which dialog is open."""
    return type(driver.app.screen).__name__ if len(driver.app.screen_stack) > 1 else ""


def focus(driver: Driver) -> object:
    """Which part of the page has the keys."""
    return driver.app.focused.id if driver.app.focused else ""


def typing(driver: Driver) -> object:
    """Whether a filter can be typed."""
    return type(driver.app.focused).__name__ == "FilterInput"


def cursor(driver: Driver) -> object:
    """Which line of the list is chosen; of the table, which row."""
    table = driver.app.page.page_name == "agents"
    return driver.app.table_view.index if table else driver.app.focused.cursor  # type: ignore[union-attr]  # a LineView


def unfolded(driver: Driver) -> object:
    """Whether the chosen line is."""
    line = driver.app.focused.current  # type: ignore[union-attr]  # a LineView
    return line.open


def top(driver: Driver) -> object:
    """The first line of the list."""
    return driver.app.page.view.lines[0].key  # type: ignore[attr-defined]  # of a page with one


def narrowed(driver: Driver) -> object:
    """The filter of the table of agents."""
    return driver.app.table_view.filter


def agent(driver: Driver) -> object:
    """Whose page it is."""
    content = driver.app.pages["detail"].content  # type: ignore[attr-defined]  # the agent's page
    return content.agent.pid if content is not None and page(driver) == "detail" else 0


def files(_: Driver) -> object:
    """What was written, by kind."""
    return [path.suffix for path in Path().iterdir()]


def left(driver: Driver) -> object:
    """Whether the console has ended."""
    return driver.app.return_code


def table(name: str) -> Look:
    """Something of the table of agents."""
    return lambda driver: getattr(driver.app.table_view, name)


def number_of(name: str) -> Look:
    """How many of the table's agents are marked, or pinned."""
    return lambda driver: len(getattr(driver.app.table_view, name))


def copied(text: str) -> Look:
    """Whether this is on the clipboard."""
    return lambda driver: text in driver.app.clipboard


def shows(text: str) -> Look:
    """Whether this is on the screen."""
    return lambda driver: driver.shows(text)


def asked(verb: str, part: int | str | None = None) -> Look:
    """What the node was asked last with this verb, or a part of that."""

    def look(driver: Driver) -> object:
        last = [argument for asked, argument in driver.node.requests if asked == verb][-1:]
        return last if part is None or not last else last[0][part]

    return look


def times_asked(verb: str) -> Look:
    """How often the node was asked this."""
    return lambda driver: [asked for asked, _ in driver.node.requests].count(verb)


def fleet(name: str) -> Look:
    """Something of the console on several nodes."""
    return lambda driver: getattr(driver.app, name)


def moment(driver: Driver) -> object:
    """Seconds from the beginning of the recording."""
    replay = driver.app.replay  # type: ignore[attr-defined]  # the console on a recording
    return round(replay.at - replay.start)


def played(name: str) -> Look:
    """How the recording is played."""
    return lambda driver: getattr(driver.app.replay, name)  # type: ignore[attr-defined]  # the console on a recording


async def assert_row(driver: Driver, of: str, name: str, row: Row, key: str) -> None:
    """Press one of the keys of what a row is about: it must change what is looked at into what the row says."""
    await begin_again(driver, of)
    await press(driver, row.first)
    before = row.look(driver)
    if row.becomes is not ANOTHER:
        is_to_be_seen = await comes(driver, lambda: row.look(driver) != row.becomes)
        assert is_to_be_seen, (
            f"{name}: before {key} is pressed, {row.becomes!r} is there already{screen(driver)}"
        )
    await press(driver, f"{key} {row.then}")
    has_come = await comes(
        driver,
        lambda: row.look(driver) != before if row.becomes is ANOTHER else row.look(driver) == row.becomes,
    )
    assert has_come, f"{name}: {key} makes it {row.look(driver)!r}, not {row.becomes!r}{screen(driver)}"
    await press(driver, row.undo)


def screen(driver: Driver) -> str:
    """What is on it, for whoever reads why a test has failed."""
    return "\n".join([":", *driver.screen()])
