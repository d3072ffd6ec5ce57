"""The one table of actions agrees with the wire and with the command line."""

from __future__ import annotations

import pytest

from observe.console.cli import COMMANDS, main
from observe.console.deeds import BY_ID, DEEDS, Deed, arguments_of, messages_of, question
from observe.console.lines import Line
from observe.console.prefilled import as_json, from_line
from observe.probe.wire import VERBS
from observe.probe.wire_agent import ActivityLine, Detail
from tests.console.fake_facts import value

ELSEWHERE = {
    "control",
    "rotate_key",
    "cancel_task",
    "resend",
    "canary",
    "reload",
    "trace",
    "trace_function",
    "profile",
} | {"reload_policies"}
"""Commands that are about no agent and have a key, or a command, of their own."""


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.id)
def test_each_deed_is_a_verb_of_the_wire_with_its_role_and_a_command(deed: Deed) -> None:
    """What the console greys out is what the node would refuse."""
    role, model = VERBS[deed.verb]
    assert deed.role == role
    assert ("agent" in model.model_fields) is not deed.on_node
    assert deed.id in COMMANDS
    assert deed.undo == "" or deed.undo in BY_ID
    assert deed.rehearses is ("dry_run" in model.model_fields)


def test_every_action_of_the_wire_can_be_done_from_a_terminal() -> None:
    """A verb that only scripts reach is none at three in the morning."""
    commands = {verb for verb, (role, model) in VERBS.items() if "command_id" in model.model_fields}
    assert commands - {deed.verb for deed in DEEDS} <= ELSEWHERE


def test_the_command_s_help_is_the_table_s() -> None:
    """One text, one truth."""
    for deed in DEEDS:
        command = main.get_command(None, deed.id)  # type: ignore[arg-type]  # no context is needed
        assert command is not None
        assert deed.description in (command.help or "")
        assert f"observe {deed.id} shop" in (command.help or "")


def test_what_a_person_types_becomes_arguments() -> None:
    """Or a sentence that says what is missing."""
    edit, drop, move = BY_ID["edit"], BY_ID["drop"], BY_ID["move"]
    assert arguments_of(edit, {"field": "limit", "value": "[1, true]"}) == {
        "field": "limit",
        "value": [1, True],
    }
    assert arguments_of(drop, {"messages": "containing a b"}) == {"containing": "a b"}
    assert arguments_of(move, {"to": "7", "messages": "all"}) == {"to": 7, "everything": True}
    assert arguments_of(BY_ID["restart"], {"source": ""}) == {"source": "spec"}
    assert arguments_of(BY_ID["log-level"], {"level": "debug"}) == {"level": "DEBUG"}
    assert arguments_of(BY_ID["cancel"], {"activity": ""}) == {}


@pytest.mark.parametrize(
    ("deed", "said", "why"),
    [
        ("edit", {"field": "limit", "value": "twenty"}, "text goes into quotes"),
        ("edit", {"value": "1"}, "say field"),
        ("edit", {"field": "limit", "value": "1e999999" + "0" * 20 + "x"}, "no JSON value"),
        ("edit", {"field": "limit", "value": "NaN"}, "not in JSON"),
        ("edit", {"field": "limit", "value": str(2**64)}, "64 bits"),
        ("edit", {"field": "limit", "value": "[" * 100_000}, "too deeply"),
        ("drop", {"messages": "oldest 0"}, "say which messages"),
        ("drop", {"messages": "some"}, "say which messages"),
        ("restart", {"source": "backup"}, "none of spec, checkpoint, fresh"),
    ],
)
def test_what_cannot_be_read_is_said_in_words(deed: str, said: dict[str, str], why: str) -> None:
    """Nothing is sent that was not meant."""
    with pytest.raises(ValueError, match=why):
        arguments_of(BY_ID[deed], said)


def test_the_question_names_the_agent_and_what_is_meant() -> None:
    """Braces in a name are text."""
    assert question(BY_ID["cancel"], "a {x}", {"activity": "tool:{y}"}) == "Cancel tool:{y} of a {x}"
    assert question(BY_ID["cancel"], "a", {"activity": ""}) == "Cancel the innermost activity of a"
    assert messages_of("newest 12") == {"newest": 12}


def detail() -> Detail:
    return Detail(
        agent={"pid": 7}, state=value({"limit": 10, "orders": {"'alice'": [1, "two"]}, "api_key": "x"}),
        mailbox=[value({"n": n}) for n in range(3)], mailbox_total=3,
        activities=[ActivityLine(name="tool:search", since_s=4.0)],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("deed", "key", "expected"),
    [
        ("edit", "state/0:limit", {"field": "limit", "value": "10"}),
        ("edit", "state/1:orders/0:'alice'/1:1", {"field": "orders.alice.1", "value": '"two"'}),
        ("edit", "state/2:api_key", {"field": "api_key", "value": ""}),
        ("edit", "state", {}),
        ("drop", "mailbox/0", {"messages": "oldest 1"}),
        ("move", "mailbox/2/0:n", {"messages": "newest 1"}),
        ("drop", "mailbox/1", {"messages": "containing {'n': 1}"}),
        ("cancel", "now/0", {"activity": "tool:search"}),
        ("cancel", "now/status", {}),
        ("send", "mailbox/0", {}),
    ],
)
def test_the_line_under_the_cursor_says_what_is_meant(deed: str, key: str, expected: dict[str, str]) -> None:
    """`e` on a value edits that value; nobody types a path that is on the screen."""
    assert from_line(BY_ID[deed], detail(), Line(key, ())) == expected


def test_a_value_that_is_cut_is_not_offered_for_editing() -> None:
    """Its end would be lost."""
    whole = value("text")
    assert as_json(whole) == '"text"'
    assert as_json(whole.model_copy(update={"cut": True})) == ""
