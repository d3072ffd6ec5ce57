"""Chains of restarts: who came in whose place, how often in the last minute, in memory that does not grow with the days."""

from __future__ import annotations

import tracemalloc
from itertools import count

from observe.probe.chains import LOOK_BACK_S, MOST_CHAINS, MOST_RESTARTS, RestartChains


def test_a_place_keeps_its_restarts_whoever_lives_there() -> None:
    chains = RestartChains()
    chains.restarted(1, 2, 100.0, crashed=True)
    chains.restarted(2, 3, 110.0)
    chains.restarted(3, 4, 120.0, crashed=True)
    chains.restarted(8, 9, 120.0)
    assert sorted(chains.pids()) == [4, 9]
    assert chains.rates([4, 9, 1], 120.0, crashes=False) == [3, 1, 0]
    assert chains.rates([4, 9, 1], 120.0, crashes=True) == [2, 0, 0]
    assert chains.rates([4], 100.0 + LOOK_BACK_S + 1, crashes=True) == [1]
    assert chains.lately(120.0) == {4: 3, 9: 1}


def test_in_the_first_minute_of_a_machine_a_restart_is_no_crash() -> None:
    """The clock begins at its start, so a minute ago is below zero."""
    chains = RestartChains()
    chains.restarted(1, 2, 5.0)
    chains.restarted(2, 3, 6.0, crashed=True)
    assert chains.rates([3], 10.0, crashes=True) == [1]
    assert chains.rates([3], 10.0, crashes=False) == [2]


def test_places_that_have_been_quiet_for_a_minute_are_forgotten() -> None:
    chains = RestartChains()
    chains.restarted(1, 2, 100.0, crashed=True)
    chains.restarted(3, 4, 150.0)
    assert chains.lately(101.0 + LOOK_BACK_S) == {4: 1}
    assert chains.pids() == [4]


def test_as_many_places_and_restarts_are_kept_as_are_said() -> None:
    chains = RestartChains()
    for pid in range(MOST_CHAINS + 10):
        chains.restarted(10**6 + pid, pid, 1.0)
    assert chains.pids() == list(range(10, MOST_CHAINS + 10))
    for pid in range(MOST_RESTARTS + 10):
        chains.restarted(10**7 + pid, 10**7 + pid + 1, 2.0, crashed=True)
    assert chains.rates([10**7 + MOST_RESTARTS + 10], 2.0, crashes=True) == [MOST_RESTARTS]


def test_a_day_of_crashes_takes_no_more_memory_than_their_last_minute() -> None:
    """500 places, each restarted every three seconds: 20 of its restarts are of the last minute."""
    chains, pids = RestartChains(), count(500)
    living = list(range(500))

    def crash_until(start: int, end: int) -> int:
        for at in range(start, end, 3):
            for place, pid in enumerate(living):
                living[place] = next(pids)
                chains.restarted(pid, living[place], float(at), crashed=True)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        early = crash_until(0, 90)
        late = crash_until(90, 600)
    finally:
        tracemalloc.stop()
    assert late - early < 50_000, "the pids are larger numbers"
    assert late < 500 * 1_000
