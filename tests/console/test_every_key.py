"""Every key of the console, and what comes of it: each is pressed on its page, and must change what its row says.

`ROWS` has a row for each action of the key map. What is done to agents and to the node has rows in `test_every_deed`, the keys of
dialogs in `test_every_dialog`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from observe.console.bindings import method_of
from observe.console.keymap import name_of
from observe.console.keys import ACTIONS, LINE_KEYS, Page, available
from observe.console.screens import SCREENS
from tests.console.driving import Driver
from tests.console.looking import (
    ANOTHER,
    Row,
    agent,
    asked,
    assert_row,
    begin_again,
    copied,
    cursor,
    dialog,
    files,
    fleet,
    focus,
    left,
    moment,
    narrowed,
    number_of,
    opened,
    page,
    played,
    press,
    shows,
    table,
    times_asked,
    top,
    typing,
    unfolded,
)

ROWS: dict[str, Row] = {
    # everywhere; here from the table of agents
    "app.help": Row(dialog, "HelpOverlay"),
    "app.palette": Row(dialog, "CommandPalette"),
    "app.show_overview": Row(page, "overview"),
    "app.show_agents": Row(page, "agents", first="v"),
    "app.show_tree": Row(page, "tree"),
    "app.show_crashes": Row(page, "crashes"),
    "app.show_findings": Row(page, "findings"),
    "app.show_nodes": Row(shows("attached to one node"), True),
    "app.show_groups": Row(page, "groups"),
    "app.show_code": Row(page, "code"),
    "app.show_tasks": Row(page, "tasks"),
    "app.show_traces": Row(page, "traces"),
    "app.show_approvals": Row(page, "approvals"),
    "app.show_audit": Row(page, "audit"),
    "app.show_log": Row(page, "log"),
    "app.show_letters": Row(page, "letters"),
    "app.show_budgets": Row(page, "budgets"),
    "app.show_names": Row(page, "names"),
    "app.trace": Row(dialog, "TraceDialog"),
    "app.show_held": Row(shows("nobody holds the scheduler"), True),
    "app.finding": Row(narrowed, "mailbox>=100"),
    "app.export": Row(files, [".json"], then="enter"),
    "app.pause": Row(shows("PAUSED"), True, undo="P"),
    "app.back": Row(page, "agents", first="v"),
    "app.history_back": Row(page, "agents", first="v"),
    "app.history_forward": Row(page, "overview", first="v left_square_bracket"),
    "app.control": Row(asked("control"), [(True, 900.0, "why")], first="W", then="w h y enter"),
    "app.deeds": Row(dialog, "DeedMenu"),
    "app.toggle_theme": Row(lambda driver: driver.app.theme, "observe-light", undo="L"),
    "app.leave": Row(page, "agents", first="v"),
    "app.quit": Row(left, 0, alone=True),
    # the overview
    "overview.open": Row(narrowed, "mailbox>=100", first="down"),
    "overview.table": Row(page, "agents"),
    "overview.copy": Row(copied("mailbox that does not get emptier"), True, first="down"),
    # the table of agents
    "agents.open": Row(agent, 404),
    "agents.filter": Row(typing, True),
    "agents.sort_menu": Row(dialog, "SortMenu"),
    "agents.sort_left": Row(table("sort"), "restarts", undo="greater_than_sign"),
    "agents.sort_right": Row(table("sort"), "activity", undo="less_than_sign"),
    "agents.columns": Row(dialog, "ColumnsMenu"),
    "agents.reverse": Row(table("descending"), False, undo="r"),
    "agents.follow": Row(shows("following"), True, undo="F"),
    "agents.mark": Row(number_of("marked"), 1, undo="U"),
    "agents.pin": Row(number_of("pinned"), 1, undo="home p"),
    "agents.unmark": Row(number_of("marked"), 0, first="space"),
    "agents.times": Row(table("as_clock"), True, undo="tilde"),
    "agents.reveal": Row(shows("is out of sight"), False, first="r", undo="r"),
    "agents.copy": Row(copied("session-8 #404"), True),
    "agents.row_down": Row(cursor, 1),
    "agents.row_up": Row(cursor, 0, first="down"),
    "agents.page_down": Row(cursor, 16),
    "agents.page_up": Row(cursor, 0, first="pagedown"),
    "agents.first": Row(cursor, 0, first="pagedown"),
    "agents.last": Row(cursor, 401),
    # one agent
    "detail.open": Row(unfolded, False, undo="enter"),
    "detail.supervisor": Row(agent, 2),
    "detail.copy": Row(copied("Now"), True),
    # the tree
    "tree.open": Row(agent, 1),
    "tree.children": Row(narrowed, "supervisor=1"),
    "tree.filter": Row(typing, True),
    "tree.copy": Row(copied("root #1"), True),
    # crashes
    "crashes.open": Row(focus, "traceback"),
    "crashes.agent": Row(agent, 404),
    "crashes.copy": Row(copied("Traceback (most recent call last)"), True),
    # findings
    "findings.open": Row(agent, 40),
    "findings.table": Row(narrowed, "mailbox>=100"),
    "findings.copy": Row(copied("does not get emptier"), True),
    # tasks
    "tasks.open": Row(focus, "task-stack"),
    "tasks.filter": Row(typing, True),
    "tasks.order": Row(asked("tasks", 1), "age_s", undo="S S S S"),
    "tasks.cancel_task": Row(dialog, "CancelDialog", first="down down"),
    "tasks.copy": Row(copied("packer-0"), True, first="down down"),
    # the code
    "code.open": Row(focus, "code-module"),
    "code.filter": Row(typing, True),
    "code.mark": Row(cursor, 1, undo="home space"),
    "code.only_changed": Row(shows("shop.tools"), False),
    "code.reload": Row(dialog, "ReloadDialog"),
    "code.rollback": Row(dialog, "ReloadDialog"),
    "code.agents": Row(narrowed, "class=Session,Desk", first="down"),
    "code.copy": Row(copied("shop.prices"), True),
    # groups
    "groups.open": Row(narrowed, "class=Session", undo="escape"),
    "groups.next_by": Row(asked("groups", 0), "supervisor"),
    "groups.next_sort": Row(asked("groups", 2), "mailbox", undo="S S S S S S S S S"),
    "groups.copy": Row(copied("400"), True),
    # trace sessions
    "traces.open": Row(agent, 5),
    "traces.filter": Row(typing, True),
    "traces.chart": Row(shows("▶"), True, undo="o o"),
    "traces.order": Row(lambda driver: "no lamp" in driver.app.page.view.lines[0].text, True, undo="S"),  # type: ignore[attr-defined]  # of its page
    "traces.stop": Row(shows("stopped here"), True),
    "traces.save": Row(dialog, "ExportDialog"),
    "traces.copy": Row(copied("session-2"), True),
    # what waits for a person
    "approvals.open": Row(focus, "approval-detail", first="down down"),
    "approvals.open_agent": Row(agent, 21, first="down down"),
    "approvals.copy": Row(copied("session-18"), True, first="down down"),
    # the audit log
    "audit.open": Row(focus, "audit-record"),
    "audit.filter": Row(typing, True),
    "audit.order": Row(top, "record/1", undo="S"),
    "audit.further": Row(shows("there are no records before these"), True),
    "audit.prove": Row(times_asked("audit"), ANOTHER),
    "audit.agent": Row(agent, 7, first="down"),
    "audit.save": Row(dialog, "ExportDialog"),
    "audit.copy": Row(copied('"what":"reload"'), True),
    # the log
    "log.open": Row(unfolded, True, undo="enter"),
    "log.agent": Row(agent, 5, first="down"),
    "log.filter": Row(typing, True),
    "log.level": Row(asked("log", "level"), "info"),
    "log.follow": Row(shows("following"), True),
    "log.copy": Row(copied("the till is on fire"), True, first="end"),
    # dead letters
    "letters.open": Row(focus, "letter-detail"),
    "letters.agent": Row(agent, 33),
    "letters.filter": Row(typing, True),
    "letters.next_by": Row(shows("by why"), True),
    "letters.resend": Row(dialog, "ResendDialog"),
    "letters.copy": Row(copied("ended"), True),
    # budgets
    "budgets.open": Row(agent, 9),
    "budgets.by_class": Row(asked("budgets", 0), "class", undo="o o"),
    "budgets.next_sort": Row(asked("budgets", 1), "left_s"),
    "budgets.filter": Row(typing, True),
    "budgets.copy": Row(copied("session-6"), True),
    # process groups and names
    "names.open": Row(agent, 10, first="end up"),
    "names.filter": Row(typing, True),
    "names.copy": Row(copied("session-8"), True, first="end"),
    # a recording: two minutes, with a crash in the middle
    "replay.play": Row(played("is_paused"), False, undo="vertical_line"),
    "replay.back_10": Row(moment, 0, first="right_parenthesis"),
    "replay.on_10": Row(moment, 10, undo="left_parenthesis"),
    "replay.back_60": Row(moment, 0, first="right_curly_bracket"),
    "replay.on_60": Row(moment, 60, undo="left_curly_bracket"),
    "replay.next_crash": Row(moment, 60, undo="left_curly_bracket"),
    "replay.crash_before": Row(moment, 60, first="right_curly_bracket right_parenthesis", undo="left_curly_bracket"),
    "replay.go_to": Row(moment, 120, then="e n d enter", undo="left_curly_bracket left_curly_bracket"),
    "replay.faster": Row(played("speed"), 2.0, undo="underscore"),
    "replay.slower": Row(played("speed"), 0.5, undo="circumflex_accent"),
    # several nodes
    "fleet.help": Row(dialog, "HelpOverlay"),
    "fleet.palette": Row(dialog, "CommandPalette"),
    "fleet.show_nodes": Row(fleet("shown"), "nodes", first="a"),
    "fleet.show_agents": Row(fleet("shown"), "fleet_agents"),
    "fleet.back": Row(fleet("shown"), "nodes", first="a"),
    "fleet.control": Row(lambda driver: driver.app.node.control and driver.app.node.control.reason, "why", first="W", then="w h y enter"),
    "fleet.toggle_theme": Row(fleet("theme"), "observe-light"),
    "fleet.leave": Row(fleet("shown"), "nodes", first="a"),
    "fleet.quit": Row(left, 0, alone=True),
    "nodes.open": Row(lambda driver: driver.app.opening and driver.app.opening.node, "east", alone=True),
    "nodes.copy": Row(copied("east"), True),
    "fleet_agents.open": Row(lambda driver: driver.app.opening and driver.app.opening.pid, 404, alone=True),
    "fleet_agents.filter": Row(typing, True),
    "fleet_agents.sort_menu": Row(dialog, "SortMenu"),
    "fleet_agents.reverse": Row(lambda driver: driver.node.requests[-1][1].descending, False, undo="r"),
    "fleet_agents.kill": Row(dialog, "DeedDialog"),
    "fleet_agents.copy": Row(copied("session-8"), True),
    # views made of lines; here the dead letters
    "lines.line_down": Row(cursor, 1),
    "lines.line_up": Row(cursor, 0, first="down"),
    "lines.view_down": Row(cursor, 7),
    "lines.view_up": Row(cursor, 0, first="end"),
    "lines.first": Row(cursor, 0, first="end"),
    "lines.last": Row(cursor, 7),
    "lines.unfold": Row(unfolded, True, first="left"),
    "lines.fold": Row(unfolded, False, undo="right"),
    "lines.unfold_all": Row(unfolded, False, undo="right"),
    "lines.other_view": Row(focus, "letter-detail"),
}  # fmt: skip


TEXTUALS = {"command_palette": "palette"}
"""Actions of Textual that ours only call; it has its own key for them."""

ELSEWHERE = {"agent"}
"""Pages of the key map whose rows are in another test."""

LISTED = [page for page in dict.fromkeys(action.page for action in ACTIONS) if page not in ELSEWHERE]


def key_map(of: str) -> dict[str, tuple[str, ...]]:
    """The actions of one page of the key map, with their keys."""
    if of == "lines":
        return {f"lines.{action}": keys for keys, action, _ in LINE_KEYS}
    return {name_of(action): action.keys for action in ACTIONS if action.page == of}


def test_every_action_of_the_key_map_has_a_row() -> None:
    """Whoever adds one says here what comes of it."""
    names = {name for of in (*LISTED, "lines") for name in key_map(of)}
    assert not names - ROWS.keys(), (
        f"no row of ROWS says what comes of {', '.join(sorted(names - ROWS.keys()))}"
    )
    assert not ROWS.keys() - names, (
        f"rows of actions that do not exist: {', '.join(sorted(ROWS.keys() - names))}"
    )


@pytest.mark.parametrize("of", [*LISTED, "lines"])
async def test_every_key_arrives_and_does_what_its_row_says(
    of: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one console, one after another; those that end it, each on its own."""
    monkeypatch.chdir(tmp_path)
    shared = {name: keys for name, keys in key_map(of).items() if not ROWS[name].alone}
    async with opened(of) as driver:
        if of in SCREENS or of == "detail":
            await _press_all(driver, of)  # type: ignore[arg-type]  # a page
        for name, keys in shared.items():
            for key in keys:
                await assert_row(driver, of, name, ROWS[name], key)
    for name in key_map(of).keys() - shared.keys():
        for key in key_map(of)[name]:
            async with opened(of) as driver:
                await assert_row(driver, of, name, ROWS[name], key)


async def _press_all(driver: Driver, on: Page) -> None:
    """What works everywhere does so here: no part of the page keeps a key for itself, and none goes to another action."""
    arrived: list[str] = []

    async def note(action: str, *_: object, **__: object) -> bool:
        if action == "screen.copy_text":
            return False  # of Textual: nothing has been selected with the mouse, so ctrl+c goes on to us
        arrived.append(TEXTUALS.get(action, action))
        return True

    wanted = [(key, method_of(action)) for action in available(on) for key in action.keys]
    if on != "agents":
        wanted += [(key, action) for keys, action, _ in LINE_KEYS for key in keys]
    await begin_again(driver, on)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver.app, "run_action", note)
        await press(driver, " ".join(key for key, _ in wanted))
    lost = {key: came for (key, action), came in zip(wanted, arrived, strict=False) if action != came}
    assert arrived == [action for _, action in wanted], f"on {on} these keys do something else: {lost}"
