"""`observe reload`: modules on the disk of a real service in a process of its own."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.console.test_cli_data import Running, service

MAIN = """
    import asyncio
    import sys

    from observe.probe import Probe
    from observe.runtime import Node
    from shop.orders import Session

    async def main():
        async with Node(sys.argv[1]) as node, Probe(node):
            for number in range(20):
                await node.spawn(Session, number, name=f"session-{number}")
            print(node.name, flush=True)
            await asyncio.to_thread(sys.stdin.read)

    asyncio.run(main())
"""

ORDERS = """
    import asyncio

    from observe.runtime import Agent
    from shop.prices import price

    class Session(Agent):
        def init(self, number):
            self.number = number
            self.sums = []

        async def handle(self, message):
            if message == "wait":
                await asyncio.sleep(3600)
            self.sums.append(price(message))
"""

PRICES = """
    def price(count):
        return count * 3
"""


class Shop:
    def __init__(self, directory: Path, running: Running) -> None:
        self.directory = directory
        self.running = running

    def write(self, name: str, text: str) -> None:
        (self.directory / "shop" / f"{name}.py").write_text(textwrap.dedent(text))

    def reload(self, *arguments: str) -> Any:
        return self.running.json("reload", "market", *arguments)

    def sums(self, agent: str) -> str:
        items = dict(self.running.json("inspect", "market", agent)["state"]["items"])
        return str(items["sums"]["text"])

    def send(self, agent: str, message: str) -> str:
        before = self.sums(agent)
        self.running.json("send", "market", agent, message)
        return str(self.running.until(lambda: (after := self.sums(agent)) != before and after))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    for name, text in (("orders", ORDERS), ("prices", PRICES)):
        (tmp_path / "shop" / f"{name}.py").write_text(textwrap.dedent(text))
    script = tmp_path / "main.py"
    script.write_text(textwrap.dedent(MAIN))
    with service("market", script) as running:
        made = Shop(tmp_path, running)
        running.until(lambda: running.json("ps", "market", "--filter", "name=session-19")["agents"])
        yield made


def test_a_bug_is_fixed_while_agents_live(shop: Shop) -> None:
    """Looked at first, then done, then undone; each on record, and a mistake leaves everything as it was."""
    running = shop.running
    assert shop.send("session-1", "2") == "[6]"
    shop.write("prices", PRICES.replace("* 3", "* 3 + fee()") + "\n    def fee():\n        return 1\n")
    shop.write(
        "orders",
        ORDERS.replace(
            "def init",
            'def migrate(self, old_version, state):\n            return state | {"v": old_version}\n\n        def init',
        ),
    )
    looked = running.json("code", "market", "shop.prices")
    assert [(one["name"], one["state"]) for one in looked["modules"]] == [
        ("shop.orders", "changed"),
        ("shop.prices", "changed"),
        ("shop", "same"),
    ]
    assert (looked["modules"][0]["classes"], looked["modules"][1]["added"]) == ({"Session": 20}, 4)
    assert "+    return count * 3 + fee()" in looked["diff"]
    plan = shop.reload("shop.orders", "shop.prices", "--dry-run")
    assert (plan["dry_run"], plan["agents"], plan["classes"]) == (True, 20, {"Session": 20})
    assert plan["added"] == ["shop.prices.fee", "shop.orders.Session.migrate"]
    assert plan["changed"] == ["shop.prices.price"]
    assert "+    return count * 3 + fee()" in plan["diff"]
    assert shop.send("session-1", "2") == "[6, 6]"
    status, out, err = running.observe("reload", "market", "shop.orders", "shop.prices", "--reason", "a fee")
    assert (status, err) == (0, "")
    assert "now shop.prices 2, shop.orders 2; 20 agents concerned, 20 migrated" in out
    assert shop.send("session-1", "2") == "[6, 6, 7]"
    status, out, err = running.observe("code", "market")
    assert (status, "20 Session" in out, "0 changed on the disk" in err) == (0, True, True)
    assert "the newest reload was of shop.prices, shop.orders" in err
    records = running.observe("audit", "search", "market", "--what", "reload")[1].splitlines()
    assert [("requested" in line, "completed" in line) for line in records] == [
        (True, False),
        (False, True),
    ] * 2
    assert "a fee" in records[-1]
    assert "reload shop.orders, shop.prices: completed" in records[-1]

    shop.write("prices", "def price(count)\n")
    status, _, err = running.observe("reload", "market", "shop.prices")
    assert (status, "cannot be compiled" in err, "as it was" in err) == (1, True, True)
    assert shop.send("session-2", "2") == "[7]"

    undone = shop.reload("--rollback")
    assert undone["versions"] == {"shop.prices": 1, "shop.orders": 1}
    assert shop.send("session-2", "2") == "[7, 6]"
    status, _, err = running.observe("reload", "market", "--rollback")
    assert (status, "nothing was reloaded" in err) == (1, True)


def test_the_answer_counts_the_workers_that_keep_what_they_have_loaded(shop: Shop) -> None:
    shop.write("helpers", "from shop.orders import Session\n\nclass Helper(Session):\n    pass\n")
    script = shop.directory / "more.py"
    spawned = "await node.spawn(Helper, 0, isolation='process')\n            for number"
    text = textwrap.dedent(MAIN.replace("for number", spawned))
    script.write_text(
        text.replace("orders import Session", "orders import Session\nfrom shop.helpers import Helper")
    )
    with service("mall", script) as running:
        running.until(lambda: running.json("ps", "mall", "--filter", "name=session-19")["agents"])
        shop.write("prices", PRICES.replace("3", "4"))
        for options, verb in (("--dry-run", "would become"), ("--wait=1", "now")):
            status, out, err = running.observe("reload", "mall", "shop.prices", options)
            assert (status, verb in out, "1 worker process keeps the code loaded there" in out) == (
                0,
                True,
                True,
            ), err


def test_a_step_that_does_not_end_is_named_and_nothing_changes(shop: Shop) -> None:
    running = shop.running
    running.json("send", "market", "session-3", "wait", "--text")
    running.until(lambda: running.json("ps", "market", "--filter", "name=session-3 waiting")["agents"])
    shop.write("orders", ORDERS.replace("append(price", "append(-price"))
    status, _, err = running.observe("reload", "market", "shop.orders", "--wait", "0.1")
    assert (status, "(session-3) did not end within 0.1 s" in err) == (1, True)
    assert shop.send("session-4", "1") == "[3]"
    running.json("kill", "market", "session-3")
    assert shop.reload("shop.orders")["done"]
    assert shop.send("session-4", "1") == "[3, -3]"


def test_wrong_usage_is_told(shop: Shop) -> None:
    running = shop.running
    assert running.observe("reload", "market")[0] == 2
    status, out, err = running.observe("code", "market", "shop.nothing")
    assert (status, "no module shop.nothing is loaded" in err, "lists the modules" in err) == (1, True, True)
    status, out, err = running.observe("code", "market", "shop.orders")
    assert (status, out, "as it is loaded" in err) == (0, "", True)
    assert running.json("code", "market", "--changed")["modules"] == []
    assert running.observe("reload", "market", "--rollback", "--dry-run")[0] == 2
    for module, why in (
        ("os.nothing", "no module os.nothing"),
        ("__main__", "runs once"),
        ("observe.runtime", "itself"),
    ):
        status, _, err = running.observe("reload", "market", module)
        assert (status, why in err) == (1, True)
