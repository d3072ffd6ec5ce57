"""The agents table's columns: which fit, and that a cell never leaves its column."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from observe.console.columns import COLUMNS, GAP, NAMES, fit
from observe.console.overview_lines import agent_pieces
from observe.probe import wire_table


def test_the_columns_are_those_of_the_protocol() -> None:
    """Each can be sorted by, and each is explained."""
    assert NAMES == wire_table.COLUMNS
    assert {column.name for column in COLUMNS} == set(NAMES)
    assert all(column.meaning.endswith(".") for column in COLUMNS)


@pytest.mark.parametrize("sort", NAMES)
@pytest.mark.parametrize("width", [40, 77, 100, 137, 197, 400])
def test_the_columns_shown_fill_the_width_and_never_exceed_it(width: int, sort: str) -> None:
    """And the one that is sorted by is always among them."""
    chosen = fit(width, sort)
    used = sum(cells for _, cells in chosen) + GAP * (len(chosen) - 1)
    assert used <= width
    assert sort in [column.name for column, _ in chosen]


def test_at_80_columns_the_questions_of_the_night_are_answered() -> None:
    """Who, in which state, how much waits, how often did it crash, what does it do."""
    shown = {column.name for column, _ in fit(77, "crashes")}
    assert {"name", "status", "mailbox", "load", "rate", "restarts", "crashes", "activity"} <= shown


numbers = st.integers(min_value=0, max_value=10**15)
seconds = st.floats(min_value=0, max_value=1e9)
words = st.text(max_size=40)


@given(
    st.tuples(
        numbers, st.none() | words, words, st.sampled_from(wire_table.STATUS_NAMES) | words, seconds, numbers, numbers,
        numbers, seconds, numbers, seconds, numbers, numbers, st.none() | words, seconds, seconds, numbers, words, numbers,
        st.sampled_from(["none", "monitored", "restricted", "isolated", "a level of a later version"]),
        st.none() | numbers, st.none() | numbers, st.none() | st.floats(min_value=0, max_value=1),
        st.none() | numbers, st.none() | seconds,
    ),
    st.integers(min_value=0, max_value=30),
)  # fmt: skip
def test_a_cell_has_exactly_the_width_of_its_column(row: tuple[object, ...], more: int) -> None:
    """Whatever the node sends: a cell that is too wide would shift all to its right."""
    for column in COLUMNS:
        cells = column.width + more
        assert sum(cell_len(text) for text, _ in column.cell(row, cells)) == cells, column.name


def test_the_overview_says_how_far_an_agent_is_contained() -> None:
    row = tuple({"name": "ann", "status": "idle", "containment": "isolated"}.get(name, 0) for name in NAMES)
    assert ("  isolated", "hot") in agent_pieces(row)
    free = tuple({"name": "ann", "status": "idle", "containment": "none"}.get(name, 0) for name in NAMES)
    assert [text for text, _ in agent_pieces(free)][-2:] == ["  idle", "  up 0"]
