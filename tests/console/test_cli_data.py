"""The data commands against a real service in another process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pexpect
import pytest
from click.testing import CliRunner

from observe.console.cli import main

SERVICE: Final = Path(__file__).parent / "service_to_watch.py"
OBSERVE: Final = str(Path(sys.executable).with_name("observe"))


class Running:
    """A service in a process of its own, and the command line pointed at it."""

    def __init__(self, process: subprocess.Popen[str], name: str, directory: str) -> None:
        self.process = process
        self.name = name
        self.env = {**os.environ, "OBSERVE_RUNTIME_DIR": directory}

    def observe(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command line in this process: exit status, stdout, stderr."""
        result = CliRunner(env=self.env).invoke(main, list(arguments), prog_name="observe")
        return result.exit_code, result.stdout, result.stderr

    def json(self, *arguments: str) -> Any:
        """Run it with `--json`; it must be done, and say nothing else."""
        status, out, err = self.observe(*arguments, "--json")
        assert (status, err) == (0, "")
        return json.loads(out)

    def until(self, condition: Callable[[], Any]) -> Any:
        """Ask until the answer is true; telemetry comes in ticks."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            answer = condition()
            if answer:
                return answer
            time.sleep(0.02)
        raise AssertionError("it never came true")


@contextmanager
def service(name: str, script: Path = SERVICE) -> Iterator[Running]:
    # Not below pytest's directory: the path of a socket may have 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="obs-") as directory:
        env = {**os.environ, "OBSERVE_RUNTIME_DIR": directory}
        process = subprocess.Popen(
            [sys.executable, str(script), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            full_name = process.stdout.readline().strip()
            running = Running(process, full_name, directory)
            running.until(lambda: name in running.observe("nodes")[1])
            yield running
        finally:
            process.stdin.close()
            process.wait(20)
            process.stdout.close()


@pytest.fixture(scope="module")
def shop() -> Iterator[Running]:
    """One service for all tests that leave it as it is."""
    with service("shop") as running:
        running.until(lambda: running.json("crashes", "shop")["total"])
        yield running


def test_nodes_lists_it_and_keeps_the_keys(shop: Running) -> None:
    """The card is as good as a password."""
    [node] = shop.json("nodes")["nodes"]
    assert (node["name"], node["state"], node["pid"]) == (shop.name, "up", shop.process.pid)
    assert not [key for key in node if "key" in key]
    status, out, _ = shop.observe("nodes")
    assert status == 0
    assert shop.name in out


def test_nodes_lists_those_of_a_file_and_says_which_do_not_answer(shop: Running, tmp_path: Path) -> None:
    """A node that is here anyway is listed once."""
    (tmp_path / "fleet").write_text("shop\nbank@localhost  # closed\n")
    status, out, err = shop.observe("nodes", "--file", str(tmp_path / "fleet"), "--json")
    assert (status, err) == (0, "")
    here, bank = json.loads(out)["nodes"]
    assert (here["name"], here["state"]) == (shop.name, "up")
    assert (bank["name"], bank["state"], bank["pid"]) == ("bank@localhost", "unreachable", None)
    assert "bank" in bank["trouble"]
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "nodes").write_text("bank\n")
    shop.env["OBSERVE_CONFIG_DIR"] = str(tmp_path / "keys")
    try:
        assert "unreachable" in shop.observe("nodes")[1]
    finally:
        del shop.env["OBSERVE_CONFIG_DIR"]


def test_nodes_of_a_name_without_an_address(shop: Running) -> None:
    """A misspelt service is told apart from one without nodes."""
    status, _, err = shop.observe("nodes", "--dns", "shop@no-such-name.invalid", "--timeout", "20")
    assert (status, "no address" in err) == (1, True)
    assert shop.observe("nodes", "--dns", "no-such-name")[0] == 2


@pytest.mark.parametrize("spelling", ["shop", "shop@localhost"])
def test_ps_gives_each_agent_as_a_map(shop: Running, spelling: str) -> None:
    """Nobody wants to count columns in a shell script."""
    page = shop.json("ps", spelling)
    names = {agent["name"] for agent in page["agents"]}
    assert {f"session-{number}" for number in range(5)} <= names
    assert (page["node"], page["state"], page["total"]) == (shop.name, "up", len(page["agents"]))
    assert all(isinstance(agent["pid"], int) and "reductions" in agent for agent in page["agents"])


def test_ps_sorts_filters_limits_and_chooses_columns(shop: Running) -> None:
    """The node does the work; the terminal gets what it asked for."""
    query = (
        "ps",
        "shop",
        "--filter",
        "class=Session",
        "--sort",
        "name",
        "--limit",
        "2",
        "--columns",
        "pid,name",
    )
    page = shop.json(*query)
    assert [agent["name"] for agent in page["agents"]] == ["session-0", "session-1"]
    assert [*page["agents"][0]] == ["pid", "name"]
    assert page["matched"] == 5
    down = shop.json(*query, "--desc", "--offset", "1")
    assert [agent["name"] for agent in down["agents"]] == ["session-3", "session-2"]


def test_ps_for_people_cuts_nothing_in_a_pipe(shop: Running) -> None:
    """`grep` must find what is there."""
    status, out, err = shop.observe("ps", "shop", "--sort", "mailbox_max", "--filter", "session")
    assert status == 0
    heading, *lines = out.splitlines()
    assert heading.split()[:2] == ["PID", "NAME"]
    assert "MAILBOX_MAX" in heading
    assert any("session-3" in line and "tool:search" in line for line in lines)
    assert "of" in err
    assert "\x1b" not in out


@pytest.mark.parametrize("option", ["--sort", "--columns"])
def test_an_unknown_column_is_usage_with_the_one_that_was_meant(shop: Running, option: str) -> None:
    """As at any compiler."""
    status, out, err = shop.observe("ps", "shop", option, "mailbx")
    assert (status, out) == (2, "")
    assert "mailbx" in err
    assert "did you mean mailbox" in err


def test_an_unknown_node_is_usage_with_the_one_that_was_meant(shop: Running) -> None:
    """A wrong name is the most frequent mistake there is."""
    status, out, err = shop.observe("ps", "shpo")
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 2
    assert "did you mean shop" in err


@pytest.mark.parametrize("verb", ["inspect", "stack", "kill"])
def test_an_unknown_agent_is_a_no_with_the_one_that_was_meant(shop: Running, verb: str) -> None:
    """The agent may have been there a second ago: this is no wrong usage."""
    status, out, err = shop.observe(verb, "shop", "sesion-3")
    assert (status, out) == (1, "")
    assert "did you mean session-3" in err
    status, out, err = shop.observe(verb, "shop", "999999", "--json")
    assert (status, out) == (1, "")
    assert "999999" in err


def test_inspect_shows_state_activity_and_stack(shop: Running) -> None:
    """The one command for a session that hangs."""
    detail = shop.json("inspect", "shop", "session-3")
    assert detail["agent"]["name"] == "session-3"
    assert detail["activities"][0]["name"] == "tool:search"
    assert ["number", {"type": "int", "text": "3"}] in detail["state"]["items"]
    status, out, _ = shop.observe("inspect", "shop", str(detail["agent"]["pid"]))
    assert status == 0
    assert "tool:search" in out
    assert "Event().wait()" in out


def test_what_an_agent_says_is_neither_markup_nor_a_control_sequence(shop: Running) -> None:
    """A customer's text in an agent's state must not paint the operator's screen."""
    _, out, _ = shop.observe("inspect", "shop", "session-1")
    assert "[red]no markup[/red]" in out
    assert "\x1b" not in out


def test_stack_shows_where_it_waits(shop: Running) -> None:
    """With the line of code, outermost first."""
    stack = shop.json("stack", "shop", "session-2")
    assert stack["frames"][0]["function"] == "handle"
    status, out, _ = shop.observe("stack", "shop", "session-2")
    assert status == 0
    assert "await asyncio.Event().wait()" in out


def test_tree_shows_who_watches_whom(shop: Running) -> None:
    """And can begin anywhere, and end early."""
    root = shop.json("tree", "shop")
    [sessions] = [branch for branch in root["children"] if branch["name"] == "sessions"]
    assert [child["name"] for child in sessions["children"]] == [f"session-{number}" for number in range(5)]
    status, out, _ = shop.observe("tree", "shop", "--root", "sessions", "--max-children", "2")
    assert status == 0
    assert "session-1" in out
    assert "3 more" in out
    assert "session-4" not in out


def test_crashes_tell_what_happened(shop: Running) -> None:
    """Reason, message and traceback, and who came after."""
    crashes = shop.json("crashes", "shop")
    crash = crashes["crashes"][-1]
    assert (crash["name"], crash["kind"]) == ("fragile", "ValueError")
    status, out, _ = shop.observe("crashes", "shop", "--traceback")
    assert status == 0
    assert "ValueError: cannot be broken" in out
    assert 'raise ValueError(f"cannot {message}")' in out


def test_vitals_come_with_history_when_asked_for(shop: Running) -> None:
    """One number says little about a node; a minute of them says much."""
    vitals = shop.json("vitals", "shop", "--history", "10")
    assert vitals["agents"] == shop.json("ps", "shop")["total"]
    assert vitals["history"]
    status, out, _ = shop.observe("vitals", "shop")
    assert status == 0
    assert "messages a second" in out


@pytest.mark.parametrize("verb", [("ps", "--interval", "0.1"), ("vitals", "--interval", "0.1")])
def test_watching_gives_a_document_a_line_until_the_reader_leaves(
    shop: Running, verb: tuple[str, ...]
) -> None:
    """`observe ps shop --watch --json | head -2` must end, and quietly."""
    process = subprocess.Popen(
        [OBSERVE, verb[0], "shop", "--watch", "--json", *verb[1:]],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=shop.env,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(20), err) == (141, "")
    assert lines[0]["at"] <= lines[1]["at"]


def test_ctrl_c_ends_a_watch_quietly(shop: Running) -> None:
    """With the status that shells know."""
    process = subprocess.Popen(
        [OBSERVE, "ps", "shop", "--watch", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=shop.env,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")


def test_a_killed_agent_comes_back_and_the_events_say_so(shop: Running) -> None:
    """The whole point: act on just that one, from a script, without being asked."""
    before = shop.json("inspect", "shop", "session-4")["agent"]["pid"]
    with subprocess.Popen(
        [OBSERVE, "watch", "shop", "--kind", "restart", "--count", "1", "--json"],
        stdout=subprocess.PIPE, text=True, env=shop.env,
    ) as events:  # fmt: skip
        assert events.stdout is not None

        def killed() -> bool:
            # The watch begins a moment after its process does: kill until it has told of one.
            status, out, err = shop.observe("kill", "shop", "session-4", "--reason", "test", "--json")
            if status == 0:
                assert (json.loads(out)["done"], err) == (True, "")
            else:  # the one before it was so quick that its successor is not known yet
                assert "no live agent" in err
            return events.poll() is not None or _is_readable(events.stdout)

        shop.until(killed)
        event = json.loads(events.stdout.readline())
        assert events.wait(20) == 0
    assert (event["kind"], event["name"]) == ("restart", "session-4")
    after = shop.until(
        lambda: [
            row
            for row in shop.json("ps", "shop", "--filter", "name=session-4")["agents"]
            if row["pid"] != before
        ]
    )
    assert after[0]["restarts"] >= 1


def test_what_is_decided_about_agents_can_be_watched(shop: Running) -> None:
    with subprocess.Popen(
        [OBSERVE, "watch", "shop", "--kind", "governed", "--count", "1", "--json"],
        stdout=subprocess.PIPE, text=True, env=shop.env,
    ) as events:  # fmt: skip
        assert events.stdout is not None

        def told() -> bool:
            # The watch begins a moment after its process does: fence in and let out until it has told of one.
            for level in ("monitored", "none"):
                shop.json("contain", "shop", "session-2", level, "--reason", "test")
            return events.poll() is not None or _is_readable(events.stdout)

        shop.until(told)
        event = json.loads(events.stdout.readline())
        assert events.wait(20) == 0
    assert (event["kind"], event["name"]) == ("governed", "session-2")


def test_names_of_nodes_and_agents_complete(shop: Running) -> None:
    """Tab asks the cards, and then the node."""

    def complete(line: str) -> list[str]:
        words = line.split(" ")
        env = {"_OBSERVE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
        runner = CliRunner(env={**shop.env, **env})
        result = runner.invoke(main, [], prog_name="observe", complete_var="_OBSERVE_COMPLETE")
        return [offer.partition(",")[2] for offer in result.stdout.splitlines() if offer]

    assert complete("observe ps sh") == ["shop"]
    assert complete("observe ps shop@") == [shop.name]
    assert complete("observe inspect shop session-") == [f"session-{number}" for number in range(5)]


@contextmanager
def terminal(shop: Running, *arguments: str, width: int = 120) -> Iterator[pexpect.spawn]:
    """The installed command in a pseudo-terminal."""
    env = {**shop.env, "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES"):  # readline, in whoever started the tests, may have exported its own
        env.pop(name, None)
    child = pexpect.spawn(
        OBSERVE, [*arguments], env=env, encoding="utf-8", timeout=20, dimensions=(40, width)
    )
    try:
        yield child
    finally:
        child.close(force=True)


def test_at_a_terminal_kill_asks_and_takes_no_for_an_answer(shop: Running) -> None:
    """A slip of the finger must not end a customer's session."""
    pid = shop.json("inspect", "shop", "session-0")["agent"]["pid"]
    with terminal(shop, "kill", "shop", "session-0") as child:
        child.expect(r"Kill session-0 \(pid \d+, waiting, in tool:search for .*\) on shop@.*\?")
        child.sendline("n")
        child.expect("Not killed")
        child.expect(pexpect.EOF)
    assert child.exitstatus == 1
    assert shop.json("inspect", "shop", "session-0")["agent"]["pid"] == pid


@pytest.mark.parametrize("options", [(), ("--yes",)])
def test_at_a_terminal_kill_does_as_it_is_told(shop: Running, options: tuple[str, ...]) -> None:
    """And `--yes` says it beforehand."""
    pid = shop.json("inspect", "shop", "session-0")["agent"]["pid"]
    with terminal(shop, "kill", "shop", "session-0", *options) as child:
        if not options:
            child.expect(r"\?")
            child.sendline("y")
        child.expect(pexpect.EOF)
    assert child.exitstatus == 0
    page = shop.until(lambda: shop.json("ps", "shop", "--filter", f"name=session-0 pid>{pid}")["agents"])
    assert page[0]["restarts"] >= 1


def test_ctrl_c_at_the_question_ends_quietly(shop: Running) -> None:
    """Second thoughts are answered with the status that shells know, not with a traceback."""
    with terminal(shop, "kill", "shop", "session-0") as child:
        child.expect(r"\?")
        for _ in range(
            10
        ):  # CPython does not hear one that comes just before it begins to read; a person presses again
            child.sendintr()
            if child.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=2) == 0:
                break
        assert "Traceback" not in child.before
    assert child.exitstatus == 130


@pytest.mark.parametrize("width", [60, 80, 120])
def test_at_a_terminal_ps_fits_the_screen(shop: Running, width: int) -> None:
    """A table that wraps cannot be read, nor one whose names are cut to make room for numbers."""
    with terminal(shop, "ps", "shop", width=width) as child:
        child.expect(pexpect.EOF)
        lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in child.before.splitlines()]
    assert child.exitstatus == 0
    assert max(map(len, lines)) <= width
    assert any("session-1" in line for line in lines)
    assert any("waiting" in line for line in lines)


def test_at_a_terminal_a_watched_table_stays_until_ctrl_c(shop: Running) -> None:
    """Like `top`."""
    with terminal(shop, "ps", "shop", "--watch", "--interval", "0.1") as child:
        child.expect("session-1")
        child.expect("session-1")
        child.sendintr()
        child.expect(pexpect.EOF)
        assert "Traceback" not in child.before
    assert child.exitstatus == 130


def test_of_a_dead_node_the_last_picture_is_shown_with_a_warning() -> None:
    """What was going on when it died is what one wants to know."""
    with service("doomed") as doomed:
        doomed.until(lambda: doomed.json("crashes", "doomed")["total"])
        watch = subprocess.Popen(
            [OBSERVE, "ps", "doomed", "--watch", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=doomed.env,
        )  # fmt: skip
        assert watch.stdout is not None
        assert json.loads(watch.stdout.readline())["state"] == "up"
        doomed.process.kill()
        doomed.process.wait(20)
        doomed.until(lambda: doomed.observe("nodes", "--json")[1].count('"dead"'))
        out, err = watch.communicate(timeout=20)
        assert (watch.returncode, json.loads(out.splitlines()[-1])["state"]) == (1, "dead")
        assert "last picture" in err
        status, out, err = doomed.observe("ps", "doomed", "--json")
        page = json.loads(out)
        assert (status, page["state"]) == (1, "dead")
        assert "session-3" in {agent["name"] for agent in page["agents"]}
        assert "last picture" in err
        status, out, err = doomed.observe("ps", "doomed", "--watch", "--json")
        assert (status, json.loads(out.splitlines()[-1])["state"]) == (1, "dead")
        status, out, err = doomed.observe("inspect", "doomed", "session-3")
        assert status == 1
        assert "session-3" in out
        assert "last picture" in err
        status, out, err = doomed.observe("kill", "doomed", "session-3")
        assert (status, out) == (1, "")
        assert "Error: " in err


def _is_readable(file: Any) -> bool:
    import select

    return bool(select.select([file], [], [], 0.05)[0])


def test_groups_add_up(shop: Running) -> None:
    """For a script as for a person."""
    found = shop.json("groups", "shop", "--by", "class", "--sort", "handled")
    assert sum(line["agents"] for line in found["lines"]) == found["total"]
    status, out, err = shop.observe("groups", "shop", "--by", "status")
    assert status == 0
    assert out.startswith("status")
    assert "agents on shop" in err
