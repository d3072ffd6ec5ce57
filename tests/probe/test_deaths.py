"""Death is an observation: what killed a node, who was running and what was open can be asked after it."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from observe.probe.client import NodeClient, connect
from observe.probe.deaths import KEPT_REPORTS, Death, DeathFiles, reports_of
from observe.probe.errors import RemoteError
from observe.probe.last_breath import Ending, MemoryKills
from observe.probe.wire_table import Query
from tests.probe.live import LiveService, eventually, is_gone, private_runtime, wait_until


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private_runtime(monkeypatch) as path:
        yield path


@contextlib.asynccontextmanager
async def attached() -> AsyncIterator[NodeClient]:
    async with connect("shop", timeout_s=10.0) as node:
        yield node


async def death_of(node: NodeClient) -> Death:
    """The newest report, once the node is seen dead."""
    await eventually(node.vitals, lambda vitals: vitals.state in ("dead", "stopped"))
    return (await node.deaths()).deaths[0]


async def test_kill_nine_is_reported_with_what_was_open(runtime: Path) -> None:
    """The commonest death of a service, and the one that leaves no word of its own."""
    with LiveService(runtime) as service:
        service.do("cast", "waiter-0", 1000)
        service.do("cast", "waiter-1", "crash")
        async with attached() as node:
            await eventually(
                lambda: node.agents(Query(filter="activity=tool:search")), lambda page: page.matched
            )
            # Until the successor is known and whoever crashed is gone from the table.
            await eventually(node.crashes, lambda found: found.total and found.crashes[0].restarted)
            await eventually(node.agents, lambda page: page.total == 7)
            service.process.send_signal(signal.SIGKILL)
            death = await death_of(node)
            vitals = await node.vitals()
        assert (death.signal, death.signal_name) == (signal.SIGKILL, "SIGKILL")
        assert death.pid == service.pid
        assert death.incarnation == service.facts["incarnation"]
        assert death.memory_max > 10_000_000
        assert [(one.name, one.activity) for one in death.open_activities] == [("waiter-0", "tool:search")]
        assert death.open_activities_total == 1
        assert (death.agents, sum(death.by_status.values())) == (7, 7)
        assert any("waiter-1" in event.text for event in death.events if event.kind == "crash")
        assert vitals.cause == death.cause
        assert "SIGKILL" in death.cause


async def test_a_fatal_signal_leaves_the_last_stacks(runtime: Path) -> None:
    """A fault in a C extension: which line of Python called it, and for which agent."""
    with LiveService(runtime) as service:
        async with attached() as node:
            await eventually(node.agents, lambda page: page.total == 7)
            service.tell("cast", "holder", ["python", 1000.0])
            await eventually(
                node.vitals, lambda vitals: vitals.held is not None and vitals.held.name == "holder"
            )
            service.process.send_signal(signal.SIGSEGV)
            death = await death_of(node)
        assert death.signal == signal.SIGSEGV
        assert death.fatal == "Fatal Python error: Segmentation fault"
        assert len(death.stacks) > 1
        assert "spin_in_python" in death.stacks[0].frames[-1].function  # the one that matters comes first
        assert death.running is not None
        assert (death.running.name, death.running.status) == ("holder", "running")


async def test_an_exception_that_ends_the_service_is_a_death(runtime: Path) -> None:
    """It says good-bye on its way out; that does not make it an end on purpose."""
    with LiveService(runtime) as service:
        service.tell("raise")
        service.wait()
        (death,) = reports_of("shop", 5).deaths
        assert "RuntimeError" in death.cause


async def test_an_exit_without_a_word_is_reported_with_its_status(runtime: Path) -> None:
    """As a C library may end a process; what was pending at the probe ends with a reason."""
    with LiveService(runtime) as service:
        async with attached() as node:
            await eventually(node.agents, lambda page: page.total == 7)
            watch = await node.watch_events()
            service.tell("exit at once", 3)
            death = await death_of(node)
            assert (death.exit_code, death.signal) == (3, None)
            assert "exit status 3" in death.cause
            async for push in watch:
                if any("exit status 3" in event.text for event in push.data.events):
                    break
            with pytest.raises(RemoteError, match="exit status 3") as caught:
                await node.stack("waiter-0")
            assert caught.value.code == "node_dead"


async def test_the_probe_outlives_its_node_for_as_long_as_it_was_told(runtime: Path) -> None:
    """The last picture and the report are served meanwhile; then it goes by itself."""
    with LiveService(runtime, linger_s=2.0) as service:
        async with attached() as node:
            await eventually(node.agents, lambda page: page.total == 7)
            service.kill()
            await death_of(node)
            assert (await node.agents()).total == 7
            assert (await node.inspect("waiter-0")).agent["class"] == "Waiter"
        wait_until(lambda: is_gone(service.probe_pid))
        assert reports_of("shop", 1).total == 1


async def test_an_end_on_purpose_is_no_death(runtime: Path) -> None:
    with LiveService(runtime) as service:
        service.tell("return")
        service.wait()
        assert reports_of("shop", 5).total == 0


async def test_the_next_incarnation_tells_of_the_death_before(runtime: Path) -> None:
    """`Why did it restart` is asked when it is back."""
    with LiveService(runtime) as first:
        async with attached() as node:
            await eventually(node.agents, lambda page: page.total == 7)
            first.kill()
            before = await death_of(node)
        with LiveService(runtime):
            async with attached() as node:
                assert node.info.state == "up"
                assert (await node.deaths()).deaths == [before]
                assert before.incarnation != node.info.incarnation


def report(at: float) -> Death:
    return Death(node="shop@h", incarnation="i/../x", pid=1, at=at, started_at=0.0, cause="c")


def test_reports_are_bounded_private_and_newest_first(tmp_path: Path) -> None:
    """A service that dies every minute must not fill the disk."""
    files = DeathFiles(tmp_path)
    for number in range(KEPT_REPORTS + 5):
        path = files.write(report(1e9 + number))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    found = files.read(3)
    assert found.total == KEPT_REPORTS
    assert [one.at - 1e9 for one in found.deaths] == [24.0, 23.0, 22.0]
    path.write_text("{")
    assert [one.at - 1e9 for one in files.read(1).deaths] == [23.0]


def test_an_ending_in_words() -> None:
    assert str(Ending(signal=9)) == "ended by signal 9 (SIGKILL)"
    assert str(Ending(exit_code=3)) == "ended by itself with exit status 3"
    assert not Ending().is_known


def test_memory_kills_are_counted_from_the_beginning() -> None:
    """A kill of last week does not explain today's death."""
    counts = iter([4, 4, 5])
    kills = MemoryKills(lambda: next(counts))
    assert [kills.rose(), kills.rose()] == [False, True]
    assert not MemoryKills(lambda: None).rose()
