"""The process table against a model that does the same with dicts, one agent at a time."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from observe.probe.table import COMPACT_AT, Malformed, Table


def packed(*rows: tuple[int, ...]) -> bytes:
    return array("q", [number for row in rows for number in row]).tobytes()


def spawn_row(pid: int, class_: int = 0, name: int = 0, supervisor: int = 1) -> tuple[int, ...]:
    return (pid, class_, name, supervisor, 0, 0, 0)


def counters(pid: int, **facts: int) -> tuple[int, ...]:
    names = (
        "status",
        "mailbox",
        "mailbox_max",
        "handled",
        "reductions",
        "since_us",
        "activity",
        "activity_since_us",
    )
    return (pid, *(facts.get(name, 0) for name in names))


def table_of(*pids: int) -> Table:
    table = Table()
    table.spawn(len(pids), packed(*(spawn_row(pid) for pid in pids)), 0)
    return table


def column(table: Table, name: str) -> list[int]:
    numbers: list[int] = table.ints(name)[table.alive()].tolist()
    return numbers


@dataclass
class Model:
    """What the table should hold."""

    agents: dict[int, dict[str, int]] = field(default_factory=dict)


class TableAgainstModel(RuleBasedStateMachine):
    """Frames in any order, with pids that are unknown, gone, repeated or announced again."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Table()
        self.model = Model()
        self.clock_us = 0

    @rule(pids=st.lists(st.integers(1, 25), max_size=12), restarts=st.integers(0, 5))
    def spawn(self, pids: list[int], restarts: int) -> None:
        self.clock_us += 10
        rows = [(pid, 0, 0, 1, 0, restarts, number) for number, pid in enumerate(pids)]
        self.table.spawn(len(rows), packed(*rows), self.clock_us)
        for number, pid in enumerate(pids):
            self.model.agents[pid] = {"restarts": restarts, "crashes": number, "mailbox": 0, "handled": 0}

    @rule(rows=st.lists(st.tuples(st.integers(1, 25), st.integers(0, 99), st.integers(0, 99)), max_size=12))
    def update(self, rows: list[tuple[int, int, int]]) -> None:
        self.clock_us += 10
        data = packed(*(counters(pid, mailbox=mailbox, handled=handled) for pid, mailbox, handled in rows))
        self.table.update(len(rows), data, self.clock_us)
        for pid, mailbox, handled in rows:
            if pid in self.model.agents:
                self.model.agents[pid] |= {"mailbox": mailbox, "handled": handled}

    @rule(pids=st.lists(st.integers(1, 25), max_size=12))
    def exit(self, pids: list[int]) -> None:
        self.table.exit(len(pids), packed(*((pid,) for pid in pids)))
        for pid in pids:
            self.model.agents.pop(pid, None)

    @rule()
    def compact(self) -> None:
        self.table._keep(self.table.alive())  # else only tables of thousands are compacted

    @rule()
    def rotate(self) -> None:
        self.clock_us += 1_000_000
        self.table.rotate(self.clock_us)

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        pids = sorted(self.model.agents)
        assert len(self.table) == len(pids)
        assert column(self.table, "pid") == pids
        for name in ("restarts", "crashes", "mailbox", "handled"):
            assert column(self.table, name) == [self.model.agents[pid][name] for pid in pids]

    @invariant()
    def finds_each_agent_and_no_other(self) -> None:
        for pid in range(27):
            row = self.table.row_of(pid)
            assert (row is not None) == (pid in self.model.agents)
            assert row is None or self.table.ints("pid")[row] == pid


TableAgainstModel.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestTableAgainstModel = TableAgainstModel.TestCase


@pytest.mark.parametrize(
    ("kind", "count", "data"),
    [
        ("spawn", 2, packed(spawn_row(1))),
        ("spawn", 1, b"123"),
        ("spawn", 1, packed(spawn_row(1, class_=7))),  # string 7 was never sent
        ("spawn", 1, packed(spawn_row(1, name=-1))),
        ("spawn", 1, packed(spawn_row(0))),
        ("spawn", 1, packed(spawn_row(-5))),
        ("update", 1, packed(counters(3, status=8))),
        ("update", 1, packed(counters(3, status=-1))),
        ("update", 1, packed(counters(3, mailbox=-1))),
        ("update", 1, packed(counters(3, activity=9))),
        ("update", 1, packed(counters(3))[:-1]),
        ("exit", 2, packed((3,))),
    ],
)
def test_an_impossible_frame_changes_nothing(kind: str, count: int, data: bytes) -> None:
    """A frame that is half applied would leave a table that is wrong and looks right."""
    table = table_of(3, 5)
    table.update(1, packed(counters(3, mailbox=4)), 1)
    apply: Any = getattr(table, kind)
    with pytest.raises(Malformed):
        apply(*((count, data) if kind == "exit" else (count, data, 2)))
    assert column(table, "pid") == [3, 5]
    assert column(table, "mailbox") == [4, 0]
    assert column(table, "status") == [0, 0]


def test_agents_that_are_announced_late_take_their_place() -> None:
    """Worker processes of one node may report in any order; searching needs the pids ascending."""
    table = table_of(10, 20)
    table.spawn(2, packed(spawn_row(15), spawn_row(5)), 0)
    table.update(1, packed(counters(15, mailbox=3)), 0)
    assert column(table, "pid") == [5, 10, 15, 20]
    assert column(table, "mailbox") == [0, 0, 3, 0]


def test_dead_rows_are_given_back() -> None:
    """A node that starts an agent for each request would otherwise fill the probe's memory."""
    table = Table()
    pids = np.arange(1, 4 * COMPACT_AT + 1, dtype="<i8")
    rows = np.zeros((len(pids), 7), dtype="<i8")
    rows[:, 0] = pids
    table.spawn(len(rows), rows.tobytes(), 0)
    table.exit(len(pids) - 10, pids[:-10].tobytes())
    table.tidy()
    assert len(table.ints("pid")) == len(table) == 10
    assert column(table, "pid") == pids[-10:].tolist()


def test_rates_are_over_the_time_since_the_last_rotation() -> None:
    """One message in two seconds is half a message a second, whenever the rows came."""
    table = table_of(1, 2)
    table.update(2, packed(counters(1, handled=100, reductions=0), counters(2, handled=100)), 0)
    table.rotate(1_000_000)
    table.update(1, packed(counters(1, handled=130, reductions=500_000)), 2_000_000)
    table.rotate(3_000_000)
    assert table.floats("rate").tolist() == [15.0, 0.0]
    assert table.floats("load").tolist() == [0.25, 0.0]
    table.rotate(4_000_000)
    assert table.floats("rate").tolist() == [0.0, 0.0]


def test_what_an_agent_did_before_the_probe_came_is_no_rate() -> None:
    """After the probe is started again, every agent would seem to have handled all its messages in a second."""
    table = table_of(1)
    table.update(1, packed(counters(1, handled=1_000_000)), 0)
    table.rotate(1_000_000)
    assert table.floats("rate").tolist() == [0.0]


def test_a_new_table_inherits_start_times_and_rates() -> None:
    """After a lost frame everything is told anew, but for these: rows must not jump, nor everybody be born again."""
    before = table_of(1, 2)
    before.update(1, packed(counters(1, handled=0, since_us=500)), 1000)
    before.rotate(1_000_000)
    before.update(1, packed(counters(1, handled=50)), 2_000_000)
    before.rotate(2_000_000)
    after = Table()
    after.spawn(2, packed(spawn_row(1), spawn_row(3)), 9_000_000)
    after.inherit(before)
    assert after.floats("rate").tolist() == [50.0, 0.0]
    assert after.ints("started_us").tolist() == [0, 9_000_000]


def test_an_agent_is_no_younger_than_its_status() -> None:
    """The feed does not say when agents started; a probe that starts later must not show all of them as new."""
    table = Table()
    table.spawn(1, packed(spawn_row(1)), 60_000_000)
    table.update(1, packed(counters(1, since_us=1_000_000)), 60_000_000)
    assert table.ints("started_us").tolist() == [1_000_000]


def test_a_name_finds_the_agent_that_has_it_now() -> None:
    """A restart gives the name to another pid, and the old row may still be there."""
    table = Table()
    table.strings.add(1, ["Worker", "w", "w"])  # a service may number a text twice
    table.spawn(1, packed(spawn_row(1, name=2)), 0)
    assert table.row_named("w") == table.row_of(1)
    table.exit(1, packed((1,)))
    assert table.row_named("w") is None
    table.spawn(1, packed(spawn_row(2, name=3)), 0)
    assert table.row_named("w") == table.row_of(2)
    assert table.row_named("W") is None
    assert table.row_named("") is None


def test_strings_that_skip_a_number_are_refused() -> None:
    """Everything after the gap would have another agent's name."""
    table = Table()
    table.strings.add(1, ["a", "b"])
    with pytest.raises(ValueError, match="but 3 is next"):
        table.strings.add(4, ["c"])
    assert len(table.strings) == 3
