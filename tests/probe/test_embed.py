"""Two lines in a service: what they start, what they refuse, and that they leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from observe.probe import NodeNameTaken, Probe, ProbeNotStarted, connect
from observe.probe.cards import list_cards
from observe.probe.wire_table import Query
from observe.runtime import Agent, Node
from tests.probe.live import PATIENCE_S, eventually, is_gone, private_runtime, probes_of, until, wait_until


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private_runtime(monkeypatch) as path:
        yield path


class Echo(Agent):
    """Answers what it is asked."""

    def handle(self, message: Any) -> Any:
        return message


def left_behind(runtime: Path) -> set[str]:
    """Files in the node's directory, but for those that stay: lock, log and record."""
    nodes = runtime / "observe" / "nodes"
    found = {path.name for path in nodes.rglob("*") if path.is_file() or path.is_socket()}
    record = {path.name for path in nodes.rglob("audit/*")}
    return found - record - {"lock", "probe.log", "audit.key"}


async def test_two_lines_make_a_node_observable(runtime: Path) -> None:
    """And when they are left, everything is as it was before."""
    signals = [signal.getsignal(number) for number in signal.valid_signals()]
    async with Node("shop") as node, Probe(node) as probe:
        await node.spawn(Echo, name="echo")
        assert [card.full_name for card in list_cards()] == [node.name]
        async with connect("shop", timeout_s=10.0) as client:
            await eventually(client.agents, lambda page: page.total == 2)
        (process,) = probes_of(os.getpid())
        assert probe.statistics()["probe_pid"] == process.pid
        assert probe.statistics()["endpoint"].startswith("tcp://127.0.0.1:")
    assert is_gone(process.pid)
    assert left_behind(runtime) == set()
    assert [signal.getsignal(number) for number in signal.valid_signals()] == signals
    assert probe.statistics() == {}
    assert node.instruments.on_spawn == ()


async def test_a_name_is_enough() -> None:
    """For services whose node is started where nobody looks."""
    async with Probe("cart") as probe:
        ref = await probe.node.spawn(Echo)
        assert await ref.call(5) == 5
        async with connect("cart", timeout_s=10.0) as client:
            assert client.info.name == probe.node.name
    assert not probe.node.is_running


async def test_stopping_twice_and_starting_again() -> None:
    """Services are reconfigured while they run."""
    async with Node("shop") as node:
        for _ in range(2):
            probe = Probe(node)
            await probe.start()
            with pytest.raises(ProbeNotStarted):
                await probe.start()
            await probe.stop("reconfigured")
            await probe.stop()
        assert probes_of(os.getpid()) == []


async def test_a_probe_as_a_thread(runtime: Path) -> None:
    """Where no child process is allowed. Attaching, inspecting and acting are the same."""
    async with Node("shop") as node, Probe(node, placement="thread", tick_s=0.05):
        await node.spawn(Echo, name="echo", restart="permanent")
        assert probes_of(os.getpid()) == []
        async with connect("shop", timeout_s=10.0) as client:
            await eventually(client.agents, lambda page: page.total == 2)
            assert client.info.probe_pid == os.getpid()
            assert (await client.inspect("echo")).state is not None
            assert (await client.kill("echo")).done
            await eventually(
                lambda: client.agents(Query(filter="name=echo restarts>0")), lambda page: page.matched
            )
            assert (await client.vitals()).state == "up"
    assert left_behind(runtime) == set()


# -- what is refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"listen": "ipc:///tmp/x"},
        {"listen": "127.0.0.1:5"},
        {"placement": "elsewhere"},
        {"audit_keep_days": 0.5},
        {"audit_keep_days": float("nan")},
        {"linger_s": -1},
        {"linger_s": float("nan")},
        {"budget": 0},
        {"budget": 2},
        {"tick_s": 0},
        {"tick_s": 100},
    ],
)
def test_arguments_that_make_no_sense(wrong: dict[str, Any]) -> None:
    """Said where they are written, not when somebody attaches."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Probe("shop", **wrong)


async def test_a_node_that_is_not_running() -> None:
    """The message shows the right line beside the wrong one."""
    with pytest.raises(ProbeNotStarted, match="async with Node"):
        await Probe(Node("shop")).start()


@pytest.mark.parametrize("placement", ["process", "thread"])
async def test_a_name_that_is_taken(placement: Any, runtime: Path) -> None:
    """Two nodes of one name could not be told apart by whoever attaches. The first is not harmed."""
    async with Node("shop") as first, Probe(first, tick_s=0.05):
        before = left_behind(runtime)
        async with Node("shop") as second:
            with pytest.raises(NodeNameTaken, match="running already"):
                await Probe(second, placement=placement).start()
        assert left_behind(runtime) == before
        await first.spawn(Echo, name="echo")
        async with connect("shop", timeout_s=10.0) as client:
            assert client.info.incarnation == first.incarnation
            await eventually(client.agents, lambda page: page.total == 2)
            assert (await client.inspect("echo")).state is not None


async def test_a_service_may_go_on_without_a_probe(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, runtime: Path
) -> None:
    """Being observed must not be a reason for an outage."""
    async with Node("shop") as node:
        with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
            broken.setattr(sys, "executable", "/nonexistent/python")
            with pytest.raises(ProbeNotStarted, match="/nonexistent/python"):
                await Probe(node).start()
            async with Probe(node, required=False):
                ref = await node.spawn(Echo)
                assert await ref.call(5) == 5
        assert "the service goes on unobserved" in caplog.text
        assert left_behind(runtime) == set()


async def test_a_probe_that_fails_to_start_shows_its_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The reason stands in the error, not in a file that one must know of."""
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 'No module named zmq' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    async with Node("shop") as node:
        with pytest.raises(ProbeNotStarted, match="No module named zmq"):
            await Probe(node).start()


async def test_a_probe_that_never_gets_ready(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runtime: Path
) -> None:
    """A bounded wait, and nothing left of it."""
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexec sleep 1000\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    monkeypatch.setattr("observe.probe.embed.START_TIMEOUT_S", 0.3)
    async with Node("shop") as node:
        with pytest.raises(ProbeNotStarted, match="not ready within"):
            await Probe(node).start()
    sleepers = [child for child in psutil.Process().children() if "sleep" in child.name()]
    assert sleepers == []
    assert left_behind(runtime) == set()


async def test_an_address_that_cannot_be_bound() -> None:
    """Not this machine's, say."""
    async with Node("shop") as node:
        with pytest.raises(ProbeNotStarted, match=r"192\.0\.2\.1"):
            await Probe(node, listen="tcp://192.0.2.1:5555").start()


# -- surroundings ----------------------------------------------------------------------------------------------------------


def temporary() -> set[Path]:
    """Directories made for sockets."""
    return set(Path(tempfile.gettempdir()).glob("observe-*"))


async def test_a_long_runtime_directory(monkeypatch: pytest.MonkeyPatch, runtime: Path) -> None:
    """Paths of Unix sockets end at 107 bytes; home directories do not."""
    deep = runtime.joinpath(*["d" * 50] * 3)
    monkeypatch.setenv("OBSERVE_RUNTIME_DIR", str(deep))
    own = runtime / "tmp"
    own.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(own))  # other tests make such directories as well
    before = temporary()
    async with Node("shop") as node, Probe(node):
        async with connect("shop", timeout_s=10.0) as client:
            assert (await eventually(client.agents, lambda page: page.total == 1)).total == 1
        (made,) = temporary() - before
        assert made.stat().st_mode & 0o777 == 0o700
    assert temporary() == before


def dead_pid() -> int:
    """The pid of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


async def test_what_a_killed_service_left_is_removed(runtime: Path) -> None:
    """`kill -9` cleans nothing up; the next start does, and touches nothing of a live service."""
    ended = dead_pid()
    async with Node("shop") as node, Probe(node):
        directory = runtime / "observe" / "nodes" / "shop"
        live = left_behind(runtime)
        for kind in ("words", "feed", "control"):
            (directory / f"{kind}-{ended}-abcd").touch()
        async with Node("shop") as second:
            with contextlib.suppress(NodeNameTaken):
                await Probe(second).start()
        assert left_behind(runtime) == live


def stack_files(runtime: Path) -> list[Path]:
    """Where `faulthandler` writes."""
    return sorted(runtime.rglob("stacks-*.txt"))


async def test_the_signal_for_stacks_is_nobodys(runtime: Path) -> None:
    """A service's own handlers stay; two probes in one process do not share a signal."""
    number = signal.SIGRTMIN + 5
    calls: list[int] = []
    before = signal.signal(number, lambda *_: calls.append(1))
    try:
        async with Node("a") as a, Node("b") as b, Probe(a), Probe(b):
            os.kill(os.getpid(), number)
            await until(lambda: calls)
            stacks = stack_files(runtime)
            assert len(stacks) == 2
            for _ in range(2):
                number += 1
                os.kill(os.getpid(), number)
            await until(lambda: all(path.stat().st_size for path in stacks))
            assert all("test_the_signal_for_stacks_is_nobodys" in path.read_text() for path in stacks)
    finally:
        signal.signal(signal.SIGRTMIN + 5, before)


def test_it_works_on_uvloop() -> None:
    """The loop of many services."""

    async def main() -> int:
        async with Node("shop") as node, Probe(node):
            await node.spawn(Echo)
            async with connect("shop", timeout_s=10.0) as client:
                return (await eventually(client.agents, lambda page: page.total == 2)).total

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == 2


# -- ends ------------------------------------------------------------------------------------------------------------------


def run_service(body: str) -> tuple[int, int, str]:
    """Run a service; returns its exit status, the pid of its probe, and what it said on stderr."""
    code = "import asyncio, os, sys, threading\nfrom observe.probe import Probe\nfrom observe.runtime import Node\n"
    process = subprocess.run(
        [sys.executable, "-c", code + textwrap.dedent(body)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return process.returncode, int(process.stdout.split()[-1]), process.stderr


NEVER_STOPPED = """
    async def main():
        node = Node("shop")
        await node.start()
        probe = Probe(node)
        await probe.start()
        print(probe.statistics()["probe_pid"], flush=True)
        {end}
    {run}
"""


@pytest.mark.parametrize(
    ("end", "run", "status"),
    [
        ("pass", "asyncio.run(main())", 0),
        ("raise SystemExit(5)", "asyncio.run(main())", 5),
        ("1 / 0", "asyncio.run(main())", 1),
        (
            "pass",
            "thread = threading.Thread(target=lambda: asyncio.run(main())); thread.start(); thread.join()",
            0,
        ),
        ("pass", "loop = asyncio.new_event_loop(); loop.run_until_complete(main())", 0),
    ],
)
def test_a_service_that_forgets_to_stop_its_probe(end: str, run: str, status: int, runtime: Path) -> None:
    """It may end anyhow: the interpreter's end takes the probe along."""
    code, probe, complaints = run_service(NEVER_STOPPED.format(end=end, run=run))
    assert code == status, complaints
    wait_until(lambda: is_gone(probe), "the probe to end")
    assert left_behind(runtime) == set()


def test_forked_children_leave_the_probe_alone() -> None:
    """By `os.fork` or `multiprocessing`; collecting garbage and running the exit handlers that they have inherited."""
    body = """
    import atexit, gc, multiprocessing

    def child():
        gc.collect()
        atexit._run_exitfuncs()

    async def main():
        async with Node("shop") as node, Probe(node) as probe:
            pid = probe.statistics()["probe_pid"]
            forked = os.fork()
            if forked == 0:
                child()
                asyncio.set_event_loop(None)
                del probe, node
                gc.collect()
                os._exit(3)
            while (ended := os.waitpid(forked, os.WNOHANG))[0] == 0:
                await asyncio.sleep(0.01)
            assert os.waitstatus_to_exitcode(ended[1]) == 3, ended
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start()
            while process.exitcode is None:
                await asyncio.sleep(0.01)
            assert process.exitcode == 0, process.exitcode
            await asyncio.sleep(0.3)
            facts = probe.statistics()
            assert (facts["probe_pid"], facts["probe_restarts"]) == (pid, 0), facts
            os.kill(pid, 0)
            print(pid, flush=True)
    asyncio.run(main())
    """
    code, probe, complaints = run_service(body)
    assert code == 0, complaints
    wait_until(lambda: is_gone(probe), "the probe to end")


def test_importing_it_is_light() -> None:
    """Every service imports it; those that are not observed must not pay for it."""
    code = "import sys; from observe.probe import Probe; print([m for m in ('textual','opentelemetry','numpy','pydantic','zmq','msgpack') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_an_observed_service_does_not_load_the_probe_itself() -> None:
    """Arrays and tables live in the process beside it."""
    body = """
    async def main():
        async with Probe("shop") as probe:
            print(probe.statistics()["probe_pid"], flush=True)
            loaded = [name for name in ("numpy", "psutil", "textual", "opentelemetry") if name in sys.modules]
            assert loaded == [], loaded
    asyncio.run(main())
    """
    code, probe, complaints = run_service(body)
    assert code == 0, complaints
    wait_until(lambda: is_gone(probe), "the probe to end")
