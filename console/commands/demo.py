"""`observe demo`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from observe.console.exits import REFUSED, complain
from observe.console.options import json_option

LAUNCHER = "observe.examples.shop"
"""Runs in a process of its own: the console reaches nodes through the probe's client, never through the runtime."""

FAREWELL_S = 20.0
"""How long the demo may take to clear up before it is ended by force."""


@click.command("demo")
@click.option("--headless", is_flag=True, help="No console: run for a while and say what happened.")
@click.option(
    "--seconds",
    type=click.FloatRange(1.0, 86_400.0),
    default=20.0,
    show_default=True,
    metavar="S",
    help="How long, with --headless.",
)
@click.option(
    "--sessions",
    type=click.IntRange(1, 5000),
    default=400,
    show_default=True,
    metavar="N",
    help="Support sessions to run.",
)
@click.option(
    "--name",
    default="shop",
    show_default=True,
    metavar="NAME",
    help="Name of the node; several demos need several.",
)
@click.option(
    "--think",
    "think_s",
    type=click.FloatRange(0.0, 3600.0),
    default=8.0,
    show_default=True,
    metavar="S",
    help="Mean pause between two steps of a session.",
)
@click.option(
    "--code",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Put the part of the service there that you may edit (refunds.py to reload, policies.yaml); it stays. Otherwise it goes with the demo.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Decides questions and faults.")
@json_option
def command(
    headless: bool,
    seconds: float,
    sessions: int,
    name: str,
    think_s: float,
    code: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Watch a support desk at 3 a.m., with all its agents.

    Starts a model server of its own, a node `shop` whose sessions look up orders and write answers, and the console
    on it. 400 sessions work there. After a while the model answers with malformed JSON, 429s, silence and cut streams. Steps crash,
    supervisors restart the sessions from where they were, nothing else notices. Everything is gone when you leave.

    With OPENAI_BASE_URL and OPENAI_API_KEY set, the sessions talk to that endpoint, to the model that OPENAI_MODEL
    names.

    \b
    observe demo
    observe demo --code shop-code
    observe demo --headless --seconds 20 --json
    """
    arguments = [
        "--tethered",
        f"--sessions={sessions}",
        f"--name={name}",
        f"--seed={seed}",
        f"--think={think_s}",
        *([f"--code={code}"] if code else []),
    ]
    if headless:
        arguments += ["--headless", f"--seconds={seconds}", *(["--json"] if as_json else [])]
        with _launched(arguments, stdout=None) as launcher:
            raise click.exceptions.Exit(launcher.wait())
    if as_json:
        raise click.UsageError("--json goes with --headless.", click.get_current_context())
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(
            "The demo opens a console and needs a terminal; without one there is `observe demo --headless`.",
            click.get_current_context(),
        )
    click.echo("Opening the shop ...", err=True)
    with _launched(arguments, stdout=subprocess.PIPE) as launcher:
        opened = _opened(launcher)
        try:
            from observe.console.app import run_console

            status = run_console(opened["node"], readonly=False)
        finally:
            click.echo("Closing the shop ...", err=True)
            _close(launcher)
            shutil.rmtree(opened["directory"], ignore_errors=True)  # when the launcher could not
    raise click.exceptions.Exit(status)


def _opened(launcher: subprocess.Popen[str]) -> dict[str, Any]:
    """What the launcher says when the node is up; ends the command when it is not."""
    assert launcher.stdout is not None
    line = launcher.stdout.readline()
    if not line:
        status = launcher.wait()
        complain("the demo could not start")  # its own words are on stderr already
        raise click.exceptions.Exit(status or REFUSED)
    opened = json.loads(line)
    assert isinstance(opened, dict)
    return opened


@contextmanager
def _launched(arguments: list[str], stdout: int | None) -> Iterator[subprocess.Popen[str]]:
    """The launcher, which goes when its stdin closes: also when this process is killed or its terminal is gone."""
    previous = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    launcher = subprocess.Popen(
        [sys.executable, "-m", LAUNCHER, *arguments],
        stdin=subprocess.PIPE,
        stdout=stdout,
        text=True,
        start_new_session=True,  # Ctrl-C is for the console; the launcher hears of it through its stdin
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield launcher
    finally:
        _close(launcher)
        for number, handler in previous.items():
            signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _close(launcher: subprocess.Popen[str]) -> None:
    if launcher.stdin is not None and not launcher.stdin.closed:
        launcher.stdin.close()
    try:
        launcher.wait(FAREWELL_S)
    except subprocess.TimeoutExpired:
        launcher.kill()
        launcher.wait()
    if launcher.stdout is not None:
        launcher.stdout.close()
