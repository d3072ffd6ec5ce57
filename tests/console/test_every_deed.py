"""Everything that can be done from the console, and the command that reaches the node.

`ROWS` has a row for each deed: it is done by its key, to one agent and to several, and chosen from the menu. `COMMANDS` has a row for each
other action that takes an operator, and `ABOUT` one for each page: which agent a deed is about there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest

from observe.console.deeds import BY_ID, DEEDS, Deed
from observe.console.keymap import name_of
from observe.console.keys import ACTIONS, Page
from observe.console.screens import PageName
from tests.console.driving import Driver
from tests.console.looking import asked, begin_again, comes, dialog, opened, press, screen


class Row(NamedTuple):
    """What is typed into the fields of a deed, and what is told to the node beside the agent and the reason."""

    said: tuple[str, ...] = ()
    told: dict[str, object] = {}  # read only


ROWS: dict[str, Row] = {
    "kill": Row(),
    "stop": Row(),
    "restart": Row(("checkpoint",), {"source": "checkpoint"}),
    "next-rung": Row(),
    "suspend": Row(),
    "resume": Row(),
    "send": Row(("12",), {"message": 12}),
    "edit": Row(("step", "4"), {"field": "step", "value": 4}),
    "drop": Row(("oldest 1",), {"do": "drop", "oldest": 1}),
    "move": Row(("5", "all"), {"do": "move", "to": 5, "everything": True}),
    "cancel": Row(("model",), {"activity": "model"}),
    "checkpoint": Row(),
    "approve": Row(("12",), {"approval": 12}),
    "refuse": Row(("12",), {"approval": 12}),
    "contain": Row(
        ("restricted", "search", "ledger", "no", "yes"),
        {"level": "restricted", "tools": ["search"], "recipients": ["ledger"], "subtree": False, "two_person": True},
    ),
    "reset-budget": Row(),
    "log-level": Row(("debug", "shop"), {"level": "DEBUG", "logger": "shop"}),
    "gc": Row(),
}  # fmt: skip


def typed(text: str) -> str:
    """The keys of a text, as `press` takes them."""
    return " ".join("space" if letter == " " else letter for letter in text)


def filled(row: Row) -> str:
    """The keys that fill in all fields, Enter behind each."""
    return " ".join(f"{typed(text)} enter" for text in row.said)


def test_every_deed_has_a_row() -> None:
    """Whoever adds one says here what reaches the node."""
    missing = [deed.id for deed in DEEDS if deed.id not in ROWS]
    assert not missing, f"no row of ROWS says what reaches the node: {', '.join(missing)}"
    assert len(ROWS) == len(DEEDS), "there are rows of deeds that do not exist"
    assert all(len(ROWS[deed.id].said) == len(deed.wants) for deed in DEEDS), "each field is filled in"


def told(driver: Driver, deed: Deed) -> list[Any]:
    """The commands that have reached the node, rehearsals left out."""
    if deed.id == "kill":
        return [{"agent": pid, "reason": reason} for pid, reason in driver.node.killed]
    commands = [argument for verb, argument in driver.node.requests if verb == deed.verb]
    return [one for one in commands if not one.get("dry_run")]


async def test_each_deed_reaches_the_node() -> None:
    """About the chosen agent, with what was typed, and only after a yes, where it asks."""
    async with opened("agent") as driver:
        for deed in DEEDS:
            row = ROWS[deed.id]
            await begin_again(driver, "agent")
            [agent] = driver.app.page.targets()
            about = {} if deed.on_node else {"agent": agent.pid}  # type: ignore[union-attr]  # of the table
            before = told(driver, deed)
            await press(driver, deed.key)
            if deed.asks or deed.wants or deed.on_node:
                assert dialog(driver) == "DeedDialog", f"{deed.id} asks nothing{screen(driver)}"
                to_the_first = (
                    "" if any(want.needed for want in deed.wants) else "shift+tab " * len(deed.wants)
                )
                await press(driver, to_the_first + filled(row))
                assert told(driver, deed) == before, f"{deed.id} waits for no yes"
                await press(driver, "y")
            expected = [*before, {**row.told, **about, "reason": ""}]
            assert await comes(driver, lambda: told(driver, deed) == expected), (  # noqa: B023  # waited for here
                f"{deed.id}: {told(driver, deed)[len(before) :]} reached the node{screen(driver)}"
            )


async def test_each_deed_can_be_chosen_from_the_menu() -> None:
    """By its key there or by Enter on its line, in turn."""
    async with opened("agent") as driver:
        for number, deed in enumerate(deed for deed in DEEDS if deed.asks or deed.wants or deed.on_node):
            await begin_again(driver, "agent")
            line = [one.id for one in DEEDS].index(deed.id)
            await press(driver, f"A {deed.key}" if number % 2 else f"A home {'down ' * line}enter")
            assert dialog(driver) == "DeedDialog", f"{deed.id}{screen(driver)}"
            assert driver.app.screen.deed is deed  # type: ignore[attr-defined]  # the question


async def test_each_deed_reaches_all_marked_agents() -> None:
    """After the node's name; or says that it is for one agent at a time."""
    async with opened("agent") as driver:
        for deed in (deed for deed in DEEDS if not deed.on_node):
            row = ROWS[deed.id]
            await begin_again(driver, "agent")
            await press(driver, f"U space space {deed.key}")
            if not deed.several:
                assert driver.shows("one agent at a time"), f"{deed.id}{screen(driver)}"
                continue
            pids = [agent.pid for agent in driver.app.table_view.marked.values()]
            if deed.asks or deed.wants:
                assert dialog(driver) == "DeedsDialog", f"{deed.id} asks nothing{screen(driver)}"
                await press(driver, f"{filled(row)} {typed('shop')} enter")
            expected = [{**row.told, "agent": pid, "reason": ""} for pid in pids]
            assert await comes(driver, lambda: told(driver, deed)[-2:] == expected), (  # noqa: B023  # waited for here
                f"{deed.id}: {told(driver, deed)} reached the node{screen(driver)}"
            )


# -- what else takes an operator


class Command(NamedTuple):
    """Keys on a page, what stands on the screen then, the keys that say yes, and what reaches the node."""

    on: Page
    keys: str
    shown: str
    yes: str
    verb: str
    told: object


COMMANDS: dict[str, Command] = {
    "app.trace": Command(
        "app", "Y", "Listen to agents", "enter", "trace",
        ("session-8", {"events": None, "where": "", "count": 1000, "for_s": 60.0, "rate": 1000.0, "reason": ""}),
    ),
    "tasks.cancel_task": Command("tasks", "down down X", "Cancel this task?", "y", "cancel_task", (2, "")),
    "code.reload": Command("code", "r", "y does it", "y", "reload", (["shop.prices"], False, False, "")),
    "code.rollback": Command("code", "u", "y does it", "y", "reload", (["shop.prices", "shop.orders"], False, True, "")),
    "letters.resend": Command("letters", "s", "Send this message again?", "y", "resend", (1204, 33, "")),
    "fleet_agents.kill": Command("fleet_agents", "K", "Kill this agent?", "y", "kill", 404),
}  # fmt: skip


def test_every_action_that_takes_an_operator_has_a_row() -> None:
    """Those on agents have rows of their own."""
    changing = {name_of(one) for one in ACTIONS if one.role != "viewer" and one.page != "agent"}
    assert changing == COMMANDS.keys(), f"no row, or a row too many: {', '.join(changing ^ COMMANDS.keys())}"


@pytest.mark.parametrize("on", sorted({command.on for command in COMMANDS.values()}))
async def test_each_command_reaches_the_node(
    on: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened(on) as driver:
        for name, command in COMMANDS.items():
            if command.on != on:
                continue
            await begin_again(driver, on)
            await press(driver, command.keys)
            assert await comes(driver, lambda: driver.shows(command.shown)), f"{name}{screen(driver)}"  # noqa: B023  # waited for here
            look = asked(command.verb)
            assert look(driver) != [command.told], f"{name} waits for no yes"
            await press(driver, command.yes)
            assert await comes(driver, lambda: look(driver) == [command.told]), (  # noqa: B023  # waited for here
                f"{name}: {look(driver)} reached the node{screen(driver)}"
            )


# -- whom a deed is about

ABOUT: dict[PageName, tuple[str, int | str]] = {
    "overview": ("down", 40),
    "agents": ("", 404),
    "detail": ("", 8),
    "tree": ("down down", 21),
    "findings": ("", 40),
    "approvals": ("down down", 21),
    "log": ("down", 5),
    "letters": ("", 33),
    "budgets": ("", 9),
    "names": ("end up", 10),
    "crashes": ("", "there is no agent on this line"),
    "tasks": ("", "there is no agent on this line"),
    "groups": ("", "there is no agent on this line"),
    "traces": ("", "there is no agent on this line"),
    "audit": ("", "there is no agent on this line"),
    "code": ("", "there is no agent on this line"),
}
"""From the first line of each page: keys, and the pid of the agent there, or what is said when there is none."""


def test_every_page_has_a_row() -> None:
    """Whoever adds one says whom a deed is about there."""
    missing = set(get_args(PageName)) - ABOUT.keys()
    assert not missing, f"no row of ABOUT says whom a deed is about on {', '.join(sorted(missing))}"


async def test_a_deed_is_about_the_agent_on_the_line() -> None:
    """And nothing is asked where there is none."""
    async with opened("detail") as driver:
        for on, (keys, whom) in ABOUT.items():
            await begin_again(driver, on)
            await comes(driver, lambda: driver.app.page.has_picture)
            await begin_again(driver, on)
            driver.app.say("")
            await press(driver, f"{keys} {BY_ID['kill'].key}")
            if isinstance(whom, str):
                assert driver.app.status_bar.said == whom, f"on {on}{screen(driver)}"
            else:
                assert dialog(driver) == "DeedDialog", f"on {on}{screen(driver)}"
                assert driver.app.screen.agent.pid == whom, f"on {on}"  # type: ignore[attr-defined]  # the question
