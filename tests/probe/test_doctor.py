"""The doctor: each way in which an attach fails is told apart, with real nodes and sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from observe.console.cli import main
from observe.probe import Probe, codec, keyfiles
from observe.probe.canary import MOST_CANARIES, Canary
from observe.probe.cards import Card, NodeLock, node_directory, write_card
from observe.probe.client import connect
from observe.probe.doctor import STEPS, Check, Diagnosis, Step, diagnose
from observe.probe.doctor_canary import CANARY_STEPS
from observe.probe.errors import NoSuchNode, RemoteError
from observe.probe.keyfiles import CLIENT_KEY, NODE_KEY, make_key_pair
from observe.probe.keys import new_key_pair
from observe.probe.resolving import resolve
from observe.runtime import Node
from tests.probe.fake_probe import NODE, SAID, WELCOME, FakeProbe
from tests.probe.live import LiveService, eventually, is_gone, private_runtime, until
from tests.probe.test_client import PAGE

PATIENCE_S = 10.0


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Cards and keys of each test's own."""
    monkeypatch.setenv("OBSERVE_CONFIG_DIR", str(tmp_path / "keys"))
    with private_runtime(monkeypatch) as path:
        yield path


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Key files of both sides, in which each knows the other."""
    directory = tmp_path / "keys"
    keyfiles.authorise(directory, make_key_pair(directory / CLIENT_KEY).public, "viewer", "ann")
    keyfiles.trust(directory, "127.0.0.1", make_key_pair(directory / NODE_KEY).public)
    return directory


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


def failed(diagnosis: Diagnosis) -> dict[Step, Check]:
    """What is wrong. Every check is there, every failed one says what to do, and nothing is skipped without a cause."""
    assert [check.step for check in diagnosis.checks] == list(STEPS)
    found = {check.step: check for check in diagnosis.checks if check.status == "failed"}
    assert all(check.text and check.advice for check in found.values())
    assert diagnosis.is_well == (not found)
    assert found or all(check.status in ("ok", "omitted") for check in diagnosis.checks)
    return found


def status_of(diagnosis: Diagnosis, step: Step) -> str:
    return next(check.status for check in diagnosis.checks if check.step == step)


def observe(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["doctor", *arguments], prog_name="observe")
    return result.exit_code, result.stdout


async def test_a_healthy_node_passes_every_check_however_it_is_named(keys: Path) -> None:
    listen = f"tcp://127.0.0.1:{free_port()}"
    async with Node("shop") as node, Probe(node, listen=listen):
        for name in ("shop", "shop@localhost", f"shop@{listen.removeprefix('tcp://')}"):
            diagnosis = await diagnose(name, PATIENCE_S)
            assert failed(diagnosis) == {}, name
    assert next(check.text for check in diagnosis.checks if check.step == "role") == "viewer: may look"


async def test_looking_at_a_healthy_node_turns_nobody_away(keys: Path) -> None:
    """A bare connection to its port would: the first who is turned away here is the stranger of afterwards."""
    port = free_port()
    async with (
        Node("shop") as node,
        Probe(node, listen=f"tcp://127.0.0.1:{port}"),
        connect("shop", timeout_s=PATIENCE_S) as client,
    ):
        watch = await client.watch_events(interval_s=0.05)
        assert (await diagnose(f"shop@127.0.0.1:{port}", PATIENCE_S)).is_well
        stranger = make_key_pair(keys / CLIENT_KEY, replace=True).public
        assert not (await diagnose(f"shop@127.0.0.1:{port}", PATIENCE_S)).is_well
        turned_away: list[str] = []
        async for push in watch:
            turned_away += [event.text for event in push.data.events if "turned away" in event.text]
            if turned_away:
                break
    assert keyfiles.fingerprint(stranger) in turned_away[0]


async def test_an_unknown_name_is_told_with_those_that_are_up() -> None:
    async with Node("shop") as node, Probe(node):
        found = failed(await diagnose("shpo"))
    assert set(found) == {"name"}
    assert "shop@" in found["name"].advice


async def test_a_card_whose_probe_has_ended_is_told() -> None:
    with FakeProbe() as probe:
        write_card(probe.card(), node_directory("shop"))
        found = failed(await diagnose("shop"))
    assert set(found) == {"name"}
    assert "has ended" in found["name"].text


async def test_a_closed_port_is_told() -> None:
    with FakeProbe() as probe:
        card = probe.card()
    found = failed(await examined(card))
    assert set(found) == {"port"}
    assert "nobody listens" in found["port"].text


async def test_a_node_elsewhere_whose_key_is_unknown_still_has_its_port_tried(keys: Path) -> None:
    keyfiles.forget(keys, "127.0.0.1")
    port = free_port()
    found = failed(await diagnose(f"shop@127.0.0.1:{port}"))
    assert set(found) == {"name", "port"}
    assert "observe keys trust" in found["name"].advice
    with socket.create_server(("127.0.0.1", port)):
        diagnosis = await diagnose(f"shop@127.0.0.1:{port}")
    assert set(failed(diagnosis)) == {"name"}
    assert status_of(diagnosis, "port") == "ok"


async def test_a_host_that_does_not_exist_is_the_fault_of_the_address(keys: Path) -> None:
    keyfiles.trust(keys, "host.invalid", new_key_pair()[0])
    found = failed(await diagnose("shop@host.invalid", PATIENCE_S))
    assert set(found) == {"address"}


async def test_a_key_that_is_not_authorised_and_a_node_with_another_key_are_told_apart(keys: Path) -> None:
    port = free_port()
    async with Node("shop") as node, Probe(node, listen=f"tcp://127.0.0.1:{port}"):
        make_key_pair(keys / CLIENT_KEY, replace=True)
        diagnosis = await diagnose(f"shop@127.0.0.1:{port}", PATIENCE_S)
        found = failed(diagnosis)
        assert set(found) == {"handshake"}
        assert "does not accept our key" in found["handshake"].text
        assert status_of(diagnosis, "port") == "ok"
        assert status_of(diagnosis, "vitals") == "skipped"
        keyfiles.trust(keys, "127.0.0.1", new_key_pair()[0], replace=True)
        found = failed(await diagnose(f"shop@127.0.0.1:{port}", PATIENCE_S))
        assert set(found) == {"handshake"}
        assert "does not have the key" in found["handshake"].text


async def test_a_node_that_is_not_on_that_machine_is_told_with_those_that_are(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("OBSERVE_PORT", str(port))
    monkeypatch.setattr("observe.probe.resolving._is_here", lambda host, card: False)
    async with Node("shop") as node, Probe(node, listen=f"tcp://127.0.0.1:{port}"):
        found = failed(await diagnose("pay@127.0.0.1", PATIENCE_S))
    assert set(found) == {"name"}
    assert "shop" in found["name"].advice


async def examined(card: Card, timeout_s: float = PATIENCE_S) -> Diagnosis:
    """The diagnosis of a node whose card is this one."""
    directory = node_directory(card.name)
    with NodeLock.held(directory):
        write_card(card, directory)
        return await diagnose(card.name, timeout_s, canary=False)


async def test_a_probe_of_another_version_is_told() -> None:
    frame = codec.encode(
        {
            "id": 1,
            "ok": False,
            "error": {"code": "unsupported_version", "message": "only 9", "hint": "upgrade"},
        }
    )

    def answer(probe: FakeProbe, _request: object) -> object:
        probe.say(frame)
        return SAID

    with FakeProbe(answer) as probe:
        found = failed(await examined(probe.card()))
    assert set(found) == {"version"}


async def test_a_probe_that_is_stopped_is_told_from_a_closed_port() -> None:
    with FakeProbe(lambda probe, request: SAID) as probe:
        found = failed(await examined(probe.card(), 0.3))
    assert set(found) == {"handshake"}
    assert "did not answer" in found["handshake"].text


@pytest.mark.parametrize(("ahead_s", "word"), [(300, "ahead of"), (-300, "behind")])
async def test_a_clock_that_is_wrong_is_told_and_the_age_of_telemetry_is_by_the_nodes_clock(
    ahead_s: int, word: str
) -> None:
    found = failed(await examined_with(ahead_s=ahead_s))
    assert set(found) == {"clock"}
    assert f"300 s {word} ours" in found["clock"].text


async def test_telemetry_that_does_not_come_is_told() -> None:
    found = failed(await examined_with(age_s=600))
    assert set(found) == {"vitals"}
    assert "600 s old" in found["vitals"].text


async def examined_with(*, ahead_s: float = 0.0, age_s: float = 0.0) -> Diagnosis:
    """The diagnosis of a probe with a clock of its own, and telemetry of some age."""

    def answer(_probe: FakeProbe, request: dict[str, str]) -> object:
        now = time.time() + ahead_s
        vitals = dict.fromkeys(
            ("agents", "rate", "run_queue", "use", "lag_s", "memory", "cpu", "crashes_min", "restarts_min",
             "spawned", "exited", "probe_cost"), 0,
        )  # fmt: skip
        answers: dict[str, object] = {
            "hello": WELCOME | {"node": NODE | {"now": now}},
            "vitals": vitals | {"at": now, "state": "up"},
            "agents": PAGE | {"at": now - age_s},
        }
        return answers[request["verb"]]

    with FakeProbe(answer) as probe:
        return await examined(probe.card())


async def test_a_held_scheduler_and_a_dead_node_are_told_by_the_command_line(runtime: Path) -> None:
    with LiveService(runtime) as service:
        async with connect("shop", timeout_s=PATIENCE_S) as node:
            await eventually(node.agents, lambda page: page.total > 5)
            service.tell("cast", "holder", ["python", 1000.0])
            await eventually(node.vitals, lambda vitals: bool(vitals.held and vitals.held.stack))
        found = failed(await diagnose("shop", PATIENCE_S))
        assert set(found) == {"scheduler"}
        assert "held by holder" in found["scheduler"].text
        assert "observe kill shop" in found["scheduler"].advice

        service.kill()
        await until(lambda: is_gone(service.pid) and getattr(resolve("shop"), "state", "") == "dead")
        found = failed(await diagnose("shop", PATIENCE_S))
        assert set(found) == {"name", "vitals"}
        assert "has died" in found["name"].text


def test_the_command_line_has_a_line_a_check_and_an_exit_status_for_scripts() -> None:
    with FakeProbe() as probe:
        write_card(probe.card(), node_directory("shop"))
    status, out = observe("shop")
    assert status == 1
    assert [line.split()[:2] for line in out.splitlines() if not line.startswith(" ")] == [
        ["failed" if step == "name" else "skipped", step] for step in STEPS
    ]
    write_card(probe.card(), node_directory("shop"))
    status, out = observe("shop", "--json")
    told = json.loads(out)
    assert (status, told["node"], told["well"]) == (1, "shop", False)
    assert [check["step"] for check in told["checks"]] == list(STEPS)
    assert observe("../shop") == (2, "")


async def test_the_command_line_ends_with_0_when_all_is_well() -> None:
    async with Node("shop") as node, Probe(node):
        status, out = await asyncio.to_thread(observe, "shop")
    assert status == 0, out
    assert len(out.splitlines()) == len(STEPS)
    assert all(line.startswith("ok ") for line in out.splitlines())


# -- the canary ----------------------------------------------------------------------------------------------------------


async def test_the_canary_is_seen_and_leaves_nothing_behind() -> None:
    """What a person would see is seen: row, count, activity, exit. Then it is as if it had never been there."""
    async with Node("shop") as node, Probe(node), connect("shop", timeout_s=PATIENCE_S) as client:
        diagnosis = await diagnose("shop", PATIENCE_S)
        assert failed(diagnosis) == {}
        for step in ("spawned", "messaged", "traced", "killed"):
            assert status_of(diagnosis, step) == "ok"
        assert [agent for agent in node.agents.values() if isinstance(agent, Canary)] == []
        assert (await client.agents(filter="class=Canary")).matched == 0
        vitals = await client.vitals()
        assert (vitals.crashes_min, vitals.restarts_min) == (0, 0)
        assert (await client.crashes()).total == 0
        assert (await client.findings()).begun == 0
        assert (await diagnose("shop", PATIENCE_S, canary=False)).is_well


async def test_a_viewer_gets_all_but_the_canary_and_is_told_why(keys: Path) -> None:
    port = free_port()
    async with Node("shop") as node, Probe(node, listen=f"tcp://127.0.0.1:{port}"):
        diagnosis = await diagnose(f"shop@127.0.0.1:{port}", PATIENCE_S)
    assert diagnosis.is_well
    left_out = [check for check in diagnosis.checks if check.status == "omitted"]
    assert [check.step for check in left_out] == list(CANARY_STEPS)
    assert "operator" in left_out[0].text


async def test_a_canary_that_nobody_sees_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sign of health reads well, and nothing that happens is shown: that is what the canary is for."""
    monkeypatch.setattr("observe.probe.doctor_canary.SEEN_S", 0.5)
    monkeypatch.setattr("observe.probe.canary.LIFE_S", 2.0)
    async with Node("shop") as node, Probe(node):
        with monkeypatch.context() as patch:
            patch.setattr("observe.probe.emit.Emitter._tick", lambda _: iter(()))
            diagnosis = await diagnose("shop", 0.5)
        found = failed(diagnosis)
        assert set(found) == {"spawned"}
        assert "did not come" in found["spawned"].text
        assert status_of(diagnosis, "killed") == "skipped"
        await until(lambda: not any(isinstance(agent, Canary) for agent in node.agents.values()))


async def test_canaries_are_bounded_and_end_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A doctor that was killed in the middle must not leave agents behind for ever."""
    monkeypatch.setattr("observe.probe.canary.LIFE_S", 1.0)
    async with Node("shop") as node, Probe(node), connect("shop", timeout_s=PATIENCE_S) as client:
        for _ in range(MOST_CANARIES):
            await client.canary()
        with pytest.raises(RemoteError) as caught:
            await client.canary()
        assert caught.value.code == "refused"
        await until(lambda: not any(isinstance(agent, Canary) for agent in node.agents.values()))
        assert (await client.canary()).done


async def test_a_name_that_is_no_node_s_hints_at_tunnels_and_recordings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "rec").mkdir()
    monkeypatch.chdir(tmp_path)
    for name, hint in (
        ("shop@127.0.0.1", "tunnel is named with its port: shop@127.0.0.1:4370"),
        ("rec", "./rec"),
    ):
        with pytest.raises(NoSuchNode) as caught:
            resolve(name)
        assert hint in (caught.value.hint or "")
    with pytest.raises(NoSuchNode) as caught:
        resolve("nowhere")
    assert "./" not in (caught.value.hint or "")
