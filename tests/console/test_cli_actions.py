"""The verbs that act on agents, against a real service in another process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.console.test_cli_data import Running, service, terminal

SCRIPT = Path(__file__).parent / "service_to_act_on.py"


@pytest.fixture(scope="module")
def office() -> Iterator[Running]:
    """One service for all tests; each has an agent of its own, or leaves it as it was."""
    with service("office", SCRIPT) as running:
        running.until(lambda: running.json("ps", "office", "--filter", "name=careful")["agents"])
        yield running


def row(office: Running, agent: str) -> dict[str, Any]:
    found: dict[str, Any] = office.json("inspect", "office", agent)["agent"]
    return found


def field(office: Running, agent: str, name: str) -> str:
    items = dict(office.json("inspect", "office", agent)["state"]["items"])
    return str(items[name]["text"])


def test_a_suspended_agent_queues_what_is_dropped_moved_and_then_handled(office: Running) -> None:
    """A poisoned mailbox is cleaned from a shell, without killing its owner."""
    assert office.json("suspend", "office", "session-0")["done"]
    for message in ('{"order": 1}', '"poison"', "[-1]"):
        office.json("send", "office", "session-0", message)
    looked = office.json("drop", "office", "session-0", "--containing", "poison", "--dry-run")
    assert (looked["dry_run"], looked["facts"]["taken"], looked["facts"]["queued"]) == (True, 1, 3)
    dropped = office.json("drop", "office", "session-0", "--containing", "poison")
    assert dropped["facts"] == {"queued": 2, "taken": 1}
    moved = office.json("move", "office", "session-0", "session-1", "--newest", "1")
    assert moved["facts"]["queued"] == 1
    status, out, err = office.observe("resume", "office", "session-0")
    assert (status, err) == (0, "")
    assert "goes on" in out
    office.until(lambda: "order" in field(office, "session-0", "kept"))
    office.until(lambda: "-1" in field(office, "session-1", "kept"))


def test_a_message_that_is_nested_too_deeply_is_a_no_at_once(office: Running) -> None:
    """The node would not read it, and not answer."""
    for verb, *what in (("send",), ("edit", "kept")):
        status, out, err = office.observe(verb, "office", "session-0", *what, "[" * 20 + "]" * 20)
        assert (status, out, "nested too deeply" in err) == (1, "", True), err
    assert office.json("send", "office", "session-1", "[" * 9 + "]" * 9)["done"]


def test_a_field_is_edited_and_a_wrong_value_is_a_no(office: Running) -> None:
    """A typo must not break an agent."""
    looked = office.json("edit", "office", "session-1", "limit", "20", "--dry-run")
    assert looked["diff"] == [{"path": "/limit", "old": "10", "new": "20"}]
    assert field(office, "session-1", "limit") == "10"
    office.json("edit", "office", "session-1", "limit", "20", "--reason", "asked for")
    assert field(office, "session-1", "limit") == "20"
    status, out, err = office.observe("edit", "office", "session-1", "limit", "many", "--text")
    assert (status, out) == (1, "")
    assert "limit" in err


def test_a_hung_activity_is_cancelled_and_a_stranger_is_a_no(office: Running) -> None:
    pid = row(office, "session-2")["pid"]
    office.json("send", "office", "session-2", "hang", "--text")
    office.until(lambda: row(office, "session-2")["activity"] == "tool:search")
    status, _, err = office.observe("cancel", "office", "session-2", "tool:other")
    assert status == 1
    assert "tool:search" in err
    assert office.json("cancel", "office", "session-2", "tool:search", "--reason", "hangs")["done"]
    office.until(lambda: row_or_none(office, "session-2") not in (None, pid))


def row_or_none(office: Running, agent: str) -> int | None:
    agents = office.json("ps", "office", "--filter", f"name={agent}")["agents"]
    return agents[0]["pid"] if agents else None


def test_a_step_that_still_runs_is_told_as_not_done(office: Running) -> None:
    """A script must not believe that the agent stands still."""
    office.json("send", "office", "session-3", "hang", "--text")
    office.until(lambda: row(office, "session-3")["activity"] == "tool:search")
    status, out, err = office.observe("suspend", "office", "session-3", "--json")
    assert status == 1
    assert '"done": false' in out
    assert "when its step ends" in err
    assert office.json("resume", "office", "session-3")["done"]


@pytest.mark.parametrize("arguments", [("restart", "--from", "checkpoint"), ("next-rung",), ("stop",)])
def test_an_orderly_end_brings_a_successor(office: Running, arguments: tuple[str, ...]) -> None:
    """On a loaded machine the answer may come before the end (status 1): what counts is who is there then."""
    old = office.until(lambda: row_or_none(office, "careful"))
    verb, *rest = arguments
    if "checkpoint" in rest:
        office.json("checkpoint", "office", "careful")
    status, _, err = office.observe(verb, "office", "careful", *rest)
    assert status == 0 or "under way" in err or "no rung" in err, err
    office.until(lambda: row_or_none(office, "careful") not in (None, old))


@pytest.mark.parametrize("verb", ["next-rung", "reset-budget"])
def test_what_an_agent_does_not_have_is_a_no(office: Running, verb: str) -> None:
    status, out, err = office.observe(verb, "office", "session-1")
    assert (status, out) == (1, "")
    assert "session-1" in err


def test_the_nodes_own_actions(office: Running) -> None:
    assert office.json("log-level", "office", "debug", "some.logger")["facts"] == {"before": "NOTSET"}
    status, out, _ = office.observe("gc", "office", "--generation", "0")
    assert status == 0
    assert "unreachable" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("send", "{order: 3}"),
        ("send", "NaN"),
        ("send", str(2**64)),
        ("send", '"\\ud800"'),
        ("send", "[" * 100_000),
        ("edit", "", "1"),
        ("drop",),
        ("drop", "--all", "--oldest", "1"),
        ("move", "session-1"),
        ("restart", "--from", "nothing"),
        ("cancel", "x" * 300),
    ],
)
def test_wrong_arguments_are_wrong_usage(office: Running, arguments: tuple[str, ...]) -> None:
    """A script tells its own mistakes from the node's, and nothing is sent."""
    verb, *rest = arguments
    status, out, err = office.observe(verb, "office", "session-1", *rest)
    assert (status, out) == (2, "")
    assert "Error: " in err
    assert "fault of observe" not in err


def test_at_a_terminal_the_change_is_shown_before_the_question(office: Running) -> None:
    """Who says yes has seen to what."""
    before = field(office, "careful", "limit")
    with terminal(office, "edit", "office", "careful", "limit", "77") as child:
        child.expect("limit of .* would become 77; it is 10")
        child.expect(r"Edit careful \(pid \d+, .*\) on office@.*\?")
        child.sendline("n")
        child.expect("Not edited")
        child.expect(pexpect.EOF)
    assert child.exitstatus == 1
    assert field(office, "careful", "limit") == before


def test_an_agent_is_fenced_in_and_let_out_from_a_shell_and_lists_say_so(office: Running) -> None:
    """With what its class allows, unless the command says what; a list in which nobody is contained has no column for it."""
    assert "CONTAINED" not in office.observe("ps", "office")[1]
    assert office.json("contain", "office", "session-3", "isolated", "--reason", "runs away")["done"]
    office.until(lambda: "CONTAINED" in office.observe("ps", "office")[1])
    out = office.observe("inspect", "office", "session-3")[1]
    assert "suspended  isolated" in out.splitlines()[0]
    assert "isolated by admin" in out
    assert "runs away" in out
    restricted = office.json(
        "contain", "office", "session-3", "restricted", "--tools", "model:*, tool:search"
    )
    assert restricted["done"]
    assert "tools model:*, tool:search" in office.observe("inspect", "office", "session-3")[1]
    assert office.json("contain", "office", "session-3", "none")["done"]
    office.until(lambda: row(office, "session-3")["containment"] == "none")
