"""The rules for sockets that strangers can reach, each with the test that holds it.

What libzmq does by default was measured, and what others' mistakes cost is on record (Salt, Jupyter, libzmq itself). A
name in this list that no test has fails a test.

| rule | held by |
| --- | --- |
| commands never over a lossy socket; telemetry numbered, with gaps noticed | test_a_gap_in_the_feed_asks_for_everything_anew |
| CURVE always; no client without, or with an unknown key | test_strangers_are_turned_away_and_nobody_notices |
| a server with another key gets nothing | test_a_node_with_another_key_is_refused_loudly |
| the ZAP domain is set and enforced; only CURVE | test_everybody_else_is_turned_away |
| identity from the transport's key, never from the body | test_a_role_comes_from_the_key |
| each verb with each role | test_each_role_is_forbidden_exactly_what_the_table_says |
| what can be reached is a list | test_what_can_be_reached_is_what_the_table_and_the_document_list |
| incarnation, expiry, unknown fields, wrong role: 0 of 1,000 | test_none_of_a_thousand_is_carried_out |
| a repeated id gets its first answer, over the death of a probe | test_a_kill_is_carried_out_once_although_the_probe_was_killed_before_it_could_answer |
| ids are checked before they are stored, and forgotten in order | test_a_command_is_never_forgotten_before_it_has_expired |
| expiry by the server's clock | test_a_clock_that_is_wrong_is_told_and_the_age_of_telemetry_is_by_the_nodes_clock |
| nothing waits for a peer that is not there (what IMMEDIATE is for) | test_nothing_waits_for_a_node_that_is_gone |
| HEARTBEAT on both sides | test_a_half_open_connection_is_noticed_on_both_sides_and_healed |
| MAXMSGSIZE | test_a_frame_far_too_large_ends_that_connection_alone |
| HANDSHAKE_IVL | test_who_connects_and_says_nothing_is_hung_up_on |
| high-water marks: a stopped console | test_a_console_that_is_stopped_costs_the_node_next_to_nothing |
| who asks and does not read loses its place | test_who_does_not_read_its_answers_loses_its_place |
| large answers that are not read are bounded by bytes | test_large_answers_that_nobody_reads_cost_bounded_memory |
| LINGER is bounded | test_a_probe_ends_in_time_although_a_console_does_not_read |
| the last words are read | test_the_last_words_of_a_probe_are_heard_by_a_client_that_was_busy |
| RECONNECT in growing, random pauses | test_a_console_looks_for_a_lost_node_ever_more_seldom |
| a monitor: failed handshakes are told to both sides | test_who_is_turned_away_is_told_and_the_node_records_it |
| a revoked key loses its session within a second | test_a_revoked_key_loses_its_open_session_within_a_second |
| file modes | test_a_file_that_others_can_change_lets_nobody_in, test_keys_that_others_can_read_stop_the_probe_with_a_sentence |
| local sockets in a directory of our own | test_a_directory_that_others_may_enter_is_refused |
| one process owns a socket; forks | test_a_forked_child_does_not_disturb |
| limits per key and per client | test_denials_of_one_key_cannot_fill_the_disk, test_clients_are_bounded_and_the_silent_make_room |
| msgpack's own tolerance is refused | test_each_hostile_frame_is_refused_with_its_reason |
| no pickle | test_nothing_that_speaks_to_strangers_can_unpickle |
| names from the wire never become paths (CVE-2020-11652 and others) | test_names_from_the_wire_are_no_paths |
| no older version than is listed (CVE-2025-62349) | test_a_client_cannot_choose_a_version_that_is_not_listed |
| raw bytes and many idle connections starve nobody (CVE-2020-15166) | test_raw_bytes_on_the_port_harm_nobody |
| libzmq as new as the fixes | test_libzmq_has_the_fixes_that_we_rely_on |
| IPv6 is no way around any of it | test_a_node_listens_and_is_reached_over_ipv6 |
| hostile frames: no crash, hang, leak or growth | test_five_thousand_mutations_do_no_harm |
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgpack  # type: ignore[import-untyped]  # it ships no types
import psutil
import pytest
import zmq

from observe.probe import Probe, keyfiles
from observe.probe.cards import read_card
from observe.probe.client import connect
from observe.probe.errors import NodeUnreachable, NotAuthorised
from observe.probe.keyfiles import CLIENT_KEY, NODE_KEY, make_key_pair
from observe.runtime import Agent, Node
from tests.probe.fake_service import FakeService
from tests.probe.live import eventually as seen
from tests.probe.live import private_runtime, until
from tests.probe.proxy import Network

ROOT = Path(__file__).parents[2]


class Idle(Agent):
    """Waits."""


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private_runtime(monkeypatch) as path:
        yield path


def test_each_rule_has_its_test() -> None:
    """A test that is renamed or removed takes its rule along, unless somebody is told."""
    assert __doc__ is not None
    named = set(re.findall(r"\btest_\w+", __doc__))
    there = {
        name
        for path in (ROOT / "tests" / "probe").glob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert len(named) > 30
    assert named <= there, named - there


async def test_nothing_waits_for_a_node_that_is_gone(runtime: Path) -> None:
    """A DEALER keeps a thousand messages for a dead peer and delivers yesterday's kill to the next one. Ours keeps none."""
    async with Node("shop") as node, Probe(node):
        agent = await node.spawn(Idle, name="victim")
        card = read_card("shop")
        assert card is not None
        async with Network(card) as between:  # noqa: SIM117  # its card
            async with connect(between.card, timeout_s=20.0, reconnect=True) as console:
                await seen(console.agents, lambda page: page.total == 2)
                between.stall()
                under_way = asyncio.create_task(console.kill("victim"))
                await asyncio.sleep(0.05)
                between.refuse()
                between.cut()
                with pytest.raises(NodeUnreachable):
                    await under_way
                with pytest.raises(NodeUnreachable):
                    await console.kill("victim")
                between.heal()
                await until(lambda: console.state == "up", "the console to come back")
                assert (await console.inspect("victim")).agent["pid"] == agent.pid


async def test_who_connects_and_says_nothing_is_hung_up_on(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("observe.probe.sockets.HANDSHAKE_MS", 1500)
    async with Node("shop") as node, Probe(node, placement="thread"):
        card = read_card("shop")
        assert card is not None
        host, _, port = card.endpoint.removeprefix("tcp://").rpartition(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(20)]
        async with connect("shop", timeout_s=20.0) as console:
            await console.ping()
        async with asyncio.timeout(20):
            for reader, writer in silent:
                with contextlib.suppress(ConnectionError):
                    while await reader.read(1000):  # its own greeting
                        pass
                writer.close()


def test_a_console_that_is_stopped_costs_the_node_next_to_nothing() -> None:
    """SIGSTOP with every watch open: it has credit for a few pushes, the rest is counted and not kept."""
    with FakeService() as service:
        service.start()
        service.spawn(*({"pid": pid, "name": f"session-{pid}"} for pid in range(1, 1101)))
        other = service.synced_client()
        console = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("stopped_console.py"))],
            stdout=subprocess.PIPE,
            env=os.environ | {"OBSERVE_RUNTIME_DIR": str(service.runtime)},
        )
        try:
            assert console.stdout is not None
            assert console.stdout.readline() == b"watching\n"
            flood(service)
            other.ok("ping")
            before = resident(service)
            console.send_signal(signal.SIGSTOP)
            for _ in range(3):
                flood(service)
                assert other.ok("agents", {"limit": 1})["total"] == 1100
            assert resident(service) - before < 16 << 20
        finally:
            console.kill()
            console.communicate()


def flood(service: FakeService) -> None:
    """Some thousand events, of 300 bytes each to everybody who watches."""
    for number in range(2000):
        service.crash(5)
        if number % 100 == 0:
            service.rows({"pid": 7, "handled": number})


def resident(service: FakeService) -> int:
    assert service.probe is not None
    return int(Path(f"/proc/{service.probe.pid}/statm").read_text().split()[1]) * 4096


def test_who_does_not_read_its_answers_loses_its_place() -> None:
    """Answers are not conflated as pushes are; so that they cannot pile up, whoever lets them do so starts over."""
    with FakeService() as service:
        service.start()
        service.spawn(*({"pid": pid, "name": f"session-{pid}"} for pid in range(1, 1101)))
        service.synced_client()
        careless = service.client(rcvhwm=1)
        for _ in range(400):  # more than the network and both sides keep
            careless.ask("agents", {"limit": 1000})
        other = service.client()
        for _ in range(50):  # a turn of the probe takes at most a hundred requests, or for 50 ms
            other.ok("ping")
        codes: list[str] = []
        while "hello_first" not in codes:
            reply = careless.receive()
            assert len(codes) < 2000
            codes.append("ok" if reply["ok"] else reply["error"]["code"])
            if len(codes) > 50:
                careless.ask("ping")
        assert codes[0] == "ok"
        while not careless.hears_nothing(0.2):
            careless.receive()
        assert careless.hello()["role"] == "admin"


def test_large_answers_that_nobody_reads_cost_bounded_memory() -> None:
    """Sixty-four of them would be a gigabyte. After what waits has been read there are answers again."""
    with FakeService() as service:
        service.start()
        name = "n" * 240
        service.spawn(
            *({"pid": pid, "name": f"{pid}{name}", "child": f"{pid}{name}"} for pid in range(1, 1101))
        )
        service.synced_client()
        other, careless = service.client(), service.client(rcvhwm=1)
        assert service.probe is not None
        probe = psutil.Process(service.probe.pid)
        answer = len(msgpack.packb(other.ok("agents", {"limit": 1000})))
        assert answer > 500_000
        before = probe.memory_info().rss
        numbers = [careless.ask("agents", {"limit": 1000}) for _ in range(60)]
        assert careless.socket.poll(20_000)
        for _ in range(len(numbers)):  # a turn of the probe takes requests for 50 ms
            other.ok("ping")
        assert probe.memory_info().rss - before < 30 * answer  # 4 MiB wait, the rest is what answering takes
        replies = [careless.reply(number) for number in numbers]
        codes = ["ok" if reply["ok"] else reply["error"]["code"] for reply in replies]
        assert codes[0] == "ok"
        assert set(codes) == {"ok", "busy"}
        assert "bytes wait to be read" in next(one["error"]["message"] for one in replies if not one["ok"])
        assert len(careless.ok("agents", {"limit": 1000})["rows"]) == 1000


def test_a_probe_ends_in_time_although_a_console_does_not_read() -> None:
    with FakeService() as service:
        service.start()
        service.spawn(*({"pid": pid, "name": f"session-{pid}"} for pid in range(1, 1101)))
        service.synced_client()
        deaf = service.client(rcvhwm=1)
        for _ in range(4):
            deaf.ask(
                "watch", {"what": "agents", "query": {"limit": 1000}, "interval_s": 0.05, "credit": 1000}
            )
        service.client().ok("ping")
        assert service.probe is not None
        began = time.monotonic()
        service.probe.terminate()
        assert service.probe.wait(20) == 0
        assert time.monotonic() - began < 10  # it lingers for half a second; ZeroMQ's default is for ever


def test_nothing_that_speaks_to_strangers_can_unpickle() -> None:
    """Access would be code execution."""
    for path in (*(ROOT / "probe").glob("*.py"), *(ROOT / "audit").glob("*.py")):
        for part in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in part.names]
                if isinstance(part, ast.Import)
                else [part.module or ""]
                if isinstance(part, ast.ImportFrom)
                else [part.attr]
                if isinstance(part, ast.Attribute)
                else []
            )
            assert not {"pickle", "shelve", "recv_pyobj", "send_pyobj"} & set(names), path.name


@pytest.mark.parametrize("name", ["../pay", "..", "/etc/passwd", "pay/../shop", "a\x00b", "%2e%2e"])
def test_names_from_the_wire_are_no_paths(shared: FakeService, name: str) -> None:
    client = shared.client()
    error = client.error("where", {"node": name})
    assert error["code"] in ("no_such_node", "bad_request")
    assert str(shared.runtime) not in f"{error['message']} {error['hint']}"
    assert client.error("inspect", {"agent": name})["code"] == "no_such_agent"


@pytest.mark.parametrize("versions", [[0], [2, 3], [2**31]])
def test_a_client_cannot_choose_a_version_that_is_not_listed(
    shared: FakeService, versions: list[int]
) -> None:
    client = shared.client(hello=False)
    assert client.error("hello", {"versions": versions})["code"] == "unsupported_version"
    assert client.error("ping")["code"] == "hello_first"


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeService]:
    with FakeService() as made:
        made.start()
        made.shop()
        made.synced_client()
        yield made


def test_libzmq_has_the_fixes_that_we_rely_on() -> None:
    assert zmq.zmq_version_info() >= (4, 3, 5)


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as tried:
        tried.bind(("::1", 0))
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_a_node_listens_and_is_reached_over_ipv6(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its card, by its address from elsewhere, and by nobody whose key is not authorised."""
    keys = tmp_path / "keys"
    monkeypatch.setenv("OBSERVE_CONFIG_DIR", str(keys))
    keyfiles.authorise(keys, make_key_pair(keys / CLIENT_KEY).public, "operator", "ann")
    with socket.socket(socket.AF_INET6) as free:
        free.bind(("::1", 0))
        port = free.getsockname()[1]
    keyfiles.trust(keys, "[::1]", make_key_pair(keys / NODE_KEY).public)
    async with Node("shop") as node, Probe(node, listen=f"tcp://[::1]:{port}"):
        await node.spawn(Idle, name="victim")
        async with connect("shop", timeout_s=20.0) as console:
            assert console.role == "admin"
        async with connect(f"shop@[::1]:{port}", timeout_s=20.0) as console:
            assert (console.role, console.info.incarnation) == ("operator", node.incarnation)
            await seen(console.agents, lambda page: page.total == 2)
            assert (await console.kill("victim")).done
        make_key_pair(keys / CLIENT_KEY, replace=True)
        with pytest.raises(NotAuthorised):
            await connect(f"shop@[::1]:{port}", timeout_s=20.0).open()
