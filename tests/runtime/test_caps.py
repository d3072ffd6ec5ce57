"""Caps: what may be spent by policy, whoever spends it, across agents and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from observe.runtime import (
    Agent,
    AgentExited,
    ChildSpec,
    Contained,
    Denied,
    Node,
    Supervisor,
    supervised_map,
)
from observe.runtime.actions import reset_budget
from observe.runtime.caps import Cap
from observe.runtime.governed import Governed
from observe.runtime.instrument import Instrument
from observe.runtime.policies import Rule
from observe.runtime.testing import eventually


class Told(Instrument):
    def __init__(self) -> None:
        self.caps: list[tuple[str, str]] = []

    def on_governed(self, event: Governed) -> None:
        if event.what == "cap":
            self.caps.append((event.policy, event.reason))


class Spender(Agent):
    """Does what the message says: names of activities, and what each costs."""

    def init(self, tenant: str = "") -> None:
        if tenant:
            self.tenant = tenant

    async def handle(self, message: Any) -> Any:
        if message == "crash":
            raise RuntimeError("as asked")
        if message == "map":
            return [one.value async for one in supervised_map(call_a_tool, range(3), max_concurrency=1)]
        done = []
        for name, cost, *more in message:
            try:
                async with self.activity(name, **(more[0] if more else {})) as doing:
                    doing.usage(input_tokens=int(cost * 1000), cost=cost)
                    done.append(name)
            except Denied as error:
                done.append(type(error).__name__ if isinstance(error, Contained) else error.policy)
        return done


async def call_a_tool(number: int) -> str:
    from observe.runtime.scheduler import current_agent

    agent = current_agent()
    assert agent is not None
    try:
        async with agent.activity("tool:look"):
            return "done"
    except Denied as error:
        return error.policy


MODEL = ("model:chat", 1.0)
TOOL = ("tool:look", 0.0)

Start = Callable[..., Any]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """A node with these caps, and who hears what is told of them."""
    nodes: list[Node] = []

    async def begin(*policies: Any) -> tuple[Node, list[tuple[str, str]]]:
        node = Node("capped", policies=list(policies), intensity=100)
        await node.start()
        nodes.append(node)
        told = Told()
        node.instruments.add(told)
        return node, told.caps

    yield begin
    for node in nodes:
        await node.stop()


async def test_what_is_used_up_denies_what_would_begin_next(start: Start) -> None:
    node, told = await start(Cap("spend", cost=2.5, reason="talks too much"))
    spender = await node.spawn(Spender, name="talker")
    assert await spender.call([MODEL, MODEL, MODEL, MODEL, TOOL]) == ["model:chat"] * 3 + ["spend"] * 2
    assert told == [
        ("spend", "agent: cost 2 of 2.5; talks too much"),  # at 80%
        ("spend", "agent: cost 3 of 2.5; talks too much"),
    ]
    assert node.govern().capping.denied == {"spend": 2}
    assert await (await node.spawn(Spender)).call([MODEL]) == ["model:chat"]  # each counts for itself


async def test_a_denial_says_what_is_used_up_and_the_agent_lives(start: Start) -> None:
    class Careless(Agent):
        async def handle(self, message: Any) -> None:
            with self.activity("tool:look"):
                pass

    node, _ = await start(Cap("calls", tool_calls=1))
    careless = await node.spawn(Careless)
    await careless.call("look")
    with pytest.raises(AgentExited) as caught:
        await careless.call("look")
    assert "may not do this: tool:look; agent: tool_calls 1 of 1 used up" in str(caught.value)


async def test_a_restart_does_not_renew_it(start: Start) -> None:
    node, _ = await start(Cap("spend", tokens=1000))
    await node.supervisor.start_child(ChildSpec(Spender, name="talker"))
    talker = node.ref("talker")
    assert await talker.call([MODEL]) == ["model:chat"]
    before = node.control.find("talker")
    talker.cast("crash")
    await eventually(lambda: node.control.find("talker") not in (None, before))
    assert await talker.call([MODEL]) == ["spend"]


async def test_only_calls_of_the_named_tools_are_counted_and_denied(start: Start) -> None:
    node, _ = await start(Cap("searches", tool_calls=2, of=("tool:search*",)))
    spender = await node.spawn(Spender)
    tools = [("tool:search-web", 0.0), TOOL, ("tool:search-mail", 0.0), ("tool:search-web", 0.0), TOOL]
    done = ["tool:search-web", "tool:look", "tool:search-mail", "searches", "tool:look"]
    assert await spender.call(tools) == done


async def test_what_another_policy_denies_is_not_counted(start: Start) -> None:
    node, _ = await start(Rule("no", "deny", "tool:drop"), Cap("calls", tool_calls=1))
    spender = await node.spawn(Spender)
    assert await spender.call([("tool:drop", 0.0), TOOL, TOOL]) == ["no", "tool:look", "calls"]


async def test_a_step_has_its_own_cap(start: Start) -> None:
    """One message, and all that is done for it."""
    node, told = await start(Cap("answer", per="step", cost=1.0))
    spender = await node.spawn(Spender)
    assert await spender.call([MODEL, MODEL]) == ["model:chat", "answer"]
    assert await spender.call([MODEL, MODEL]) == ["model:chat", "answer"]
    assert [policy for policy, _ in told] == ["answer", "answer"]


@pytest.mark.parametrize("where", ["agent", "activity"])
async def test_tenants_are_told_apart_and_their_agents_share(start: Start, where: str) -> None:
    node, told = await start(Cap("tenant", per="tenant", cost=2.0))

    async def agent_of(tenant: str) -> Any:
        return await node.spawn(Spender, tenant if where == "agent" else "")

    def spend(tenant: str) -> list[Any]:
        return [MODEL if where == "agent" else (*MODEL, {"tenant": tenant})]

    one, other, third = await agent_of("acme"), await agent_of("acme"), await agent_of("blue")
    assert await one.call(spend("acme")) == ["model:chat"]
    assert await other.call(spend("acme")) == ["model:chat"]
    assert await one.call(spend("acme")) == ["tenant"]
    assert await third.call(spend("blue")) == ["model:chat"]
    assert told == [("tenant", "tenant acme: cost 2 of 2")]


async def test_all_agents_of_a_node_can_share_one(start: Start) -> None:
    node, _ = await start(Cap("all", per="node", agents=("Spender",), tool_calls=2))
    spenders = [await node.spawn(Spender) for _ in range(3)]
    assert [await one.call([TOOL]) for one in spenders] == [["tool:look"], ["tool:look"], ["all"]]


async def test_counters_begin_anew_after_a_while(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [86_400 * 20_000.0]
    monkeypatch.setattr("observe.runtime.capping.wall_s", lambda: now[0])
    node, told = await start(
        Cap("daily", per="node", cost=1.0, every_s=86_400), Cap("own", cost=1.0, every_s=86_400)
    )
    spender = await node.spawn(Spender)
    assert await spender.call([MODEL, MODEL]) == ["model:chat", "daily"]
    now[0] += 86_399
    assert await spender.call([MODEL]) == ["daily"]
    now[0] += 1
    assert await spender.call([MODEL]) == ["model:chat"]
    assert [policy for policy, _ in told] == ["daily", "own"] * 2


async def test_what_is_under_way_is_not_cut_off(start: Start) -> None:
    """The model has answered, and that is paid for."""
    node, _ = await start(Cap("spend", cost=0.5))

    class Two(Agent):
        async def handle(self, message: Any) -> str:
            async with self.activity("model:outer") as outer:
                outer.usage(cost=1.0)
                await asyncio.sleep(0)
                return "answered"

    assert await (await node.spawn(Two)).call("go") == "answered"


async def test_it_may_contain_and_warn_by_containing(start: Start) -> None:
    node, _ = await start(
        Cap("spend", cost=2.0, effect="contain", level="isolated", warn_at=0.5, warn_level="monitored"),
        Cap("calls", tool_calls=1, effect="contain", level="restricted", tools=("model:*",), recipients=()),
    )
    spender = await node.spawn(Spender, name="talker")
    containment = node.govern().containment

    def level() -> str:
        return str(containment.level_of(node.control.find("talker")))

    assert await spender.call([MODEL]) == ["model:chat"]
    assert level() == "monitored"
    assert await spender.call([TOOL]) == ["tool:look"]
    assert level() == "monitored"  # the last call that is allowed is no fault
    assert await spender.call([TOOL]) == ["Contained"]
    assert level() == "restricted"
    spender.cast([MODEL])
    await eventually(lambda: level() == "isolated")
    fence = containment.fence_of(node.control.find("talker"))
    assert (fence.reason, fence.by) == ("cost 2 of 2", "policy spend")


async def test_a_report_denies_nothing(start: Start) -> None:
    node, told = await start(Cap("spend", cost=1.0, effect="report"))
    assert await (await node.spawn(Spender)).call([MODEL, MODEL]) == ["model:chat"] * 2
    assert told == [("spend", "agent: cost 1 of 1")]


async def test_a_higher_cap_goes_on_from_what_was_spent(start: Start) -> None:
    node, told = await start(Cap("spend", cost=1.0), Cap("all", per="node", cost=1.0))
    spender = await node.spawn(Spender)
    assert await spender.call([MODEL, MODEL]) == ["model:chat", "spend"]
    node.policies.replace([Cap("spend", cost=2.0), Cap("all", per="node", cost=2.0)])
    assert await spender.call([MODEL, MODEL]) == ["model:chat", "spend"]
    assert [text for _, text in told][-2:] == ["agent: cost 2 of 2", "node: cost 2 of 2"]
    node.policies.replace([])
    assert node.govern().capping is None
    assert await spender.call([MODEL]) == ["model:chat"]


async def test_an_operator_lets_an_agent_begin_anew(start: Start) -> None:
    node, _ = await start(Cap("spend", cost=1.0, agents=("Spender",)), Cap("all", per="node", tokens=10_000))
    spender = await node.spawn(Spender)
    assert await spender.call([MODEL, MODEL]) == ["model:chat", "spend"]
    acted = reset_budget(node, node.control.find(spender.pid))
    assert acted.facts == {"before": "spend: cost 1/1"}
    assert await spender.call([MODEL]) == ["model:chat"]

    class Other(Agent):
        pass

    other = node.control.find((await node.spawn(Other)).pid)
    with pytest.raises(Exception, match="has no budget, and no cap"):
        reset_budget(node, other)


async def test_items_of_a_fan_out_spend_what_their_caller_may(start: Start) -> None:
    node, _ = await start(Cap("calls", tool_calls=2, agents=("Spender",)))
    assert await (await node.spawn(Spender)).call("map") == ["done", "done", "calls"]


async def test_nothing_is_kept_of_those_who_are_gone(start: Start) -> None:
    node, _ = await start(Cap("spend", cost=1.0), Cap("answer", per="step", cost=1.0))
    spender = await node.spawn(Spender)
    await spender.call([MODEL])
    assert len(node.govern().capping._places) == 1
    node.control.kill(spender.pid)
    await eventually(lambda: not node.govern().capping._places)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "at least one of tool_calls, tokens, cost"),
        ({"cost": 0}, "above 0"),
        ({"cost": float("nan")}, "above 0"),
        ({"cost": float("inf")}, "above 0"),
        ({"cost": 1, "effect": "exit"}, "reports, denies or contains"),
        ({"cost": 1, "level": "isolated"}, "belongs to `contain`"),
        ({"cost": 1, "effect": "contain"}, "belongs to `contain`"),
        ({"cost": 1, "effect": "contain", "level": "none"}, "belongs to `contain`"),
        ({"cost": 1, "warn_level": "none"}, "warn_level is one of"),
        ({"cost": 1, "warn_at": 1.0}, "a share between 0 and 1"),
        ({"cost": 1, "every_s": 0.5}, "at least one second"),
        ({"cost": 1, "every_s": 60, "per": "step"}, "makes no sense"),
        ({"cost": 1, "per": ""}, "name of an attribute"),
        ({"cost": 1, "agents": "Session"}, "lists of texts"),
        ({"cost": 1, "tools": ("a",)}, "belong to the level restricted"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Cap("cap", **arguments)


async def test_two_caps_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two caps have this name"):
        Node("capped", policies=[Cap("one", cost=1.0), Cap("one", cost=2.0)])


async def test_a_supervisor_is_no_spender(start: Start) -> None:
    node, _ = await start(Cap("spend", cost=1.0))
    await node.supervisor.start_child(ChildSpec(Supervisor, ([],), name="team"))
    assert not node.govern().capping._places
