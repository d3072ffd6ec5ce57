"""`observe policies`, as a person and a script see it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from observe.console.cli import main
from observe.console.policy_lines import lines

FILE = """\
version: 1
rules:
  - {policy: refunds, effect: deny, on: "tool:refund", agents: [Session], where: {amount: ">100"}, reason: too much}
  - {policy: ledger, effect: deny, kind: send, on: Ledger, hours: 22:00-23:00}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "shop.yaml"
    path.write_text(FILE)
    return str(path)


def observe(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["policies", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_a_file_is_checked_without_a_node(file: str) -> None:
    status, out, err = observe("check", file)
    assert (status, err) == (0, "")
    assert out.startswith(f"{file} is right: 2 rules, version ")
    Path(file).write_text(FILE.replace("deny", "dney"))
    status, out, err = observe("check", file)
    assert (status, out) == (1, "")
    assert [line.removeprefix(file).split(": effect")[0] for line in err.splitlines()] == [
        ":3: refunds",
        ":4: ledger",
    ]
    status, out, _ = observe("check", file, "--json")
    assert (status, [one["line"] for one in json.loads(out)["faults"]]) == (1, [3, 4])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--activity", "tool:refund", "--agent", "Session", "--arg", "amount=500"],
            "deny by refunds: too much",
        ),
        (["--activity", "tool:refund", "--agent", "Session", "--arg", "amount=5"], "allow: no rule fits"),
        (
            ["--activity", "tool:refund", "--agent", "Session", "--arg", "amount=lots"],
            "deny by refunds: too much",
        ),
        (["--activity", "tool:refund", "--agent", "Other", "--arg", "amount=500"], "allow: no rule fits"),
        (["--send", "Ledger", "--at", "22:30"], "deny by ledger"),
        (["--send", "Ledger", "--at", "23:30"], "allow: no rule fits"),
    ],
)
def test_a_file_is_asked_what_it_would_say(file: str, arguments: list[str], said: str) -> None:
    status, out, _ = observe("check", file, *arguments)
    assert (status, out.splitlines()[1]) == (0, said)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--activity", "a", "--send", "b"],
        ["--agent", "a"],
        ["--activity", "a", "--arg", "b"],
        ["--activity", "a", "--at", "25:00"],
    ],
)
def test_wrong_usage_is_said_so(file: str, arguments: list[str]) -> None:
    assert observe("check", file, *arguments)[0] == 2


def test_a_node_is_named_without_a_verb() -> None:
    """`observe policies shop` is what people type."""
    status, _, err = observe("nowhere-at-all")
    assert status == 2
    assert "no node named nowhere-at-all" in err
    assert "policies show [OPTIONS] NODE" in observe("show", "--help")[1]


def test_what_holds_is_a_table() -> None:
    rule = {
        "policy": "refunds", "effect": "contain", "kind": "activity", "on": "tool:refund", "agents": ["Session"],
        "where": {"amount": ">100"}, "hours": "", "level": "restricted", "fitted": 1200, "denied": 3, "reason": "",
    }  # fmt: skip
    held: dict[str, Any] = {
        "source": "shop.yaml",
        "version": "ab",
        "since": 0.0,
        "refused": "shop.yaml:3: no",
        "judges": 1,
    }
    held |= {"machines": [], "caps": [], "findings": [], "forgotten": 0}
    said = lines(held | {"rules": [rule, rule | {"kind": "send", "on": "Ledger", "agents": ["*"]}]})
    assert said[1] == "NOT IN FORCE, those of before hold: shop.yaml:3: no"
    assert said[3:] == [
        "fitted  denied  effect              policy   what                            agents",
        " 1,200       3  contain restricted  refunds  tool:refund amount>100          Session",
        " 1,200       3  contain restricted  refunds  a message to Ledger amount>100",
    ]
    assert lines({"source": "", "judges": 0}) == ["no policies: Node(policies=...) declares them"]
    machine = {
        "policy": "paid", "effect": "deny", "level": "", "agents": ["*"], "states": 2, "per": "order", "reason": "",
        "violations": 7, "denied": 6,
    }  # fmt: skip
    assert lines(held | {"rules": [], "machines": [machine], "forgotten": 3})[3:] == [
        "no rules: everything is allowed",
        "",
        "violations  denied  effect  policy  states  per    agents",
        "         7       6  deny    paid         2  order",
        "3 conversations were forgotten: an agent had too many",
    ]
    finding = {"policy": "loops", "check": "same_call", "level": "isolated", "agents": ["A"], "contained": 2}
    assert lines(held | {"rules": [], "findings": [finding]})[3:] == [
        "no rules: everything is allowed",
        "",
        "contained  level     policy  finding    agents",
        "        2  isolated  loops   same_call  A",
    ]
    cap = {
        "policy": "daily", "per": "tenant", "agents": ["Session"], "limits": {"tool_calls": 40.0, "cost": 2.5}, "of": ["tool:*"],
        "every_s": 86_400.0, "effect": "deny", "level": "", "warn_at": 0.8, "warn_level": "", "reason": "", "denied": 1200,
        "worst": [{"key": "acme", "share": 1.04}, {"key": "", "share": 0.5}],
    }  # fmt: skip
    whole = cap | {"per": "node", "limits": {"tokens": 1e6}, "every_s": 0.0, "agents": ["*"], "worst": []}
    assert lines(held | {"rules": [], "caps": [cap, whole]})[3:] == [
        "no rules: everything is allowed",
        "",
        "denied  effect  policy  per     allowed                              most         agents",
        " 1,200  deny    daily   tenant  tool_calls 40, cost 2.5 every 1d00h  104% acme    Session",
        "                                                                     50% unknown",
        " 1,200  deny    daily   node    tokens 1,000,000",
    ]
