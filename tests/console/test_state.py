"""The window on the agents table, folded from plain lists: which rows, which choice, over moves, filters, restarts."""

from __future__ import annotations

from typing import Any

from observe.console.columns import NAMES, PID
from observe.console.signs import Signs
from observe.console.state import AgentsView, Change

COLUMNS = list(NAMES)


def row(number: int, **values: Any) -> list[Any]:
    """A row of the wire: agent `number`, child `c<number>` of supervisor 1."""
    base: dict[str, Any] = dict.fromkeys(NAMES, 0)
    base.update(
        {
            "pid": number,
            "name": f"n{number}",
            "class": "C",
            "status": "idle",
            "activity": None,
            "supervisor": 1,
        }
    )
    base["child"] = f"c{number}"
    base.update(values)
    return [base[name] for name in NAMES]


def answer(
    view: AgentsView, numbers: list[int], *, matched: int | None = None, now: float = 0.0
) -> Change | None:
    """Give the view the rows that it asked for, out of a table with these agents in this order."""
    return answer_rows(view, [row(number) for number in numbers], matched=matched, now=now)


def answer_rows(
    view: AgentsView, rows: list[list[Any]], *, matched: int | None = None, now: float = 0.0
) -> Change | None:
    ask = view.ask()
    return view.fold(
        ask, COLUMNS, rows[ask.offset : ask.offset + ask.limit], matched=matched or len(rows), total=len(rows),
        at=1.0, now=now,
    )  # fmt: skip


def test_only_a_window_around_the_rows_in_sight_is_asked_for() -> None:
    """A million agents cost what sixty do."""
    view = AgentsView(height=20)
    answer(view, list(range(1, 1001)))
    view.top = 500
    ask = view.ask()
    assert (ask.offset, ask.limit) == (480, 60)
    assert view.needs_rows()
    answer(view, list(range(1, 1001)))
    assert not view.needs_rows()
    assert len(view.rows) == 60


def test_rows_are_asked_for_before_they_come_into_sight() -> None:
    """Scrolling finds the next rows there already."""
    view = AgentsView(height=20)
    answer(view, list(range(1, 1001)))
    view.top = 20
    assert not view.needs_rows()
    view.top = 35
    assert view.needs_rows()


def test_the_first_row_is_chosen_at_first() -> None:
    """Keys have something to act on from the start."""
    view = AgentsView()
    answer(view, [5, 6, 7])
    assert view.chosen is not None
    assert (view.chosen.pid, view.index) == (5, 0)


def test_the_choice_stays_on_its_agent_while_rows_move() -> None:
    """Otherwise somebody kills whoever happens to be on that line."""
    view = AgentsView()
    answer(view, [1, 2, 3, 4])
    view.choose(1)
    change = answer(view, [4, 3, 2, 1])
    assert view.chosen is not None
    assert (view.chosen.pid, view.index) == (2, 2)
    assert change is not None
    assert {1, 2} <= change.rows


def test_the_choice_passes_to_the_successor_of_a_killed_agent() -> None:
    """The successor has another pid and the same place in its supervisor; its row stands out for a while."""
    view = AgentsView()
    answer(view, [1, 2, 3])
    view.choose(1)
    change = answer_rows(view, [row(1), row(9, child="c2", name="n2"), row(3)], now=10.0)
    assert change is not None
    assert change.successor == (2, 9)
    assert view.chosen is not None
    assert view.chosen.pid == 9
    assert view.flashing(view.rows[1], 10.1)
    assert not view.flashing(view.rows[0], 10.1)
    assert view.end_flashes(60.0)
    assert not view.flashing(view.rows[1], 60.0)


def test_a_successor_is_found_by_name_when_its_supervisor_was_restarted_too() -> None:
    """Then the supervisor's pid is another as well."""
    view = AgentsView()
    answer(view, [1, 2, 3])
    view.choose(1)
    answer_rows(view, [row(11, supervisor=10), row(12, supervisor=10, name="n2", child="c2")])
    assert view.chosen is not None
    assert view.chosen.pid == 12


def test_agents_without_a_child_id_are_only_themselves() -> None:
    """Two of them must not pass for one another."""
    view = AgentsView()
    answer_rows(view, [row(1, child="", name=None), row(2, child="", name=None)])
    view.choose(0)
    answer_rows(view, [row(2, child="", name=None), row(3, child="", name=None)])
    assert view.gone


def test_an_agent_that_is_gone_is_said_to_be_gone() -> None:
    """The keys must not act on somebody else instead."""
    view = AgentsView()
    answer(view, [1, 2, 3])
    view.choose(1)
    answer(view, [1, 3])
    assert view.gone
    assert view.index is None
    assert view.chosen is not None
    assert view.chosen.pid == 2
    view.move(1)
    assert not view.gone


def test_a_choice_that_moved_out_of_the_rows_held_is_kept() -> None:
    """It is still the one that keys act on; the status bar says that it is out of sight."""
    view = AgentsView(height=5)
    answer(view, list(range(1, 101)))
    view.choose(2)
    order = [n for n in range(1, 101) if n != 3] + [3]
    answer(view, order)
    assert view.index is None
    assert not view.gone
    assert view.chosen is not None
    assert view.chosen.pid == 3


def test_moving_on_from_a_choice_out_of_sight_begins_where_it_was_seen() -> None:
    """The view must not jump to the other end of the table because somebody pressed an arrow."""
    view = AgentsView(height=5)
    answer(view, list(range(1, 101)))
    view.choose(2)
    answer(view, [n for n in range(1, 101) if n != 3] + [3])
    view.move(1)
    assert view.index == 3


def test_a_row_can_be_chosen_before_it_has_come() -> None:
    """Keys never wait for the network."""
    view = AgentsView(height=5)
    answer(view, list(range(1, 1001)))
    view.choose(999)
    assert view.chosen is None
    view.top = 995
    answer(view, list(range(1, 1001)))
    assert view.chosen is not None
    assert view.chosen.pid == 1000


def test_clearing_the_filter_brings_back_the_choice() -> None:
    """Whoever looks something up comes back to where they were."""
    view = AgentsView()
    answer(view, list(range(1, 31)))
    view.choose(20)
    view.narrow("n3")
    answer(view, [3, 30])
    assert view.chosen is not None
    assert view.chosen.pid == 3, "Enter opens the first match"
    view.narrow("")
    assert view.chosen is not None
    assert view.chosen.pid == 21
    answer(view, list(range(1, 31)))
    assert view.index == 20


def test_a_choice_made_under_a_filter_outlives_it() -> None:
    """That is what the filter was for."""
    view = AgentsView()
    answer(view, list(range(1, 31)))
    view.choose(20)
    view.narrow("n3")
    answer(view, [3, 30])
    view.choose(1)
    view.narrow("")
    answer(view, list(range(1, 31)))
    assert view.chosen is not None
    assert view.chosen.pid == 30


def test_a_filter_that_still_matches_leaves_the_choice_alone() -> None:
    """Typing another letter must not move the cursor."""
    view = AgentsView()
    answer(view, list(range(1, 31)))
    view.choose(29)
    view.narrow("3")
    answer(view, [3, 13, 23, 30])
    assert view.chosen is not None
    assert (view.chosen.pid, view.index) == (30, 3)


def test_under_a_filter_with_many_matches_the_first_is_chosen() -> None:
    """Also when the rows that match are more than the rows held."""
    view = AgentsView(height=5)
    answer(view, list(range(1, 1001)))
    view.choose(0)
    view.narrow("x")
    answer(view, list(range(500, 900)))
    assert view.chosen is not None
    assert view.chosen.pid == 500


def test_an_answer_to_an_older_question_is_passed_over() -> None:
    """Rows in the old order under the new heading would be a lie, if only for a moment."""
    view = AgentsView()
    ask = view.ask()
    view.order_by("mailbox")
    change = view.fold(ask, COLUMNS, [row(1)], matched=1, total=1, at=1.0, now=0.0)
    assert change is None
    assert not view.loaded


def test_text_sorts_from_a_and_numbers_from_the_largest() -> None:
    """What one wants to see of each."""
    view = AgentsView()
    view.order_by("name")
    assert not view.descending
    view.order_by("mailbox")
    assert view.descending
    view.reverse()
    assert not view.descending


def test_only_rows_that_differ_are_painted() -> None:
    """A table at rest costs the terminal nothing."""
    view = AgentsView()
    answer(view, [1, 2, 3])
    change = answer_rows(view, [row(1), row(2, mailbox=7), row(3)])
    assert change is not None
    assert not change.everything
    assert change.rows == {1}


def test_rows_of_a_node_that_sends_fewer_columns_are_shown_all_the_same() -> None:
    """An older node may not know them all."""
    view = AgentsView()
    ask = view.ask()
    view.fold(ask, ["pid", "name"], [[7, "x"]], matched=1, total=1, at=1.0, now=0.0)
    assert view.rows[0][PID] == 7
    assert len(view.rows[0]) == len(NAMES)


def test_a_table_that_shrinks_takes_the_view_along() -> None:
    """Otherwise it would show rows beyond the end."""
    view = AgentsView(height=10)
    answer(view, list(range(1, 101)))
    view.top = 90
    answer(view, list(range(1, 101)))
    answer(view, list(range(1, 21)))
    assert view.top == 10


def test_the_past_of_the_vital_signs_grows_by_a_value_a_second() -> None:
    """And not by one for each message that happens to arrive."""
    signs = Signs()
    signs.fold(100.0, {"rate": 1.0})
    signs.fold(100.2, {"rate": 2.0})
    signs.fold(101.2, {"rate": 3.0})
    assert signs.history["rate"] == [2.0, 3.0]
    assert signs.seconds() == 2


def test_the_node_s_own_history_replaces_ours() -> None:
    """After a lost connection it knows what we missed."""
    signs = Signs()
    signs.fold(100.0, {"rate": 1.0})
    signs.fold(150.0, {"rate": 9.0}, {"rate": [5.0, 6.0, 9.0]})
    assert signs.history["rate"] == [5.0, 6.0, 9.0]
