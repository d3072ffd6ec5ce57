"""Budgets: what is spent is counted where it is spent, and a limit does what the spec says."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from observe.runtime import (
    Agent,
    AgentExited,
    BadChildSpec,
    Budget,
    BudgetExceeded,
    ChangeApproach,
    ChildSpec,
    Failure,
    Ladder,
    MemoryStore,
    Node,
    Park,
    Ref,
    Retry,
    Supervisor,
    actions,
    activity,
)
from observe.runtime.instrument import Instrument
from observe.runtime.testing import Recorder, eventually, settled


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


class Spender(Agent):
    def init(self) -> None:
        self.approach = "dear"

    def on_retry(self, failure: Failure) -> None:
        assert isinstance(failure.reason.error, BudgetExceeded)
        self.approach = "cheap"

    async def handle(self, message: Any) -> Any:
        match message:
            case ("tool", count):
                for n in range(count):
                    async with self.activity("tool:search", query=n):
                        pass
            case ("model", tokens, cost):
                with self.activity("model:chat") as chat:
                    chat.usage(input_tokens=tokens - 1, output_tokens=1)
                    chat.usage(cost=cost)
                return chat.input_tokens, chat.output_tokens, chat.cost
            case ("swallow", tokens):
                try:
                    with self.activity("model:chat") as chat:
                        chat.usage(input_tokens=tokens)
                except BudgetExceeded:
                    pass
            case "same":
                await self.look_up("mug", of="shop")
            case "other":
                await self.look_up("mug", of=str(id(message)) + self.approach)
            case "progress":
                self.mark_progress()
            case "wait":
                await asyncio.Event().wait()
            case "dear":
                for _ in range(1 if self.approach == "cheap" else 100):
                    async with self.activity("tool:search"):
                        pass
                return self.approach
        return message

    @activity("tool:look_up")
    async def look_up(self, what: str, of: str) -> str:
        return what


async def spender(node: Node, restart: Any = "temporary", ladder: Ladder | None = None, **limits: Any) -> Ref:
    spec = ChildSpec(Spender, name="s", restart=restart, budget=Budget(**limits), ladder=ladder)
    await node.supervisor.start_child(spec)
    return node.ref("s")


@pytest.mark.parametrize(
    ("limits", "fine", "too_much", "says"),
    [
        (
            {"tool_calls": 3},
            [("tool", 2), ("model", 9, 9.0), ("tool", 1)],
            ("tool", 1),
            "tool_calls 4, allowed 3",
        ),
        (
            {"tokens": 10},
            [("model", 4, 1.0), ("model", 6, 1.0), ("hello", 1)],
            ("tool", 1),
            "tokens 10, allowed 10",
        ),
        ({"tokens": 10}, [("model", 4, 1.0)], ("model", 7, 0.0), "tokens 11, allowed 10"),
        ({"cost": 1.5}, [("model", 4, 1.0)], ("model", 1, 0.75), "cost 1.75, allowed 1.5"),
        ({"steps_without_progress": 3}, ["a", "b", "progress", "c"], ("tool", 2), "progress 4, allowed 3"),
        ({"steps_without_progress": 3}, ["a", "b", "progress", "c", "d", "e"], "f", "progress 4, allowed 3"),
        (
            {"same_call": 2},
            ["same", "other", "same", ("tool", 9), "progress", "same", "same"],
            "same",
            "same_call 3",
        ),
    ],
)
async def test_a_limit_ends_the_agent_that_goes_beyond_it(
    node: Node, limits: dict[str, Any], fine: list[Any], too_much: Any, says: str
) -> None:
    """What is allowed is allowed to the last, and the first beyond it is a crash with the numbers in its reason."""
    recorder = Recorder.on(node)
    ref = await spender(node, **limits)
    for message in fine:
        await ref.call(message)
    pid = ref.pid
    with pytest.raises(AgentExited, match=says):
        await ref.call(too_much)
    assert [event.what.limit for event in recorder.of(pid) if event.kind == "limit"] == list(limits)
    (crash,) = node.lifecycle.crashes
    assert crash.kind == "BudgetExceeded"
    assert crash.message == too_much


async def test_time_is_a_limit_also_while_the_agent_waits(node: Node) -> None:
    ref = await spender(node, wall_s=0.02)
    with pytest.raises(AgentExited, match=r"wall_s .*allowed 0\.02"):
        await ref.call("wait")


async def test_a_timer_does_not_outlive_its_agent(node: Node) -> None:
    """Its successor has a time of its own."""
    ref = await spender(node, restart="permanent", wall_s=30.0)
    first = node.control.find("s")
    ref.exit("killed")
    await settled(node)
    timer = node.control.spending(node.control.find("s"))
    assert timer is not None
    assert timer.timer is not None
    assert not timer.timer.cancelled()
    assert not ref._agent is first
    assert node.lifecycle.crashed == 0


async def test_who_catches_the_error_still_begins_nothing_more(node: Node) -> None:
    """A handler that swallows everything must not go on spending."""
    ref = await spender(node, tokens=10)
    await ref.call(("swallow", 11))
    with pytest.raises(AgentExited, match="tokens 11"):
        await ref.call(("tool", 1))


async def test_killed_cannot_be_caught(node: Node) -> None:
    ref = await spender(node, tokens=10, on_limit="killed")
    pid = ref.pid
    await ref.call(("swallow", 11))  # answers, for the message was handled, and ends
    assert pid not in node.agents


async def test_a_function_takes_care_of_it_once_and_the_agent_goes_on(node: Node) -> None:
    """Containment by other means: suspend it, page somebody."""
    told: list[tuple[int, str]] = []
    ref = await spender(node, tool_calls=1, on_limit=lambda ref, error: told.append((ref.pid, error.limit)))
    await ref.call(("tool", 5))
    await ref.call(("tool", 5))
    assert told == [(ref.pid, "tool_calls")]


async def test_a_limit_can_suspend_until_somebody_looks(node: Node) -> None:
    """The step in hand ends and is answered; what comes later waits. Resumed without a new budget, it is suspended again."""
    ref = await spender(node, tool_calls=2, on_limit="suspended")
    await ref.call(("tool", 5))
    waiting = asyncio.ensure_future(ref.call("hello"))
    again = asyncio.ensure_future(ref.call(("tool", 1)))
    last = asyncio.ensure_future(ref.call("last"))
    await settled(node)
    agent = node.control.find("s")
    assert (agent._o_is_alive(), waiting.done()) == (True, False)
    assert node.control.mailbox(agent, 10)[1] == 3
    actions.resume(node, agent)
    await settled(node)
    assert (waiting.done(), again.done(), last.done()) == (True, True, False)
    actions.reset_budget(node, agent)
    actions.resume(node, agent)
    assert await last == "last"
    await ref.call(("tool", 2))
    assert await ref.call("still there") == "still there"


async def test_a_trees_limit_can_suspend_all_below_it_and_nobody_else(node: Node) -> None:
    inner = ChildSpec(Supervisor, ([ChildSpec(Spender, name="below")],), id="inner")
    spec = ChildSpec(
        Supervisor,
        ([ChildSpec(Spender, name="one"), inner],),
        id="tree",
        restart="temporary",
        budget=Budget(cost=1.0, on_limit="suspended"),
    )
    await node.supervisor.start_child(spec)
    await node.spawn(Spender, name="bystander")
    await node.ref("one").call(("model", 10, 2.0))
    waiting = {
        name: asyncio.ensure_future(node.ref(name).call("x")) for name in ("one", "below", "bystander")
    }
    assert await waiting["bystander"] == "x"
    await settled(node)
    assert [waiting[name].done() for name in ("one", "below")] == [False, False]
    for name in ("one", "below"):
        actions.resume(node, node.control.find(name))
        assert await waiting[name] == "x"


async def test_a_function_that_fails_hurts_nobody(node: Node) -> None:
    def broken(ref: Ref, error: BudgetExceeded) -> None:
        raise RuntimeError

    ref = await spender(node, tool_calls=1, on_limit=broken)
    assert await ref.call(("tool", 2)) == ("tool", 2)


async def test_a_limit_is_a_failure_of_which_the_ladder_learns(node: Node) -> None:
    """The approach that costs too much is changed."""
    recorder = Recorder.on(node)
    ref = await spender(node, restart="permanent", tool_calls=5, ladder=Ladder(Retry(), ChangeApproach()))
    ref.cast("dear")
    await eventually(lambda: (s := node.registry.get("s")) and vars(s).get("approach") == "cheap")
    await settled(node)
    assert [str(event.what) for event in recorder.events if event.kind == "rung"] == [
        "Retry",
        "ChangeApproach",
    ]
    assert ref.is_alive


@pytest.mark.parametrize("ladder", [None, Ladder(Retry())])
async def test_a_limit_can_name_its_rung(ladder: Ladder | None) -> None:
    """What costs too much goes to a human at once, with or without a ladder."""
    async with Node("test", intensity=0, store=MemoryStore()) as node:
        ref = await spender(node, restart="permanent", tool_calls=5, on_limit=Park(), ladder=ladder)
        ref.cast("dear")
        await settled(node)
        assert [parked.message for parked in node.parked] == ["dear"]
        assert ref.is_alive


async def test_a_supervisors_budget_is_that_of_all_below_it(node: Node) -> None:
    """Restarts do not begin it anew: the tree cannot spend without end."""
    specs = [ChildSpec(Spender, name=name) for name in "ab"]
    lower = ChildSpec(Supervisor, (specs,), id="lower")
    upper = ChildSpec(Supervisor, ([lower],), name="upper", restart="temporary", budget=Budget(cost=10.0))
    await node.supervisor.start_child(upper)
    await node.ref("a").call(("model", 1, 4.0))
    node.ref("a").exit("killed")
    await settled(node)
    await node.ref("a").call(("model", 1, 4.0))
    spending = node.control.spending(node.control.find("upper"))
    assert spending is not None
    assert (spending.cost, spending.tokens) == (8.0, 2)
    assert node.control.relations(node.control.find("upper")).spec["budget"] == "cost 8/10"
    with pytest.raises(AgentExited, match="cost 12, allowed 10"):
        await node.ref("b").call(("model", 1, 4.0))
    await eventually(lambda: not node.registry.keys() & {"a", "b", "upper"})


@pytest.mark.parametrize(
    ("limits", "each"),
    [
        ({"tool_calls": 3}, ("tool", 2)),
        ({"tokens": 10}, ("model", 6, 0.0)),
        ({"cost": 1.5}, ("model", 1, 1.0)),
        ({"steps_without_progress": 3}, ("tool", 2)),
        ({"same_call": 1}, "same"),
        ({"wall_s": 0.02}, "wait"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_every_limit_holds_for_a_tree_as_well(node: Node, limits: dict[str, Any], each: Any) -> None:
    """Each of two agents keeps within it, and both together do not: the tree ends, and nobody else."""
    specs = [ChildSpec(Spender, name=name) for name in "ab"]
    tree = ChildSpec(Supervisor, (specs,), name="tree", restart="temporary", budget=Budget(**limits))
    await node.supervisor.start_child(tree)
    bystander = await node.spawn(Spender)
    ended = node.ref("tree")._agent.ref
    for name in "ab":
        node.ref(name).cast(each)
    reason = await asyncio.wait_for(ended.wait_exit(), 10)
    assert isinstance(reason.error, BudgetExceeded)
    assert reason.error.limit == next(iter(limits))
    assert not node.registry.keys() & {"a", "b", "tree"}
    assert bystander.is_alive


async def test_counters_are_there_to_be_read(node: Node) -> None:
    ref = await spender(node, tool_calls=10, wall_s=60.0)
    assert await ref.call(("model", 5, 0.5)) == (4, 1, 0.5)
    await ref.call(("tool", 3))
    spending = node.control.spending(node.control.find("s"))
    assert spending is not None
    assert (spending.tool_calls, spending.input_tokens, spending.output_tokens, spending.cost) == (
        3,
        4,
        1,
        0.5,
    )
    assert node.control.relations(node.control.find("s")).spec["budget"] == "tool_calls 3/10, wall_s 60"


async def test_usage_is_counted_without_a_budget_too(node: Node) -> None:
    ref = await node.spawn(Spender, name="s")
    assert node.control.spending(node.control.find("s")) is None
    await ref.call(("model", 5, 0.5))
    spending = node.control.spending(node.control.find("s"))
    assert spending is not None
    assert repr(spending) == "<Spending 0 tool calls, 4+1 tokens, cost 0.5>"


async def test_usage_is_never_negative(node: Node) -> None:
    class Wrong(Agent):
        def handle(self, message: Any) -> None:
            with self.activity("model:chat") as chat:
                chat.usage(cost=float("nan"))

    with pytest.raises(AgentExited, match="never negative"):
        await (await node.spawn(Wrong)).call("x")


@pytest.mark.parametrize("limits", [{}, {"tokens": 0}, {"cost": -1.0}, {"tokens": 1, "on_limit": "stop"}])
def test_a_budget_that_makes_no_sense_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(BadChildSpec):
        Budget(**limits)


# -- The decorator


async def test_a_decorated_function_is_an_activity_of_whose_step_it_runs_in(node: Node) -> None:
    """Methods and plain functions, sync and async; outside of agents they run as they are."""
    recorder = Recorder.on(node)

    @activity("tool:add", kind="sum")
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    @activity("tool:mul")
    async def mul(a: int, b: int) -> int:
        return a * b

    class Sums(Agent):
        async def handle(self, message: int) -> int:
            return add(message, await mul(message, 2)) + self.one()

        @activity("tool:one")
        def one(self) -> int:
            return 1

    assert (add(1, 2), await mul(2, 3), add.__doc__) == (3, 6, "Adds.")
    ref = await node.spawn(Sums)
    assert await ref.call(2) == 7
    started = [event.what for event in recorder.of(ref.pid) if event.kind == "activity_start"]
    assert started == ["tool:mul", "tool:add", "tool:one"]
    with pytest.raises(TypeError, match="yields"):

        @activity("tool:x")
        def generator() -> Any:
            yield 1


class Listener(Instrument):
    """Keeps what it hears of spending."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, float, float]] = []

    def on_spending(self, owner: Agent, limit: str, used: float, allowed: float) -> None:
        self.heard.append((limit, used, allowed))


async def test_instruments_hear_of_a_limit_that_is_nearly_reached() -> None:
    """In time to do something about it; of time as well, which nothing is charged to."""
    async with Node("shop") as node:
        listener = Listener()
        node.instruments.add(listener)
        ref = await spender(node, tokens=100, wall_s=0.5)
        await ref.call(("model", 79, 0.0))
        assert "tokens" not in [limit for limit, _, _ in listener.heard]
        await ref.call(("model", 1, 0.0))
        assert ("tokens", 80, 100) in listener.heard
        await eventually(lambda: any(limit == "wall_s" for limit, _, _ in listener.heard))
        used, allowed = next((used, allowed) for limit, used, allowed in listener.heard if limit == "wall_s")
        assert 0.8 * allowed <= used
