"""The registry of actions: one truth for keys, help, palette and footer."""

from __future__ import annotations

import pytest
from textual.keys import Keys

from observe.console.app import ObserveApp
from observe.console.bindings import method_of
from observe.console.fleet_app import FleetApp
from observe.console.keys import (
    ACTIONS,
    FLEET_PAGES,
    LINE_KEYS,
    Page,
    available,
    everywhere,
    find,
    footer,
    key_name,
    on_page,
    permitted,
)
from observe.console.pages.agents import AgentsPage
from observe.console.pages.approvals import ApprovalsPage
from observe.console.pages.audit import AuditPage
from observe.console.pages.budgets import BudgetsScreen
from observe.console.pages.code import CodePage
from observe.console.pages.crashes import CrashesPage
from observe.console.pages.detail import DetailPage
from observe.console.pages.findings import FindingsPage
from observe.console.pages.fleet import FleetAgentsPage, NodesPage
from observe.console.pages.groups import GroupsPage
from observe.console.pages.letters import LettersScreen
from observe.console.pages.log import LogScreen
from observe.console.pages.names import NamesScreen
from observe.console.pages.overview import OverviewPage
from observe.console.pages.tasks import TasksScreen
from observe.console.pages.traces import TracesPage
from observe.console.pages.tree import TreePage
from observe.console.replay_app import ReplayApp
from observe.console.widgets.help import help_lines
from observe.console.widgets.line_view import LineView

OWNERS: dict[str, type] = {
    "app": ObserveApp,
    "overview": OverviewPage,
    "agents": AgentsPage,
    "detail": DetailPage,
    "tree": TreePage,
    "crashes": CrashesPage,
    "findings": FindingsPage,
    "groups": GroupsPage,
    "code": CodePage,
    "tasks": TasksScreen,
    "traces": TracesPage,
    "approvals": ApprovalsPage,
    "audit": AuditPage,
    "log": LogScreen,
    "letters": LettersScreen,
    "budgets": BudgetsScreen,
    "names": NamesScreen,
    "replay": ReplayApp,
    "fleet": FleetApp,
    "nodes": NodesPage,
    "fleet_agents": FleetAgentsPage,
    "agent": ObserveApp,
}
PAGES: tuple[Page, ...] = (
    "overview",
    "agents",
    "detail",
    "tree",
    "crashes",
    "findings",
    "code",
    "tasks",
    "groups",
    "traces",
    "approvals",
    "audit",
    "log",
    "letters",
    "budgets",
    "names",
    "nodes",
    "fleet_agents",
)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: f"{action.page}.{action.id}")
def test_every_action_can_be_carried_out(action) -> None:  # type: ignore[no-untyped-def]  # an Action
    """A key in the help that does nothing is worse than none."""
    assert callable(getattr(OWNERS[action.page], f"action_{method_of(action).partition('(')[0]}"))
    assert action.description.endswith(".")


@pytest.mark.parametrize("page", PAGES)
def test_no_key_means_two_things_on_one_page(page: Page) -> None:
    """Not even in a view of lines."""
    keys = [key for action in available(page) for key in action.keys]
    if page not in FLEET_PAGES:  # a recording shows the pages of one node
        keys += [key for action in on_page("replay") for key in action.keys]
    if page != "agents":
        keys += [key for line_keys, _, _ in LINE_KEYS for key in line_keys]
    assert len(keys) == len(set(keys))


def test_every_action_has_a_plain_key() -> None:
    """What ctrl and shift send through tmux and ssh is anybody's guess. The palette also has `:`."""
    for action in ACTIONS:
        assert any("ctrl+" not in key and "shift+" not in key and "alt+" not in key for key in action.keys), (
            action
        )


def test_keys_are_ones_that_textual_knows() -> None:
    """A misspelt key is never pressed."""
    named = {key.value for key in Keys}
    for action in ACTIONS:
        for key in action.keys:
            assert len(key) == 1 or key in named or key_name(key) != key or key.startswith("ctrl+"), key


@pytest.mark.parametrize("page", PAGES)
def test_the_help_names_every_action_of_its_page_and_every_column(page: Page) -> None:
    """It is made from the registry, and so cannot lag behind."""
    text = "\n".join(line.text for line in help_lines(page, "admin", 200))
    for action in available(page):
        assert f"{action.name}: {action.description}" in text
    assert "mailbox>10" in text
    assert "Its share of a core now" in text


@pytest.mark.parametrize("page", PAGES)
def test_every_part_of_the_help_has_a_heading(page: Page) -> None:
    """Those of the page's own keys are the first, and say what page it is."""
    headings = [line.text.strip() for line in help_lines(page, "admin", 200) if line.heading]
    assert all(headings)
    assert headings[0] != "Everywhere"


def test_the_help_says_what_one_may_not_do() -> None:
    """Rather than hiding it: one learns whom to ask."""
    text = "\n".join(line.text for line in help_lines("agents", "viewer", 200))
    assert "takes the role operator; you have viewer" in text


def test_the_help_says_once_that_control_is_to_be_taken_first() -> None:
    text = "\n".join(
        line.text for line in help_lines("agents", "admin", 200, barred="view mode: W takes control first")
    )
    assert text.count("W takes control first") == 1
    assert "takes the role" not in text


@pytest.mark.parametrize(
    ("role", "readonly", "may"),
    [("viewer", False, False), ("operator", False, True), ("admin", False, True), ("admin", True, False)],
)
def test_killing_takes_an_operator_who_did_not_choose_to_look_only(
    role: str, readonly: bool, may: bool
) -> None:
    """The node refuses as well; this is so that nobody tries in vain."""
    assert permitted(find("agent", "kill"), role, readonly=readonly) is may
    assert permitted(find("agents", "open"), role, readonly=readonly)


@pytest.mark.parametrize("page", PAGES)
def test_the_footer_fits_80_columns(page: Page) -> None:
    """And shows what the page is for, help, and the way out."""
    shown = footer(page)
    assert sum(len(key) + len(word) + 3 for key, word, _ in shown) <= 80
    words = [word for _, word, _ in shown]
    assert "help" in words
    assert words[-1] == "quit"
    assert {action.page for _, _, action in shown} <= {page, everywhere(page), "agent"}


def test_views_of_lines_can_do_what_their_keys_say() -> None:
    """As `test_every_action_can_be_carried_out`, for the keys that all of them share."""
    for _, action, _ in LINE_KEYS:
        assert callable(getattr(LineView, f"action_{action}"))
    assert on_page("agents")
