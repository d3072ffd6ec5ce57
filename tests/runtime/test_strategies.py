"""Strategies, backoff, auto-shutdown and dynamic supervisors."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from observe.runtime import (
    Agent,
    Backoff,
    BadChildSpec,
    ChildSpec,
    DynamicSupervisor,
    ExitReason,
    InitFailed,
    Node,
    RuntimeFault,
    Supervisor,
)
from observe.runtime.children import Restart
from observe.runtime.strategies import AutoShutdown, Strategy
from observe.runtime.testing import eventually, settled

LOG: list[str] = []


@pytest.fixture(autouse=True)
def _clear_log() -> None:
    LOG.clear()


class Worker(Agent):
    def init(self, label: str = "") -> None:
        self.label = label
        LOG.append(f"+{label}")

    def handle(self, message: str) -> str:
        if message == "crash":
            raise ValueError(self.label)
        if message == "stop":
            self.stop()
        return self.label

    def terminate(self, reason: ExitReason) -> None:
        if reason.kind == "shutdown":
            LOG.append(f"-{self.label}")


def worker(label: str, restart: Restart = "permanent", **options: Any) -> ChildSpec:
    return ChildSpec(Worker, (label,), id=label, name=label, restart=restart, **options)


@pytest.mark.parametrize(
    ("strategy", "log"),
    [
        ("one_for_one", ["+b"]),
        ("rest_for_one", ["-c", "+b", "+c"]),
        ("one_for_all", ["-c", "-a", "+a", "+b", "+c"]),
    ],
)
async def test_a_strategy_says_who_is_restarted_and_in_which_order(
    node: Node, strategy: Strategy, log: list[str]
) -> None:
    """OTP: stopped in reverse, started in order; the others are not touched."""
    await node.spawn(Supervisor, [worker(label) for label in "abc"], strategy=strategy)
    LOG.clear()
    node.ref("b").cast("crash")
    await eventually(lambda: len(LOG) == len(log))
    await settled(node)
    assert log == LOG
    assert {name for name in node.registry if name != "root"} == {"a", "b", "c"}


async def test_a_regrouping_counts_as_one_restart(node: Node) -> None:
    """OTP counts restarts of the supervisor's doing, not children."""
    children = [worker(label) for label in "abc"]
    supervisor = await node.spawn(Supervisor, children, strategy="one_for_all", intensity=1)
    node.ref("a").cast("crash")
    await eventually(lambda: LOG[-1:] == ["+c"] and LOG.count("+c") == 2)
    assert supervisor.is_alive
    assert [node.control.find(label)._o_child.restarts for label in "abc"] == [1, 1, 1]


async def test_siblings_that_crash_together_are_regrouped_once(node: Node) -> None:
    """The second one's end is answered by the regrouping for the first."""
    supervisor = await node.spawn(
        Supervisor, [worker(label) for label in "abc"], strategy="one_for_all", intensity=1, period_s=60
    )
    for label in "abc":
        node.ref(label).cast("crash")
    await eventually(lambda: LOG.count("+c") == 2)
    await settled(node)
    assert supervisor.is_alive


async def test_a_temporary_sibling_does_not_come_back(node: Node) -> None:
    await node.spawn(Supervisor, [worker("a"), worker("t", "temporary"), worker("c")], strategy="one_for_all")
    node.ref("a").cast("crash")
    await eventually(lambda: LOG.count("+c") == 2)
    assert node.whereis("t") is None


async def test_a_regrouping_whose_start_fails_is_tried_again(node: Node) -> None:
    tries = 0

    class Flaky(Agent):
        def init(self) -> None:
            nonlocal tries
            tries += 1
            if tries == 2:
                raise OSError("not yet")

    await node.spawn(
        Supervisor, [worker("a"), ChildSpec(Flaky, name="f")], strategy="one_for_all", intensity=5
    )
    node.ref("a").cast("crash")
    await eventually(lambda: tries == 3 and node.whereis("f"))
    assert node.whereis("a") is not None


async def test_backoff_waits_longer_each_time_and_starts_anew_after_a_good_while() -> None:
    backoff = Backoff(first_s=1, most_s=10, factor=2, jitter=0)
    assert [backoff.wait_s(failures) for failures in range(1, 7)] == [1, 2, 4, 8, 10, 10]
    assert backoff.wait_s(10**6) == 10
    jittered = Backoff(first_s=1, most_s=1, jitter=0.5)
    assert (jittered.wait_s(1, 0.0), jittered.wait_s(1, 1.0)) == (1.0, 0.5)
    with pytest.raises(BadChildSpec, match="first_s"):
        Backoff(first_s=0)


async def test_a_child_with_backoff_comes_back_after_its_wait(node: Node) -> None:
    spec = worker("b", backoff=Backoff(first_s=0.01, jitter=0))
    supervisor = await node.spawn(Supervisor, [spec], intensity=10)
    node.ref("b").cast("crash")
    await settled(node)
    assert node.whereis("b") is None
    with pytest.raises(RuntimeFault, match="about to be restarted"):
        await supervisor.restart_child("b")
    await eventually(lambda: node.whereis("b"))


async def test_a_child_that_is_waiting_to_come_back_can_be_ended(node: Node) -> None:
    """Nobody who was told to go comes back by a timer."""
    supervisor = await node.spawn(
        Supervisor, [worker("b", backoff=Backoff(first_s=0.01, jitter=0))], intensity=10
    )
    node.ref("b").cast("crash")
    await settled(node)
    await supervisor.terminate_child("b")
    supervisor.delete_child("b")
    await asyncio.sleep(0.02)
    assert node.whereis("b") is None


@pytest.mark.parametrize(
    ("auto_shutdown", "ends_after"), [("never", None), ("any_significant", 1), ("all_significant", 2)]
)
async def test_the_end_of_significant_children_can_be_the_supervisors(
    node: Node, auto_shutdown: AutoShutdown, ends_after: int | None
) -> None:
    """OTP's auto_shutdown: a pipeline that has done its work goes away as a whole."""
    significant = auto_shutdown != "never"
    supervisor = await node.spawn(
        Supervisor,
        [
            worker("s1", "transient", significant=significant),
            worker("s2", "temporary", significant=significant),
            worker("helper"),
        ],
        auto_shutdown=auto_shutdown,
    )
    for count, label in enumerate(("s1", "s2"), 1):
        node.ref(label).cast("stop")
        await settled(node)
        assert supervisor.is_alive is (ends_after is None or count < ends_after)
        if not supervisor.is_alive:
            assert (await supervisor.wait_exit()).kind == "shutdown"
            assert node.whereis("helper") is None
            return


async def test_a_significant_child_that_crashes_and_is_restarted_ends_nothing(node: Node) -> None:
    supervisor = await node.spawn(
        Supervisor, [worker("s", "transient", significant=True)], auto_shutdown="any_significant"
    )
    node.ref("s").cast("crash")
    await settled(node)
    assert supervisor.is_alive


async def test_significance_needs_a_supervisor_that_heeds_it(node: Node) -> None:
    """OTP refuses both mistakes."""
    with pytest.raises(BadChildSpec, match="never ends by itself"):
        worker("p", significant=True)
    with pytest.raises(InitFailed, match="auto_shutdown"):
        await node.spawn(Supervisor, [worker("s", "transient", significant=True)])


async def test_a_dynamic_supervisor_starts_children_of_one_kind(node: Node) -> None:
    sessions = await node.spawn(DynamicSupervisor, ChildSpec(Worker), intensity=10, max_children=3)
    refs = [await sessions.start_child(f"w{number}", name=f"w{number}") for number in range(3)]
    assert [await ref.call("who") for ref in refs] == ["w0", "w1", "w2"]
    with pytest.raises(RuntimeFault, match="max_children"):
        await sessions.start_child("one too many")
    refs[1].cast("crash")
    await settled(node)
    assert await node.ref("w1").call("who") == "w1"
    await sessions.terminate_child(refs[0])
    assert sessions.count_children()["specs"] == 2


async def test_a_dynamic_supervisor_stops_its_children_all_at_once(node: Node) -> None:
    """A hundred children that take their time do not take a hundred times as long."""
    ending: list[str] = []
    all_ending = asyncio.Event()

    class Slow(Agent):
        async def terminate(self, reason: ExitReason) -> None:
            ending.append("one")
            if len(ending) == 100:
                all_ending.set()
            await all_ending.wait()

    sessions = await node.spawn(DynamicSupervisor, ChildSpec(Slow, shutdown_s=30))
    for _ in range(100):
        await sessions.start_child()
    sessions.exit("shutdown")
    await asyncio.wait_for(sessions.wait_exit(), 10)


async def test_a_static_supervisor_refuses_to_start_a_bare_class(node: Node) -> None:
    supervisor = await node.spawn(Supervisor, [])
    with pytest.raises(BadChildSpec, match=r"right: supervisor\.start_child"):
        await supervisor.start_child(Worker, "a")
