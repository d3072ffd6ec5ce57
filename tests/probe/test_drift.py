"""Drift: an agent that behaves otherwise than its class has so far is found, and chance is not taken for it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from observe.probe import Probe, connect
from observe.probe.drift import AGENTS, CLASSES, GOALS, WINDOWS, Drift
from observe.probe.drift_baseline import BASELINE, NAMES, WINDOW
from observe.probe.drift_figures import Found, divergence
from observe.runtime import Agent, Node
from tests.probe.live import eventually, private_runtime

USUAL = {"tool:search": 50, "tool:read": 30, "model:chat": 20}


def live(
    drift: Drift, pid: int, count: int, chance: random.Random, *, mix: dict[str, int] | None = None,
    failing: float = 0.02, took_us: float = 50_000, tokens: float = 500, goal: str = "",
) -> list[Found | bool]:  # fmt: skip
    """So many activities of an agent, and what was found meanwhile."""
    mix = mix or USUAL
    found = []
    for _ in range(count):
        [name] = chance.choices(list(mix), list(mix.values()))
        used = int(chance.lognormvariate(0, 0.5) * tokens) if name.startswith("model:") else 0
        took = int(chance.lognormvariate(0, 1.0) * took_us)
        news = drift.activity(pid, "Session", name, chance.random() < failing, took, used, goal)
        if news is not None:
            found.append(news)
    return found


@pytest.fixture
def chance() -> random.Random:
    return random.Random(7)


def test_what_is_as_ever_is_not_drift(chance: random.Random) -> None:
    """A million finding would be no finding: 400 agents with 500 activities each, and nothing is said."""
    drift = Drift()
    assert [found for pid in range(1, 201) for found in live(drift, pid, 300, chance)] == []


@pytest.mark.parametrize(
    ("changed", "says", "figure"),
    [
        ({"mix": {"tool:refund": 90, "model:chat": 10}}, "tool:refund", "mix"),
        ({"failing": 0.5}, "fail against", "failed"),
        ({"took_us": 800_000}, "as long", "durations"),
        ({"tokens": 6000, "mix": {"model:chat": 60, "tool:search": 40}}, "the tokens", "tokens"),
    ],
)
def test_what_has_changed_is_told_with_its_figures_and_is_over_again(
    chance: random.Random, changed: dict[str, Any], says: str, figure: str
) -> None:
    drift = Drift()
    for pid in range(1, 11):
        assert live(drift, pid, 200, chance) == []
    assert live(drift, 5, 30, chance) == []
    found = live(drift, 5, 150, chance, **changed)
    assert found
    assert isinstance(found[-1], tuple)
    far, text, figures = found[-1]
    assert far >= 1.0
    assert says in text
    assert {figure, "window", "baseline"} <= set(figures)
    assert (
        live(drift, 6, 50, chance) == []
    )  # the others are as ever, and the baseline has learnt nothing of it
    assert live(drift, 5, 300, chance)[-1] is False


def in_order(drift: Drift, pid: int, names: list[str], times: int) -> list[Found | bool]:
    """These activities one after the other, so often."""
    told = [drift.activity(pid, "Session", name, False, 50_000, 0) for _ in range(times) for name in names]
    return [one for one in told if one is not None]


def test_the_same_activities_in_another_order_are_drift() -> None:
    """Whoever first refunds and then asks does the same things as often."""
    usual, turned = ["model:chat", "tool:ask", "tool:refund"], ["model:chat", "tool:refund", "tool:ask"]
    drift = Drift()
    for pid in range(1, 6):
        assert in_order(drift, pid, usual, 100) == []
    found = in_order(drift, 1, turned, 100)
    far, text, figures = next(one for one in found if isinstance(one, tuple) and one[2]["order"] > 0.3)
    assert far >= 1.0
    assert figures["mix"] < 0.05
    assert "follow each other otherwise" in text
    assert "tool:refund after model:chat" in text


def test_what_is_usual_at_one_goal_is_drift_at_another_and_said_to_be_like_it(chance: random.Random) -> None:
    """An agent that says what it is at may do other things; one that does not say so drifts."""
    refunds = {"tool:refund": 60, "model:chat": 40}
    drift = Drift()
    for pid in range(1, 11):
        for _ in range(2):
            assert live(drift, pid, 100, chance, goal="ask") == []
            assert live(drift, pid, 100, chance, mix=refunds, goal="refund") == []
    found = live(drift, 3, 120, chance, mix=refunds, goal="ask")
    assert isinstance(found[-1], tuple)
    far, text, figures = found[-1]
    assert far >= 1.0
    assert (figures["goal"], figures["like"]) == ("ask", "refund")
    assert text.startswith("at the goal ask: ")
    assert "as at the goal refund" in text
    # It says that it is at that by now: then it is, and what it did before is not held against it there.
    assert live(drift, 3, 120, chance, mix=refunds, goal="refund") == [False]
    assert live(drift, 4, 120, chance, goal="ask") == []


def test_goals_that_are_never_the_same_twice_are_one(chance: random.Random) -> None:
    """Some will put the whole task there. It is then as if the class had no goals, and nothing grows."""
    drift = Drift()
    for number in range(2000):
        live(drift, number % 20, 1, chance, goal=f"task {number}")
    assert len(drift._classes["Session"]) <= GOALS + 1
    assert drift._windows <= 20 * (GOALS + 1)
    for number in range(WINDOWS // GOALS + 1000):
        for goal in range(GOALS):
            drift.activity(number, "Other", "tool:x", False, 5, 0, f"goal {goal}")
    assert drift._windows <= WINDOWS + GOALS


def test_nothing_is_said_before_there_is_a_baseline(chance: random.Random) -> None:
    drift = Drift()
    assert live(drift, 1, WINDOW, chance) == []
    assert live(drift, 1, BASELINE - 50, chance, mix={"tool:other": 1}) == []


def test_agents_that_end_early_are_a_baseline_for_those_after_them(chance: random.Random) -> None:
    drift = Drift()
    for pid in range(1, 31):
        live(drift, pid, 20, chance)
        drift.ended(pid)
    assert live(drift, 99, WINDOW, chance, mix={"tool:other": 1})


def test_what_is_kept_is_bounded() -> None:
    drift = Drift()
    for pid in range(AGENTS + 10):
        drift.activity(pid, f"Class{pid % (2 * CLASSES)}", f"tool:{pid}", False, 5, 0)
    assert drift.statistics()["drift_followed"] <= AGENTS
    for number in range(3 * NAMES):
        drift.activity(1, "Class1", f"tool:{number}", False, 5, 0)


def test_the_divergence_is_that_of_the_books() -> None:
    assert divergence([0.5, 0.5], [0.5, 0.5]) == 0
    assert divergence([1.0, 0.0], [0.0, 1.0]) == 1
    assert divergence([0.75, 0.25], [0.25, 0.75]) == pytest.approx(0.1887, abs=1e-4)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private_runtime(monkeypatch) as path:
        yield path


class Shopper(Agent):
    """Does what it is told, so often."""

    async def handle(self, message: Any) -> int:
        self.goal = "sell"
        for _ in range(message[1]):
            async with self.activity(message[0]):
                """It counts."""
        return int(message[1])


@pytest.mark.usefixtures("runtime")
async def test_an_agent_that_drifts_is_a_finding_with_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the activity to whoever looks, wherever the agent runs, and over when it is gone: one baseline for all processes."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))  # a worker imports its agents as we do
    async with Node("shop", workers=1) as node, Probe(node), connect("shop", timeout_s=20.0) as client:
        await node.spawn(Shopper, name="one")
        await node.spawn(Shopper, name="other")
        await node.spawn(Shopper, name="far", isolation="worker")
        for name in ("one", "other"):
            await node.ref(name).call(("tool:search", 400))
        for name in ("one", "far"):
            await node.ref(name).call(("tool:refund", 120))

        def drifting(told: Any, count: int) -> Any:
            return next((one for one in told.findings if (one.check, one.count) == ("drifts", count)), None)

        finding = drifting(await eventually(client.findings, lambda told: drifting(told, 2)), 2)
        assert finding.filter in {f"pid={one},{other}" for one, other in permutations(
            [node.ref("one").pid, node.ref("far").pid]
        )}  # fmt: skip
        assert "tool:refund 100% against 0%" in finding.text
        assert finding.evidence["mix"] == 1.0
        assert finding.evidence["goal"] == "sell"
        await client.kill("one", "it drifts")
        left = drifting(await eventually(client.findings, lambda told: drifting(told, 1)), 1)
        assert left.pid == node.ref("far").pid
        await client.kill("far", "as well")
        await eventually(
            client.findings, lambda told: not [one for one in told.findings if one.check == "drifts"]
        )
