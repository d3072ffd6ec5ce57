"""Drift: an agent that behaves otherwise than its class has so far is found, and chance is not taken for it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from observe.probe import Probe, connect
from observe.probe.drift import AGENTS, BASELINE, CLASSES, NAMES, WINDOW, Drift, Found, divergence
from observe.runtime import Agent, Node
from tests.probe.live import eventually, private_runtime

USUAL = {"tool:search": 50, "tool:read": 30, "model:chat": 20}


def live(
    drift: Drift, pid: int, count: int, chance: random.Random, *, mix: dict[str, int] | None = None,
    failing: float = 0.02, took_us: float = 50_000, tokens: float = 500,
) -> list[Found | bool]:  # fmt: skip
    """So many activities of an agent, and what was found meanwhile."""
    mix = mix or USUAL
    found = []
    for _ in range(count):
        [name] = chance.choices(list(mix), list(mix.values()))
        used = int(chance.lognormvariate(0, 0.5) * tokens) if name.startswith("model:") else 0
        took = int(chance.lognormvariate(0, 1.0) * took_us)
        news = drift.activity(pid, "Session", name, chance.random() < failing, took, used)
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
        for _ in range(message[1]):
            async with self.activity(message[0]):
                """It counts."""
        return int(message[1])


@pytest.mark.usefixtures("runtime")
async def test_an_agent_that_drifts_is_a_finding_with_the_figures() -> None:
    """From the activity to whoever looks, and over when the agent is gone."""
    async with Node("shop") as node, Probe(node), connect("shop", timeout_s=20.0) as client:
        for name in ("one", "other"):
            await node.spawn(Shopper, name=name)
            await node.ref(name).call(("tool:search", 500))
        await node.ref("one").call(("tool:refund", 120))
        seen = await eventually(
            client.findings, lambda told: [one for one in told.findings if one.check == "drifts"]
        )
        [finding] = [one for one in seen.findings if one.check == "drifts"]
        assert finding.pid == node.ref("one").pid
        assert "tool:refund 100% against 0%" in finding.text
        assert finding.evidence["mix"] == 1.0
        await client.kill("one", "it drifts")
        await eventually(
            client.findings, lambda told: not [one for one in told.findings if one.check == "drifts"]
        )
