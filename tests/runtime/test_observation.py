"""What the runtime shows of itself: counters, rows, stacks, activities, instruments."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

import pytest

from observe.runtime import (
    Activity,
    Agent,
    ChildSpec,
    Crash,
    DynamicSupervisor,
    Instrument,
    Node,
    NoSuchAgent,
)
from observe.runtime.snapshot import ROW_WIDTH, STATUS_NAMES, row_values, spawn_facts
from observe.runtime.testing import Recorder, eventually, settled


class Works(Agent):
    def init(self) -> None:
        self.gate = asyncio.Event()

    async def handle(self, message: Any) -> Any:
        if message == "wait":
            async with self.activity("tool:search", query="mug"):
                await self.gate.wait()
        elif message == "spin":
            end = time.perf_counter() + 0.02
            while time.perf_counter() < end:
                pass
        return message


def row(node: Node, pid: int) -> dict[str, int]:
    """The telemetry row of one agent, by column."""
    names = (
        "pid",
        "status",
        "mailbox",
        "mailbox_max",
        "handled",
        "reductions",
        "since_us",
        "activity",
        "doing_us",
    )
    values = row_values([node.control.find(pid)], lambda text: len(text))
    assert len(values) == ROW_WIDTH
    return dict(zip(names, values, strict=True))


async def test_counters_tell_what_an_agent_did(node: Node) -> None:
    ref = await node.spawn(Works)
    for _ in range(10):
        ref.cast(1)
    await ref.call("spin")
    counters = row(node, ref.pid)
    assert STATUS_NAMES[counters["status"]] == "idle"
    assert (counters["handled"], counters["mailbox"], counters["mailbox_max"]) == (11, 0, 11)
    assert 20_000 <= counters["reductions"] < 2_000_000


async def test_a_step_counts_at_least_one_reduction(node: Node) -> None:
    """So that an agent that does much in little never looks idle."""
    ref = await node.spawn(Works)
    before = row(node, ref.pid)["reductions"]
    for _ in range(100):
        await ref.call(1)
    assert row(node, ref.pid)["reductions"] >= before + 100


async def test_a_waiting_agent_shows_its_activity_its_mailbox_and_since_when(node: Node) -> None:
    """ "In tool:search for 41 s, three messages behind it": the 3 a.m. question."""
    ref = await node.spawn(Works)
    ref.cast("wait")
    await settled(node)
    for number in range(3):
        ref.cast(number)
    counters = row(node, ref.pid)
    assert STATUS_NAMES[counters["status"]] == "waiting"
    assert counters["mailbox"] == counters["mailbox_max"] == 3
    assert counters["activity"] == len("tool:search")
    now_us = time.monotonic_ns() // 1000
    assert 0 <= now_us - counters["doing_us"] < 60_000_000
    assert 0 <= now_us - counters["since_us"] < 60_000_000
    agent = node.control.find(ref.pid)
    assert node.control.mailbox(agent, 2) == ([0, 1], 3)
    vars(agent)["gate"].set()
    await settled(node)
    assert row(node, ref.pid)["activity"] == 0


async def test_agents_that_changed_are_offered_to_telemetry_once(node: Node) -> None:
    """A tick costs what has changed, not what there is."""
    refs = [await node.spawn(Works) for _ in range(5)]
    node.scheduler.collect()
    for ref in refs[1:3]:
        for _ in range(3):
            ref.cast(1)
    await settled(node)
    assert [agent.ref for agent in node.scheduler.take_dirty(1)] == [refs[1]]
    refs[2].exit("killed")
    assert node.scheduler.take_dirty(100) == []


async def test_nothing_is_kept_for_a_telemetry_that_is_not_there(node: Node) -> None:
    """A service without a probe must not remember every agent that it ever had."""
    ref = await node.spawn(Works)
    await ref.call(1)
    gone = weakref.ref(node.control.find(ref.pid))
    ref.exit("killed")
    del ref
    async with asyncio.timeout(20):
        while gone() is not None:  # whoever has just told of its end may hold it for a moment
            await settled(node)
            gc.collect()
    assert node.scheduler.dirty == 0


async def test_spawn_facts_name_the_place_in_the_tree(node: Node) -> None:
    ref = await node.spawn(Works, name="works")
    facts = spawn_facts(node.control.find("works"))
    assert facts == (ref.pid, "Works", "works", node.supervisor.pid, "works", 0, 0, 0)


async def test_vitals_add_up(node: Node) -> None:
    ref = await node.spawn(Works)
    before = node.snapshot_vitals()
    for _ in range(10):
        await ref.call(1)
    ref.exit("killed")
    after = node.snapshot_vitals()
    assert after.handled - before.handled == 10
    assert (after.spawned, after.exited, after.agents) == (
        before.spawned,
        before.exited + 1,
        before.agents - 1,
    )
    assert after.busy_us >= before.busy_us


async def test_the_stack_of_a_waiting_agent_goes_through_its_awaits(node: Node) -> None:
    ref = await node.spawn(Works)
    ref.cast("wait")
    await settled(node)
    stack = node.control.stack(node.control.find(ref.pid))
    assert [frame.function for frame in stack.frames] == ["handle", "wait"]
    assert stack.frames[0].source == "await self.gate.wait()"
    assert stack.waiting_on is not None


async def test_the_stack_goes_on_into_a_task_that_is_awaited(node: Node) -> None:
    class Awaits(Agent):
        async def handle(self, message: Any) -> None:
            await asyncio.create_task(self.inner())

        async def inner(self) -> None:
            await asyncio.sleep(3600)

    ref = await node.spawn(Awaits)
    ref.cast(1)
    agent = node.control.find(ref.pid)
    await eventually(lambda: len(node.control.stack(agent).frames) == 3)
    assert [frame.function for frame in node.control.stack(agent).frames] == ["handle", "inner", "sleep"]


async def test_the_stack_of_a_running_agent_is_read_from_another_thread(node: Node) -> None:
    """An agent that holds the scheduler can be looked at while it does."""
    shown: list[list[str]] = []
    looked = threading.Event()

    class Spins(Agent):
        def handle(self, message: Any) -> None:
            self.deeper()

        def deeper(self) -> None:
            while not looked.is_set():
                pass

    ref = await node.spawn(Spins)

    def look() -> None:
        agent = node.agents[ref.pid]
        while node.scheduler.current is not agent or not node.control.stack(agent).frames:
            pass
        shown.append([frame.function for frame in node.control.stack(agent).frames])
        looked.set()

    thread = threading.Thread(target=look)
    thread.start()
    await ref.call("spin")
    await asyncio.to_thread(thread.join)
    assert shown[0][:2] == ["handle", "deeper"]


async def test_a_stack_a_thousand_deep_is_cut_in_the_middle(node: Node) -> None:
    class Deep(Agent):
        async def handle(self, message: Any) -> None:
            await self.down(300)

        async def down(self, left: int) -> None:
            if left:
                await self.down(left - 1)
            else:
                await asyncio.sleep(3600)

    ref = await node.spawn(Deep)
    ref.cast(1)
    await settled(node)
    frames = node.control.stack(node.control.find(ref.pid)).frames
    assert len(frames) == 101
    assert "left out" in frames[50].function
    assert (frames[0].function, frames[-1].function) == ("handle", "sleep")


async def test_instruments_hear_of_births_activities_crashes_and_deaths_in_order(node: Node) -> None:
    class Fails(Agent):
        async def handle(self, message: Any) -> None:
            async with self.activity("tool:broken"):
                raise ValueError

    recorder = Recorder.on(node)
    ref = await node.spawn(Fails, name="fails", restart="permanent")
    ref.cast(1)
    await settled(node)
    successor = node.ref("fails").pid
    assert [(event.kind, event.pid) for event in recorder.events] == [
        ("spawn", ref.pid),
        ("activity_start", ref.pid),
        ("activity_end", ref.pid),
        ("crash", ref.pid),
        ("exit", ref.pid),
        ("spawn", successor),
        ("restart", successor),
    ]


async def test_an_instrument_that_raises_is_removed_and_nobody_else_notices(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """An observer must never hurt the observed."""

    class Broken(Instrument):
        def on_spawn(self, agent: Agent) -> None:
            raise RuntimeError("broken observer")

    recorder = Recorder.on(node)
    node.instruments.add(Broken())
    await node.spawn(Works)
    await node.spawn(Works)
    assert recorder.kinds == ["spawn", "spawn"]
    assert caplog.text.count("was removed") == 1


async def test_concurrent_activities_of_one_agent_may_end_in_any_order(node: Node) -> None:
    class Parallel(Agent):
        async def handle(self, message: Any) -> None:
            async def tool(name: str, turns: int) -> None:
                with self.activity(name):
                    for _ in range(turns):
                        await asyncio.sleep(0)

            async with asyncio.TaskGroup() as group:
                group.create_task(tool("tool:long", 5))
                group.create_task(tool("tool:short", 1))

    recorder = Recorder.on(node)
    ref = await node.spawn(Parallel)
    await ref.call(1)
    ended = [event.what for event in recorder.events if event.kind == "activity_end"]
    assert ended == ["tool:short", "tool:long"]
    assert row(node, ref.pid)["activity"] == 0


async def test_words_of_shared_memory_say_who_runs(node: Node) -> None:
    """Read by the probe when nothing in the process can answer any more."""
    words = memoryview(bytearray(64)).cast("Q")
    seen: list[tuple[int, int]] = []

    class Looks(Agent):
        async def handle(self, message: Any) -> None:
            seen.append((words[1], words[6]))
            await asyncio.sleep(0)
            seen.append((words[1], words[6]))

    ref = await node.spawn(Looks)
    node.scheduler.attach_words(words)
    await ref.call(1)
    node.scheduler.detach_words()
    assert seen == [(ref.pid, 1), (ref.pid, 1)]
    assert (words[1], words[6]) == (0, 0)
    assert words[4] >= 1


async def test_control_finds_agents_by_pid_and_name_and_says_who_is_not_there(node: Node) -> None:
    ref = await node.spawn(Works, name="works")
    assert node.control.find(ref.pid) is node.control.find("works")
    for unknown in (10_000, "nobody"):
        with pytest.raises(NoSuchAgent, match=str(unknown)):
            node.control.kill(unknown) if isinstance(unknown, int) else node.control.find(unknown)


def test_importing_the_runtime_is_light() -> None:
    """A service that embeds it pays for nothing that it does not use."""
    code = (
        "import sys, observe.runtime\n"
        "heavy = {'textual', 'rich', 'opentelemetry', 'pydantic', 'zmq', 'msgpack', 'numpy', 'psutil', 'click'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_hooks_nobody_listens_to_are_empty() -> None:
    """The price of the instrument interface when it is not used."""

    class Listens(Instrument):
        def on_crash(self, crash: Crash) -> None:
            pass

        def on_activity_end(self, agent: Agent, activity: Activity, error: BaseException | None) -> None:
            pass

    node = Node("quiet")
    listens = Listens()
    node.instruments.add(listens)
    node.instruments.add(listens)
    assert (len(node.instruments.on_spawn), len(node.instruments.on_crash)) == (0, 1)
    node.instruments.remove(listens)
    assert len(node.instruments.on_crash) == 0


async def test_rare_full_collections_last_as_long_as_the_node() -> None:
    """A setting of the whole process is given back."""
    before = gc.get_threshold()
    async with Node("many", rare_full_gc=True):
        assert gc.get_threshold() == (*before[:2], 1000)
    assert gc.get_threshold() == before


class Small(Agent):
    """Has no state."""


async def test_full_collections_wait_while_agents_are_started_by_the_thousand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each would go over all that were started before. A second after the last of them Python's setting is back."""
    monkeypatch.setattr("observe.runtime.growth.QUIET_S", 0.3)
    before = gc.get_threshold()
    async with Node("many") as node:
        supervisor = await node.spawn(DynamicSupervisor, ChildSpec(Small, restart="temporary"))
        for _ in range(3_000):
            await supervisor.start_child()
        assert gc.get_threshold() == before, "few agents need nothing of this"
        for _ in range(10_000):
            await supervisor.start_child()
        assert gc.get_threshold() == (*before[:2], 1000)
        await eventually(lambda: gc.get_threshold() == before)
        for _ in range(10_000):
            await supervisor.start_child()
        assert gc.get_threshold() == (*before[:2], 1000)
        gc.set_threshold(*before[:2], 77)
        try:
            await asyncio.sleep(0.4)
            assert gc.get_threshold()[2] == 77, "what the application has set meanwhile is left as it is"
        finally:
            gc.set_threshold(*before)
        for _ in range(10_000):
            await supervisor.start_child()
        assert gc.get_threshold() == (*before[:2], 1000)
        supervisor.exit("killed")
    assert gc.get_threshold() == before, "a node that stops leaves nothing behind"


async def test_agents_that_come_and_go_put_no_collection_off() -> None:
    """A node that starts as many as end does not grow, and its old garbage is collected as ever."""
    before = gc.get_threshold()
    async with Node("busy") as node:
        supervisor = await node.spawn(DynamicSupervisor, ChildSpec(Small, restart="temporary"))
        for _ in range(10_000):
            (await supervisor.start_child()).exit("killed")
        assert node.snapshot_vitals().agents < 5
        assert gc.get_threshold() == before


async def test_a_node_that_never_ceases_to_grow_has_full_collections_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is put off is not put off for ever; and who wants none of it says so."""
    monkeypatch.setattr("observe.runtime.growth.LONGEST_S", 0.0)
    before = gc.get_threshold()
    async with Node("grows") as node:
        supervisor = await node.spawn(DynamicSupervisor, ChildSpec(Small, restart="temporary"))
        seen = [before]
        for _ in range(25_000):
            await supervisor.start_child()
            if gc.get_threshold() != seen[-1]:
                seen.append(gc.get_threshold())
        assert seen[:3] == [before, (*before[:2], 1000), before]
        supervisor.exit("killed")
    async with Node("never", rare_full_gc=False) as node:
        supervisor = await node.spawn(DynamicSupervisor, ChildSpec(Small, restart="temporary"))
        for _ in range(10_000):
            await supervisor.start_child()
        assert gc.get_threshold() == before
        supervisor.exit("killed")
