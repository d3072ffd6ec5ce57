"""`observe demo` and the small examples, as people run them: in processes of their own."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pexpect
import psutil
import pytest

from observe.examples.shop.run import has_real_endpoint
from observe.examples.shop.service import endpoint_from
from tests.quiet import complaints

OBSERVE: Final = str(Path(sys.executable).with_name("observe"))


@pytest.fixture
def env() -> Iterator[dict[str, str]]:
    """Cards and temporary files of its own, so that what is left behind can be seen."""
    # Not below pytest's directory: the path of a socket may have 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="obs-") as directory:
        (Path(directory) / "tmp").mkdir()
        env = {**os.environ, "OBSERVE_RUNTIME_DIR": directory, "TMPDIR": f"{directory}/tmp"}
        for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL"):
            env.pop(name, None)
        yield env


def left_behind(env: dict[str, str]) -> dict[str, Any]:
    """Processes, files and cards that are still there."""
    directory = env["OBSERVE_RUNTIME_DIR"]
    processes = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("OBSERVE_RUNTIME_DIR") == directory:
                processes.append(process.cmdline())
        except psutil.Error:
            continue
    cards = [path.name for path in Path(directory).glob("observe/nodes/*.json")]
    return {"processes": processes, "files": os.listdir(env["TMPDIR"]), "cards": cards}


NOTHING: Final[dict[str, Any]] = {"processes": [], "files": [], "cards": []}


def settled(env: dict[str, str]) -> dict[str, Any]:
    """What is left behind after those that are about to end have ended."""
    found = left_behind(env)
    deadline = time.monotonic() + 20
    while found != NOTHING and time.monotonic() < deadline:
        time.sleep(0.05)
        found = left_behind(env)
    return found


def headless(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [OBSERVE, "demo", "--headless", "--sessions", "40", "--think", "0.2", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_the_headless_demo_loses_nobody_and_leaves_nothing(env: dict[str, str]) -> None:
    """The promise of the whole project in one run: crashes, and nobody lost."""
    for seconds in ("3", "10", "40"):
        run = headless(env, "--seconds", seconds, "--json")
        assert run.returncode == 0, run.stderr
        report = json.loads(run.stdout)
        assert (report["sessions_started"], report["sessions_alive"], report["sessions_lost"]) == (40, 40, 0)
        assert (report["tool_calls_lost"], report["tool_calls_repeated"]) == (0, 0)
        if report["crashes"] and report["steps_after_bad_spell"]:
            break  # a busy machine comes so far later
    assert report["crashes"] > 0
    assert report["restarts"] > 0
    assert report["steps_after_bad_spell"] > 0
    assert 0 < report["step_p50_s"] <= report["step_p99_s"]
    assert settled(env) == NOTHING


def test_a_second_demo_of_one_name_is_refused_in_one_line(env: dict[str, str]) -> None:
    """Two nodes cannot have one name; the second must say so and end, without harm to the first."""
    first = subprocess.Popen(
        [sys.executable, "-m", "observe.examples.shop", "--tethered", "--sessions", "2"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
    )  # fmt: skip
    assert first.stdin is not None
    assert first.stdout is not None
    opened = json.loads(first.stdout.readline())
    assert opened["node"] == "shop@localhost"
    run = headless(env, "--seconds", "1")
    assert run.returncode == 1
    assert run.stdout == ""
    assert "observe attach shop" in run.stderr
    assert "Traceback" not in run.stderr
    assert first.poll() is None
    first.stdin.close()
    assert first.wait(20) == 0
    first.stdout.close()
    assert settled(env) == NOTHING


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_demo_that_is_interrupted_leaves_no_process(env: dict[str, str], number: signal.Signals) -> None:
    """Also when the terminal is closed or the command is killed: the children hold a pipe and see it end."""
    demo = subprocess.Popen(
        [OBSERVE, "demo", "--headless", "--seconds", "600", "--sessions", "5"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
    )  # fmt: skip
    while not list(Path(env["OBSERVE_RUNTIME_DIR"]).glob("observe/nodes/*.json")):
        assert demo.poll() is None
        time.sleep(0.02)
    demo.send_signal(number)
    _, err = demo.communicate(timeout=30)
    assert "Traceback" not in err
    assert demo.returncode == (130 if number == signal.SIGINT else -number)
    assert settled(env) == NOTHING


def test_the_first_example_says_hello_and_can_be_attached_to(env: dict[str, str]) -> None:
    """Two lines embed the probe; this is the file that shows them."""
    hello = subprocess.Popen(
        [sys.executable, "-m", "observe.examples.hello"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=env,
    )  # fmt: skip
    assert hello.stdout is not None
    assert hello.stdout.readline() == "Hello, world!\n"
    run = subprocess.run(
        [OBSERVE, "inspect", "hello", "greeter", "--json"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["agent"]["class"] == "Greeter"
    hello.send_signal(signal.SIGINT)
    _, err = hello.communicate(timeout=20)
    assert (hello.returncode, complaints(err)) == (0, "")
    assert settled(env) == NOTHING


def test_the_counter_comes_back_with_what_it_had_saved() -> None:
    """Supervision in one page, and the page is right."""
    run = subprocess.run(
        [sys.executable, "-m", "observe.examples.counter"], capture_output=True, text=True, check=False
    )
    assert (run.returncode, complaints(run.stderr)) == (0, "")
    assert run.stdout.splitlines() == [
        "2 and 3 are 2 and then 5",
        "four: ValueError: invalid literal for int() with base 10: 'four'",
        "a new counter: True",
        "with 4 it is 9",
    ]


@pytest.mark.parametrize("ending", ["q", "hang up"])
def test_the_demo_opens_the_console_and_takes_all_down_with_it(env: dict[str, str], ending: str) -> None:
    """The first command of the README: what it shows, and that leaving it leaves nothing."""
    terminal = {**env, "TERM": "xterm-256color"}
    demo = pexpect.spawn(
        OBSERVE, ["demo", "--sessions", "5"], env=terminal, encoding="utf-8", timeout=30, dimensions=(40, 120)
    )
    try:
        demo.expect("session-1")
        if ending == "q":
            demo.send("q")
            demo.expect(pexpect.EOF)
            demo.close()
            assert demo.exitstatus == 0
        else:
            demo.kill(signal.SIGHUP)
            demo.expect(pexpect.EOF)
    finally:
        demo.close(force=True)
    assert settled(env) == NOTHING


def test_the_environment_can_name_a_real_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same sessions against a model that costs money: only when address and key are both there."""
    monkeypatch.setenv("OPENAI_API_KEY", "k-secret")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert not has_real_endpoint()
    monkeypatch.setenv("OPENAI_BASE_URL", "https://models.example/v1")
    monkeypatch.setenv("OPENAI_MODEL", "big")
    assert has_real_endpoint()
    endpoint = endpoint_from(argparse.Namespace(model_url=None, model_timeout=None))
    assert (endpoint.url, endpoint.model, endpoint.api_key) == (
        "https://models.example/v1",
        "big",
        "k-secret",
    )
    assert "k-secret" not in repr(endpoint)
