"""Risk: each criterion is what the document says, from what agents were seen to do."""

from __future__ import annotations

from typing import Any

import pytest

from observe.runtime import (
    Agent,
    Budget,
    ChangeApproach,
    ChildSpec,
    Ladder,
    MemoryStore,
    Node,
    Supervisor,
    supervised_map,
)
from observe.runtime.approvals import Approval
from observe.runtime.ladder import Retry
from observe.runtime.policies import Rule
from observe.runtime.risk import CRITERIA, MOST_ACTIVITIES, Facts, Risk, assess, tier


async def nothing(_: int) -> None: ...


class Worker(Agent):
    async def handle(self, message: Any) -> None:
        match message:
            case "spawn":
                await self.node.spawn(Idle)
            case "map":
                async for _ in supervised_map(nothing, range(2)):
                    pass
            case ("ask", name):
                async with self.activity(
                    name, approval=Approval("may I?", timeout_s=0.01, on_timeout="allow")
                ):
                    pass
            case name:
                async with self.activity(name):
                    pass


class Mapper(Worker): ...


class Idle(Agent):
    def handle(self, message: Any) -> None: ...


class Payer(Worker):
    risk = 0.8


def criteria(node: Node, who: str, age_s: float = 0.0) -> dict[str, float]:
    return dict(of(node, who, age_s).criteria)


def of(node: Node, who: str, age_s: float = 0.0) -> Risk:
    risk = node.risks.of(node.control.find(who), age_s)
    assert risk is not None
    return risk


async def test_each_criterion_is_what_was_seen() -> None:
    """And of a class that has done nothing there is nothing to say but what every agent has."""
    async with Node("risky", store=MemoryStore(), intensity=100) as node:
        assert node.risks.seen() is not None  # from here on it is noted
        await node.spawn(Worker, name="w")
        await node.spawn(Idle, name="i")
        assert set(criteria(node, "w").values()) == {0.0}
        worker = node.ref("w")
        await worker.call("model:chat")
        assert {name: value for name, value in criteria(node, "w").items() if value} == pytest.approx(
            {"model": 1, "unasked": 1, "kinds": 1 / 4, "tools": 1 / 6, "unbounded": 1, "handled": 1 / 1001}
        )
        await worker.call("tool:a")
        await worker.call(("ask", "tool:b"))
        await worker.call("tool:a")
        found = criteria(node, "w", 3600.0)
        assert (found["unasked"], found["kinds"], found["tools"]) == pytest.approx((2 / 3, 2 / 5, 3 / 8))
        assert found["age"] == 0.5
        assert found["starts"] == 0
        await worker.call("spawn")
        assert criteria(node, "w")["starts"] == 1
        assert criteria(node, "i")["handled"] == 0
        assert node.risks.of(node.control.find(node.supervisor.pid), 0.0) is None, "supervisors have none"


async def test_what_a_supervised_map_starts_is_started_by_its_caller() -> None:
    async with Node("mapping") as node:
        assert node.risks
        await node.spawn(Mapper, name="m")
        await node.ref("m").call("map")
        assert criteria(node, "m")["starts"] == 1


async def test_spec_budget_and_restarts_count() -> None:
    async with Node("planned", store=MemoryStore(), intensity=100) as node:
        assert node.risks
        ladder = Ladder(Retry(), ChangeApproach())
        spec = ChildSpec(Worker, name="w", checkpoint="each_message", ladder=ladder)
        await node.spawn(Supervisor, [spec], name="team")
        await node.ref("w").call("tool:a")
        found = criteria(node, "w")
        assert (found["approach"], found["memory"], found["unbounded"], found["restarts"]) == (1, 1, 1, 0)
        await node.spawn(Supervisor, [ChildSpec(Payer, name="p", budget=Budget(tool_calls=10))])
        await node.ref("p").call("tool:pay")
        assert criteria(node, "p")["unbounded"] == 0
        node.control.find("p")._o_child.restarts = 3
        assert criteria(node, "p")["restarts"] == 0.5


async def test_what_a_policy_holds_to_be_dangerous_counts_also_when_policies_change() -> None:
    rules = [
        Rule("pay", "approve", "tool:pay*", agents=("Worker",), on_timeout="allow", timeout_s=0.01),
        Rule("rm", "deny", "tool:rm", agents=("somebody-else",)),
    ]
    async with Node("ruled", policies=rules) as node:
        assert node.risks
        await node.spawn(Worker, name="w")
        await node.ref("w").call("tool:look")
        assert criteria(node, "w")["gated"] == 0
        await node.ref("w").call("tool:pay")
        found = criteria(node, "w")
        assert (found["gated"], found["unasked"]) == (0.5, 0.5)
        assert node.policies is not None
        node.policies.replace([*rules, Rule("all", "contain", "*", level="monitored")])
        assert criteria(node, "w")["gated"] == pytest.approx(2 / 3)


async def test_a_class_says_at_least_what_it_is() -> None:
    async with Node("declared") as node:
        await node.spawn(Payer, name="p")
        risk = of(node, "p")
        assert (risk.score, risk.observed, risk.tier) == (0.8, 0.0, 4)


async def test_changes_are_told_once_and_kept_in_bounds() -> None:
    async with Node("telling") as node:
        await node.spawn(Worker, name="w")
        assert [seen.cls for seen in node.risks.changed()] == [Worker]
        assert node.risks.changed() == []
        for number in range(MOST_ACTIVITIES + 10):
            await node.ref("w").call(f"tool:{number}")
        of(node, "w")  # whoever asks takes nothing away from those who are told
        [seen] = node.risks.changed()
        assert len(seen.activities) == MOST_ACTIVITIES
        await node.ref("w").call("tool:1")
        assert node.risks.changed() == []
        node.risks.begin_anew()
        assert [seen.cls for seen in node.risks.changed()] == [Worker]


async def test_what_nobody_looks_at_costs_nothing_until_somebody_looks_again() -> None:
    async with Node("looked-at") as node:
        await node.spawn(Worker, name="w")
        risks = node.risks
        risks.end()
        assert (node.instruments.on_spawn, node.instruments.on_activity_start) == ((), ())
        await node.ref("w").call("tool:unseen")
        assert node.risks is risks
        await node.ref("w").call("tool:seen")
        assert [list(seen.activities) for seen in risks.seen()] == [["tool:seen"]]


def test_the_score_is_the_mean_and_the_parts_are_means_as_well() -> None:
    risk = assess(Facts(*[1.0] * 9), 0.0, 3, 3600.0, 1000)
    assert risk.observed == pytest.approx((9 + 1.5) / 12)
    assert risk.parts == pytest.approx(
        {"autonomy": 1, "adaptability": 2.5 / 3, "continuity": 2 / 3, "reach": 1}
    )
    assert list(risk.parts) == list(CRITERIA)
    assert [tier(score) for score in (0.0, 0.25, 0.26, 0.5, 0.75, 0.76, 1.0)] == [1, 1, 2, 2, 3, 4, 4]
