"""The budget of telemetry is kept by slowing it down: by counted work, with no clock."""

from __future__ import annotations

import random

import pytest

from observe.probe.pace import LONGEST_PAUSE_S, Pace


class Simulated:
    """A node whose ticks cost what the agents that have changed cost, a microsecond or two each."""

    def __init__(self, *, tick_s: float = 0.25, budget: float = 0.02) -> None:
        self.pace = Pace(tick_s, budget)
        self.now = 0.0
        self.spent = 0.0
        self.dirty = 0.0
        self.ticks = 0

    def tick(self, changed_a_second: float, us: float = 2.0, facts_s: float = 0.0) -> None:
        """Tell what must be told, then rows in frames until all are told or it is enough; then pause."""
        cost = facts_s
        while self.dirty > 0 and not self.pace.is_enough(cost):
            told = min(self.dirty, 2048)
            self.dirty -= told
            cost += told * us / 1e6
        self.spent += cost
        self.ticks += 1
        pause = self.pace.after_tick(cost)
        self.now += pause
        self.dirty = min(self.dirty + changed_a_second * pause, 1_000_000)

    @property
    def share(self) -> float:
        return self.spent / self.now


@pytest.mark.parametrize("budget", [0.001, 0.02, 0.5])
@pytest.mark.parametrize("changed", [0, 100, 10_000, 1_000_000])
def test_ticks_keep_to_the_budget_however_many_agents_change(budget: float, changed: int) -> None:
    node = Simulated(budget=budget)
    for _ in range(300):
        node.tick(changed)
    assert node.share <= budget * 1.05 + 2048 * 2e-6 / node.now


def test_a_quiet_node_is_told_at_every_tick_and_a_busy_one_less_often() -> None:
    quiet, busy = Simulated(), Simulated()
    for _ in range(100):
        quiet.tick(1000)
        busy.tick(100_000)
    assert quiet.now == pytest.approx(100 * 0.9 * 0.25)
    assert busy.pace.pause_s > 1.0
    assert busy.pace.pause_s <= LONGEST_PAUSE_S


def test_what_must_be_told_is_told_and_paid_off_afterwards() -> None:
    """A storm of births costs what it costs; the pauses after it are longer until the budget is kept again."""
    node = Simulated()
    for _ in range(10):
        node.tick(0, facts_s=1.0)
    assert node.share > 0.02
    assert node.pace.debt_s > 1.0
    for _ in range(100):
        node.tick(1_000_000)
    assert node.pace.debt_s < 0.25
    assert node.share <= 0.021


def test_telling_everything_anew_is_nobody_s_debt() -> None:
    pace = Pace(0.25, 0.02)
    assert pace.after_sweep(5.0) == LONGEST_PAUSE_S
    assert pace.after_tick(0.001) == pytest.approx(0.225)


def test_costs_that_vary_are_kept_to_the_budget_together() -> None:
    node, dice = Simulated(budget=0.01), random.Random(1)
    for _ in range(2000):
        node.tick(dice.choice([0, 10, 1000, 50_000, 500_000]), us=dice.uniform(1, 5))
    assert node.share <= 0.0105


def test_what_is_told_out_of_turn_is_paid_for_by_later_pauses() -> None:
    node = Simulated()
    for _ in range(100):
        node.tick(1000)
        node.pace.aside(0.01)
        node.spent += 0.01
    assert node.share <= 0.021
