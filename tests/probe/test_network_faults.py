"""A network that fails between console and node: they come back by themselves, without a storm, and nothing is done twice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from observe.probe import Probe
from observe.probe.cards import read_card
from observe.probe.client import ClientState, NodeClient, connect
from observe.probe.errors import AttachError, NodeUnreachable
from observe.probe.wire_table import Query
from observe.runtime import Agent, ChildSpec, Node, Supervisor
from tests.probe.fake_service import FakeService
from tests.probe.live import eventually, private_runtime, until
from tests.probe.proxy import Network

CONSOLES = 20


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private_runtime(monkeypatch) as path:
        yield path


@pytest.fixture
def quick_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is noticed within half a second on both sides, where people have six."""
    for module in ("connection", "sockets"):
        monkeypatch.setattr(f"observe.probe.{module}.HEARTBEAT_MS", 100)
        monkeypatch.setattr(f"observe.probe.{module}.HEARTBEAT_TIMEOUT_MS", 500)


class Quiet(Agent):
    def handle(self, message: Any) -> None:
        pass


def network() -> Network:
    card = read_card("shop")
    assert card is not None
    return Network(card)


async def test_a_slow_network_makes_a_console_slow_and_nothing_else(runtime: Path) -> None:
    async with Node("shop") as node, Probe(node), network() as between:
        between.delay_s = 0.1
        async with connect(between.card, timeout_s=20.0) as console:
            watch = await console.watch_vitals(interval_s=0.05)
            assert await console.ping() > 0.2
            seqs = [(await anext(watch)).seq for _ in range(3)]
            assert seqs == [1, 2, 3]


async def test_a_half_open_connection_is_noticed_on_both_sides_and_healed(
    runtime: Path, quick_heartbeats: None
) -> None:
    """Nobody sends a FIN when a laptop is closed. Whoever waits is told; the node gives up what it kept for the console."""
    states: list[ClientState] = []
    async with Node("shop") as node, Probe(node, placement="thread"), network() as between:  # noqa: SIM117  # its card
        async with connect(between.card, timeout_s=20.0, reconnect=True, on_state=states.append) as console:
            watch = await console.watch_vitals(interval_s=0.05)
            await anext(watch)
            between.stall()
            with pytest.raises(NodeUnreachable):
                await console.ping()
            await until(lambda: states and states[0].state == "lost")
            between.cut()
            between.heal()
            await until(lambda: console.state == "up", "the console to come back")
            assert (await eventually(lambda: anext(watch))).data.state == "up"  # the watch goes on


async def test_a_cut_connection_loses_no_watch_and_nothing_twice(runtime: Path) -> None:
    """In the middle of requests: each was answered or its asker told, and each agent was killed at most once."""
    async with Node("shop") as node, Probe(node), network() as between:
        children = [ChildSpec(Quiet, id=f"q{n}", name=f"q{n}", restart="permanent") for n in range(10)]
        await node.spawn(Supervisor, children, name="top", intensity=1000)
        async with connect(between.card, timeout_s=20.0, reconnect=True) as console:
            await eventually(console.agents, lambda page: page.total == 12)
            kills = [asyncio.create_task(console.kill(f"q{n}")) for n in range(10)]
            await asyncio.sleep(0)
            between.cut()
            outcomes = await asyncio.gather(*kills, return_exceptions=True)
            assert all(not isinstance(one, BaseException) or isinstance(one, AttachError) for one in outcomes)
            await until(lambda: console.state == "up", "the console to come back")
            rows = (await console.agents(Query(filter="class=Quiet"))).as_dicts()
            assert all(row["restarts"] <= 1 for row in rows)


async def test_a_console_looks_for_a_lost_node_ever_more_seldom(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty that were lost at one time do not come back as a wave: pauses double and differ."""
    monkeypatch.setattr("observe.probe.client.BACKOFF_S", (0.05, 5.0))
    async with Node("shop") as node, Probe(node), network() as between:  # noqa: SIM117  # its card
        async with connect(between.card, timeout_s=20.0, reconnect=True) as console:
            before = between.connections
            between.refuse()
            between.cut()
            await until(lambda: between.connections >= before + 3, "some attempts")
            began, tried = asyncio.get_running_loop().time(), between.connections
            await asyncio.sleep(0.6)
            took_s = asyncio.get_running_loop().time() - began
            assert between.connections - tried <= 1 + took_s / 0.2  # from the fourth on at least 0.2 s apart
            between.heal()
            await until(lambda: console.state == "up", "the console to come back")


async def test_twenty_consoles_survive_the_death_of_their_probe(runtime: Path) -> None:
    """kill -9 while each has a watch and a command under way: all come back, and nothing is done twice."""
    async with Node("shop") as node, Probe(node) as probe:
        children = [ChildSpec(Quiet, id=f"q{n}", name=f"q{n}", restart="permanent") for n in range(CONSOLES)]
        await node.spawn(Supervisor, children, name="top", intensity=1000)
        consoles = [NodeClient("shop", timeout_s=20.0, reconnect=True) for _ in range(CONSOLES)]
        attempts = dict.fromkeys(range(CONSOLES), 0)

        def count(number: int, state: ClientState) -> None:
            attempts[number] += state.state == "connecting"

        try:
            for number, console in enumerate(consoles):
                await console.open()
                console.on_state = lambda state, number=number: count(number, state)
            watches = [await console.watch_agents(Query(sort="name"), interval_s=0.1) for console in consoles]
            await eventually(consoles[0].agents, lambda page: page.total == CONSOLES + 2)
            kills = [asyncio.create_task(one.kill(f"q{number}")) for number, one in enumerate(consoles)]
            await asyncio.sleep(0)
            os.kill(probe.statistics()["probe_pid"], signal.SIGKILL)
            outcomes = await asyncio.gather(*kills, return_exceptions=True)
            await until(lambda: all(console.state == "up" for console in consoles), "all consoles")
            for watch in watches:
                while (await anext(watch)).data.total < CONSOLES + 2:
                    pass
            rows = (await consoles[0].agents(Query(filter="class=Quiet"))).as_dicts()
            restarts = {row["name"]: row["restarts"] for row in rows}
            for number, outcome in enumerate(outcomes):
                done = not isinstance(outcome, BaseException)
                assert done <= restarts[f"q{number}"] <= 1, (outcome, restarts)
            assert max(attempts.values()) <= 20  # 0.1 s, 0.2 s, 0.4 s, … until the probe is back
        finally:
            for console in consoles:
                await console.close()


def test_a_console_that_is_killed_in_the_middle_of_a_command_leaves_it_done_once() -> None:
    """And whoever repeats it from another connection gets the answer that the dead one never read."""
    with FakeService() as service:
        service.start()
        service.shop()
        service.synced_client()
        doomed = service.client()
        command = doomed.command("w2")
        doomed.ask("kill", command)
        question = service.expect("kill")
        doomed.close()
        service._clients.remove(doomed)
        service.answer(
            question, {"done": True, "what": "killed", "pid": 2, "reason": "killed", "took_s": 0.0}
        )
        again = service.client()
        assert again.ok("kill", command)["pid"] == 2
        assert again.ok("ping")["now"] > 0
        assert not service.control.poll(100), "it was asked to do it again"


def test_fifty_consoles_each_get_what_they_asked_for() -> None:
    """Each with its own order and filter, while the table changes."""
    columns = ("pid", "name", "mailbox", "handled", "reductions")
    with FakeService() as service:
        service.start()
        service.spawn({"pid": 1, "class": "Supervisor", "name": "root", "supervisor": 0, "child": "root"})
        service.spawn(*({"pid": pid, "name": f"w{pid:03}", "child": f"c{pid}"} for pid in range(2, 202)))
        service.rows(
            *(
                {"pid": pid, "mailbox": pid * 7 % 101, "handled": pid * 13 % 97, "reductions": pid * 17 % 89}
                for pid in range(2, 202)
            )
        )
        service.synced_client()
        consoles = []
        for number in range(50):
            console = service.client()
            query = {
                "sort": columns[number % 5], "descending": number % 2 == 0, "limit": 20,
                "filter": f"mailbox>{number}",
            }  # fmt: skip
            sub = console.ok("watch", {"what": "agents", "query": query, "interval_s": 0.1, "credit": 3})[
                "sub"
            ]
            consoles.append((console, sub, query))
        for number, (console, sub, query) in enumerate(consoles):
            for _ in range(2):
                page = console.push(sub)["data"]
                rows = [dict(zip(page["columns"], row, strict=True)) for row in page["rows"]]
                assert page["matched"] == sum(1 for pid in range(2, 202) if pid * 7 % 101 > number)
                assert all(row["mailbox"] > number for row in rows)
                keys = [row[query["sort"]] for row in rows]
                assert keys == sorted(keys, reverse=bool(query["descending"]))
        assert service.client().ok("ping")["now"] > 0
