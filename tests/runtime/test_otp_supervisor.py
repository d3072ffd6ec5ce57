"""What OTP's own tests ask of `supervisor`, asked of ours. Differences are listed in docs/runtime.md, "Beside OTP".

What `test_supervisor.py` and `test_strategies.py` ask is not asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from observe.runtime import (
    KILLED,
    NORMAL,
    SHUTDOWN,
    Agent,
    AgentExited,
    ChildSpec,
    DynamicSupervisor,
    ExitReason,
    InitFailed,
    Node,
    NoSuchChild,
    Ref,
    Supervisor,
    SupervisorRef,
)
from observe.runtime.children import Restart
from observe.runtime.strategies import AutoShutdown, Strategy
from observe.runtime.testing import eventually, settled

LOG: list[str] = []


@pytest.fixture(autouse=True)
def _clear_log() -> None:
    LOG.clear()
    Obeys.unable = {}


class Obeys(Agent):
    """Ends as it is told, and does not start while its label stands in `unable`."""

    unable: dict[str, int] = {}
    """How many more starts of a label fail."""

    def init(self, label: str = "") -> None:
        self.label = label
        if self.unable.get(label, 0):
            self.unable[label] -= 1
            LOG.append(f"!{label}")
            raise OSError(f"{label} does not start")
        LOG.append(f"+{label}")

    async def handle(self, message: Any) -> Any:
        if isinstance(message, ExitReason):
            self.stop(message)
        elif message == "crash":
            raise ValueError(self.label)
        elif message == "hang":
            await asyncio.sleep(3600)
        return self.label

    def terminate(self, reason: ExitReason) -> None:
        LOG.append(f"-{self.label} {reason.kind}")


def child(label: str, restart: Restart = "permanent", **options: Any) -> ChildSpec:
    return ChildSpec(Obeys, (label,), id=label, name=label, restart=restart, **options)


def counts(supervisor: SupervisorRef) -> tuple[int, ...]:
    return tuple(supervisor.count_children().values())


async def end(node: Node, label: str, how: Any) -> Ref:
    """End the agent of this name in this way, and wait until that has been dealt with."""
    agent = node.whereis(label)
    assert agent is not None
    if how is KILLED:
        agent.exit("killed")
    else:
        agent.cast(how)
    await agent.wait_exit()
    await settled(node)
    return agent


# -- Who comes back after what

ENDS = [NORMAL, SHUTDOWN, ExitReason("shutdown", "some info"), "crash", KILLED]
COME_BACK: dict[Restart, list[Any]] = {"permanent": ENDS, "transient": ["crash", KILLED], "temporary": []}


@pytest.mark.parametrize("how", ENDS, ids=str)
@pytest.mark.parametrize("restart", COME_BACK)
@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one", "dynamic"])
async def test_each_kind_of_child_after_each_kind_of_end(
    node: Node, strategy: Any, restart: Restart, how: Any
) -> None:
    """A transient child that has ended in order keeps its place, and can be restarted; a temporary one is forgotten."""
    supervisor: SupervisorRef
    if strategy == "dynamic":
        supervisor = await node.spawn(DynamicSupervisor, ChildSpec(Obeys, restart=restart))
        await supervisor.start_child("c", name="c")
    else:
        supervisor = await node.spawn(Supervisor, [child("c", restart)], strategy=strategy)
    before = await end(node, "c", how)
    after = await eventually(lambda: node.whereis("c")) if how in COME_BACK[restart] else node.whereis("c")
    assert after != before
    assert (after is not None) is (how in COME_BACK[restart])
    keeps_place = restart != "temporary"
    assert counts(supervisor)[:2] == (int(keeps_place), int(after is not None))
    if keeps_place and after is None and strategy != "dynamic":
        assert (await supervisor.restart_child("c")).is_alive


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_a_temporary_child_that_crashes_takes_nobody_along(node: Node, strategy: Strategy) -> None:
    """Nor one that has ended for good in order."""
    specs = [child("a"), child("t", "temporary"), child("e", "transient"), child("c")]
    await node.spawn(Supervisor, specs, strategy=strategy)
    before = {label: node.whereis(label) for label in "ac"}
    await end(node, "t", "crash")
    await end(node, "e", NORMAL)
    assert {label: node.whereis(label) for label in "ac"} == before


async def test_a_temporary_sibling_in_a_regrouping_is_stopped_and_forgotten(node: Node) -> None:
    specs = [child("a"), child("t", "temporary"), child("c")]
    supervisor = await node.spawn(Supervisor, specs, strategy="one_for_all")
    await end(node, "a", "crash")
    await eventually(lambda: LOG[-1] == "+c" and LOG.count("+c") == 2)
    assert LOG[3:] == ["-a crash", "-c shutdown", "-t shutdown", "+a", "+c"]
    assert counts(supervisor) == (2, 2, 0, 2)


async def test_a_child_that_was_stopped_by_hand_stays_stopped_in_a_regrouping(node: Node) -> None:
    """OTP restarts in a regrouping only who ran."""
    supervisor = await node.spawn(Supervisor, [child("a"), child("b")], strategy="one_for_all")
    await supervisor.terminate_child("b")
    await end(node, "a", "crash")
    await eventually(lambda: LOG.count("+a") == 2)
    await settled(node)
    assert node.whereis("b") is None


# -- Starts that fail

FAILING: list[tuple[Strategy, list[str]]] = [
    ("one_for_all", ["-a crash", "-b shutdown", "+a", "!b", "-a shutdown", "+a", "+b"]),
    ("rest_for_one", ["-a crash", "-b shutdown", "+a", "!b", "+b"]),
]


@pytest.mark.parametrize(("strategy", "log"), FAILING)
async def test_another_child_that_fails_to_start_in_a_regrouping_is_regrouped_for(
    node: Node, strategy: Strategy, log: list[str]
) -> None:
    """rest_for_one leaves those before it alone, though they were started a moment ago; one_for_all starts anew."""
    await node.spawn(Supervisor, [child("a"), child("b")], strategy=strategy, intensity=3)
    LOG.clear()
    Obeys.unable = {"b": 1}
    await end(node, "a", "crash")
    await eventually(lambda: LOG[-1] == "+b")
    assert log == LOG


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one", "dynamic"])
async def test_a_child_that_never_starts_again_ends_its_supervisor_and_all_below_it(
    node: Node, strategy: Any
) -> None:
    supervisor: SupervisorRef
    if strategy == "dynamic":
        supervisor = await node.spawn(DynamicSupervisor, ChildSpec(Obeys), intensity=4)
        for label in "ab":
            await supervisor.start_child(label, name=label)
    else:
        supervisor = await node.spawn(Supervisor, [child("a"), child("b")], strategy=strategy, intensity=4)
    Obeys.unable = {"b": 1000}
    await end(node, "b", "crash")
    reason = await asyncio.wait_for(supervisor.wait_exit(), 10)
    assert str(reason) == "shutdown (reached_max_restart_intensity)"
    assert node.whereis("a") is None
    assert Obeys.unable["b"] == 1000 - 4


async def test_a_start_that_fails_leaves_the_supervisor_as_it_was(node: Node) -> None:
    supervisor = await node.spawn(Supervisor, [child("a")])
    Obeys.unable = {"b": 1}
    with pytest.raises(InitFailed, match="b does not start"):
        await supervisor.start_child(child("b"))
    assert counts(supervisor) == (1, 1, 0, 1)
    assert (await supervisor.start_child(child("b"))).is_alive
    await supervisor.terminate_child("b")
    Obeys.unable = {"b": 1}
    with pytest.raises(InitFailed):
        await supervisor.restart_child("b")  # its place stays, as it was
    assert counts(supervisor) == (2, 1, 0, 2)


@pytest.mark.parametrize("returned", ["nonsense", [1], 17])
async def test_an_init_of_a_supervisor_that_returns_no_specs_does_not_start(
    node: Node, returned: Any
) -> None:
    class Wrong(Supervisor):
        def init(self) -> Any:
            return returned

    with pytest.raises(InitFailed):
        await node.spawn(Wrong)


@pytest.mark.parametrize("how", ["terminate_child", "shutdown", "killed"])
@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
async def test_a_restart_that_hangs_does_not_hang_its_supervisor(
    node: Node, strategy: Strategy, how: str
) -> None:
    """It can be asked, told to end the child, and be ended itself meanwhile."""
    entered = asyncio.Event()

    class Hangs(Agent):
        async def init(self) -> None:
            if LOG:
                entered.set()
                await asyncio.sleep(3600)
            LOG.append("started")

        def handle(self, message: Any) -> None:
            raise ValueError

    specs = [ChildSpec(Hangs, name="hangs", shutdown_s=0.05), ChildSpec(Agent, name="other")]
    supervisor = await node.spawn(Supervisor, specs, strategy=strategy, shutdown_s=1.0)
    node.ref("hangs").cast("crash")
    await entered.wait()
    assert supervisor.count_children()["specs"] == 2
    async with asyncio.timeout(10):
        if how == "terminate_child":
            await supervisor.terminate_child("hangs")
            await settled(node)
            assert supervisor.is_alive
            assert supervisor.which_children()[0][1] is None
        else:
            supervisor.exit(how)
            await supervisor.wait_exit()
            await eventually(lambda: set(node.registry) == {"root"})


async def test_a_start_that_is_given_up_starts_nothing(node: Node) -> None:
    """As OTP's start with a time-out: who hangs in `init` is ended, and its name is free."""

    class Hangs(Agent):
        async def init(self) -> None:
            await asyncio.sleep(3600)

    supervisor = await node.spawn(Supervisor, [])
    begins: list[Callable[[], Awaitable[Ref]]] = [
        lambda: node.spawn(Hangs, name="hangs"),
        lambda: supervisor.start_child(ChildSpec(Hangs, name="hangs")),
    ]
    for begin in begins:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await begin()
        await settled(node)
        await eventually(lambda: node.whereis("hangs") is None)
    assert counts(supervisor) == (0, 0, 0, 0)
    assert {type(agent).__name__ for agent in node.agents.values()} == {"Supervisor"}


# -- Stops


async def test_children_end_with_shutdown_those_that_take_too_long_are_killed(node: Node) -> None:
    """Three kinds of `shutdown_s`: in time, too late, and 0, which is OTP's brutal_kill and asks for no consent."""

    class Slow(Obeys):
        async def terminate(self, reason: ExitReason) -> None:  # type: ignore[override]  # it may be async
            LOG.append(f"-{self.label}")
            await asyncio.sleep(3600)

    slow = ChildSpec(Slow, ("slow",), name="slow", shutdown_s=0.02)
    supervisor = await node.spawn(Supervisor, [child("good"), slow, child("brutal", shutdown_s=0)])
    refs = {label: node.whereis(label) for label in ("good", "slow", "brutal")}
    LOG.clear()
    supervisor.exit("shutdown")
    await supervisor.wait_exit()
    assert LOG == ["-slow", "-good shutdown"]
    kinds = {label: (await ref.wait_exit()).kind for label, ref in refs.items() if ref is not None}
    assert kinds == {"good": "shutdown", "slow": "killed", "brutal": "killed"}


async def test_a_supervisor_has_all_the_time_its_children_need(node: Node) -> None:
    """OTP's default for supervisors is infinity: a tree is not cut off by the one above it while its leaves clean up."""
    inner = ChildSpec(Supervisor, ([child("leaf")],), name="inner")
    assert inner.shutdown_s == float("inf")
    assert child("leaf").shutdown_s == 5.0
    supervisor = await node.spawn(Supervisor, [inner])
    await supervisor.terminate_child("inner")
    assert LOG == ["+leaf", "-leaf shutdown"]


async def test_dynamic_children_stop_each_in_its_own_way(node: Node) -> None:
    class Slow(Agent):
        async def terminate(self, reason: ExitReason) -> None:
            await asyncio.sleep(3600)

    sessions = await node.spawn(DynamicSupervisor, ChildSpec(Slow, shutdown_s=0.02))
    refs = [await sessions.start_child() for _ in range(50)]
    sessions.exit("shutdown")
    async with asyncio.timeout(5):
        assert {(await ref.wait_exit()).kind for ref in refs} == {"killed"}


async def test_stopping_a_child_that_does_not_run_is_no_error(node: Node) -> None:
    """Like deleting a file that is not there with `rm -f`; one that is not known is."""
    supervisor = await node.spawn(Supervisor, [child("a")])
    for _ in range(2):
        await supervisor.terminate_child("a")
    assert counts(supervisor) == (1, 0, 0, 1)
    for unknown in (
        supervisor.terminate_child("x"),
        supervisor.restart_child("x"),
    ):
        with pytest.raises(NoSuchChild):
            await unknown
    with pytest.raises(NoSuchChild):
        supervisor.delete_child("x")


async def test_a_ref_of_another_supervisors_child_stops_nobody(node: Node) -> None:
    """Two dynamic supervisors number their children alike. One whom a ref has outlived is gone already, and that is fine."""
    one, other = [await node.spawn(DynamicSupervisor, ChildSpec(Obeys)) for _ in range(2)]
    mine, theirs = await one.start_child("mine"), await other.start_child("theirs")
    with pytest.raises(NoSuchChild):
        await one.terminate_child(theirs)
    assert mine.is_alive
    assert theirs.is_alive
    for _ in range(2):
        await one.terminate_child(mine)
    assert counts(one) == (0, 0, 0, 0)


async def test_who_asks_a_supervisor_that_is_dead_hears_so_at_once(node: Node) -> None:
    supervisor = await node.spawn(Supervisor, [])
    supervisor.exit("killed")
    with pytest.raises(AgentExited, match="killed"):
        await supervisor.start_child(child("a"))
    for ask in (supervisor.which_children, supervisor.count_children):
        with pytest.raises(AgentExited):
            ask()


async def test_a_linked_agent_does_not_take_a_supervisor_along(node: Node) -> None:
    """A supervisor traps exits: links are between its children and others, and its own end is its own decision."""

    class Links(Agent):
        def handle(self, ref: Ref) -> None:
            self.link(ref)
            raise ValueError("linked and gone")

    supervisor = await node.spawn(Supervisor, [child("a")])
    linked = await node.spawn(Links)
    linked.cast(supervisor)
    await linked.wait_exit()
    await settled(node)
    assert supervisor.is_alive
    assert node.whereis("a") is not None


# -- Trees


async def test_a_tree_that_is_restarted_has_its_static_children_only(node: Node) -> None:
    """What was added at run time is known to the supervisor that has ended, and to nobody else."""
    inner = ChildSpec(Supervisor, ([child("static")],), {"intensity": 0}, name="inner")
    outer = await node.spawn(Supervisor, [inner, child("aunt")], strategy="one_for_all", intensity=1)
    sup: Any = node.ref("inner")._agent.ref
    await sup.start_child(child("added"))
    await end(node, "added", "crash")
    await eventually(lambda: LOG.count("+aunt") == 2)
    await settled(node)
    assert outer.is_alive
    assert node.whereis("added") is None
    inner_now: Any = node.ref("inner")._agent.ref
    assert counts(inner_now) == (1, 1, 0, 1)
    assert counts(outer) == (2, 2, 1, 1)


async def test_counts_follow_thousands_of_starts_and_ends(node: Node) -> None:
    sessions = await node.spawn(DynamicSupervisor, ChildSpec(Obeys, restart="temporary"))
    refs = [await sessions.start_child() for _ in range(2000)]
    assert counts(sessions) == (2000, 2000, 0, 2000)
    assert len(sessions.which_children()) == 2000
    for ref in refs:
        ref.exit("killed")
    await settled(node)
    assert counts(sessions) == (0, 0, 0, 0)


# -- Significant children


@pytest.mark.parametrize("auto_shutdown", ["any_significant", "all_significant"])
async def test_who_is_stopped_by_its_supervisor_has_not_ended_by_itself(
    node: Node, auto_shutdown: AutoShutdown
) -> None:
    """Neither by `terminate_child` nor in a regrouping for a sibling."""
    specs = [child("a"), child("t", "temporary", significant=True), child("s", "transient", significant=True)]
    supervisor = await node.spawn(Supervisor, specs, strategy="one_for_all", auto_shutdown=auto_shutdown)
    await end(node, "a", "crash")
    await eventually(lambda: LOG.count("+s") == 2)
    await supervisor.terminate_child("s")
    await settled(node)
    assert supervisor.is_alive


@pytest.mark.parametrize(
    ("restart", "how", "ends"),
    [
        ("transient", NORMAL, True),
        ("transient", SHUTDOWN, True),
        ("transient", "crash", False),
        ("temporary", NORMAL, True),
        ("temporary", "crash", True),
        ("temporary", KILLED, True),
    ],
)
async def test_which_ends_of_a_significant_child_count(
    node: Node, restart: Restart, how: Any, ends: bool
) -> None:
    specs = [child("helper"), child("s", restart, significant=True), child("plain", "temporary")]
    supervisor = await node.spawn(Supervisor, specs, auto_shutdown="any_significant")
    await end(node, "plain", NORMAL)
    assert supervisor.is_alive
    await end(node, "s", how)
    assert supervisor.is_alive is not ends
    if ends:
        assert (await supervisor.wait_exit()).kind == "shutdown"
        assert node.whereis("helper") is None


async def test_significance_goes_up_the_tree(node: Node) -> None:
    """The end of the last significant leaf ends its supervisor in order, which is significant to the one above."""
    leaf = child("leaf", "transient", significant=True)
    inner = ChildSpec(
        Supervisor,
        ([leaf],),
        {"auto_shutdown": "all_significant"},
        name="inner",
        restart="transient",
        significant=True,
    )
    outer = await node.spawn(Supervisor, [inner, child("helper")], auto_shutdown="any_significant")
    await end(node, "leaf", NORMAL)
    assert (await asyncio.wait_for(outer.wait_exit(), 10)).kind == "shutdown"
    assert node.whereis("helper") is None


async def test_a_permanent_supervisor_that_has_shut_itself_down_comes_back(node: Node) -> None:
    leaf = child("leaf", "transient", significant=True)
    inner = ChildSpec(Supervisor, ([leaf],), {"auto_shutdown": "any_significant"}, name="inner")
    outer = await node.spawn(Supervisor, [inner])
    before = await end(node, "leaf", NORMAL)
    assert await eventually(lambda: node.whereis("leaf")) != before
    assert outer.is_alive
