"""At most once, over the death of a probe: the service remembers what it has carried out, whoever asks again."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from observe.audit.log import AuditLog
from observe.probe import Probe
from observe.probe.cards import read_card
from observe.probe.client import connect
from observe.probe.errors import AttachError, RemoteError
from observe.probe.exchange import Exchange
from observe.probe.once import KEEP_S, MAX_REMEMBERED, Once
from observe.probe.wire import HelloArgs
from observe.probe.wire_agent import KillArgs
from observe.probe.wire_table import Page
from observe.runtime import Agent, ChildSpec, Node, Supervisor
from tests.probe.live import eventually, private_runtime, until

NOW = 1000.0


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private_runtime(monkeypatch) as path:
        yield path


class Stubborn(Agent):
    """Takes as long to end as the test wants."""

    ended = 0
    may_end = asyncio.Event()

    async def handle(self, message: Any) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            Stubborn.ended += 1
            await Stubborn.may_end.wait()


def successor_is_there(page: Page) -> bool:
    return any((row["name"], row["restarts"]) == ("stubborn", 1) for row in page.as_dicts())


async def test_a_kill_is_carried_out_once_although_the_probe_was_killed_before_it_could_answer(
    runtime: Path,
) -> None:
    """The new probe serves the same incarnation and knows nothing; the name has become the successor's."""
    Stubborn.ended, Stubborn.may_end = 0, asyncio.Event()
    async with Node("shop") as node, Probe(node) as probe:
        child = ChildSpec(Stubborn, id="stubborn", name="stubborn")
        await node.spawn(Supervisor, [child], name="top", intensity=100)
        node.ref("stubborn").cast("work")
        command_id = secrets.token_hex(8)
        async with connect("shop", timeout_s=20.0) as console:
            await eventually(console.agents, lambda page: "waiting" in str(page.rows), "the step")
        exchange = attached()
        await exchange.send("hello", hello())
        lost = exchange.send("kill", kill(node, command_id))
        await until(lambda: Stubborn.ended == 1, "the kill")

        killed = probe.statistics()["probe_pid"]
        os.kill(killed, signal.SIGKILL)
        with pytest.raises(AttachError):
            await lost
        Stubborn.may_end.set()
        await until(lambda: probe_of("shop") not in (0, killed), "the next probe")
        async with connect("shop", timeout_s=20.0) as console:
            await eventually(console.agents, successor_is_there, "the successor")
            successor = (await console.inspect("stubborn")).agent
            assert (successor["restarts"], console.info.incarnation) == (1, node.incarnation)
            node.ref("stubborn").cast("work")

            again = attached()
            await again.send("hello", hello())
            answer = await again.send("kill", kill(node, command_id))
            assert answer["pid"] != successor["pid"]  # the first answer: about the agent that was killed
            await again.send("kill", kill(node, command_id))
            again.close(AttachError("over"))
            assert (await console.inspect("stubborn")).agent["pid"] == successor["pid"]
            assert Stubborn.ended == 1

            await console.kill("stubborn")  # another id is another command
            assert Stubborn.ended == 2


def probe_of(node: str) -> int:
    """The process of the probe that serves the node now; 0 for none."""
    card = read_card(node)
    return card.probe_pid if card is not None and card.state == "up" else 0


def attached() -> Exchange:
    card = read_card("shop")
    assert card is not None
    return Exchange(card, on_push=lambda _: None, on_lost=lambda _: None)


def hello() -> HelloArgs:
    return HelloArgs(versions=[1])


def kill(node: Node, command_id: str) -> KillArgs:
    return KillArgs(
        agent="stubborn",
        incarnation=node.incarnation,
        expires_at=time.time() + 20,
        command_id=command_id,
    )


async def test_a_command_that_reaches_the_service_after_its_expiry_is_not_carried_out(runtime: Path) -> None:
    """The control thread itself may have been held up, by C code that keeps the interpreter lock."""
    async with Node("shop") as node, Probe(node), connect("shop", timeout_s=20.0) as console:
        await node.spawn(Supervisor, [ChildSpec(Stubborn, id="s", name="stubborn")], name="top")
        await eventually(console.agents, lambda page: "stubborn" in str(page.rows), "the agent")
        pid = (await console.inspect("stubborn")).agent["pid"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("observe.probe.answers.Once.enter", late(Once.enter))
            with pytest.raises(RemoteError) as caught:
                await console.kill("stubborn")
        assert caught.value.code == "expired"
        assert (await console.inspect("stubborn")).agent["pid"] == pid


def late(enter: Any) -> Any:
    """As if each command had been under way for a minute."""

    def entered(self: Any, key: str, expires_at: float, *rest: Any) -> Any:
        return enter(self, key, expires_at - 60.0, *rest)

    return entered


async def test_a_disk_that_takes_its_time_holds_up_no_console(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pings and pushes go on while a record waits for the disk, and nothing is done before it is written."""
    disk, append = threading.Event(), AuditLog.append

    def slow(self: AuditLog, *args: Any, **fields: Any) -> Any:
        disk.wait(20.0)
        return append(self, *args, **fields)

    monkeypatch.setattr(AuditLog, "append", slow)
    async with (
        Node("shop") as node,
        Probe(node, placement="thread", tick_s=0.05),
        connect("shop", timeout_s=20.0) as console,
    ):
        agent = await node.spawn(Stubborn, name="stubborn")
        await eventually(console.agents, lambda page: "stubborn" in str(page.rows), "the agent")
        killing = asyncio.create_task(console.kill("stubborn"))
        watch = await console.watch_vitals(interval_s=0.05)
        for _ in range(5):
            await console.ping()
            await anext(watch)
        assert not killing.done()
        assert agent.is_alive
        disk.set()
        assert (await killing).done


class Scene:
    """A memory with clocks of its own."""

    def __init__(self) -> None:
        self.now = NOW
        self.once: Once[str] = Once(lambda: self.now, lambda: self.now)
        self.answers: list[str] = []

    def enter(self, key: str = "kill:c1", life_s: float = 10.0) -> Any:
        return self.once.enter(key, self.now + life_s, self.answers.append, lambda: "expired", lambda: "full")


def test_a_repetition_gets_the_first_answer_also_when_it_waits_for_it() -> None:
    scene = Scene()
    answer = scene.enter()
    assert scene.enter() is None
    assert scene.answers == []
    answer("killed")
    assert scene.answers == ["killed", "killed"]
    assert scene.enter() is None
    assert scene.answers == ["killed"] * 3


def test_a_command_is_remembered_for_longer_than_it_may_live_and_not_for_ever() -> None:
    scene = Scene()
    for number in range(MAX_REMEMBERED):
        scene.enter(f"kill:{number}")("killed")
    scene.answers.clear()
    assert scene.enter("one more") is None
    assert scene.answers == ["full"]
    scene.now += KEEP_S + 1
    assert scene.enter("one more") is not None
    assert scene.once.statistics() == {"remembered": 1}


def test_a_command_that_is_not_answered_yet_is_never_forgotten() -> None:
    scene = Scene()
    answer = scene.enter()
    scene.now += 10 * KEEP_S
    assert scene.enter() is None
    answer("killed after all")
    assert scene.answers == ["killed after all"] * 2


def test_an_expired_command_does_not_get_through() -> None:
    scene = Scene()
    assert scene.enter(life_s=-0.1) is None
    assert scene.answers == ["expired"]
