"""The example of a service without agents, as a real process, looked at with the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from observe.console.cli import main


class Plain:
    """The example, and `observe tasks` on it."""

    def __init__(self, directory: str) -> None:
        self.env = {**os.environ, "OBSERVE_RUNTIME_DIR": directory}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "observe.examples.plain"], stdout=subprocess.PIPE, text=True, env=self.env
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith("plain@")

    def tasks(self, *arguments: str) -> tuple[int, str, str]:
        result = CliRunner(env=self.env).invoke(main, ["tasks", "plain", "--timeout", "20", *arguments])
        return result.exit_code, result.stdout, result.stderr

    def json(self, *arguments: str) -> Any:
        status, out, err = self.tasks(*arguments, "--json")
        assert (status, err) == (0, "")
        return json.loads(out)

    def until(self, condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            answer = condition()
            if answer:
                return answer
            time.sleep(0.02)
        raise AssertionError("it never came true")


@pytest.fixture(scope="module")
def plain() -> Iterator[Plain]:
    # Not below pytest's directory: the path of a socket may have 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="obs-") as directory:
        service = Plain(directory)
        try:
            yield service
        finally:
            service.process.send_signal(signal.SIGINT)  # it ends in order, and its probe with it
            service.process.communicate()


def test_a_service_without_agents_shows_what_it_does(plain: Plain) -> None:
    """Two lines in it were enough."""
    status, out, err = plain.tasks("--filter", "packer")
    assert status == 0
    assert "packer-0" in out
    assert "COROUTINE" in out
    assert "tasks on plain@" in err
    page = plain.until(
        lambda: plain.json("--filter", "coroutine=ship") if plain.json("--where", "ship")["tasks"] else None
    )
    shipping = page["tasks"][0]
    assert shipping["name"].startswith("ship order-")
    assert shipping["creator_name"].startswith("packer-")
    assert shipping["created_at"].endswith(" in pack")
    assert shipping["waiting_on"] == "sleep"


def test_one_task_is_shown_with_its_stack(plain: Plain) -> None:
    (task,) = plain.json("--filter", "name=customers")["tasks"]
    status, out, _ = plain.tasks(str(task["id"]))
    assert status == 0
    assert "customers  task" in out
    assert "take_orders" in out
    assert " in Task-1 at plain.py:" in out
    detail = plain.json(str(task["id"]))
    assert detail["frames"][0]["function"] == "take_orders"


def test_a_task_is_cancelled_and_the_rest_goes_on(plain: Plain) -> None:
    (ship, *_) = plain.until(
        lambda: plain.json("--filter", "coroutine=ship", "--sort", "id", "--desc")["tasks"]
    )
    done = plain.json("--cancel", str(ship["id"]), "--yes", "--reason", "a test")
    assert done["done"]
    assert done["what"].endswith("was cancelled")
    status, _, err = plain.tasks("--cancel", str(ship["id"]), "--yes")
    assert status == 1
    assert "number" in err
    assert plain.json("--filter", "packer-")["matched"] >= 3


def test_what_would_stop_the_service_is_refused(plain: Plain) -> None:
    (main_task,) = plain.json("--filter", "coroutine=main")["tasks"]
    status, _, err = plain.tasks("--cancel", str(main_task["id"]), "--yes")
    assert status == 1
    assert "stop the service instead" in err


def test_wrong_usage_says_what_is_right(plain: Plain) -> None:
    for arguments, text in [
        (("--sort", "colour"), "has no column"),
        (("--filter", "state=asleep"), "there are running, ready"),
        (("7", "--cancel", "7"), "number of one task"),
    ]:
        status, _, err = plain.tasks(*arguments)
        assert status == 2, err
        assert text in err
