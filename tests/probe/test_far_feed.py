"""Workers tell the probe themselves how their agents are, whatever the node's own process does."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from observe.probe import Probe
from observe.probe.cards import Card, read_card
from observe.probe.client import NodeClient, connect
from observe.probe.codec import encode
from observe.probe.config import Config
from observe.probe.feed import Feed
from observe.probe.keyframe import restore, take
from observe.probe.picture import Picture
from observe.probe.strings import MOST_INTERNED, Strings
from observe.probe.verbs_findings import StandingFinding
from observe.probe.wire import Held
from observe.probe.wire_table import Query
from observe.runtime import Node
from observe.runtime import findings as runtime_findings
from observe.runtime.instrument import Instrument
from tests.probe.live import eventually, private_runtime
from tests.runtime.worker_agents import Clock, Fan, Holder, Odd

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(ROOT))
    with private_runtime(monkeypatch) as path:
        yield path


async def rows(client: NodeClient, filter: str = "") -> list[dict[str, Any]]:  # noqa: A002  # the protocol's word
    return (await client.agents(Query(filter=filter, sort="pid", descending=False))).as_dicts()


class Elsewhere(threading.Thread):
    """Asks a node's probe from a loop of its own, while the test's loop is held."""

    def __init__(self, name: str, ask: Any) -> None:
        super().__init__()
        self.name_of_node, self.ask = name, ask
        self.error: BaseException | None = None
        self.is_ready = threading.Event()

    def run(self) -> None:
        async def main() -> None:
            async with connect(self.name_of_node, timeout_s=20.0) as client:
                self.is_ready.set()
                await self.ask(client)

        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001  # told in the test's own thread
            self.error = error
            self.is_ready.set()


async def test_rows_of_workers_go_on_while_the_nodes_own_loop_is_held() -> None:
    """Activities with names that the node's process has never told among them."""
    async with Node("held", workers=1) as node, Probe(node, tick_s=0.05):
        await node.spawn(Clock, name="clock")
        node.ref("clock").cast("go")
        async with connect("held") as client:
            await eventually(
                lambda: rows(client, "name=clock"), lambda found: bool(found and found[0]["activity"])
            )
        is_seen = threading.Event()

        async def watch(client: NodeClient) -> None:
            await eventually(client.vitals, lambda vitals: vitals.state == "held")
            seen: set[str] = set()
            while len(seen) < 4:
                (row,) = await rows(client, "name=clock")
                seen.add(row["activity"])
                await asyncio.sleep(0.05)
            assert (await client.vitals()).state == "held"
            is_seen.set()

        watcher = Elsewhere("held", watch)
        watcher.start()
        await asyncio.to_thread(watcher.is_ready.wait)
        is_seen.wait(20)  # on purpose: nothing of the node's own runs meanwhile
        await asyncio.to_thread(watcher.join)
        assert watcher.error is None, watcher.error
        assert is_seen.is_set()


class Told(Instrument):
    """Hears of findings in the node's own process."""

    def __init__(self) -> None:
        self.findings: list[runtime_findings.Finding] = []

    def on_finding(self, finding: runtime_findings.Finding) -> None:
        self.findings.append(finding)


async def holds_worker(client: NodeClient) -> StandingFinding | None:
    return next((one for one in (await client.findings()).findings if one.check == "holds_worker"), None)


def with_stack(finding: StandingFinding | None) -> bool:
    return finding is not None and bool(finding.evidence["stack"])


async def test_the_stack_comes_also_while_c_code_keeps_the_interpreter_lock() -> None:
    """No thread of that process can say where it is."""
    async with Node("gripped-c", workers=1) as node, Probe(node, tick_s=0.05):
        holder, _ = await node.spawn(Odd, name="holder"), await node.spawn(Odd, name="sibling")
        worker = await holder.call("pid")
        async with connect("gripped-c") as client:
            await eventually(lambda: rows(client, "process=1"), lambda found: len(found) == 2)
            holder.cast("c")
            finding = await eventually(lambda: holds_worker(client), with_stack)
            assert finding is not None
            assert "in C code that keeps the interpreter lock" in finding.text
            assert "sum(range(10**12))" in finding.text
            os.kill(worker, signal.SIGKILL)


async def test_who_holds_a_worker_is_seen_while_it_does() -> None:
    async with Node("gripped", workers=1) as node, Probe(node, tick_s=0.05):
        told = Told()
        node.instruments.add(told)
        holder, sibling = await node.spawn(Holder, name="holder"), await node.spawn(Odd, name="sibling")
        async with connect("gripped") as client:
            await eventually(lambda: rows(client, "process=1"), lambda found: len(found) == 2)
            holder.cast(60.0)

            async def held() -> Held | None:
                workers = (await client.workers()).workers
                return workers[0].held if workers else None

            seen = await eventually(held, lambda found: found is not None and found.where == "python")
            assert seen is not None
            assert (seen.pid, seen.name) == (holder.pid, "holder")
            finding = await eventually(lambda: holds_worker(client), with_stack)
            assert finding is not None
            assert (finding.pid, finding.filter) == (holder.pid, "process=1")
            assert "holds worker 1, where 1 agent waits" in finding.text
            assert "worker_agents.py" in finding.text
            assert [line.split()[0] for line in finding.evidence["stack"]] == ["handle"]
            checks = {one.check for one in (await client.findings()).findings}
            assert "holds_scheduler" not in checks, "the node's own scheduler is free"
            await eventually_true(lambda: told.findings)
            assert told.findings[0].pid == holder.pid
            assert told.findings[0].stack[-1].function == "handle"
            (row,) = await rows(client, "name=holder")
            assert row["status"] == "running"
            assert (await client.vitals()).state == "up", "the node itself is not held"
            holder.exit("killed")
            await eventually(held, lambda found: found is None)
            assert await sibling.call("x", timeout=30) == 1


async def test_a_probe_that_is_started_again_is_told_everything_anew() -> None:
    async with Node("twice", workers=1) as node, Probe(node, tick_s=0.05) as probe:
        for number in range(3):
            ref = await node.spawn(Odd, name=f"odd-{number}")
            await ref.call("x")
        async with connect("twice") as client:
            await eventually(
                lambda: rows(client, "class=Odd"), lambda found: [r["handled"] for r in found] == [1] * 3
            )
        first = probe.statistics()["probe_pid"]
        os.kill(first, signal.SIGKILL)
        await eventually_true(lambda: probe.statistics().get("probe_restarts") == 1)
        await eventually_true(lambda: is_up(read_card("twice"), first))
        async with connect("twice", timeout_s=20.0) as client:
            await eventually(
                lambda: rows(client, "class=Odd"), lambda found: [r["handled"] for r in found] == [1] * 3
            )
            await node.ref("odd-1").call("x")
            await eventually(lambda: rows(client, "name=odd-1"), lambda found: found[0]["handled"] == 2)


def is_up(card: Card | None, before: int) -> bool:
    return card is not None and card.state == "up" and card.probe_pid != before


async def eventually_true(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # of another process
            await asyncio.sleep(0.02)


async def test_items_of_a_fan_out_in_a_worker_are_in_the_table_and_the_tree(runtime: Path) -> None:
    async with Node("fanned", workers=1) as node, Probe(node, tick_s=0.05):
        fan = await node.spawn(Fan, name="fan")
        fan.cast("wait")
        async with connect("fanned") as client:
            found = await eventually(lambda: rows(client, "class=FanOutItem"), lambda found: len(found) == 3)
            assert {row["process"] for row in found} == {1}
            tree = await client.tree()
            (fan_out,) = [one for one in tree.children if one.class_name == "FanOut"]
            assert fan_out.children_total == 3
            assert (await client.kill(found[0]["pid"])).done
            later = await node.spawn(Odd, name="later")
            assert await eventually(lambda: rows(client, "name=later"), lambda found: bool(found))
            assert later.pid < found[0]["pid"]


async def test_nothing_is_left_behind(runtime: Path) -> None:
    async with Node("tidy", workers=1) as node, Probe(node, tick_s=0.05):
        ref = await node.spawn(Odd, name="own", isolation="process")
        directory = runtime / "observe" / "nodes" / "tidy"
        await eventually_true(lambda: len(list(directory.glob("words-*-w*"))) == 2)
        ref.exit("killed")
        await eventually_true(lambda: len(list(directory.glob("words-*-w*"))) == 1)
    assert [path.name for path in directory.glob("*-*")] == []


# -- the receiving end alone -------------------------------------------------------------------------------------------


def picture() -> Picture:
    config = Config(
        node="shop", host="h", incarnation="i", pid=1, feed="", control="", directory="", server_public="",
        server_secret="", client_public="", client_secret="",
    )  # fmt: skip
    return Picture(config, lambda items, omitted: None)


def packed(*rows: tuple[int, ...]) -> bytes:
    return array("q", [number for row in rows for number in row]).tobytes()


class Fed:
    """A feed with a node's process and one worker at the other end."""

    def __init__(self) -> None:
        self.picture = picture()
        self.feed = Feed(self.picture)
        self.seq = 0
        hello = {"node": "shop", "host": "h", "incarnation": "i", "pid": 1, "started_at": 0.0, "python": "3",
                 "version": "0", "mono_us": 0, "wall": 0.0}  # fmt: skip
        self.node("hello", **hello)

    def node(self, kind: str, **fields: Any) -> None:
        self.seq += 1
        self.feed.receive(encode({"t": kind, "seq": self.seq, **fields}))

    def spawn(self, pid: int, process: int, class_: int = 0) -> None:
        self.node("spawn", n=1, data=packed((pid, class_, 0, 0, 0, 0, 0, process)))

    def strings(self, base: int, *texts: str) -> None:
        self.node("strings", base=base, texts=list(texts))

    def row(self, pid: int, handled: int, activity: int = 0, status: int = 1) -> tuple[int, ...]:
        return (pid, status, 0, 0, handled, handled, 5, activity, 5 * (activity > 0))

    def far(self, *rows: tuple[int, ...], texts: tuple[str, ...] = ()) -> None:
        self.feed.receive(
            encode(
                {
                    "t": "far_rows",
                    "seq": 1,
                    "worker": 1,
                    "mono_us": 9,
                    "n": len(rows),
                    "data": packed(*rows),
                    "texts": list(texts),
                }
            )
        )

    def agent(self, pid: int) -> dict[str, Any]:
        row = self.picture.table.row_of(pid)
        assert row is not None
        return self.picture.agent(row)


def test_what_a_worker_tells_before_the_node_waits_for_the_spawn() -> None:
    fed = Fed()
    fed.far(fed.row(7, 3, 1), texts=("tool:far",))
    fed.spawn(7, process=1)
    assert (fed.agent(7)["handled"], fed.agent(7)["activity"]) == (3, "tool:far")


def test_counters_never_go_back_whoever_tells() -> None:
    fed = Fed()
    fed.spawn(7, process=1)
    fed.far(fed.row(7, 9))
    fed.node("rows", mono_us=10, n=1, data=packed(fed.row(7, 4)))
    assert fed.agent(7)["handled"] == 9


def test_texts_of_both_keep_their_meaning_also_in_a_keyframe() -> None:
    """Numbers of strings are the node's; a worker's texts come in between."""
    fed = Fed()
    fed.strings(1, "Clerk", "tool:near")
    fed.spawn(7, process=1, class_=1)
    fed.spawn(8, process=0, class_=1)
    fed.far(fed.row(7, 1, 1), texts=("tool:far",))
    fed.strings(3, "Baker", "tool:later")
    fed.spawn(9, process=0, class_=3)
    fed.node("rows", mono_us=10, n=1, data=packed(fed.row(8, 1, 4)))
    expected = {7: ("Clerk", "tool:far"), 8: ("Clerk", "tool:later"), 9: ("Baker", None)}
    assert {pid: (fed.agent(pid)["class"], fed.agent(pid)["activity"]) for pid in expected} == expected

    again = Fed()
    again.picture = picture()
    again.feed = Feed(again.picture, expected=restore(take(fed.picture, fed.feed), again.picture))
    again.seq = fed.seq
    again.strings(5, "Miller")
    again.spawn(10, process=0, class_=5)
    again.far(again.row(7, 2, 1), texts=("tool:far",))
    expected[10] = ("Miller", None)
    assert {pid: (again.agent(pid)["class"], again.agent(pid)["activity"]) for pid in expected} == expected
    assert again.feed.malformed == 0


@pytest.mark.parametrize(
    "row", [(7, 99, 0, 0, 0, 0, 0, 0, 0), (7, 1, -1, 0, 0, 0, 0, 0, 0), (7, 1, 0, 0, 0, 0, 0, 2, 0)]
)
def test_nonsense_of_a_worker_changes_nothing(row: tuple[int, ...]) -> None:
    fed = Fed()
    fed.spawn(7, process=1)
    before = fed.agent(7)
    fed.far(row, texts=("tool:far",))
    assert fed.feed.malformed == 1
    assert fed.agent(7)["handled"] == before["handled"]


def test_texts_of_workers_are_bounded() -> None:
    strings = Strings()
    for number in range(MOST_INTERNED + 5):
        strings.intern(f"tool:{number}")
    assert len(strings.interned) == MOST_INTERNED + 1
    assert strings[strings.intern("tool:yet another")] == "another activity"
