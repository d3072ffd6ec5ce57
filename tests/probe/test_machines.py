"""Node and console on machines apart, on a network that delays, loses, and is cut; and names that stand for several machines.

In network namespaces, with real packets: `apart` says where they cannot be made, and these tests are skipped.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from observe.probe import keyfiles
from observe.probe.keyfiles import CLIENT_KEY, NODE_KEY, make_key_pair
from tests.probe.apart import Apart
from tests.probe.live import PATIENCE_S, LiveService, private_runtime

NODE, CONSOLE, OTHER, NOBODY = "10.77.0.1", "10.77.0.2", "10.77.0.3", "10.77.0.9"
NAME = "shop.default.svc.cluster.test"
OBSERVE = [str(Path(sys.executable).with_name("observe"))]


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Where the service lives; both sides know each other's key."""
    keys = tmp_path / "keys"
    monkeypatch.setenv("OBSERVE_CONFIG_DIR", str(keys))
    keyfiles.authorise(keys, make_key_pair(keys / CLIENT_KEY).public, "operator", "ann")
    server = make_key_pair(keys / NODE_KEY).public
    for host in (NODE, f"shop@{NAME}"):
        keyfiles.trust(keys, host, server)
    with private_runtime(monkeypatch) as path:
        yield path


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """The console's own: on its machine there is no node, and no card of one."""
    path = Path(tempfile.mkdtemp(prefix="obs-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


class FarConsole:
    """`far_console.py` on one of the machines."""

    def __init__(self, before: list[str], node: str, runtime: Path) -> None:
        self._process = subprocess.Popen(
            [*before, sys.executable, str(Path(__file__).with_name("far_console.py")), node],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | {"OBSERVE_RUNTIME_DIR": str(runtime)},
        )  # fmt: skip

    def __enter__(self) -> Self:
        self.facts = self.read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def tell(self, *command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], 2 * PATIENCE_S)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            self._process.kill()
            raise AssertionError(f"the console said nothing: {self._process.communicate()[1].decode()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def do(self, *command: Any) -> dict[str, Any]:
        self.tell(*command)
        return self.read()

    def facts_when(self, good: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE_S
        while not good(facts := self.do("facts")):
            assert time.monotonic() < end, f"waited in vain; the last was {facts}"
            time.sleep(0.1)
        return facts


def restarts(machines: Apart) -> dict[str, int]:
    """How often each waiter was started again, as somebody on the node's own machine sees it."""
    command = [*OBSERVE, "ps", "shop", "--filter", "class=Waiter", "--json"]
    told = subprocess.run([*machines.on(NODE), *command], capture_output=True, text=True, check=True).stdout
    return {agent["name"]: agent["restarts"] for agent in json.loads(told)["agents"]}


def consoles(machines: Apart) -> list[dict[str, Any]]:
    """Who is attached, but for the command that asks."""
    command = [*machines.on(NODE), *OBSERVE, "consoles", "shop", "--json"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [one for one in json.loads(told)["consoles"] if one["name"] == "ann"]


def test_delay_and_loss_make_a_console_slow_and_nothing_is_done_twice(
    runtime: Path, elsewhere: Path, tmp_path: Path
) -> None:
    """Every tenth packet is lost, all are late: as over a bad radio link."""
    with Apart(tmp_path, NODE, CONSOLE) as machines:
        listen = {"listen": f"tcp://{NODE}:4370"}
        with (
            LiveService(runtime, waiters=8, before=machines.on(NODE), **listen),
            FarConsole(machines.on(CONSOLE), f"shop@{NODE}", elsewhere) as console,
        ):
            machines.let(delay_s=0.05, loss=0.1)
            kills = [console.do("kill", f"waiter-{number}") for number in range(8)]
            assert min(kill["took_s"] for kill in kills) > 0.1  # there and back
            before = console.do("facts")["pushes"]
            console.facts_when(lambda facts: facts["pushes"] >= before + 3)  # the watch goes on
            machines.let(delay_s=0.0, loss=0.0)
            assert console.do("ping")["done"]
            found = restarts(machines)
            for number, kill in enumerate(kills):
                assert kill["done"] <= found[f"waiter-{number}"] <= 1, (kill, found)
            assert sum(kill["done"] for kill in kills) >= 4, kills  # or the network was none


def test_a_partition_is_noticed_on_both_sides_and_healed(
    runtime: Path, elsewhere: Path, tmp_path: Path
) -> None:
    """Nobody sends a FIN. A command that was given in the dark is carried out once or not at all; who was cut off is forgotten."""
    with Apart(tmp_path, NODE, CONSOLE) as machines:
        listen = {"listen": f"tcp://{NODE}:4370"}
        with (
            LiveService(runtime, waiters=2, before=machines.on(NODE), **listen),
            FarConsole(machines.on(CONSOLE), f"shop@{NODE}", elsewhere) as console,
        ):
            console.facts_when(lambda facts: facts["pushes"] > 0)
            machines.let(cut=[CONSOLE])
            dark = console.do("kill", "waiter-0")
            assert not dark["done"]
            assert "lost" in dark["told"]
            assert console.do("facts")["states"][0] == "lost"
            end = time.monotonic() + PATIENCE_S
            while consoles(machines):
                assert time.monotonic() < end, "the node still lists who was cut off"
            machines.let(cut=[])
            lost = console.do("facts")["pushes"]
            console.facts_when(lambda facts: facts["state"] == "up" and facts["pushes"] >= lost + 3)
            bright = console.do("kill", "waiter-1")
            assert bright["done"], bright
            found = restarts(machines)
            assert found["waiter-0"] <= 1, found
            assert found["waiter-1"] == 1
            assert len(consoles(machines)) == 1  # it came back once


def test_a_name_with_several_addresses_is_tried_at_all_and_it_is_said_which_it_was(
    runtime: Path, elsewhere: Path, tmp_path: Path
) -> None:
    """As a headless service tells them while pods come and go: one is gone, on one nobody listens, one is there."""
    names = {NAME: [NOBODY, OTHER, NODE]}
    with Apart(tmp_path, NODE, CONSOLE, OTHER, names=names) as machines:

        def observe(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*machines.on(CONSOLE), *OBSERVE, *arguments], capture_output=True, text=True, check=False,
                env=os.environ | {"OBSERVE_RUNTIME_DIR": str(elsewhere)},
            )  # fmt: skip

        with LiveService(runtime, before=machines.on(NODE), listen=f"tcp://{NODE}:4370"):
            found = observe("ps", f"shop@{NAME}", "--filter", "class=Waiter", "--json")
            assert found.returncode == 0, found.stderr
            assert len(json.loads(found.stdout)["agents"]) == 3
            assert f"attached at {NODE}, one of 3 addresses of {NAME}" in found.stderr
            with FarConsole(machines.on(CONSOLE), f"shop@{NAME}", elsewhere) as console:
                assert console.facts["endpoint"] == f"tcp://{NODE}:4370"
                assert NODE in console.facts["way"]
            fleet = json.loads(observe("nodes", "--dns", f"shop@{NAME}", "--json").stdout)["nodes"]
            states = {node["name"]: node["state"] for node in fleet}
            assert states == {
                f"shop@{NODE}": "up", f"shop@{OTHER}": "unreachable", f"shop@{NOBODY}": "unreachable",
            }  # fmt: skip
        gone = observe("ps", f"shop@{NAME}")
        assert gone.returncode == 1
        assert f"{NAME} has 3 addresses and could be attached to at none" in gone.stderr
        assert re.search(rf"{re.escape(OTHER)} \(nobody listens", gone.stderr)
        nowhere = observe("ps", "shop@nowhere.test")
        assert nowhere.returncode != 0
