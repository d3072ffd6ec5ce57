"""What fails must fail alone: after each fault the tree is whole, and what is not concerned goes on."""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from observe.runtime import (
    Agent,
    AgentExited,
    ChildSpec,
    ExitReason,
    InitFailed,
    MemoryStore,
    Node,
    Record,
    StoreFault,
    StoreFull,
    Supervisor,
)
from observe.runtime.strategies import Strategy
from observe.runtime.testing import eventually, settled
from tests.runtime.tally import Tally
from tests.runtime.whole import assert_whole

STRATEGIES: tuple[Strategy, ...] = ("one_for_one", "one_for_all", "rest_for_one")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.getLogger("observe.runtime").setLevel(logging.CRITICAL + 1)
    yield
    logging.getLogger("observe.runtime").setLevel(logging.NOTSET)


class Plain(Agent):
    def handle(self, message: Any) -> Any:
        if message == "crash":
            raise ValueError(message)
        return message


class BadEnd(Plain):
    """Its `terminate` raises, or cannot be waited for."""

    how = "raises"

    async def terminate(self, reason: ExitReason) -> None:
        if self.how == "raises":
            raise OSError("terminate")
        await asyncio.sleep(3600)


class BadHang(BadEnd):
    how = "hangs"


@pytest.mark.parametrize("kind", [BadEnd, BadHang])
@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_terminate_that_fails_holds_up_neither_a_restart_nor_an_end(
    node: Node, strategy: Strategy, kind: type[Agent]
) -> None:
    specs = [
        ChildSpec(Plain, name="a"),
        ChildSpec(kind, name="bad", shutdown_s=0.02),
        ChildSpec(Plain, name="c"),
    ]
    supervisor = await node.spawn(Supervisor, specs, strategy=strategy)
    before = {name: node.ref(name).pid for name in ("a", "bad", "c")}
    node.ref("bad").cast("crash")
    await eventually(lambda: node.whereis("c") and (node.whereis("bad") or supervisor).pid > before["bad"])
    await settled(node)
    assert_whole(node)
    for name in ("a", "bad", "c"):
        assert await node.ref(name).call("there?") == "there?"
    supervisor.exit("shutdown")
    await asyncio.wait_for(supervisor.wait_exit(), 10)
    assert set(node.registry) == {"root"}
    assert_whole(node)


class BadSupervisor(Supervisor):
    """A supervisor whose own code fails."""

    def init(self, fails: str) -> list[ChildSpec]:
        self.fails = fails
        return [
            ChildSpec(Plain, name="child"),
            ChildSpec(Supervisor, ([ChildSpec(Plain, name="leaf")],), id="s"),
        ]

    async def handle(self, message: Any) -> None:
        if self.fails == "handle" and message == "fail":
            raise OSError("handle")
        await super().handle(message)

    async def terminate(self, reason: ExitReason) -> None:
        if self.fails == "terminate":
            raise OSError("terminate")
        await super().terminate(reason)


@pytest.mark.parametrize("fails", ["handle", "terminate"])
@pytest.mark.parametrize("end", ["fail", "shutdown", "killed"])
async def test_a_supervisor_that_dies_leaves_no_orphans_and_comes_back(
    node: Node, fails: str, end: str
) -> None:
    """Whether it crashes, is told to end or is killed, and even if its own clean-up fails."""
    await node.spawn(Supervisor, [ChildSpec(BadSupervisor, (fails,), name="bad")], intensity=10)
    before = {name: node.ref(name).pid for name in ("bad", "child", "leaf")}
    if end == "fail" and fails == "terminate":
        node.ref("child").cast("crash")
        node.ref("child").cast("crash")  # a dead letter
        end = "shutdown"
    if end == "fail":
        node.ref("bad").cast("fail")
    else:
        node.ref("bad").exit(end)
    await eventually(lambda: (node.whereis("leaf") or node.supervisor).pid > before["leaf"])
    await settled(node)
    assert_whole(node)
    assert all(node.ref(name).pid > pid for name, pid in before.items())
    assert (
        len(node.agents) == 6
    )  # the root, the one above, the bad one, the child, and the inner one with its leaf


async def test_a_supervisor_that_dies_while_its_children_start_leaves_none_of_them(node: Node) -> None:
    entered = asyncio.Event()

    class Slow(Plain):
        async def init(self) -> None:
            entered.set()
            await asyncio.sleep(3600)

    specs = [ChildSpec(Plain, name="first"), ChildSpec(Slow, name="slow", shutdown_s=0.02)]
    starting = asyncio.ensure_future(node.spawn(Supervisor, specs, name="sup"))
    await entered.wait()
    node.ref("sup").exit("killed")
    with pytest.raises(InitFailed):
        await starting
    await eventually(lambda: set(node.registry) == {"root"})
    assert_whole(node)


# -- Stores


class Refuses(MemoryStore):
    """Reads, and writes nothing while `refuses` is set: full, or on a file system that has become read-only."""

    refuses: StoreFault | None = None

    def put(self, record: Record) -> Future[None]:
        if self.refuses is None:
            return super().put(record)
        refused: Future[None] = asyncio.get_running_loop().create_future()
        refused.set_exception(self.refuses)
        return refused


@pytest.fixture
def store() -> Refuses:
    return Refuses()


@pytest.fixture
async def saving(store: Refuses) -> AsyncIterator[Node]:
    async with Node("saving", store=store, intensity=1000) as node:
        yield node


FAULTS = [StoreFull("the store", "no room"), StoreFault("the store", "it is read-only")]


@pytest.mark.parametrize("fault", FAULTS, ids=["full", "read-only"])
@pytest.mark.parametrize("policy", ["each_message", "each_step"])
async def test_a_store_that_takes_nothing_fails_its_callers_and_nobody_else(
    saving: Node, store: Refuses, policy: Any, fault: StoreFault
) -> None:
    """Who is saved learns that it is not; who is not saved does not notice; a restart has the last state that was taken."""
    specs = [
        ChildSpec(Tally, name="t", restore=True, checkpoint=policy),
        ChildSpec(Plain, name="plain"),
    ]
    supervisor = await saving.spawn(Supervisor, specs, name="s", intensity=10)
    assert (await saving.ref("t").call(5))[0] == 5
    store.refuses = fault
    for _ in range(3):
        with pytest.raises(type(fault)):
            await saving.ref("t").call(1)
    assert await saving.ref("plain").call("not concerned") == "not concerned"
    assert_whole(saving)
    with pytest.raises((AgentExited, StoreFault)):
        await saving.ref("t").call("crash")
    await settled(saving)
    assert supervisor.is_alive
    assert_whole(saving)
    store.refuses = None
    assert await saving.ref("t").call("who") == (5, "restored")
    assert (await saving.ref("t").call(1))[0] == 6


@pytest.mark.parametrize("fault", FAULTS, ids=["full", "read-only"])
async def test_an_agent_whose_first_checkpoint_is_not_taken_is_not_started(
    saving: Node, store: Refuses, fault: StoreFault
) -> None:
    """A dynamic child comes back by its record alone: without one it would be promised and lost."""
    from observe.runtime import DynamicSupervisor

    template = ChildSpec(Tally, restore=True, checkpoint="each_message")
    sessions = await saving.spawn(DynamicSupervisor, template, name="sessions")
    store.refuses = fault
    with pytest.raises((InitFailed, StoreFault)):
        await sessions.start_child(name="x")
    assert saving.whereis("x") is None
    assert sessions.count_children()["specs"] == 0
    assert_whole(saving)
    store.refuses = None
    assert (await sessions.start_child(name="x")).is_alive


async def test_what_cannot_be_restored_fails_as_an_init_does_and_is_kept(
    saving: Node, store: Refuses
) -> None:
    """A state that the class no longer understands: the child does not start, and nothing of it is thrown away."""

    class Older(Plain):
        def init(self) -> None:
            self.total = 1

    class Newer(Plain):
        def restored(self) -> None:
            raise AttributeError("no field of this name any more")

    spec = ChildSpec(Older, name="x", id="x", restore=True, checkpoint="each_message")
    await saving.spawn(Supervisor, [spec], name="s")
    await saving.ref("x").call("hello")
    saving.ref("s").exit("shutdown")
    await settled(saving)
    await eventually(lambda: saving.whereis("s") is None)
    kept = dict(store.records)
    assert kept
    Newer.__name__ = Newer.__qualname__ = "Older"
    Newer.__module__ = Older.__module__
    with pytest.raises(InitFailed):
        await saving.spawn(
            Supervisor,
            [
                ChildSpec(Plain, name="before"),
                ChildSpec(Newer, name="x", restore=True, checkpoint="each_message"),
            ],
            name="s",
        )
    assert dict(store.records) == kept
    assert set(saving.registry) == {"root"}
    assert_whole(saving)
