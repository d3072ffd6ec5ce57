"""Where the nodes of a fleet are told, and a look at all of them that none holds up."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from observe.probe import Probe, keyfiles
from observe.probe.errors import NodeUnreachable
from observe.probe.keyfiles import CLIENT_KEY, NODE_KEY, make_key_pair
from observe.probe.roster import Sought, default_nodes_file, nodes_of_name
from observe.probe.survey import survey
from observe.runtime import Node
from tests.probe.live import LiveService, private_runtime

Addresses = list[tuple[socket.AddressFamily, int, int, str, tuple[str, int]]]


def addresses(*hosts: str) -> Addresses:
    """As the resolver gives them."""
    return [(socket.AF_INET6 if ":" in host else socket.AF_INET, 1, 6, "", (host, 0)) for host in hosts]


async def test_a_name_stands_for_a_node_at_each_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of both kinds, each once, as a headless service has them."""
    told = addresses("10.0.0.7", "10.0.0.5", "fd00::5", "10.0.0.7")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: told)
    found = [str(node) for node in await nodes_of_name("shop@shop.default.svc")]
    assert found == ["shop@10.0.0.5", "shop@10.0.0.7", "shop@[fd00::5]"]
    assert str((await nodes_of_name("shop@shop.default.svc:4371"))[2]) == "shop@[fd00::5]:4371"
    with pytest.raises(ValueError, match="NODE@NAME"):
        await nodes_of_name("shop.default.svc")


async def test_a_name_server_that_does_not_answer_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the loop nor a look at other nodes."""
    import threading

    stuck = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: stuck.wait(30) and [])
    try:
        began = time.monotonic()
        turns = asyncio.create_task(asyncio.sleep(0.05))
        with pytest.raises(NodeUnreachable, match=r"longer than 0\.3 s"):
            await nodes_of_name("shop@nowhere.example", timeout_s=0.3)
        assert turns.done()
        assert time.monotonic() - began < 10
    finally:
        stuck.set()


async def test_the_key_of_the_name_counts_for_its_addresses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The pods of a service come and go: their addresses are known to nobody beforehand."""
    keys = tmp_path / "keys"
    monkeypatch.setenv("OBSERVE_CONFIG_DIR", str(keys))
    with private_runtime(monkeypatch):
        client = make_key_pair(keys / CLIENT_KEY)
        keyfiles.authorise(keys, client.public, "viewer", "ann")
        keyfiles.trust(keys, "shop@shop.example", make_key_pair(keys / NODE_KEY).public)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        node = f"shop@127.0.0.1:{port}"
        async with Node("shop") as shop, Probe(shop, listen=f"tcp://127.0.0.1:{port}"):
            known, unknown = await survey([Sought(node, "shop.example"), Sought(node, "other.example")])
        assert known.info is not None
        assert known.info.incarnation == shop.incarnation
        assert known.endpoint == f"tcp://127.0.0.1:{port}"
        assert unknown.info is None
        assert "key" in unknown.trouble


async def test_a_stopped_node_holds_up_no_look_at_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        private_runtime(monkeypatch) as runtime,
        LiveService(runtime, "east") as east,
        LiveService(runtime, "west"),
    ):
        os.kill(east.probe_pid, signal.SIGSTOP)
        try:
            found = await survey(["east", "west", "south"], timeout_s=1.0)
        finally:
            os.kill(east.probe_pid, signal.SIGCONT)
    assert [seen.info is not None for seen in found] == [False, True, False]
    assert "did not answer" in found[0].trouble
    assert "south" in found[2].trouble


def test_the_default_file_is_beside_the_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OBSERVE_CONFIG_DIR", str(tmp_path))
    assert default_nodes_file() == tmp_path / "nodes"
