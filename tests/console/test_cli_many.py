"""One action on many agents, chosen by a filter, against a real service in another process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.console.test_cli_data import Running, service, terminal

SCRIPT = Path(__file__).parent / "service_of_many.py"


@pytest.fixture(scope="module")
def crowd() -> Iterator[Running]:
    """Agents in groups by name; each test has a group of its own."""
    with service("crowd", SCRIPT) as running:
        running.until(lambda: running.json("ps", "crowd", "--filter", "name~kept-")["matched"] == 4)
        yield running


def pids(crowd: Running, group: str) -> dict[str, int]:
    agents = crowd.json("ps", "crowd", "--filter", f"name~{group}-")["agents"]
    return {agent["name"]: agent["pid"] for agent in agents}


def many(crowd: Running, *arguments: str, status: int = 0) -> dict[str, Any]:
    got, out, err = crowd.observe(*arguments, "--json")
    assert got == status, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_a_dry_run_tells_what_goes_with_each_and_leaves_them_alone(crowd: Running) -> None:
    before = pids(crowd, "kept")
    crowd.json("suspend", "crowd", "kept-1")
    crowd.json("send", "crowd", "kept-1", '"waits"')
    crowd.until(lambda: many(crowd, "kill", "crowd", "--where", "name~kept-1 mailbox=1", "--dry-run"))
    found = many(crowd, "kill", "crowd", "--where", "name~kept-", "--dry-run")
    assert {one["name"]: one["pid"] for one in found["agents"]} == before
    goes = {one["name"]: one["goes"] for one in found["agents"]}
    assert goes["kept-1"] == "1 message will be lost"
    assert goes["kept-2"] == "its supervisor will restart it"
    assert found["summary"] == {"not sent": 4}
    status, out, err = crowd.observe("kill", "crowd", "--where", "name~kept-", "--dry-run")
    assert (status, out) == (0, "")
    assert "kill: 4 agents of crowd@" in err
    assert pids(crowd, "kept") == before
    assert crowd.json("resume", "crowd", "kept-1")["done"]


def test_a_supervisor_whose_children_end_takes_others_along_and_that_is_told(crowd: Running) -> None:
    found = many(crowd, "kill", "crowd", "--where", "name=strict", "--dry-run")
    assert found["agents"][0]["goes"].startswith("4 agents will end with it")
    [warning] = many(crowd, "kill", "crowd", "--where", "name~frail-", "--dry-run")["warnings"]
    assert "strict" in warning
    assert "gives up after 1 restart" in warning
    slowly = many(crowd, "kill", "crowd", "--where", "name~frail-", "--dry-run", "--rate", "0.1")
    assert slowly["warnings"] == []


def test_those_that_match_are_killed_and_each_is_on_record(crowd: Running) -> None:
    before = pids(crowd, "ended")
    found = many(crowd, "kill", "crowd", "--where", "name~ended-", "--yes", "--reason", "stuck since noon")
    assert found["summary"] == {"done": 4}
    crowd.until(lambda: not set(pids(crowd, "ended").values()) & set(before.values()))
    _, out, _ = crowd.observe("audit", "search", "crowd", "stuck since noon", "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert sorted(one["target"]["pid"] for one in records if one["phase"] == "completed") == sorted(
        before.values()
    )
    assert len({one["reason"] for one in records}) == 1
    assert "one of 4 where name~ended-" in records[0]["reason"]


def test_arguments_of_the_action_stand_where_they_always_do(crowd: Running) -> None:
    """Without an agent in between."""
    found = many(crowd, "send", "crowd", '{"order": 3}', "--where", "name~told-", "--yes")
    assert found["summary"] == {"done": 4}
    crowd.until(lambda: "order" in str(crowd.json("inspect", "crowd", "told-3")["state"]["items"]))
    looked = many(crowd, "edit", "crowd", "limit", "20", "--where=name~told-", "--dry-run")
    assert all("would become 20" in one["goes"] for one in looked["agents"])
    moved = many(crowd, "move", "crowd", "told-0", "--all", "--where", "name=told-1", "--yes")
    assert moved["summary"] == {"done": 1}


def test_what_an_agent_refuses_is_told_of_it_alone(crowd: Running) -> None:
    found = many(crowd, "reset-budget", "crowd", "--where", "name~kept-", "--yes", status=1)
    assert found["summary"] == {"refused": 4}
    assert all(one["what"] for one in found["agents"])


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (("kill", "--where", "name~kept-"), 2, "--yes"),
        (("kill", "--where", "mailbox>>1", "--yes"), 2, ""),
        (("kill", "--where", "name=nobody", "--yes"), 1, "no agent"),
        (("kill", "--where", "name~kept-", "--yes", "--limit", "3"), 1, "4 agents"),
        (("kill", "kept-1", "--where", "name~kept-", "--yes"), 2, "kept-1"),
        (("kill", "kept-1", "--dry-run"), 2, "--where"),
        (("kill",), 2, "AGENT"),
    ],
)
def test_a_list_that_is_not_meant_hits_nobody(
    crowd: Running, arguments: tuple[str, ...], status: int, word: str
) -> None:
    before = pids(crowd, "kept")
    verb, *rest = arguments
    got, out, err = crowd.observe(verb, "crowd", *rest)
    assert (got, out) == (status, ""), err
    assert word in err
    assert pids(crowd, "kept") == before


def test_at_a_terminal_the_count_is_typed_and_only_who_was_shown_is_hit(crowd: Running) -> None:
    """Agents that began to match while somebody read the list are left alone."""
    before = pids(crowd, "typed")
    with terminal(crowd, "kill", "crowd", "--where", "name~typed- -name=typed-3") as child:
        child.expect("Type 3 to kill them: ")
        child.sendline("4")
        child.expect("Not killed")
        child.expect(pexpect.EOF)
    assert child.exitstatus == 1
    assert pids(crowd, "typed") == before
    with terminal(crowd, "kill", "crowd", "--where", "name~typed- -name=typed-3") as child:
        child.expect("Type 3 to kill them: ")
        crowd.json("kill", "crowd", "typed-1")
        crowd.until(lambda: pids(crowd, "typed").get("typed-1") not in (None, before["typed-1"]))
        successor = pids(crowd, "typed")["typed-1"]
        child.sendline("3")
        child.expect("2 of 3 killed, 1 had ended before")
        child.expect(pexpect.EOF)
    assert child.exitstatus == 0
    after = crowd.until(lambda: found if len(found := pids(crowd, "typed")) == 4 else None)
    assert after["typed-1"] == successor
    assert after["typed-3"] == before["typed-3"]
    assert after["typed-0"] != before["typed-0"]


def test_an_interrupted_list_tells_who_was_not_begun_with(crowd: Running) -> None:
    """Nothing goes on without the person who could stop it."""
    with terminal(crowd, "suspend", "crowd", "--where", "name~slow-", "--yes", "--rate", "0.02") as child:
        child.expect("done +slow-0")
        child.sendintr()
        child.expect("1 of 4 suspended, 3 not begun with")
        child.expect(pexpect.EOF)
    assert child.exitstatus == 130
    suspended = crowd.json("ps", "crowd", "--filter", "name~slow- status=suspended")["agents"]
    assert [one["name"] for one in suspended] == ["slow-0"]
