"""Commands about several nodes: what answers is shown as one, what does not is named, and nobody waits for it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from observe.console.cli import main
from tests.probe.live import LiveService, private_runtime, wait_until


@pytest.fixture(scope="module")
def services() -> Iterator[list[LiveService]]:
    with (
        pytest.MonkeyPatch.context() as patch,
        private_runtime(patch) as runtime,
        LiveService(runtime, "east") as east,
        LiveService(runtime, "west", waiters=4) as west,
    ):
        wait_until(lambda: json.loads(observe("ps", "east", "west", "--json").stdout)["total"] == 15)
        yield [east, west]


def observe(*arguments: str) -> Result:
    """Run the command line."""
    return CliRunner().invoke(main, list(arguments), prog_name="observe")


def test_ps_of_several_nodes_is_one_table(services: list[LiveService], tmp_path: Path) -> None:
    (tmp_path / "fleet").write_text("east\nwest@localhost\n")
    query = ("--filter", "class=Waiter", "--sort", "name", "--limit", "3", "--columns", "name")
    found = observe("ps", "--fleet", str(tmp_path / "fleet"), *query, "--json")
    page = json.loads(found.stdout)
    assert (found.exit_code, found.stderr) == (0, "")
    assert page["nodes"] == ["east", "west@localhost"]
    assert (page["matched"], page["total"], page["missing"]) == (7, 15, {})
    assert page["agents"] == [
        {"node": "east", "name": "waiter-0"},
        {"node": "west@localhost", "name": "waiter-0"},
        {"node": "east", "name": "waiter-1"},
    ]
    shown = observe("ps", "east", "west")
    assert shown.exit_code == 0
    assert "15 of 15 agents on 2 nodes" in shown.stderr
    assert "NODE" in shown.stdout.splitlines()[0]


def test_what_is_missing_is_named_and_the_status_says_so(services: list[LiveService]) -> None:
    """A script that looks at the exit status alone does not take a part for the whole."""
    found = observe("ps", "east", "south", "--json")
    page = json.loads(found.stdout)
    assert found.exit_code == 1
    assert page["total"] == 7
    assert "south" in page["missing"]["south"]
    assert "without south" in found.stderr
    told = observe("findings", "east", "south", "--json")
    assert (told.exit_code, list(json.loads(told.stdout)["missing"])) == (1, ["south"])


def test_a_stopped_probe_is_waited_for_no_longer_than_agreed(services: list[LiveService]) -> None:
    east = services[0]
    os.kill(east.probe_pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        found = observe("ps", "east", "west", "--timeout", "0.5", "--json")
        took_s = time.monotonic() - began
    finally:
        os.kill(east.probe_pid, signal.SIGCONT)
    assert took_s < 15
    assert (found.exit_code, json.loads(found.stdout)["total"]) == (1, 8)


def test_findings_of_several_nodes_worst_first(services: list[LiveService]) -> None:
    services[1].do("cast", "holder", ["python", 3.0])

    def blocked() -> bool:
        told = observe("findings", "east", "west", "--json")
        found = json.loads(told.stdout)["findings"]
        return bool(found) and (found[0]["node"], found[0]["pid"] > 0) == ("west", True)

    wait_until(blocked)
    assert "west" in observe("findings", "east", "west").stdout


@pytest.mark.parametrize("verb", ["ps", "findings", "attach"])
def test_no_node_at_all_is_wrong_usage(verb: str, tmp_path: Path) -> None:
    assert observe(verb).exit_code == 2
    (tmp_path / "fleet").write_text("east west\n")
    wrong = observe(verb, "--fleet", str(tmp_path / "fleet"))
    assert wrong.exit_code == 2
