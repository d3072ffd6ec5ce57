"""Containment: each level does what it says, state and mailbox stay, and the fence belongs to the place."""

from __future__ import annotations

import ast
import asyncio
import logging
import re
from dataclasses import replace
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from observe.runtime import (
    ActionRefused,
    Agent,
    Budget,
    ChildSpec,
    Contained,
    Denied,
    Node,
    Ref,
    Supervisor,
    actions,
)
from observe.runtime.containment_far import MOST_A_SECOND, Sieve
from observe.runtime.fences import LEVELS, Fence, Level
from observe.runtime.governed import Governed
from observe.runtime.instrument import Instrument
from observe.runtime.testing import eventually, settled


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


class Sink(Agent):
    def init(self) -> None:
        self.got: list[Any] = []

    def handle(self, message: Any) -> Any:
        if message == "got":
            return list(self.got)
        self.got.append(message)
        return "taken"


class Worker(Agent):
    restricted_tools = ("tool:safe",)

    def init(self, other: str = "sink") -> None:
        self.other = other
        self.done: list[Any] = []
        self.open = 0

    async def handle(self, message: Any) -> Any:
        match message:
            case ("tool", name):
                async with self.activity(name):
                    self.done.append(name)
            case ("careful", name):
                try:
                    async with self.activity(name):
                        self.done.append(name)
                except Denied as error:
                    return error
            case ("long", name):
                self.open += 1
                async with self.activity(name):
                    await asyncio.sleep(60)
            case ("cast", to):
                self.node.ref(to).cast("hello")
            case ("call", to):
                return await self.node.ref(to).call("hello")
            case ("timer", to):
                self.send_after(0.0, "late", self.node.ref(to))
            case "fall":
                raise RuntimeError("asked for")
            case _:
                self.done.append(message)
        return list(self.done)


class Busybody(Agent):
    """Its start uses a tool."""

    async def init(self) -> None:
        async with self.activity("tool:index"):
            pass

    def handle(self, message: Any) -> Any:
        if message == "fall":
            raise RuntimeError("asked for")
        return message


class Log(Instrument):
    def __init__(self) -> None:
        self.events: list[Governed] = []

    def on_governed(self, event: Governed) -> None:
        self.events.append(event)


def contain(node: Node, ref: Ref, level: Level, **more: Any) -> Any:
    return node.govern().containment.contain(node.control.find(ref.pid), level, **more)


def level(node: Node, ref: Ref) -> str:
    return node.govern().containment.level_of(node.control.find(ref.pid))


async def test_restricted_lets_only_listed_tools_and_recipients_pass(node: Node) -> None:
    await node.spawn(Sink, name="sink")
    await node.spawn(Sink, name="vault")
    worker = await node.spawn(Worker)
    contain(node, worker, "restricted", recipients=("sink",), reason="odd")
    assert await worker.call(("tool", "tool:safe")) == ["tool:safe"]
    error = await worker.call(("careful", "tool:risky"))
    assert isinstance(error, Contained)
    assert (error.level, error.attempt) == ("restricted", "tool:risky")
    assert await worker.call(("call", "sink")) == "taken"
    with pytest.raises(Contained, match="a message to vault; it is restricted: odd"):
        await worker.call(("call", "vault"))
    with pytest.raises(Contained):
        await worker.call(("cast", "vault"))
    assert await node.ref("vault").call("got") == []
    contain(node, worker, "none")
    assert await worker.call(("cast", "vault")) == ["tool:safe"]
    assert await node.ref("vault").call("got") == ["hello"]


async def test_a_step_that_containment_ends_leaves_the_agent_its_state_and_mailbox(node: Node) -> None:
    worker = await node.spawn(Worker, restart="permanent")
    await worker.call("one")
    contain(node, worker, "restricted")
    pid = worker.pid
    worker.cast(("tool", "tool:risky"))
    worker.cast("two")
    assert await worker.call("three") == ["one", "two", "three"]
    assert worker.pid == pid
    assert worker.is_alive
    assert node.snapshot_vitals().crashes == 0
    assert node.dead_letters[-1].message == ("tool", "tool:risky")


async def test_isolated_cancels_what_is_open_at_once_and_holds_messages(node: Node) -> None:
    await node.spawn(Sink, name="sink")
    worker = await node.spawn(Worker)
    asking = asyncio.create_task(worker.call(("long", "tool:safe")))
    agent = node.control.find(worker.pid)
    await eventually(lambda: agent._o_activities)
    change = contain(node, worker, "isolated", reason="runs away")
    assert (change.done, change.before, change.agents, change.cancelled) == (True, "none", 1, 1)
    with pytest.raises(Contained, match="runs away"):
        await asking
    worker.cast("kept")
    later = asyncio.create_task(worker.call("too"))
    await settled(node)
    assert vars(agent)["open"] == 1  # the state can be read
    assert node.control.mailbox(agent, 10) == (["kept", "too"], 2)
    with pytest.raises(ActionRefused, match="contained"):
        actions.resume(node, agent)
    contain(node, worker, "none")
    assert await later == ["kept", "too"]


async def test_a_message_of_an_isolated_agents_timer_reaches_nobody(node: Node) -> None:
    sink = await node.spawn(Sink, name="sink")
    worker = await node.spawn(Worker)
    await worker.call(("timer", "sink"))
    contain(node, worker, "isolated")
    await eventually(lambda: node.dead_letters)
    assert await sink.call("got") == []


async def test_suspended_lets_the_step_in_hand_end(node: Node) -> None:
    worker = await node.spawn(Worker)
    agent = node.control.find(worker.pid)
    asking = asyncio.create_task(worker.call(("tool", "tool:any")))
    contain(node, worker, "suspended")
    await settled(node)
    assert not asking.done()
    contain(node, worker, "none")
    assert await asking == ["tool:any"]
    assert agent._o_is_alive()


async def test_who_was_suspended_by_an_operator_stays_so(node: Node) -> None:
    worker = await node.spawn(Worker)
    agent = node.control.find(worker.pid)
    actions.suspend(node, agent)
    contain(node, worker, "isolated")
    contain(node, worker, "none")
    worker.cast("kept")
    await settled(node)
    assert agent._o_queued() == 1
    actions.resume(node, agent)
    assert await worker.call("go") == ["kept", "go"]


async def test_nobody_comes_back_to_a_place_that_is_killed_until_it_is_lowered(node: Node) -> None:
    worker = await node.spawn(Worker, name="w", restart="permanent")
    pid = worker.pid
    contain(node, worker, "killed", reason="enough")
    assert str(await worker.wait_exit()) == "killed (contained: enough)"
    await settled(node)
    containment = node.govern().containment
    assert node.whereis("w") is None
    place = containment.place(pid)
    assert place is not None
    assert containment.place("w") is place
    assert containment.empty == [place]
    containment.order(place, Fence("none"))
    await eventually(lambda: node.whereis("w"))
    assert await node.ref("w").call("back") == ["back"]
    assert containment.empty == []


async def test_the_fence_holds_for_who_is_restarted_into_the_place(node: Node) -> None:
    await node.spawn(Worker, name="w", restart="permanent")
    first = node.ref("w").pid
    contain(node, node.ref("w"), "restricted")
    node.ref("w").cast("fall")
    await eventually(lambda: node.whereis("w") and node.ref("w").pid != first)
    assert level(node, node.ref("w")) == "restricted"
    assert isinstance(await node.ref("w").call(("careful", "tool:risky")), Contained)


async def test_who_cannot_start_because_of_its_containment_waits_for_the_end_of_it(node: Node) -> None:
    await node.spawn(Busybody, name="b", restart="permanent")
    contain(node, node.ref("b"), "restricted")
    node.ref("b").cast("fall")
    containment = node.govern().containment
    await eventually(lambda: containment.empty)
    restarts = node.snapshot_vitals().restarts
    await settled(node)
    assert node.snapshot_vitals().restarts == restarts
    containment.order(containment.empty[0], Fence("none"))
    await eventually(lambda: node.whereis("b"))
    assert await node.ref("b").call("hello") == "hello"


async def test_a_subtree_is_contained_with_all_that_start_later(node: Node) -> None:
    team = await node.spawn(Supervisor, [ChildSpec(Worker, id="a"), ChildSpec(Supervisor, id="inner")])
    outside = await node.spawn(Worker)
    change = contain(node, team, "isolated", subtree=True)
    assert change.agents == 1
    later = await team.start_child(ChildSpec(Worker, id="later"))
    assert [level(node, one) for one in (later, outside)] == ["isolated", "none"]
    later.cast("held")
    await settled(node)
    assert node.control.find(later.pid)._o_queued() == 1
    contain(node, team, "none", subtree=True)
    assert await later.call("go") == ["held", "go"]
    with pytest.raises(ActionRefused, match="supervisor"):
        contain(node, team, "isolated")


async def test_of_several_fences_the_highest_counts(node: Node) -> None:
    team = await node.spawn(Supervisor, [ChildSpec(Worker, name="w")])
    contain(node, team, "restricted", subtree=True, tools=("tool:*",))
    contain(node, node.ref("w"), "monitored")
    assert level(node, node.ref("w")) == "restricted"
    contain(node, node.ref("w"), "isolated")
    assert level(node, node.ref("w")) == "isolated"
    contain(node, node.ref("w"), "none")
    assert level(node, node.ref("w")) == "restricted"
    assert await node.ref("w").call(("tool", "tool:x")) == ["tool:x"]


async def test_lowering_takes_a_second_person_where_that_was_said(node: Node) -> None:
    worker = await node.spawn(Worker)
    contain(node, worker, "restricted", two_person=True, who="alice")
    contain(node, worker, "isolated", two_person=True, who="alice")  # raising takes one
    assert not contain(node, worker, "none", who="bob").done
    assert level(node, worker) == "isolated"
    with pytest.raises(ActionRefused, match="second person"):
        contain(node, worker, "none", who="bob")
    assert contain(node, worker, "none", who="carol").done
    assert level(node, worker) == "none"


async def test_all_that_a_monitored_agent_does_is_told(node: Node) -> None:
    log = Log()
    node.instruments.add(log)
    await node.spawn(Sink, name="sink")
    worker = await node.spawn(Worker)
    contain(node, worker, "monitored", by="operator alice", reason="new")
    await worker.call(("tool", "tool:x"))
    await worker.call(("call", "sink"))
    await settled(node)
    assert [(one.what, one.on) for one in log.events] == [
        ("containment", "monitored"),
        ("begin", "tool:x"),
        ("end", "tool:x"),
        ("handled", "tuple"),
        ("send", node.control.find("sink")._o_text()),
        ("handled", "tuple"),
    ]
    assert log.events[0].policy == "operator alice"
    contain(node, worker, "none")
    await worker.call(("tool", "tool:x"))
    assert [one.what for one in log.events[6:]] == ["containment"]


async def test_what_is_denied_is_told_with_who_has_decided_it(node: Node) -> None:
    log = Log()
    node.instruments.add(log)
    worker = await node.spawn(Worker)
    contain(node, worker, "restricted", by="finding repeated_call", reason="odd")
    await worker.call(("careful", "tool:risky"))
    denied = [one for one in log.events if one.verdict == "deny"]
    assert [(one.what, one.on, one.policy) for one in denied] == [
        ("activity", "tool:risky", "finding repeated_call")
    ]


@pytest.mark.parametrize("on_limit", ["monitored", "restricted", "isolated"])
async def test_a_limit_can_end_in_a_level_of_containment(node: Node, on_limit: Any) -> None:
    spec = ChildSpec(Worker, name="w", budget=Budget(tool_calls=2, on_limit=on_limit))
    await node.spawn(Supervisor, [spec])
    worker = node.ref("w")
    await worker.call(("tool", "tool:a"))
    await worker.call(("tool", "tool:b"))
    if on_limit == "monitored":
        await worker.call(("tool", "tool:c"))
    else:
        with pytest.raises(Contained, match="used up its budget"):
            await worker.call(("tool", "tool:c"))
    assert level(node, worker) == on_limit
    fence = node.govern().containment.fence_of(node.control.find("w"))
    assert fence is not None
    assert fence.by == "budget tool_calls"
    contain(node, worker, "none")
    assert await worker.call("alive") is not None


async def test_a_limit_of_a_tree_contains_the_tree(node: Node) -> None:
    spec = ChildSpec(
        Supervisor,
        args=([ChildSpec(Worker, name="a"), ChildSpec(Worker, name="b")],),
        budget=Budget(tool_calls=1, on_limit="isolated"),
    )
    await node.supervisor.start_child(spec)
    await node.ref("a").call(("tool", "tool:x"))
    with pytest.raises(Contained):
        await node.ref("a").call(("tool", "tool:x"))
    assert [level(node, node.ref(name)) for name in "ab"] == ["isolated", "isolated"]


async def test_places_that_are_given_up_are_forgotten(node: Node) -> None:
    for _ in range(3):
        worker = await node.spawn(Worker)
        contain(node, worker, "restricted")
        worker.exit()
        await worker.wait_exit()
    await settled(node)
    containment = node.govern().containment
    assert containment.levels() == {}
    assert containment._fences == {}
    assert containment.empty == []


@pytest.mark.parametrize("before", LEVELS[:-1])
@pytest.mark.parametrize("after", LEVELS[:-1])
async def test_state_and_mailbox_outlive_every_change_of_level(
    node: Node, before: Level, after: Level
) -> None:
    worker = await node.spawn(Worker, restart="permanent", name="w")
    agent = node.control.find("w")
    await worker.call("first")
    contain(node, worker, "isolated")  # so that what waits is not handled meanwhile
    worker.cast("waits")
    contain(node, worker, before)
    contain(node, worker, after)
    contain(node, worker, "none")
    assert await worker.call("last") == ["first", "waits", "last"]
    assert node.control.find("w") is agent


async def test_the_example_of_the_document_runs() -> None:
    text = (Path(__file__).parent.parent.parent / "docs" / "containment.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code = compile(example, "containment.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    said: list[str] = []
    names = {"__name__": __name__, "print": lambda error: said.append(str(error))}
    await FunctionType(code, names)()
    (comment,) = re.findall(r"print\(error\)  # (.*)", example)
    assert said == [comment]


def test_of_what_monitored_agents_do_in_a_worker_so_much_a_second_is_told_and_the_rest_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was denied is told whatever happens."""
    now = 7.0
    monkeypatch.setattr("observe.runtime.containment_far.time.monotonic", lambda: now)
    sieve = Sieve()
    done = Governed(0.0, 1, None, "Clerk", "handled", "str", "", "", "")
    assert [sieve.take(done) for _ in range(MOST_A_SECOND + 3)][-4:] == [done, None, None, None]
    denied = sieve.take(replace(done, what="send", verdict="deny"))
    assert denied is not None
    assert denied.facts == {"left_out_before": "3"}
    now = 8.0
    assert sieve.take(done) == done
