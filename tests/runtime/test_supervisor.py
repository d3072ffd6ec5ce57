"""Supervision: who is restarted, how often, and what happens when it does not help.

The behaviour is OTP's ``supervisor``; where a test speaks of OTP, it checks what OTP's documentation promises.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe.runtime import (
    Agent,
    AgentExited,
    BadChildSpec,
    ChildSpec,
    ExitReason,
    InitFailed,
    NameTaken,
    Node,
    NoSuchChild,
    RuntimeFault,
    Supervisor,
    SupervisorRef,
)
from observe.runtime.children import Restart
from observe.runtime.testing import Recorder, eventually, settled

LOG: list[str] = []


@pytest.fixture(autouse=True)
def _clear_log() -> None:
    LOG.clear()


class Worker(Agent):
    def init(self, label: str = "") -> None:
        self.label = label
        LOG.append(f"start {label}")

    def handle(self, message: str) -> Any:
        if message == "crash":
            raise ValueError(f"{self.label} crashes")
        if message == "stop":
            self.stop()
        return self.label

    def terminate(self, reason: ExitReason) -> None:
        LOG.append(f"stop {self.label}")


def worker(label: str, restart: Restart = "permanent", **options: Any) -> ChildSpec:
    return ChildSpec(Worker, (label,), id=label, name=label, restart=restart, **options)


def alive(node: Node) -> set[str]:
    return {name for name in node.registry if name != "root"}


@pytest.mark.parametrize(
    ("restart", "after_crash", "after_stop"),
    [("permanent", True, True), ("transient", True, False), ("temporary", False, False)],
)
async def test_a_child_is_restarted_as_its_spec_says(
    node: Node, restart: Restart, after_crash: bool, after_stop: bool
) -> None:
    """OTP: permanent always, transient after an abnormal end, temporary never."""
    supervisor = await node.spawn(Supervisor, [], intensity=10)
    for end, expected in (("crash", after_crash), ("stop", after_stop)):
        ref = await supervisor.start_child(worker(end, restart))
        ref.cast(end)
        await settled(node)
        assert (end in alive(node)) is expected
        if expected:
            assert node.ref(end).pid != ref.pid
            assert await node.ref(end).call("who") == end


async def test_a_killed_child_comes_back(node: Node) -> None:
    """A kill is not an orderly end: transient children come back as well."""
    supervisor = await node.spawn(Supervisor, [worker("w", "transient")])
    old = node.ref("w").pid
    node.control.kill(old)
    await settled(node)
    new = node.ref("w").pid
    assert new != old
    relations = node.control.relations(node.control.find(new))
    assert relations.supervisor is not None
    assert relations.supervisor.ref == supervisor


async def test_a_restart_is_a_new_agent_in_the_same_place(node: Node) -> None:
    """Fresh state, new pid, same name and child id; the place counts restarts and crashes."""
    recorder = Recorder.on(node)
    await node.spawn(Supervisor, [worker("w")], intensity=10)
    first = node.ref("w").pid
    node.ref("w").cast("crash")
    await settled(node)
    second = node.control.find("w")
    assert [event.what for event in recorder.of(second.ref.pid) if event.kind == "restart"] == [first]
    crash = node.control.last_crash(second)
    assert crash is not None
    assert (crash.pid, crash.message, crash.reason) == (first, "crash", "ValueError: w crashes")
    assert (second._o_child.restarts, second._o_child.crashes) == (1, 1)


async def test_siblings_do_not_notice_a_crash(node: Node) -> None:
    await node.spawn(Supervisor, [worker(label) for label in "abc"])
    before = {label: node.ref(label).pid for label in "ac"}
    node.ref("b").cast("crash")
    await settled(node)
    assert {label: node.ref(label).pid for label in "ac"} == before
    assert alive(node) == {"a", "b", "c"}


async def test_children_start_in_order_and_stop_in_reverse(node: Node) -> None:
    """OTP's order, so that those who depend on others come after them and go before them."""
    supervisor = await node.spawn(Supervisor, [worker(label) for label in "abc"])
    supervisor.exit("shutdown")
    await eventually(lambda: supervisor.pid not in node.agents)
    assert LOG == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]


async def test_stopping_the_node_stops_the_whole_tree_in_reverse() -> None:
    async with Node("tree") as node:
        await node.spawn(Supervisor, [worker("a"), ChildSpec(Supervisor, ([worker("b")],), id="inner")])
        await node.spawn(Worker, "c")
    assert LOG == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]
    assert not node.is_running


async def test_too_many_restarts_end_the_supervisor_and_its_children(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """OTP: when intensity is exceeded it terminates all its children and then itself."""
    supervisor = await node.spawn(Supervisor, [worker("a"), worker("b")], intensity=2, period_s=60)
    for _ in range(3):
        node.ref("a").cast("crash")
        await settled(node)
    await eventually(lambda: not supervisor.is_alive and supervisor.pid not in node.agents)
    assert alive(node) == set()
    assert "more than 2 restarts within 60 s" in caplog.text


async def test_restarts_outside_the_period_are_forgotten(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Intensity is a rate: a crash a minute may go on for ever."""
    now = 0
    monkeypatch.setattr("observe.runtime.supervisor.now_ns", lambda: now)
    supervisor = await node.spawn(Supervisor, [worker("a")], intensity=1, period_s=5)
    for _ in range(20):
        now += 6_000_000_000
        node.ref("a").cast("crash")
        await settled(node)
    assert supervisor.is_alive
    assert alive(node) == {"a"}


async def test_escalation_restarts_the_supervisor_with_fresh_children(node: Node) -> None:
    """A supervisor that gives up is a child that ended: the one above brings the whole branch back."""

    class Branch(Supervisor):
        intensity = 0

        def init(self) -> list[ChildSpec]:
            return [worker("leaf"), worker("other")]

    await node.spawn(Supervisor, [ChildSpec(Branch, id="branch", name="branch")], intensity=1)
    before = {name: node.ref(name).pid for name in ("branch", "leaf", "other")}
    node.ref("leaf").cast("crash")
    await eventually(lambda: node.whereis("other") and node.ref("branch").pid != before["branch"])
    await settled(node)
    assert all(node.ref(name).pid != pid for name, pid in before.items())


async def test_a_root_that_gives_up_ends_the_node_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    async with Node("doomed", intensity=0) as node:
        ref = await node.spawn(Worker, "w", name="w", restart="permanent")
        ref.cast("crash")
        reason = await asyncio.wait_for(node.wait_stopped(), 5)
        assert reason.text == "reached_max_restart_intensity"
        assert node.agents == {}
    assert "root supervisor has ended" in caplog.text


async def test_a_child_whose_restart_fails_is_tried_again_until_the_intensity_is_reached(node: Node) -> None:
    """OTP: a failing start at restart counts as another restart."""
    tries = 0

    class Flaky(Agent):
        def init(self) -> None:
            nonlocal tries
            tries += 1
            if tries in (2, 3):
                raise OSError("not yet")

        def handle(self, message: Any) -> None:
            raise ValueError

    await node.spawn(Supervisor, [ChildSpec(Flaky, name="flaky")], intensity=5)
    node.ref("flaky").cast(1)
    await settled(node)
    assert tries == 4
    assert alive(node) == {"flaky"}
    assert node.control.find("flaky")._o_child.restarts == 3


async def test_a_child_that_never_starts_again_ends_its_supervisor(node: Node) -> None:
    started = False

    class Once(Agent):
        async def init(self) -> None:
            nonlocal started
            await asyncio.sleep(0)
            if started:
                raise OSError("only once")
            started = True

        def handle(self, message: Any) -> None:
            raise ValueError

    supervisor = await node.spawn(Supervisor, [ChildSpec(Once, name="once")], intensity=3)
    node.ref("once").cast(1)
    await eventually(lambda: supervisor.pid not in node.agents)


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_start_that_fails_rolls_back(node: Node, is_async: bool) -> None:
    """OTP: the children already started are terminated, and the supervisor does not start."""

    class Unable(Agent):
        def init(self) -> Any:
            if is_async:
                return self.connect()
            raise OSError("no")

        async def connect(self) -> None:
            await asyncio.sleep(0)
            raise OSError("no")

    with pytest.raises(InitFailed, match="did not start"):
        await node.spawn(Supervisor, [worker("a"), worker("b"), ChildSpec(Unable, id="c")])
    assert LOG == ["start a", "start b", "stop b", "stop a"]
    assert set(node.registry) == {"root"}


async def test_children_may_be_added_ended_restarted_forgotten_and_listed(node: Node) -> None:
    """OTP: start_child, terminate_child, restart_child, delete_child, which_children, count_children."""
    supervisor = await node.spawn(Supervisor, [worker("a")])
    await supervisor.start_child(worker("b"))
    with pytest.raises(BadChildSpec, match="has a child 'b' already"):
        await supervisor.start_child(ChildSpec(Worker, id="b"))
    with pytest.raises(NameTaken):
        await supervisor.start_child(ChildSpec(Worker, id="other", name="a"))
    assert supervisor.count_children() == {"specs": 2, "active": 2, "supervisors": 0, "workers": 2}
    await supervisor.terminate_child("b")
    assert [(child_id, ref is not None) for child_id, ref, _ in supervisor.which_children()] == [
        ("a", True),
        ("b", False),
    ]
    again = await supervisor.restart_child("b")
    assert again.is_alive
    with pytest.raises(RuntimeFault, match="running"):
        await supervisor.restart_child("b")
    with pytest.raises(RuntimeFault, match="running"):
        supervisor.delete_child("b")
    await supervisor.terminate_child("b")
    supervisor.delete_child("b")
    with pytest.raises(NoSuchChild, match="'b'"):
        await supervisor.terminate_child("b")


async def test_a_temporary_child_is_forgotten_when_it_ends(node: Node) -> None:
    supervisor = await node.spawn(Supervisor, [])
    spec = ChildSpec(Worker, restart="temporary")
    refs = [await supervisor.start_child(spec) for _ in range(3)]
    refs[1].cast("crash")
    await settled(node)
    assert [ref for _, ref, _ in supervisor.which_children()] == [refs[0], refs[2]]


async def test_a_child_that_does_not_end_in_its_time_is_killed(node: Node) -> None:
    """OTP: shutdown is a time-out, then a brutal kill."""

    class Slow(Agent):
        async def terminate(self, reason: ExitReason) -> None:
            await asyncio.sleep(3600)

    supervisor = await node.spawn(Supervisor, [ChildSpec(Slow, id="slow", shutdown_s=0.02)])
    await asyncio.wait_for(supervisor.terminate_child("slow"), 5)


async def test_killing_a_supervisor_takes_its_children_along(node: Node) -> None:
    """No orphans: OTP's children are linked to their supervisor."""
    inner = ChildSpec(Supervisor, ([worker("leaf")],), id="inner", name="inner")
    supervisor = await node.spawn(Supervisor, [inner], name="top")
    supervisor.exit("killed")
    await settled(node)
    assert set(node.registry) == {"root"}


async def test_a_caller_waiting_for_a_child_of_a_killed_supervisor_is_answered(node: Node) -> None:
    class Waits(Agent):
        async def handle(self, message: Any) -> None:
            await asyncio.sleep(3600)

    supervisor = await node.spawn(Supervisor, [ChildSpec(Waits, name="waits")])
    waiting = asyncio.ensure_future(node.ref("waits").call(1, timeout=None))
    await settled(node)
    supervisor.exit("killed")
    with pytest.raises(AgentExited, match="killed"):
        await waiting


async def test_a_supervisor_survives_a_message(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    """OTP logs it and goes on."""
    supervisor = await node.spawn(Supervisor, [])
    supervisor.cast("hello?")
    await settled(node)
    assert supervisor.is_alive
    assert "unexpected message: 'hello?'" in caplog.text


async def test_a_subclass_names_its_children_and_its_intensity(node: Node) -> None:
    class Team(Supervisor):
        intensity = 7
        period_s = 2.5

        async def init(self, size: int) -> list[ChildSpec]:
            await asyncio.sleep(0)
            return [worker(f"w{number}") for number in range(size)]

    team = await node.spawn(Team, 3)
    assert isinstance(team, SupervisorRef)
    assert alive(node) == {"w0", "w1", "w2"}
    assert (team.pid, "one_for_one", 7, 2.5, 0) in node.control.supervisors()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: ChildSpec(dict), "subclass of Agent"),  # type: ignore[arg-type]  # the mistake under test
        (lambda: ChildSpec(Worker, restart="sometimes"), "permanent, transient, temporary"),  # type: ignore[arg-type]  # the mistake under test
        (lambda: ChildSpec(Worker, ("a")), "right: ChildSpec"),  # type: ignore[arg-type]  # the mistake under test
        (lambda: ChildSpec(Worker, name=""), "not empty"),
        (lambda: ChildSpec(Worker, shutdown_s=-1), "shutdown_s"),
    ],
)
def test_a_wrong_child_spec_is_refused_with_what_is_right(make: Any, complaint: str) -> None:
    with pytest.raises(BadChildSpec, match=complaint):
        make()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"strategy": "one_for_nobody"}, "one_for_one"),
        ({"intensity": -1}, "intensity"),
        ({"period_s": 0}, "period_s"),
    ],
)
async def test_wrong_flags_keep_the_supervisor_from_starting(
    node: Node, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InitFailed, match=complaint):
        await node.spawn(Supervisor, [], **options)


async def test_ten_thousand_children_restart_one_without_touching_the_others(node: Node) -> None:
    supervisor = await node.spawn(Supervisor, [ChildSpec(Worker, (str(n),), id=n) for n in range(10_000)])
    assert supervisor.count_children()["active"] == 10_000
    children = {child_id: ref for child_id, ref, _ in supervisor.which_children()}
    victim = children[5000]
    assert victim is not None
    victim.cast("crash")
    await settled(node)
    after = {child_id: ref for child_id, ref, _ in supervisor.which_children()}
    assert [child_id for child_id in after if after[child_id] != children[child_id]] == [5000]


async def test_a_restart_takes_as_many_steps_among_ten_thousand_siblings_as_among_ten(node: Node) -> None:
    """Counted in calls, since timings say what else the machine did. `python -m benchmarks restarts` has the microseconds."""

    async def calls_of_a_restart(siblings: int) -> int:
        specs = [ChildSpec(Worker, (str(n),), id=n) for n in range(siblings)]
        supervisor = await node.spawn(Supervisor, [*specs, worker("victim"), worker("last")], intensity=100)
        calls = 0

        def count(frame: Any, event: str, argument: Any) -> None:
            nonlocal calls
            module = frame.f_globals["__name__"]
            calls += event in ("call", "c_call") and module in (
                "observe.runtime.supervisor",
                "observe.runtime.lifecycle",
            )

        node.ref("victim").cast("crash")
        sys.setprofile(count)
        try:
            await settled(node)
        finally:
            sys.setprofile(None)
        supervisor.exit("killed")
        await settled(node)
        return calls

    few, many = await calls_of_a_restart(10), await calls_of_a_restart(10_000)
    assert many == few


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 4),
    st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4_000)), max_size=25),
)
async def test_intensity_is_a_sliding_window_whatever_the_times(
    intensity: int, strategy: Any, crashes: list[tuple[str, int]]
) -> None:
    """OTP's rule, against a model: the supervisor ends with the first crash that is one too many within the period,
    and not before."""
    logging.getLogger("observe.runtime").setLevel(logging.CRITICAL)
    now_ms = 0
    try:
        with patch("observe.runtime.supervisor.now_ns", lambda: now_ms * 1_000_000):
            async with Node("test", intensity=0) as node:
                specs = [worker(label) for label in "abc"]
                options: Any = {"strategy": strategy, "intensity": intensity, "period_s": 5.0, "name": "sup"}
                supervisor = await node.spawn(Supervisor, specs, **options)
                counted: list[int] = []
                for label, later_ms in crashes:
                    now_ms += later_ms
                    node.ref(label).cast("crash")
                    await settled(node)
                    counted = [at for at in counted if now_ms - at <= 5_000] + [now_ms]
                    assert supervisor.is_alive is (len(counted) <= intensity)
                    if not supervisor.is_alive:
                        assert alive(node) == set()
                        return
                    assert alive(node) == {"a", "b", "c", "sup"}
    finally:
        logging.getLogger("observe.runtime").setLevel(logging.NOTSET)
