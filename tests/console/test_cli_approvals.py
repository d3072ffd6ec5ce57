"""What waits for a person, listed and decided from a shell, against a real service in another process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.console.test_cli_data import Running, service, terminal

SCRIPT = Path(__file__).parent / "service_that_asks.py"


@pytest.fixture(scope="module")
def bank() -> Iterator[Running]:
    """Each test has a teller of its own."""
    with service("bank", SCRIPT) as running:
        running.until(lambda: running.json("ps", "bank", "--filter", "name~teller-")["matched"] == 4)
        yield running


def waiting(bank: Running, teller: str) -> dict[str, Any] | None:
    found = [one for one in bank.json("approvals", "bank")["approvals"] if one["name"] == teller]
    return found[0] if found else None


def ask(bank: Running, teller: str, amount: str) -> dict[str, Any]:
    """Let a teller ask for a refund, and what is then seen to wait."""
    bank.json("send", "bank", teller, amount, "--text")
    found: dict[str, Any] = bank.until(lambda: waiting(bank, teller))
    return found


def done(bank: Running, teller: str) -> str:
    items = dict(bank.json("inspect", "bank", teller)["state"]["items"])
    return str(items["done"])


def test_what_waits_is_listed_seen_and_granted_with_who_and_why_on_record(bank: Running) -> None:
    one = ask(bank, "teller-0", "ten")
    assert (one["activity"], one["ask"], one["needed"], one["on_timeout"]) == (
        "tool:refund", "ten to ann", 1, "deny",
    )  # fmt: skip
    assert 0 < one["left_s"] < 600
    assert "sk-secret" not in json.dumps(one)
    bank.until(lambda: (waiting(bank, "teller-0") or {}).get("told") == ["shift lead"])
    row = bank.until(lambda: bank.json("ps", "bank", "--filter", "activity=approval:tool:refund")["agents"])
    assert (row[0]["name"], row[0]["status"]) == ("teller-0", "waiting")
    status, out, err = bank.observe("approvals", "bank")
    assert (status, err) == (0, "")
    assert "teller-0" in out
    assert "ten to ann" in out
    assert "escalated to shift lead" in out
    granted = bank.json("approve", "bank", "teller-0", "--reason", "a known customer")
    assert granted["done"]
    bank.until(lambda: "refunded ten" in done(bank, "teller-0"))
    _, out, _ = bank.observe("audit", "search", "bank", "a known customer", "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert [one["phase"] for one in records if one["what"] == "approve"] == ["requested", "completed"]
    assert records[0]["who"]["role"] == "admin"

    def of_the_agent() -> list[dict[str, Any]]:
        found = bank.observe("audit", "search", "bank", "--what", "governed_approval", "--json")[1]
        lines = [json.loads(line) for line in found.splitlines()]
        return [line for line in lines if line["command_id"] == f"approval-{one['number']}"]

    bank.until(lambda: len(of_the_agent()) >= 3)
    assert [(line["phase"], line["outcome"]["verdict"]) for line in of_the_agent()] == [
        ("requested", "approve"), ("requested", "escalate"), ("completed", "allow"),
    ]  # fmt: skip
    assert waiting(bank, "teller-0") is None


def test_what_is_refused_is_not_done_and_the_agent_learns_why(bank: Running) -> None:
    number = ask(bank, "teller-1", "twenty")["number"]
    status, _, err = bank.observe("refuse", "bank", "teller-1", str(number + 50))
    assert status == 1
    assert f"it has {number} (tool:refund)" in err
    assert bank.json("refuse", "bank", "teller-1", str(number), "--reason", "twice the price")["done"]
    bank.until(lambda: "twice the price" in done(bank, "teller-1"))
    assert "refunded" not in done(bank, "teller-1")
    newest = bank.json("approvals", "bank")["decided"][0]
    assert (newest["number"], newest["outcome"], newest["allowed"], newest["reason"]) == (
        number, "refused", False, "twice the price",
    )  # fmt: skip
    assert "sk-secret" not in json.dumps(newest)
    _, out, _ = bank.observe("approvals", "bank", "--past")
    assert "refused by admin" in out
    assert ": twice the price" in out


def test_one_key_is_not_two_people(bank: Running) -> None:
    ask(bank, "teller-2", "much")
    assert "second person" in bank.json("approve", "bank", "teller-2")["what"]
    one = waiting(bank, "teller-2")
    assert one is not None
    assert (one["needed"], len(one["granted_by"])) == (1, 1)
    status, _, err = bank.observe("approve", "bank", "teller-2")
    assert status == 1
    assert "another key" in err
    assert bank.json("refuse", "bank", "teller-2")["done"]


def test_at_a_terminal_it_is_asked_and_the_list_goes_on(bank: Running) -> None:
    ask(bank, "teller-3", "thirty")
    with terminal(bank, "approvals", "bank", "--watch") as child:
        child.expect("thirty to ann")
        child.sendintr()
        child.wait()
    with terminal(bank, "approve", "bank", "teller-3") as child:
        child.expect(
            r"Let teller-3 \(pid \d+, waiting, in approval:tool:refund for .*\) do what it waits to do on bank@"
        )
        child.sendline("n")
        child.expect("Not approved")
        child.wait()
    assert waiting(bank, "teller-3") is not None
    assert bank.json("approve", "bank", "--where", "activity=approval:tool:refund name=teller-3", "--yes")[
        "summary"
    ] == {"done": 1}


def test_nothing_waits_for_what_does_not_ask(bank: Running) -> None:
    status, _, err = bank.observe("approve", "bank", "tellers")
    assert status == 1
    assert "does not wait for any approval" in err
