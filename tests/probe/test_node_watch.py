"""A node that is stuck or dead can still be attached to, and says what has become of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from observe.probe.cards import list_cards, read_card
from observe.probe.node_watch import LastWords
from observe.probe.stacks import parse
from observe.probe.words import WordsReading
from tests.probe.fake_service import FakeService
from tests.probe.live import is_gone
from tests.probe.patience import PATIENCE_S, eventually
from tests.probe.raw_client import RawClient

ROOT = Path(__file__).parent.parent.parent
SECOND = 1_000_000_000


class Doomed:
    """A service in another process, and a client of its probe."""

    def __init__(self, runtime: Path, how: str, linger_s: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.probe.doomed_service", str(runtime), how],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"LINGER_S": str(linger_s)},
        )  # fmt: skip
        assert self.process.stdout is not None
        facts = json.loads(self.process.stdout.readline())
        self.config: dict[str, Any] = facts["config"]
        self.client = FakeService.client_of(self.config, facts["endpoint"])
        self.probe_pid: int = self.client.node["probe_pid"]
        eventually(lambda: self.client.ok("agents", {"limit": 0})["total"] == 4)
        eventually(lambda: self.client.ok("crashes")["total"] == 1)

    def go(self) -> None:
        """Let it meet its doom."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def vitals_when(self, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            vitals = self.client.ok("vitals")
            return vitals if condition(vitals) else None

        found: dict[str, Any] = eventually(look)
        return found

    def close(self) -> None:
        self.client.close()
        with self.process:
            self.process.kill()
        if not is_gone(self.probe_pid):
            os.kill(self.probe_pid, signal.SIGTERM)
        eventually(lambda: is_gone(self.probe_pid), "the probe's end")


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="obs-"))
    monkeypatch.setenv("OBSERVE_RUNTIME_DIR", str(path))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def doom(runtime: Path) -> Iterator[Callable[..., Doomed]]:
    made: list[Doomed] = []

    def make(how: str, linger_s: float = 30.0) -> Doomed:
        made.append(Doomed(runtime, how, linger_s))
        return made[-1]

    yield make
    for one in made:
        one.close()


def functions(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["function"] for frame in frames]


# -- held --------------------------------------------------------------------------------------------------------------


def test_an_agent_stuck_in_c_code_is_named_with_its_stack(doom: Callable[..., Doomed]) -> None:
    """Nothing inside that process can run, so all of it comes from outside: words, a signal, a file."""
    node = doom("c")
    assert node.client.ok("vitals")["state"] == "up"
    node.go()
    vitals = node.vitals_when(lambda vitals: vitals["held"] and vitals["held"]["stack"])
    held = vitals["held"]
    assert (vitals["state"], vitals["use"]) == ("held", 1.0)
    assert (held["pid"], held["name"], held["class"], held["where"]) == (2, "w2", "Worker", "c")
    assert held["since_s"] > 0.5
    assert functions(held["stack"])[-2:] == ["stuck_in_c", "match"]
    assert held["stack"][-2]["source"].startswith("re.match(")
    assert node.client.ok("agents", {"limit": 0})["total"] == 4
    assert node.client.ok("tree")["children_total"] == 3
    inspect, stack = node.client.ask("inspect", {"agent": 3}), node.client.ask("stack", {"agent": "w2"})
    kill = node.client.ask("kill", node.client.command(3))  # they wait for their time-outs together
    error = node.client.reply(inspect)["error"]
    assert error["code"] == "scheduler_held"
    assert "w2 (pid 2) for " in error["message"]
    assert "interpreter lock" in error["message"]
    assert functions(node.client.result(stack)["frames"])[-2:] == ["stuck_in_c", "match"]
    assert node.client.reply(kill)["error"]["code"] == "scheduler_held"


def test_an_agent_stuck_in_python_code_is_named_with_its_stack(doom: Callable[..., Doomed]) -> None:
    """Here another thread of the service still runs, and is asked."""
    node = doom("python")
    node.go()
    held = node.vitals_when(lambda vitals: vitals["held"] and vitals["held"]["stack"])["held"]
    assert (held["pid"], held["where"]) == (2, "python")
    assert functions(held["stack"])[-1] == "stuck_in_python"
    assert functions(node.client.ok("stack", {"agent": 2})["frames"])[-1] == "stuck_in_python"


def test_holding_and_letting_go_are_told(runtime: Path) -> None:
    """Who watches the events of the night sees when it began, who it was and when it was over."""
    with FakeService(runtime=runtime) as service:
        service.start()
        service.shop()
        client = service.synced_client()
        sub = client.ok("watch", {"what": "events", "interval_s": 0.05, "credit": 100})["sub"]
        service.hold(3, since_s=12)
        (event,) = client.push(sub)["data"]["events"]
        assert event["pid"] == 3
        assert event["text"].startswith("the scheduler is held by w3 (pid 3) for 12.")
        vitals = client.ok("vitals")
        assert vitals["held"]["since_s"] > 12
        service.let_go()
        (event,) = client.push(sub)["data"]["events"]
        assert event["text"].startswith("the scheduler is free again; w3 (pid 3)")
        assert client.ok("vitals")["held"] is None
        assert client.ok("vitals")["state"] == "up"


def test_code_outside_of_agents_can_hold_the_scheduler_too(runtime: Path) -> None:
    """A web handler in the same loop that computes for ten seconds stops all agents."""
    with FakeService(runtime=runtime) as service:
        service.start()
        service.shop()
        client = service.synced_client()
        service.hold(0, since_s=12)
        held = eventually(lambda: client.ok("vitals")["held"])
        assert (held["pid"], held["name"], held["class"]) == (0, None, "code outside of agents")
        service.let_go()


def reading(now_ns: int, **facts: Any) -> WordsReading:
    usual = {"pid": 0, "slice_ns": 0, "loop_ns": now_ns, "slices": 1, "thread_ns": now_ns, "running": False}
    return WordsReading(**(usual | facts))


NOW = 1000 * SECOND


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, None),
        ({"pid": 7, "slice_ns": NOW - SECOND // 10}, None),
        ({"pid": 7, "slice_ns": NOW - SECOND}, (7, "python")),
        ({"pid": 7, "slice_ns": NOW - SECOND, "thread_ns": NOW - SECOND}, (7, "c")),
        ({"pid": 7, "slice_ns": NOW - SECOND, "thread_ns": NOW - SECOND // 10}, (7, "python")),
        ({"loop_ns": NOW - SECOND // 2}, None),
        ({"loop_ns": NOW - 2 * SECOND}, (0, "python")),
        ({"loop_ns": NOW - 2 * SECOND, "thread_ns": NOW - 2 * SECOND}, (0, "c")),
        ({"pid": 0, "slice_ns": NOW - 50 * SECOND}, None),
        ({"pid": 7, "slice_ns": NOW + SECOND}, None),
    ],
)
def test_the_words_tell_who_holds_the_scheduler(
    facts: dict[str, Any], expected: tuple[int, str] | None
) -> None:
    words = LastWords()
    words.judge(reading(NOW, **facts), NOW - 3 * SECOND // 10)
    holding = words.judge(reading(NOW, **facts), NOW)
    assert (holding and (holding.pid, holding.where)) == expected


def test_a_service_with_slow_ticks_is_not_called_stuck() -> None:
    """Ticks adapt to their cost: with a million agents one may come every 800 ms."""
    judge = LastWords()

    def held(late_s: float) -> bool:
        now_ns = NOW + int(late_s * SECOND)
        return judge.judge(reading(now_ns, loop_ns=NOW), now_ns) is not None

    judge.judge(reading(NOW, loop_ns=NOW - 8 * SECOND // 10), NOW)
    assert [held(late_s) for late_s in (0.0, 1.5, 2.0, 2.5, 3.0)] == [False, False, False, True, True]


def test_the_end_of_a_long_slice_is_not_blamed_on_others() -> None:
    """The agent has let go, the heartbeat has not come yet: for a moment everything looks stuck and nobody holds it."""
    judge = LastWords()
    held = judge.judge(reading(NOW, pid=7, slice_ns=NOW - 5 * SECOND, loop_ns=NOW - 5 * SECOND), NOW)
    assert held is not None
    later = NOW + SECOND // 10
    free = reading(later, slice_ns=NOW - 5 * SECOND, loop_ns=NOW - 5 * SECOND)
    assert judge.judge(free, later) is None
    much_later = NOW + SECOND // 2
    other = judge.judge(free, much_later)
    assert other is not None
    assert (other.pid, other.since_ns) == (
        0,
        NOW,
    )  # and it is not told to have lasted as long as the slice before


DUMP = """Thread 0x00000000000000aa (most recent call first):
  File "/x/worker.py", line 5 in work
  File "/x/worker.py", line 9 in main

Current thread 0x00000000000000bb (most recent call first):
  File "/x/old.py", line 1 in old

Thread 0x00000000000000aa [named] (most recent call first):
  File "/x/worker.py", line ??? in work

Current thread 0x00000000000000bb (most recent call first):
  File "/x/inner file.py", line 3 in inner
  File "/x/outer.py", line 7 in <module>
"""


def test_the_newest_stack_of_the_schedulers_thread_is_found() -> None:
    """The file holds all dumps of all threads so far."""
    assert [(frame.file, frame.line, frame.function) for frame in parse(DUMP, None)] == [
        ("/x/outer.py", 7, "<module>"),
        ("/x/inner file.py", 3, "inner"),
    ]
    assert [frame.line for frame in parse(DUMP, 0xAA)] == [0]
    assert parse(DUMP, 0xBB) == parse(DUMP, None)


@pytest.mark.parametrize(
    "text", ["", "\n\n", "nonsense", "  File without a thread", DUMP[:60], "Thread 0xzz (most"]
)
def test_a_dump_that_was_cut_off_is_no_error(text: str) -> None:
    """It is read while it is being written."""
    assert isinstance(parse(text, None), list)


def test_without_the_current_thread_the_last_is_the_main_one() -> None:
    text = 'Thread 0x1 (most recent call first):\n  File "a", line 1 in a\n\nThread 0x2 (most recent call first):\n  File "b", line 2 in b\n'
    assert [frame.function for frame in parse(text, None)] == ["b"]


# -- dead --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["wait", "exit", "fork"])
def test_a_node_that_dies_is_shown_as_dead_with_its_last_picture(
    doom: Callable[..., Doomed], how: str
) -> None:
    """`kill -9` and `os._exit` included; a forked child that lives on changes nothing."""
    node = doom(how)
    client = node.client
    sub = client.ok("watch", {"what": "events", "interval_s": 3600.0, "credit": 10})["sub"]
    vitals_sub = client.ok("watch", {"what": "vitals", "interval_s": 3600.0, "credit": 10})["sub"]
    assert client.push(vitals_sub)["data"]["state"] == "up"
    if how == "wait":
        node.kill()
    else:
        node.go()
    (event,) = client.push(sub)["data"]["events"]
    assert event["kind"] == "node"
    assert f"died: process {node.config['pid']} ended by" in event["text"]
    assert client.push(vitals_sub)["data"]["state"] == "dead"
    page = client.ok("agents", {"sort": "mailbox"})
    assert page["total"] == 4
    assert page["rows"][0][1] == "w2"
    assert client.ok("agents", {"sort": "mailbox"})["rows"] == page["rows"]  # ages stand still
    assert client.ok("tree")["children_total"] == 3
    assert client.ok("crashes")["total"] == 1
    detail = client.ok("inspect", {"agent": "w2"})
    assert detail["agent"]["mailbox"] == 5
    assert detail["last_crash"]["pid"] == 9
    assert "dead" in detail["note"]
    assert client.error("stack", {"agent": "w2"})["code"] == "node_dead"
    assert client.error("kill", client.command("w2"))["code"] == "node_dead"
    assert client.hello()["node"]["state"] == "dead"
    card = read_card("shop")
    assert card is not None
    assert card.state == "dead"


def test_the_last_picture_goes_after_a_while(doom: Callable[..., Doomed]) -> None:
    """Nothing is left behind: no process, no card."""
    node = doom("wait", linger_s=0.2)
    node.kill()
    eventually(lambda: is_gone(node.probe_pid), "the probe's end")
    assert list_cards() == []


def test_a_probe_that_lingers_makes_way_for_the_next_node_of_its_name(
    doom: Callable[..., Doomed], runtime: Path
) -> None:
    """Services are restarted within the second; their name must not be taken by their own ghost."""
    node = doom("wait", linger_s=600.0)
    node.kill()
    eventually(lambda: (card := read_card("shop")) and card.state == "dead")
    with FakeService(runtime=runtime) as successor:
        successor.start()
        successor.shop(1)
        assert successor.synced_client().node["incarnation"] == successor.config["incarnation"]
        eventually(lambda: is_gone(node.probe_pid), "the ghost's end")
        assert [card.incarnation for card in list_cards()] == [successor.config["incarnation"]]


def test_a_restart_right_after_kill_9_gets_its_name(doom: Callable[..., Doomed], runtime: Path) -> None:
    """Before the old probe has even noticed."""
    node = doom("wait", linger_s=600.0)
    with FakeService(runtime=runtime) as successor:
        starter = threading.Thread(target=node.kill)
        starter.start()
        successor.start()
        starter.join()
        assert successor.card().incarnation == successor.config["incarnation"]


def test_a_ghost_that_does_not_answer_keeps_the_name_but_nobody_waiting(
    doom: Callable[..., Doomed], runtime: Path
) -> None:
    """A stopped process cannot make way, and must not be taken for free."""
    node = doom("wait", linger_s=600.0)
    os.kill(node.probe_pid, signal.SIGSTOP)
    try:
        with FakeService(runtime=runtime) as successor:
            successor.launch()
            assert successor.expect("ready")["error"]["code"] == "name_taken"
            assert successor.probe is not None
            assert successor.probe.wait(PATIENCE_S) == 3
    finally:
        os.kill(node.probe_pid, signal.SIGCONT)
    client: RawClient = node.client
    assert client.ok("ping")
