"""The emitter: a guest on the service's loop that tells everything, costs little, never waits and never raises."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
from array import array
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop
import zmq

from observe.probe.codec import decode
from observe.probe.emit import KEPT_FACTS, Emitter
from observe.probe.outlet import Outlet
from observe.probe.telling import CRASHES_IN_FULL
from observe.probe.words import WORD_LOOP_NS, Words
from observe.runtime import Agent, ChildSpec, Node, Supervisor
from tests.probe.live import until

SPAWN = ("pid", "class", "name", "supervisor", "child", "restarts", "crashes", "process")
ROW = (
    "pid",
    "status",
    "mailbox",
    "mailbox_max",
    "handled",
    "reductions",
    "since_us",
    "activity",
    "activity_since_us",
)


class Worker(Agent):
    """Counts, crashes, waits, as told."""

    def init(self) -> None:
        self.gate = asyncio.Event()

    async def handle(self, message: Any) -> Any:
        if message == "crash":
            raise ValueError(f"password='hunter22' {'x' * 100_000}")
        if message == "wait":
            async with self.activity("tool:wait"):
                await self.gate.wait()
        return message


class Reader:
    """What a probe does with the feed: keeps a table. Fails on a row that names a string not told before."""

    def __init__(self, address: str, hwm: int = 0) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PULL)
        self._socket.linger = 0
        self._socket.rcvhwm = hwm
        self._socket.connect(address)
        self.kinds: Counter[str] = Counter()
        self.frames: list[dict[str, Any]] = []
        self.strings: list[str] = []
        self.agents: dict[int, dict[str, Any]] = {}
        self.hellos = 0
        self.gaps = 0
        self._seq: int | None = None

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def read(self) -> Reader:
        """Take whatever has come."""
        while True:
            try:
                self._apply(decode(self._socket.recv(zmq.NOBLOCK)))
            except zmq.Again:
                return self

    def _apply(self, frame: dict[str, Any]) -> None:
        kind, seq = frame["t"], frame["seq"]
        self.kinds[kind] += 1
        self.frames.append(frame)
        if self._seq is not None and seq != self._seq + 1:
            self.gaps += 1
        self._seq = seq
        if kind == "hello":
            self.hellos += 1
            self.strings, self.agents, self.gaps = [""], {}, 0
        elif self.gaps or not self.hellos:
            return
        elif kind == "strings":
            assert frame["base"] == len(self.strings)
            self.strings += frame["texts"]
        elif kind == "spawn":
            for row in _rows(frame, SPAWN):
                for column in ("class", "name", "child"):
                    number = row[column]
                    row[column] = str(~number) if number < 0 else self.strings[number]
                self.agents[row["pid"]] = row
        elif kind == "rows":
            for row in _rows(frame, ROW):
                row["activity"] = self.strings[row["activity"]]
                if (
                    row["pid"] in self.agents
                ):  # else it began while the tick was under way, and is told in the next
                    self.agents[row["pid"]] |= row
        elif kind == "exit":
            for pid in array("q", frame["data"]):
                self.agents.pop(pid, None)

    def named(self, name: str) -> dict[str, Any]:
        """The row of this agent; empty when there is none."""
        return next((row for row in self.read().agents.values() if row["name"] == name), {})


def _rows(frame: dict[str, Any], columns: tuple[str, ...]) -> list[dict[str, Any]]:
    values = array("q", frame["data"])
    assert len(values) == frame["n"] * len(columns)
    width = len(columns)
    return [dict(zip(columns, values[at : at + width], strict=True)) for at in range(0, len(values), width)]


@contextlib.asynccontextmanager
async def emitting(
    *, tick_s: float = 0.01, budget: float = 1.0, hwm: int = 0, probe: bool = True
) -> AsyncIterator[tuple[Node, Emitter, Reader, str]]:
    """A node whose emitter feeds a reader. Nobody has asked for anything yet."""
    directory = Path(tempfile.mkdtemp(prefix="obs-"))
    words = Words.create(directory / "words")
    address = f"ipc://{directory}/feed"
    context: zmq.Context[Any] = zmq.Context()
    outlet = Outlet(context, address)
    reader = Reader(address, hwm) if probe else None
    try:
        async with Node("shop") as node:
            emitter = Emitter(node, outlet, words, tick_s=tick_s, budget=budget, version="1")
            emitter.start()
            try:
                yield node, emitter, reader, address  # type: ignore[misc]  # tests without a probe use no reader
            finally:
                emitter.stop("over")
    finally:
        if reader is not None:
            reader.close()
        outlet.close()
        context.destroy(linger=0)
        words.close()
        shutil.rmtree(directory)


async def told(node: Node, reader: Reader) -> None:
    """Wait until the reader's table is the node's."""
    await until(lambda: sorted(reader.read().agents) == sorted(node.agents), "the table to be the node's")


async def restarted(node: Node, count: int) -> None:
    """Wait until the node has restarted so many agents."""
    await until(lambda: node.snapshot_vitals().restarts == count)


async def test_everything_alive_is_told_when_the_probe_asks() -> None:
    """A probe that was started late, or again, knows all that one from the start would know."""
    async with emitting() as (node, emitter, reader, _):
        await node.spawn(Supervisor, [ChildSpec(Worker, name="w", id="child-1")], name="sup")
        emitter.resync()
        await told(node, reader)
        assert (
            next(frame for frame in reader.frames if frame["t"] == "hello")["incarnation"] == node.incarnation
        )
        worker = reader.named("w")
        assert (worker["class"], worker["child"]) == ("Worker", "child-1")
        assert worker["supervisor"] == reader.named("sup")["pid"]
        assert worker["status"] == 1
        assert reader.named("root")["supervisor"] == 0


async def test_changes_are_told_without_asking() -> None:
    """Spawned, busy, idle, gone: each within a tick or two."""
    async with emitting() as (node, emitter, reader, _):
        emitter.resync()
        ref = await node.spawn(Worker, name="w")
        await until(lambda: reader.named("w").get("status") == 1)
        assert await ref.call("a") == "a"
        await until(lambda: reader.named("w").get("handled") == 1)
        ref.cast("wait")
        await until(lambda: reader.named("w").get("activity") == "tool:wait")
        assert reader.named("w")["status"] == 4
        for _ in range(5):
            ref.cast("more")
        await until(
            lambda: reader.named("w").get("mailbox") == 5
        )  # it gets no slice, and is looked at nevertheless
        rows = reader.kinds["rows"]
        vitals = reader.kinds["vitals"]
        await until(lambda: reader.read().kinds["vitals"] > vitals + 5)
        assert reader.kinds["rows"] == rows  # and is not told again while nothing changes
        ref.exit("killed")
        await told(node, reader)
        assert reader.gaps == 0


async def test_facts_are_told_each_and_in_order() -> None:
    """Spawns, exits, crashes and restarts are never sampled: a count that is off by one sends people the wrong way."""
    async with emitting() as (node, emitter, reader, _):
        emitter.resync()
        await told(node, reader)
        await node.spawn(
            Supervisor, [ChildSpec(Worker, name=f"w{n}") for n in range(100)], name="sup", intensity=10_000
        )
        for turn in range(3):
            for n in range(100):
                node.ref(f"w{n}").cast("crash")
            await restarted(node, (turn + 1) * 100)
        await told(node, reader)
        await until(lambda: reader.read().kinds["restart"] == 300)
        assert (reader.kinds["crash"], reader.hellos, reader.gaps) == (300, 1, 0)
        pids = [row["pid"] for frame in reader.frames if frame["t"] == "spawn" for row in _rows(frame, SPAWN)]
        assert pids == sorted(set(pids))
        assert len(pids) == node.snapshot_vitals().spawned
        gone = [pid for frame in reader.frames if frame["t"] == "exit" for pid in array("q", frame["data"])]
        assert len(gone) == len(set(gone)) == 300
        successors = {frame["old"]: frame["pid"] for frame in reader.frames if frame["t"] == "restart"}
        assert set(successors) == set(gone)
        assert {row["restarts"] for row in reader.agents.values() if row["class"] == "Worker"} == {3}


async def test_crashes_are_bounded_and_masked() -> None:
    """An exception's text may be a hundred kilobytes of prompt with a password in it."""
    async with emitting(tick_s=0.2) as (node, emitter, reader, _):
        emitter.resync()
        await told(node, reader)
        children = [ChildSpec(Worker, name=f"w{n}") for n in range(2 * CRASHES_IN_FULL)]
        await node.spawn(Supervisor, children, name="sup", intensity=1000)
        for child in children:
            node.ref(str(child.name)).cast("crash")
        await until(lambda: reader.read().kinds["crash"] == len(children))
        crashes = [frame for frame in reader.frames if frame["t"] == "crash"]
        assert "hunter22" not in str(crashes)
        assert all(len(str(crash)) < 40_000 for crash in crashes)
        assert "in handle" in crashes[0]["traceback"]
        assert crashes[0]["message"]["text"] == "'crash'"
        assert (crashes[0]["class"], crashes[0]["kind"]) == ("Worker", "ValueError")


async def test_a_sweep_and_live_facts_agree() -> None:
    """Ten thousand agents take several turns to tell; meanwhile they come and go."""
    async with emitting() as (node, emitter, reader, _):
        sup = await node.spawn(Supervisor, name="sup", intensity=10_000)
        refs = [await sup.start_child(ChildSpec(Worker, id=n, restart="temporary")) for n in range(10_000)]
        turns = 0
        emitter.resync()
        while sorted(reader.read().agents) != sorted(node.agents):
            turns += 1
            if turns < 50:
                refs[turns * 150].exit("killed")
                refs.append(await sup.start_child(ChildSpec(Worker, id=f"late {turns}", restart="temporary")))
            await asyncio.sleep(0)
            assert turns < 100_000
        assert turns > 5  # the loop was not held meanwhile
        assert (reader.hellos, reader.gaps) == (1, 0)
        # Of whoever came last, the spawn is told before the row.
        await until(
            lambda: all(
                row.get("status") == 1 for row in reader.read().agents.values() if row["class"] == "Worker"
            )
        )


async def test_a_probe_that_does_not_read_costs_telemetry_and_not_the_service() -> None:
    """The socket is full: everything is dropped at once, the gap shows, and a resync heals it."""
    async with emitting(hwm=1) as (node, emitter, reader, _):
        emitter.resync()
        await told(node, reader)
        sup = await node.spawn(Supervisor, name="sup")
        number = 0
        while not emitter.statistics()["lost"]:
            for _ in range(200):
                number += 1
                await sup.start_child(ChildSpec(Worker, id=number, name="n" * 200 + str(number)))
            await asyncio.sleep(0.01)
            assert number < 200_000
        await until(lambda: reader.read().gaps, "the gap to be seen")
        emitter.resync()
        await until(lambda: reader.read().hellos == 2)
        await told(node, reader)


async def test_without_a_probe_nothing_piles_up() -> None:
    """The probe may be dead for hours while a service crashes and restarts its agents."""
    async with emitting(probe=False) as (node, emitter, _, address):
        children = [ChildSpec(Worker, name=f"w{n}") for n in range(100)]
        await node.spawn(Supervisor, children, name="sup", intensity=1_000_000)
        for turn in range(KEPT_FACTS // 100 + 5):
            for child in children:
                node.ref(str(child.name)).cast("crash")
            await restarted(node, 100 * (turn + 1))
        await until(lambda: node.scheduler.dirty == 0, "the changed agents to be let go")
        facts = emitter.statistics()
        assert (facts["frames"], facts["strings"], facts["dropped_facts"]) == (0, 0, 1000)
        late = Reader(address)
        try:
            emitter.resync()
            await told(node, late)
            await until(lambda: late.read().kinds["restart"] == KEPT_FACTS)
            assert late.kinds["crash"] == KEPT_FACTS  # the newest are still told
        finally:
            late.close()


async def test_ticks_move_apart_when_they_cost_more_than_their_budget() -> None:
    """The beat goes on: a probe must not take a thrifty node for one that is held."""
    async with emitting(budget=1e-7) as (node, emitter, reader, _):
        ref = await node.spawn(Worker, name="w")
        emitter.resync()
        await told(node, reader)
        rows, vitals = reader.kinds["rows"], reader.kinds["vitals"]
        beat = emitter._words.view[WORD_LOOP_NS]
        while reader.read().kinds["vitals"] < vitals + 10:
            await ref.call("a")
            await asyncio.sleep(0.005)
        assert reader.kinds["rows"] <= rows + 1
        assert emitter._words.view[WORD_LOOP_NS] > beat
        assert emitter.statistics()["cost_us"] > 0


async def test_a_fault_in_telemetry_does_not_reach_the_service(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Rather no telemetry than no service."""
    async with emitting() as (node, emitter, reader, _):
        emitter.resync()
        await told(node, reader)
        ref = await node.spawn(Worker, name="w")
        with monkeypatch.context() as broken, caplog.at_level(logging.CRITICAL):
            broken.setattr(node.scheduler, "take_dirty", lambda limit: 1 / 0)
            lost = emitter.statistics()["lost"]
            await ref.call("a")
            await until(lambda: emitter.statistics()["lost"] > lost)
            assert await ref.call("b") == "b"
        emitter.resync()
        await told(node, reader)
        emitter._outlet.close()
        assert await ref.call("c") == "c"
        await asyncio.sleep(0.05)
        assert await ref.call("d") == "d"


async def test_the_last_words_are_bye() -> None:
    """By it the probe knows an orderly end from a death. What happened just before is told before."""
    async with emitting(tick_s=0.5) as (node, emitter, reader, _):
        emitter.resync()
        await told(node, reader)
        ref = await node.spawn(Worker, name="w")
        ref.cast("crash")
        await until(lambda: not ref.is_alive)
        emitter.stop("the service stops")
        emitter.stop("again")
        await until(lambda: reader.read().kinds["bye"])
        assert reader.frames[-1]["reason"] == "the service stops"
        assert reader.kinds["crash"] == 1
        await node.spawn(Worker, name="after")  # its hooks are out
        await asyncio.sleep(0.05)
        assert reader.read().frames[-1]["t"] == "bye"


async def test_names_that_no_wire_can_carry() -> None:
    """Names come from users: escape sequences, lone surrogates, ten thousand characters."""
    async with emitting() as (node, emitter, reader, _):
        for name in ("\x1b[2J", "\ud800", "n" * 10_000):
            await node.spawn(Worker, name=name)
        emitter.resync()
        await told(node, reader)
        assert {row["name"] for row in reader.agents.values()} == {"root", "\\x1b[2J", "\\ud800", "n" * 256}


def test_it_works_on_uvloop() -> None:
    """The loop of many services."""

    async def main() -> int:
        async with emitting() as (node, emitter, reader, _):
            emitter.resync()
            await node.spawn(Worker, name="w")
            await told(node, reader)
            return len(reader.agents)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == 2


async def test_facts_are_told_out_of_turn_to_who_asks_and_paid_for_later() -> None:
    """The next tick is ten seconds away, because the last was too expensive for the budget."""
    async with emitting(budget=1e-6) as (node, emitter, reader, _):
        emitter.resync()
        await told(node, reader)
        answers: list[int] = []

        def answered(times: int) -> bool:
            return len(answers) == times

        for number in range(3):
            ref = await node.spawn(Worker, name=f"w{number}")
            emitter.fresh(answers.append)
            await until(partial(answered, number + 1))
            await until(lambda: reader.read().frames[-1]["seq"] >= answers[-1])
            assert reader.named(f"w{number}")["status"] == 1
        ref.exit("killed")
        await until(lambda: not ref.is_alive)
        emitter.fresh(answers.append)
        await until(lambda: not reader.named("w2"))
        assert answers == sorted(set(answers))
        assert (reader.hellos, reader.gaps) == (1, 0)


async def test_who_asks_for_facts_that_are_lost_is_not_left_waiting() -> None:
    """The answer names a frame that comes only when everything has been told anew."""
    async with emitting() as (node, emitter, reader, _):
        answers: list[int] = []
        emitter.fresh(answers.append)  # nobody has been told anything yet
        await until(lambda: answers)
        emitter.resync()
        await told(node, reader)
        assert reader.frames[-1]["seq"] > answers[0]
