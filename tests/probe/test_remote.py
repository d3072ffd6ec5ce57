"""From elsewhere, safely: real nodes with keys in files, reached by name and port, over loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from observe.audit.record import Record
from observe.probe import Probe, ProbeNotStarted, keyfiles
from observe.probe.addresses import parse_listen
from observe.probe.client import NodeClient, connect
from observe.probe.errors import AttachError, NotAuthorised, RemoteError, UnknownNodeKey, WrongNodeKey
from observe.probe.keyfiles import CLIENT_KEY, NODE_KEY, make_key_pair
from observe.probe.keys import new_key_pair
from observe.probe.remote import parse_remote
from observe.probe.wire import VERBS
from observe.probe.wire_base import COMMAND_HORIZON_S, Command
from observe.runtime import Agent, Node
from tests.probe.live import eventually, private_runtime, until


class Idle(Agent):
    """Waits."""


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, port: int) -> Iterator[Path]:
    """A directory of key files, used by node and client alike, and a default port of this test alone."""
    directory = tmp_path / "keys"
    monkeypatch.setenv("OBSERVE_CONFIG_DIR", str(directory))
    monkeypatch.setenv("OBSERVE_PORT", str(port))
    with private_runtime(monkeypatch):
        yield directory


@pytest.fixture
async def shop(keys: Path, port: int) -> AsyncIterator[Node]:
    """A node on the default port whose client key is authorised as an operator."""
    client = make_key_pair(keys / CLIENT_KEY)
    keyfiles.authorise(keys, client.public, "operator", "ann")
    keyfiles.trust(keys, "127.0.0.1", make_key_pair(keys / NODE_KEY).public)
    async with Node("shop") as node, Probe(node, listen=f"tcp://127.0.0.1:{port}"):
        yield node


async def test_a_node_is_reached_from_elsewhere_in_the_role_of_the_key(shop: Node, port: int) -> None:
    await shop.spawn(Idle, name="victim")
    async with connect(f"shop@127.0.0.1:{port}") as node:
        assert (node.role, node.info.incarnation) == ("operator", shop.incarnation)
        await eventually(lambda: node.agents(), lambda page: page.total >= 2)
        assert (await node.kill("victim")).done
        async with connect(f"shop@127.0.0.1:{port}"):
            pass

        async def on_record() -> list[Record]:
            return [one async for one in node.audit_records() if one.phase != "noted"]

        records = await eventually(on_record, lambda records: len(records) >= 4)
    assert [(one.what, one.phase) for one in records] == [
        ("attach", "completed"),
        ("kill", "requested"),
        ("kill", "completed"),
        ("attach", "completed"),
    ]
    assert {(one.who.name, one.who.role, one.who.address) for one in records} == {
        ("ann", "operator", "127.0.0.1")
    }


async def test_all_addresses_of_a_name_are_tried_and_it_is_said_which_it_was(
    shop: Node, keys: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a headless service while pods come and go; `test_machines` has real ones."""
    keyfiles.trust(keys, "shop.example", make_key_pair(keys / NODE_KEY).public)
    told = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.9", "127.0.0.1")]
    ask = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: told if host == "shop.example" else ask(host, *rest, **more))  # fmt: skip
    async with connect("shop@shop.example", timeout_s=20.0) as node:
        assert node.info.incarnation == shop.incarnation
        assert node.endpoint == f"tcp://127.0.0.1:{port}"
        assert node.way.startswith("attached at 127.0.0.1, one of 2 addresses of shop.example")
        assert "127.0.0.9 (nobody listens" in node.way
    keyfiles.revoke(keys, "ann")

    async def refused() -> str:
        try:
            async with connect("shop@shop.example", timeout_s=20.0):
                return ""
        except (
            NotAuthorised
        ) as error:  # which says more than that nobody listens at the other; or first, that it was revoked
            return str(error)
        except RemoteError:  # it was revoked between the key exchange and the first request
            return ""

    text = await eventually(refused, lambda text: "does not accept our key" in text)
    assert "2 addresses and could be attached to at none" in text


async def test_a_revoked_key_loses_its_open_session_within_a_second(
    shop: Node, keys: Path, port: int
) -> None:
    """A watch ends as well: who was sent away sees nothing more."""
    async with connect(f"shop@127.0.0.1:{port}") as node:
        watch = await node.watch_vitals(interval_s=0.05)
        began = time.monotonic()
        keyfiles.revoke(keys, "ann")
        with pytest.raises(NotAuthorised, match="revoked"):
            async for _ in watch:
                pass
        assert time.monotonic() - began < 5.0  # usually 0.2; the machine may be busy
    with pytest.raises(NotAuthorised, match="does not accept our key"):
        await NodeClient(f"shop@127.0.0.1:{port}").open()


async def test_a_changed_role_counts_in_an_open_session(shop: Node, keys: Path, port: int) -> None:
    await shop.spawn(Idle, name="victim")
    ours = make_key_pair(keys / CLIENT_KEY).public
    async with connect(f"shop@127.0.0.1:{port}", reconnect=True) as node:
        keyfiles.authorise(keys, ours, "viewer", "ann")
        await until(lambda: node.role == "viewer" and node.state == "up")
        with pytest.raises(RemoteError) as caught:
            await node.kill("victim")
        assert caught.value.code == "forbidden"
    assert shop.whereis("victim") is not None


async def test_a_file_that_others_can_change_lets_nobody_in(shop: Node, keys: Path, port: int) -> None:
    async with connect(f"shop@127.0.0.1:{port}") as node:
        (keys / "authorised_keys").chmod(0o666)
        await until(lambda: node.state == "lost")


async def test_who_is_turned_away_is_told_and_the_node_records_it(shop: Node, keys: Path, port: int) -> None:
    events = []
    async with connect("shop") as local:
        watch = await local.watch_events(interval_s=0.05)
        keyfiles.make_key_pair(keys / CLIENT_KEY, replace=True)
        stranger = make_key_pair(keys / CLIENT_KEY).public
        with pytest.raises(NotAuthorised):
            await NodeClient(f"shop@127.0.0.1:{port}").open()
        async for push in watch:
            events += [event.text for event in push.data.events if "turned away" in event.text]
            if events:
                break
    assert keyfiles.fingerprint(stranger) in events[0]
    assert "127.0.0.1" in events[0]


async def test_a_node_with_another_key_is_refused_loudly(shop: Node, keys: Path, port: int) -> None:
    """It was reinstalled, or somebody is in between: a person must decide, and nothing was sent."""
    keyfiles.trust(keys, "127.0.0.1", new_key_pair()[0], replace=True)
    with pytest.raises(WrongNodeKey, match="nothing was sent"):
        await NodeClient(f"shop@127.0.0.1:{port}").open()


async def test_an_unknown_node_is_not_trusted_by_accident(shop: Node, keys: Path, port: int) -> None:
    keyfiles.forget(keys, "127.0.0.1")
    with pytest.raises(UnknownNodeKey) as caught:
        await NodeClient(f"shop@127.0.0.1:{port}").open()
    assert f"observe keys trust shop@127.0.0.1:{port}" in caught.value.hint


async def test_several_nodes_share_the_default_port_and_another_takes_it_over(
    shop: Node, keys: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No daemon: whoever has the port tells where the others are, and when it goes another has it."""
    monkeypatch.setattr("observe.probe.resolving._is_here", lambda host, card: False)
    listen = f"tcp://127.0.0.1:{port}"
    async with (
        Node("pay") as pay,
        Probe(pay, listen=listen),
        Node("mail") as mail,
        Probe(mail, listen=listen),
    ):
        for name in ("shop", "pay", "mail"):
            async with connect(f"{name}@127.0.0.1") as node:
                assert node.info.name.startswith(f"{name}@")
        with pytest.raises(RemoteError) as caught:
            await NodeClient("nobody@127.0.0.1").open()
        assert caught.value.code == "no_such_node"
        assert "mail, pay, shop" in caught.value.hint
        with pytest.raises(
            RemoteError, match=r"there is shop@.*, and not pay"
        ) as caught:  # a port that was said
            await NodeClient(f"pay@127.0.0.1:{port}").open()
        assert caught.value.code == "no_such_node"

        async def find() -> str:
            try:
                async with connect("mail@127.0.0.1") as node:
                    return node.info.name
            except AttachError:  # in the middle of a handshake it looks like a wrong key
                return ""

        holder = next(probe for probe in probes_holding(port))
        os.kill(holder, 19)  # SIGSTOP: it holds the port and says nothing
        os.kill(holder, 9)
        assert (await eventually(find)).startswith("mail@")


def probes_holding(port: int) -> list[int]:
    """Processes that listen on the port."""
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                found.append(process.pid)
    return found


async def test_keys_that_others_can_read_stop_the_probe_with_a_sentence(keys: Path) -> None:
    make_key_pair(keys / NODE_KEY)
    (keys / NODE_KEY).chmod(0o644)
    async with Node("shop") as node:
        with pytest.raises(ProbeNotStarted, match="chmod 600"):
            await Probe(node, listen="tcp://0.0.0.0:*").start()


def test_every_verb_that_changes_something_carries_what_makes_it_harmless_when_late() -> None:
    """Incarnation, expiry, id. `yield` alone does not: it does nothing unless the node is dead."""
    for verb, (role, model) in VERBS.items():
        assert (role == "viewer") != (verb == "yield" or issubclass(model, Command)), verb
    assert COMMAND_HORIZON_S <= 30


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("shop@10.0.0.5", ("shop", "10.0.0.5", None)),
        ("shop@Host.example:4371", ("shop", "host.example", 4371)),
        ("shop@[::1]:1", ("shop", "[::1]", 1)),
        ("shop@host:0", None),
        ("shop@host:65536", None),
        ("shop", None),
        ("../x@host", None),
        ("shop@a b", None),
    ],
)
def test_what_a_person_types_for_a_node_elsewhere(text: str, parts: object) -> None:
    assert parse_remote(text) == parts


def test_an_address_to_listen_on_without_a_port_has_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBSERVE_PORT", "5555")
    assert parse_listen("tcp://0.0.0.0") == ("0.0.0.0", 5555)
    assert parse_listen("tcp://[::]:*") == ("[::]", None)


def test_the_keys_command_from_first_to_last(keys: Path) -> None:
    """As docs/remote.md has it."""

    def observe(*words: str, status: int = 0) -> str:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("observe")), "keys", *words],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    key = observe("make").splitlines()[0]
    assert observe("make").splitlines()[0] == key
    node_key = observe("show", "--node").splitlines()[0]
    observe("authorise", key, "--role", "operator", "--name", "ann")
    observe("trust", "shop@10.0.0.5", node_key)
    listed = observe("list")
    assert "operator  ann" in listed
    assert "shop@10.0.0.5" in listed
    (keys / "client.key").chmod(0o644)
    told = observe("list", status=1)
    assert "operator  ann" in told
    assert "client.key can be read by others (mode 0644); run: chmod 600" in told
    (keys / "client.key").chmod(0o600)
    assert "is known with another key" in observe("trust", "shop@10.0.0.5", key, status=1)
    assert "revoked ann" in observe("revoke", "ann")
    observe("revoke", "ann", status=1)
    observe("forget", "shop@10.0.0.5")
    observe("authorise", key + "x", "--name", "ann", status=2)
    for name in ("client.key", "node.key", "authorised_keys", "known_nodes"):
        assert (keys / name).stat().st_mode & 0o077 == 0, name
